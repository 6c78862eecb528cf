"""Whole training runs: files in, a Hugging Face checkpoint out."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from dca.domain.errors import RowError
from dca.domain.rollout import Sampling
from tests.tiny_rows import PROMPTS, columns_of, sampled_rows, tiny_model
from training import prepare as prepare_module
from training.row_files import file_digest, write_rows
from training.rows import SFT_HINT, NeutralRow
from training.run import Metrics, TrainConfig, train
from training.tiny import build_tiny, sample
from training.vocabulary import FastTokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def rows(folder) -> list[NeutralRow]:
    return sampled_rows(folder)


@pytest.fixture
def config(folder, rows, tmp_path) -> TrainConfig:
    return configured(folder, rows, tmp_path)


def configured(folder: Path, rows: list[NeutralRow], path: Path, **changes) -> TrainConfig:
    file = path / "rows.parquet"
    write_rows(file, rows)
    settings = {
        "rows": (file,),
        "model": folder,
        "output": path / "out",
        "batch": 4,
        "steps": 4,
        "learning_rate": 1e-3,
        "gradient_checkpointing": False,
        **changes,
    }
    return TrainConfig(**settings)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_policy_that_sampled_the_rows_starts_at_a_ratio_of_one(
    folder, tmp_path, temperature
) -> None:
    sampled = sampled_rows(folder, temperature=temperature)
    lines: list[Metrics] = []

    report = train(configured(folder, sampled, tmp_path, steps=2, batch=8), lines.append)

    assert report.prepared.temperature == temperature
    assert not report.prepared.temperature_assumed
    assert lines[0]["ratio_mean"] == pytest.approx(1.0, abs=1e-4)
    assert lines[0]["kl_behaviour"] == pytest.approx(0.0, abs=1e-6)
    assert lines[0]["clip_fraction"] == 0
    assert lines[1]["kl_behaviour"] > 1e-6


def test_a_run_leaves_a_checkpoint_that_samples_and_a_log_of_its_metrics(config, folder) -> None:
    lines: list[Metrics] = []

    report = train(config, lines.append)

    assert (report.steps, report.resumed_from) == (4, None)
    assert report.prepared.kept == report.prepared.rows == 8
    assert report.trained_parameters == report.parameters
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    logged = (config.output / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in logged] == lines
    assert report.final == lines[-1]
    assert {
        "loss",
        "ratio_mean",
        "clip_fraction",
        "kl_behaviour",
        "credit_share",
        "entropy",
        "learning_rate",
        "grad_norm",
        "tokens_per_second",
    } <= lines[0].keys()
    assert not list(config.output.glob("*.arrow"))
    assert report.warnings == ()
    card = (config.output / "README.md").read_text()
    assert f"All weights of the model `{folder.name}`" in card
    assert "- Optimizer steps: 4\n" in card
    assert "None" not in card
    assert FastTokenizer.load(config.output).digest == FastTokenizer.load(folder).digest
    (drawn,) = sample(config.output, PROMPTS[:1], max_tokens=5)
    assert 1 <= len(drawn.token_ids) <= 5
    assert not same_weights(config.output, folder)


def test_successes_become_likelier_and_failures_less_likely(folder, tmp_path, rows) -> None:
    def mean_logp(model: Path, won: bool) -> float:
        policy = AutoModelForCausalLM.from_pretrained(str(model))
        values = []
        for row in rows:
            if (row.reward > 0) != won:
                continue
            ids = torch.tensor(np.concatenate([row.prompt_ids, row.completion_ids]))[None].long()
            logp = torch.log_softmax(policy(ids).logits[0, :-1], -1)
            picked = logp.gather(-1, ids[0, 1:, None])[len(row.prompt_ids) - 1 :, 0]
            values.append(picked.mean().item())
        return float(np.mean(values))

    config = configured(folder, rows, tmp_path, steps=6)
    train(config)

    assert mean_logp(config.output, won=True) > mean_logp(folder, won=True) + 0.05
    assert mean_logp(config.output, won=False) < mean_logp(folder, won=False) - 0.05


def test_imitation_takes_the_successes_and_needs_no_log_probabilities(
    folder, rows, tmp_path
) -> None:
    bare = [dataclasses.replace(row, logprobs=None) for row in rows]
    config = configured(folder, bare, tmp_path, objective="sft", steps=6)
    lines: list[Metrics] = []

    report = train(config, lines.append)

    assert report.prepared.kept == 4
    assert report.prepared.dropped == {"no token with credit": 4}
    assert report.prepared.temperature == 1.0
    assert lines[-1]["nll"] < lines[0]["nll"] - 0.1
    with pytest.raises(RowError, match="no behaviour log-probabilities") as caught:
        train(dataclasses.replace(config, objective="clipped", output=tmp_path / "rl"))
    assert SFT_HINT in str(caught.value.hint)


# peft asks the model by a name that transformers has renamed
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_lora_trains_adapters_only_and_its_checkpoint_samples(config, folder) -> None:
    before = file_digest(folder / "model.safetensors")

    report = train(
        dataclasses.replace(config, lora_rank=2, gradient_checkpointing=True, padding_free=True)
    )

    assert 0 < report.trained_parameters < 0.2 * report.parameters
    assert (
        f"LoRA adapters of rank 2 of the model `{folder.name}`"
        in (config.output / "README.md").read_text()
    )
    adapters = load_file(config.output / "adapter_model.safetensors")
    assert all("lora" in name for name in adapters)
    assert sum(value.numel() for value in adapters.values()) == report.trained_parameters
    assert any(value.abs().max() > 0 for name, value in adapters.items() if "lora_B" in name)
    assert file_digest(folder / "model.safetensors") == before
    assert len(sample(config.output, PROMPTS[:1], max_tokens=3)) == 1


def test_mixed_precision_can_be_asked_for(config) -> None:
    report = train(dataclasses.replace(config, bf16=True, steps=1))

    assert report.final["ratio_mean"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("bf16", [True, False])
def test_every_setting_reaches_the_trainer(config, bf16) -> None:
    train(
        dataclasses.replace(
            config,
            batch=2,
            accumulation=3,
            steps=1,
            epochs=2.0,
            learning_rate=2e-3,
            schedule="cosine",
            warmup=4,
            weight_decay=0.25,
            max_grad_norm=0.5,
            bf16=bf16,
            seed=7,
            save_every=1,
            log_every=5,
        )
    )

    file = config.output / "checkpoint-1" / "training_args.bin"
    given = torch.load(file, weights_only=False)  # written by this very test
    assert {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 3,
        "max_steps": 1,
        "num_train_epochs": 2.0,
        "learning_rate": 2e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 4,
        "weight_decay": 0.25,
        "max_grad_norm": 0.5,
        "bf16": bf16,
        "seed": 7,
        "save_steps": 1,
        "logging_steps": 5,
    }.items() <= given.to_dict().items()


@pytest.mark.parametrize("asked", [True, False])
def test_recomputed_activations_reach_the_trainer(config, asked) -> None:
    train(dataclasses.replace(config, gradient_checkpointing=asked, steps=1, save_every=1))

    file = config.output / "checkpoint-1" / "training_args.bin"
    given = torch.load(file, weights_only=False)  # written by this very test
    names = ("activation_checkpointing", "gradient_checkpointing")
    assert [getattr(given, name) for name in names if hasattr(given, name)][:1] == [asked]


RUN = """
import sys
from pathlib import Path
from training.run import TrainConfig, train
rows, model, output = map(Path, sys.argv[1:])
train(TrainConfig(rows=(rows,), model=model, output=output, batch=2, accumulation=2, steps=12,
    learning_rate=1e-3, schedule="linear", warmup=3, gradient_checkpointing=False, save_every=4))
"""


def test_a_run_that_was_killed_goes_on_to_the_same_weights(folder, rows, tmp_path) -> None:
    varied = [dataclasses.replace(row, **columns_of(row)) for row in rows]
    config = configured(
        folder,
        varied,
        tmp_path,
        batch=2,
        accumulation=2,
        steps=12,
        schedule="linear",
        warmup=3,
        save_every=4,
    )
    train(config)
    killed = dataclasses.replace(config, output=tmp_path / "killed", resume=True)
    command = [sys.executable, "-c", RUN, *map(str, (config.rows[0], folder, killed.output))]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    log = killed.output / "metrics.jsonl"
    give_up = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= 6):  # one step after a checkpoint
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with log.open("a") as file:
        file.write('{"step": 7, "lo')  # a line that the kill cut

    report = train(killed)

    assert report.resumed_from in {4, 8}
    assert report.steps == 12
    assert same_weights(config.output, killed.output)
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == list(range(1, 13))
    whole = [
        json.loads(line)["loss"]
        for line in (config.output / "metrics.jsonl").read_text().splitlines()
    ]
    assert [json.loads(line)["loss"] for line in log.read_text().splitlines()] == whole

    again = train(killed)
    assert (again.resumed_from, again.steps) == (12, 12)
    assert again.final["step"] == 12
    assert same_weights(config.output, killed.output)


TWO = """
import os, sys
from pathlib import Path
from training.run import TrainConfig, train
rows, model, output = map(Path, sys.argv[1:])
size = 4 // int(os.environ["WORLD_SIZE"])
train(TrainConfig(rows=(rows,), model=model, output=output, batch=size, steps=2,
    learning_rate=1e-3, gradient_checkpointing=False))
"""


def test_two_processes_make_the_run_of_one(config, folder, tmp_path) -> None:
    train(dataclasses.replace(config, steps=2))
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    subprocess.run(
        [*launch, str(script), str(config.rows[0]), str(folder), str(tmp_path / "two")],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=180,
    )

    one, two = weights(config.output), weights(tmp_path / "two")
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 5e-6
    first, second = (
        [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        for path in (config.output, tmp_path / "two")
    )
    for ours, theirs in zip(first, second, strict=True):
        for name in ("loss", "ratio_mean", "kl_behaviour", "credit_share", "entropy", "grad_norm"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4)


def test_imitation_leaves_out_tokens_whose_advantage_is_zero_or_negative(
    folder, rows, tmp_path
) -> None:
    def spread(row: NeutralRow, head: float, tail: float) -> NeutralRow:
        advantage = np.full(len(row), tail, np.float32)
        advantage[:2] = head
        return dataclasses.replace(row, advantage=advantage)

    mixed = [spread(rows[0], 0.5, 0.0), spread(rows[1], 0.0, -1.0), spread(rows[2], 0.0, 0.25)]

    config = configured(folder, mixed, tmp_path, objective="sft", steps=1)
    prepared = train(config).prepared

    assert (prepared.kept, prepared.dropped) == (2, {"no token with credit": 1})
    assert prepared.loss_tokens == 2 + len(rows[2]) - 2


def test_many_rows_are_prepared_in_batches(folder, rows, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(prepare_module, "BATCH_ROWS", 3)

    assert train(configured(folder, rows, tmp_path, steps=1)).prepared.kept == 8


def test_long_rows_lose_their_end_and_are_counted(folder, rows, tmp_path) -> None:
    prompt = max(len(row.prompt_ids) for row in rows)
    limit = prompt + 5

    report = train(configured(folder, rows, tmp_path, max_length=limit, steps=1))

    lost = [max(0, len(row.prompt_ids) + len(row) - limit) for row in rows]
    assert report.prepared.truncated == sum(count > 0 for count in lost) > 0
    assert report.prepared.tokens_cut == sum(lost)
    assert report.prepared.loss_tokens == sum(len(row) for row in rows) - sum(lost)


def test_a_temperature_that_is_not_known_can_be_given_or_is_assumed(
    folder, rows, tmp_path
) -> None:
    unknown = [dataclasses.replace(row, sampling=Sampling()) for row in rows]
    config = configured(folder, unknown, tmp_path, steps=1)

    assumed = train(config).prepared
    given = train(dataclasses.replace(config, output=tmp_path / "given", temperature=0.8)).prepared

    assert (assumed.temperature, assumed.temperature_assumed) == (1.0, True)
    assert (given.temperature, given.temperature_assumed) == (0.8, False)


def test_a_tiny_model_is_the_same_for_the_same_arguments(tmp_path) -> None:
    texts = ["12 + 30 = 42 loaves, so the answer is 42.", "Wait, 7 * 8 = 56."] * 20
    sizes = [build_tiny(texts, tmp_path / name) for name in ("one", "two")]
    other = build_tiny(texts, tmp_path / "other", seed=1)

    assert sizes[0] == sizes[1] == other
    assert 80_000 < sizes[0] < 300_000
    assert same_weights(tmp_path / "one", tmp_path / "two")
    assert not same_weights(tmp_path / "one", tmp_path / "other")
    for name in ("tokenizer.json", "config.json", "model.safetensors"):
        assert file_digest(tmp_path / "one" / name) == file_digest(tmp_path / "two" / name)
    assert sample(tmp_path / "one", PROMPTS, max_tokens=6) == sample(
        tmp_path / "two", PROMPTS, max_tokens=6
    )
