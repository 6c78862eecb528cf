"""The loss of the offline trainer against computations written out here."""

import copy
import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from dca.domain.errors import TrainingError
from tests.tiny_rows import columns_of, sampled_rows, tiny_model
from training.collate import Collator
from training.objectives.clipped import Clip, clipped
from training.objectives.loss import Objective
from training.objectives.weighted_nll import weighted_nll
from training.offline import TokenWeightedTrainer
from training.prepare import prepare
from training.row_files import write_rows
from training.run import TrainConfig
from training.vocabulary import FastTokenizer

CLIP = Clip(low=0.2, high=0.3)
PPO = partial(clipped, clip=CLIP)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def rows(folder):
    """Eight sampled rows whose numbers differ at every token."""
    return [dataclasses.replace(row, **columns_of(row)) for row in sampled_rows(folder)]


def examples(folder, rows, path, *, objective="clipped") -> Dataset:
    write_rows(path / "rows.parquet", rows)
    config = TrainConfig(
        rows=(path / "rows.parquet",), model=folder, output=path, objective=objective
    )
    digest = FastTokenizer.load(folder).digest
    prepare(config, path / "examples.arrow", tokenizer_sha=digest, vocabulary=300)
    return Dataset.from_file(str(path / "examples.arrow")).with_format("numpy")


def load(folder, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype)


def arguments(path, **changes) -> SFTConfig:
    settings = {
        "output_dir": str(path),
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-4,
        "max_steps": 3,
        "lr_scheduler_type": "constant",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "logging_steps": 1,
        "max_length": None,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        **changes,
    }
    return SFTConfig(**settings)


def trainer(
    folder, path, data, *, objective: Objective = PPO, model=None, padding_free=False, **changes
):
    own = {name: changes.pop(name) for name in ("temperature", "fused_head") if name in changes}
    return TokenWeightedTrainer(
        model=load(folder) if model is None else model,
        args=arguments(path, **changes),
        data_collator=Collator(1, padding_free=padding_free),
        train_dataset=data,
        processing_class=PreTrainedTokenizerFast.from_pretrained(str(folder)),
        objective=objective,
        **own,
    )


def loss_and_gradients(of: TokenWeightedTrainer, batch) -> tuple[Tensor, dict[str, Tensor]]:
    of.model.zero_grad()
    items = (batch["labels"][:, 1:] != -100).sum()
    loss = of.compute_loss(of.model, dict(batch), num_items_in_batch=items)
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in of.model.named_parameters()}


def by_hand(model, rows, *, use_ratio=True, temperature=1.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Every row on its own, in plain torch, token by token."""
    model.zero_grad()
    total, items = torch.zeros((), dtype=model.dtype), 0
    for row in rows:
        ids = torch.tensor(np.concatenate([row.prompt_ids, row.completion_ids]))[None].long()
        logits = model(ids).logits[0] / temperature
        start = len(row.prompt_ids)
        for token in range(len(row)):
            if not row.credit_mask[token]:
                continue
            items += 1
            here = torch.log_softmax(logits[start + token - 1], -1)[ids[0, start + token]]
            old = float(row.logprobs[token]) if use_ratio else here.detach()
            ratio = torch.exp(here - old)
            advantage = float(row.advantage[token])
            inside = min(max(ratio.item(), 1 - CLIP.low), 1 + CLIP.high)
            bound = inside * advantage  # a number: no gradient flows through it
            surrogate = ratio * advantage if (ratio * advantage).item() <= bound else bound
            total = total - float(row.weight[token]) * surrogate
    loss = total / items
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def greatest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def test_loss_and_gradient_are_those_of_an_independent_computation(folder, rows, tmp_path) -> None:
    data = examples(folder, rows, tmp_path)
    batch = Collator(1, padding_free=False)([data[i] for i in range(8)])
    uniform = [dataclasses.replace(row, weight=np.ones_like(row.weight)) for row in rows]
    flat_data = examples(folder, uniform, tmp_path)
    flat_batch = Collator(1, padding_free=False)([flat_data[i] for i in range(8)])

    for given, sample in ((uniform, flat_batch), (rows, batch)):
        plain = trainer(
            folder, tmp_path, data, model=load(folder, torch.float64), fused_head=False
        )
        loss, gradients = loss_and_gradients(plain, sample)
        hand, hand_gradients = by_hand(load(folder, torch.float64), given)
        blind, blind_gradients = by_hand(load(folder, torch.float64), given, use_ratio=False)
        fused_loss, fused_gradients = loss_and_gradients(trainer(folder, tmp_path, data), sample)

        # Columns are float32 on one side and exact on the other.
        assert abs(loss - hand).item() < 1e-7
        assert greatest_difference(gradients, hand_gradients) < 1e-7
        assert abs(fused_loss - hand).item() < 1e-6
        for name, gradient in fused_gradients.items():
            torch.testing.assert_close(
                gradient.double(), hand_gradients[name], atol=1e-6, rtol=1e-4
            )
        assert abs(loss - blind).item() > 1e-2
        assert greatest_difference(gradients, blind_gradients) > 1e-3


def test_the_temperature_of_the_rollouts_is_that_of_the_log_probabilities(
    folder, rows, tmp_path
) -> None:
    data = examples(folder, rows, tmp_path)
    batch = Collator(1, padding_free=False)([data[i] for i in range(8)])
    hand, hand_gradients = by_hand(load(folder, torch.float64), rows, temperature=0.6)

    for fused in (True, False):
        of = trainer(folder, tmp_path, data, temperature=0.6, fused_head=fused)
        loss, gradients = loss_and_gradients(of, batch)
        assert abs(loss - hand).item() < 1e-6
        for name, gradient in gradients.items():
            torch.testing.assert_close(
                gradient.double(), hand_gradients[name], atol=1e-6, rtol=1e-4
            )


def test_padded_and_padding_free_batches_are_the_same(folder, rows, tmp_path) -> None:
    data = examples(folder, rows, tmp_path)
    model = load(folder)
    results = []
    for padding_free in (False, True):
        of = trainer(folder, tmp_path, data, model=copy.deepcopy(model), padding_free=padding_free)
        batch = of.data_collator([data[i] for i in range(8)])
        results.append(loss_and_gradients(of, batch))
    (loss, gradients), (free_loss, free_gradients) = results

    assert batch["input_ids"].shape[0] == 1
    assert abs(loss - free_loss).item() < 1e-6
    assert greatest_difference(gradients, free_gradients) < 1e-6


def test_weights_of_one_are_stock_sft_bit_for_bit(folder, rows, tmp_path) -> None:
    ones = [
        dataclasses.replace(
            row,
            advantage=np.ones_like(row.advantage),
            weight=np.ones_like(row.weight),
            credit_mask=np.ones_like(row.credit_mask),
        )
        for row in rows
    ]
    data = examples(folder, ones, tmp_path, objective="sft")
    labelled = Dataset.from_list(
        [
            {
                "input_ids": example["input_ids"].tolist(),
                "labels": np.where(example["in_loss"], example["input_ids"], -100).tolist(),
            }
            for example in data
        ]
    )
    few = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 4}
    ours = trainer(folder, tmp_path, data, objective=weighted_nll, **few)
    stock = SFTTrainer(
        model=load(folder),
        args=arguments(tmp_path, **few),
        data_collator=DataCollatorForLanguageModeling(1),
        train_dataset=labelled,
        processing_class=PreTrainedTokenizerFast.from_pretrained(str(folder)),
    )
    batch = ours.data_collator([data[i] for i in range(8)])
    stock_batch = {name: batch[name] for name in ("input_ids", "labels", "attention_mask")}
    loss, gradients = loss_and_gradients(ours, batch)
    stock_loss, stock_gradients = loss_and_gradients(stock, stock_batch)

    assert torch.equal(loss, stock_loss)
    assert greatest_difference(gradients, stock_gradients) == 0

    ours.train()
    stock.train()
    assert (
        greatest_difference(
            dict(ours.model.named_parameters()), dict(stock.model.named_parameters())
        )
        == 0
    )
    ours_losses = [line["loss"] for line in ours.state.log_history if "loss" in line]
    assert ours_losses == [line["loss"] for line in stock.state.log_history if "loss" in line]


def test_accumulated_small_batches_are_one_large_batch(folder, rows, tmp_path) -> None:
    data = examples(folder, rows, tmp_path)
    weights = []
    for batch, accumulation in ((8, 1), (2, 4)):
        of = trainer(
            folder,
            tmp_path,
            data,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        )
        of.train()
        weights.append({name: p.detach() for name, p in of.model.named_parameters()})

    assert greatest_difference(*weights) < 2e-6
    assert greatest_difference(weights[0], dict(load(folder).named_parameters())) > 1e-5


def test_the_metrics_are_means_over_the_loss_tokens(folder, rows, tmp_path) -> None:
    data = examples(folder, rows, tmp_path)
    of = trainer(
        folder,
        tmp_path,
        data,
        max_steps=1,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
    )
    of.train()
    line = of.state.log_history[0]

    model = load(folder)
    ratios = []
    for row in rows:
        ids = torch.tensor(np.concatenate([row.prompt_ids, row.completion_ids]))[None].long()
        drawn = torch.log_softmax(model(ids).logits[0, len(row.prompt_ids) - 1 : -1], -1)
        here = drawn.gather(-1, ids[0, len(row.prompt_ids) :, None])[:, 0].detach().numpy()
        ratios += list(np.exp(here - row.logprobs)[row.credit_mask])
    assert line["ratio_mean"] == pytest.approx(np.mean(ratios), abs=1e-5)
    kl = np.mean(np.array(ratios) - 1 - np.log(ratios))
    assert line["kl_behaviour"] == pytest.approx(kl, abs=1e-5)
    kept = sum(int(row.credit_mask.sum()) for row in rows)
    assert line["credit_share"] == pytest.approx(kept / sum(len(row) for row in rows))
    assert line["tokens_per_second"] > 0


def test_parallelism_over_the_sequence_is_refused(folder, rows, tmp_path) -> None:
    of = trainer(folder, tmp_path, examples(folder, rows, tmp_path))

    with pytest.raises(TrainingError, match="context and sequence parallelism"):
        of.compute_loss(of.model, {"shift_labels": torch.zeros(1, 2)})


def test_without_a_count_the_loss_tokens_of_the_batch_are_counted(folder, rows, tmp_path) -> None:
    of = trainer(folder, tmp_path, examples(folder, rows, tmp_path))
    batch = of.data_collator([of.train_dataset[i] for i in range(8)])
    expected, _ = loss_and_gradients(of, batch)

    loss, outputs = of.compute_loss(of.model, dict(batch), return_outputs=True)

    assert torch.equal(loss.detach(), expected)
    assert outputs["log_probs"].shape == batch["labels"][:, 1:].shape
