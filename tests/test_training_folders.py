"""Which run an output folder belongs to, and what a run leaves in it."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from dca.domain.errors import RowError, TrainingError
from tests.test_training_runs import configured, same_weights
from tests.tiny_rows import sampled_rows, tiny_model
from training.row_files import write_rows
from training.rows import NeutralRow
from training.run import Metrics, TrainConfig, behaviour_mismatch, train
from training.run_folder import newest_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def rows(folder) -> list[NeutralRow]:
    return sampled_rows(folder)


@pytest.fixture
def config(folder, rows, tmp_path) -> TrainConfig:
    return configured(folder, rows, tmp_path)


def test_a_checkpoint_without_its_state_is_not_complete(tmp_path) -> None:
    for name in ("checkpoint-4", "checkpoint-8", "checkpoint-12", "checkpoint-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-12" / "trainer_state.json").write_text('{"half')
    (tmp_path / "checkpoint-16").mkdir()

    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint-8", 8)
    assert newest_checkpoint(tmp_path / "checkpoint-16") is None


def test_an_output_folder_belongs_to_one_run(config, folder, rows, tmp_path) -> None:
    short = dataclasses.replace(config, steps=1)
    train(short)

    with pytest.raises(TrainingError, match="holds a run already") as caught:
        train(short)
    assert "--resume" in str(caught.value.hint)
    with pytest.raises(TrainingError, match=r"started with learning_rate = 0\.001, not 0\.01"):
        train(dataclasses.replace(short, learning_rate=0.01, resume=True))
    write_rows(config.rows[0], rows[:4])
    with pytest.raises(TrainingError, match="started on other rows"):
        train(dataclasses.replace(short, resume=True))
    with pytest.raises(TrainingError, match="holds another model"):
        train(dataclasses.replace(config, output=folder))
    (short.output / "run.json").unlink()
    (short.output / "config.json").unlink()
    with pytest.raises(TrainingError, match="holds another model"):  # its checkpoints
        train(short)
    with pytest.raises(TrainingError, match=r"rows\.parquet is a file"):
        train(dataclasses.replace(config, output=config.rows[0]))


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_that_cannot_begin_leaves_nothing_behind(folder, rows, tmp_path) -> None:
    good = configured(folder, rows, tmp_path, steps=1)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes(b"half a file")
    late = tmp_path / "late.parquet"
    write_rows(late, [*rows[:3], dataclasses.replace(rows[3], logprobs=None)])
    existing = tmp_path / "existing"
    existing.mkdir()

    with pytest.raises(TrainingError, match="the model cannot be loaded"):
        train(dataclasses.replace(good, model=broken))
    with pytest.raises(RowError, match=r"row 4 .* no behaviour log-probabilities"):
        train(dataclasses.replace(good, rows=(late,)))
    assert not good.output.exists()
    with pytest.raises(RowError, match="row 4"):
        train(dataclasses.replace(good, rows=(late,), output=existing))
    assert left(existing) == set()

    assert train(good).steps == 1


def test_a_resumed_run_that_cannot_begin_keeps_what_is_there(config, folder) -> None:
    train(dataclasses.replace(config, steps=1))
    weights_file = folder / "model.safetensors"
    content = weights_file.read_bytes()
    before = left(config.output)
    try:
        weights_file.write_bytes(b"half a file")
        with pytest.raises(TrainingError, match="the model cannot be loaded"):
            train(dataclasses.replace(config, resume=True))
    finally:
        weights_file.write_bytes(content)

    assert left(config.output) == before


def test_a_finished_run_goes_on_for_more_steps(config) -> None:
    train(dataclasses.replace(config, steps=2))

    longer = train(dataclasses.replace(config, steps=4, resume=True))
    by_epochs = train(dataclasses.replace(config, steps=None, epochs=3, resume=True))

    assert (longer.resumed_from, longer.steps) == (2, 4)
    assert (by_epochs.resumed_from, by_epochs.steps) == (4, 6)  # 8 rows, 4 to a step
    log = (config.output / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(TrainingError, match="has done 6 steps, more than the 5 asked for"):
        train(dataclasses.replace(config, steps=5, resume=True))


def test_a_run_in_two_parts_is_the_run_in_one(config, tmp_path) -> None:
    whole = dataclasses.replace(config, output=tmp_path / "whole")
    train(whole)
    train(dataclasses.replace(config, steps=3))
    (config.output / "metrics.jsonl").unlink()  # which the weights do not need
    train(dataclasses.replace(config, resume=True))

    assert same_weights(whole.output, config.output)


@pytest.mark.parametrize(
    ("metrics", "warned"),
    [
        ({"step": 1, "ratio_mean": 1.5, "kl_behaviour": 0.5}, False),
        ({"step": 1, "ratio_mean": 1.51, "kl_behaviour": 0.0}, True),
        ({"step": 1, "ratio_mean": 0.49, "kl_behaviour": 0.0}, True),
        ({"step": 1, "ratio_mean": 1.0, "kl_behaviour": 0.51}, True),
        ({"step": 2, "ratio_mean": 9.0, "kl_behaviour": 9.0}, False),
        ({"step": 1, "nll": 9.0}, False),
    ],
)
def test_only_the_first_step_can_show_another_behaviour_policy(metrics, warned) -> None:
    assert (behaviour_mismatch(metrics) is not None) == warned


def test_rows_of_another_model_are_warned_of_once(folder, rows, tmp_path) -> None:
    foreign = [dataclasses.replace(row, logprobs=row.logprobs / 8) for row in rows]
    config = configured(folder, foreign, tmp_path, steps=2, log_every=2)
    lines: list[Metrics] = []

    (warning,) = train(config, lines.append).warnings

    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["kl_behaviour"] > 0.5
    assert warning.startswith("the rows were not sampled by this model: at step 1 the mean ratio")
    assert f"- Warning: {warning}\n" in (config.output / "README.md").read_text()
    resumed = train(dataclasses.replace(config, steps=3, resume=True))
    assert resumed.warnings == (warning,)


def test_a_loss_that_is_lost_stops_the_run(folder, rows, tmp_path) -> None:
    absurd = [dataclasses.replace(row, advantage=row.advantage * 1e38) for row in rows]

    config = configured(folder, absurd, tmp_path)

    with pytest.raises(TrainingError, match=r"loss .* at step 1") as caught:
        train(config)
    assert "learning rate" in str(caught.value.hint)
    assert left(config.output) == {"metrics.jsonl"}  # nothing to go on from: the folder is free

    write_rows(config.rows[0], rows)
    assert train(dataclasses.replace(config, steps=1)).steps == 1
