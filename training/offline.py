"""Training on stored rollouts with TRL: importance-ratio-correct RL and weighted imitation.

Shapes: B = sequences, T = positions that predict one.
"""

import time
from collections.abc import Mapping
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel
from trl import SFTTrainer  # pyright: ignore[reportPrivateImportUsage] - TRL's public path
from trl.trainer import (
    add_fused_lm_head,  # pyright: ignore[reportPrivateImportUsage] - TRL's public path
)

from dca.domain.errors import TrainingError
from training.collate import COLUMNS, IGNORED
from training.objectives.loss import Columns, Loss, Objective

_NAMES = {"ratio": "ratio_mean", "clipped": "clip_fraction", "kl": "kl_behaviour", "nll": "nll"}
"""Sums over loss tokens that are reported as means, and the names of these."""


class TokenWeightedTrainer(SFTTrainer):
    """SFTTrainer whose loss is an objective of log-probabilities and per-token columns.

    Rows come as examples of ``training.prepare`` through ``training.collate.Collator``. The loss
    is normalised by the loss tokens of the whole accumulated batch over all processes. Router
    losses of mixtures of experts are not added. Context and sequence parallelism are refused.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the base class's
        objective: Objective,
        temperature: float = 1.0,
        fused_head: bool = True,
        **kwargs: Any,  # noqa: ANN401 - the base class's
    ) -> None:
        """Take what ``SFTTrainer`` takes, the objective, and how to take log-probabilities."""
        super().__init__(*args, **kwargs)
        self.objective = objective
        self.temperature = temperature
        self.fused_head = fused_head
        # The objective divides by the loss tokens of the accumulated batch, so the base class must
        # count them for every model, and not divide once more.
        self.model_accepts_loss_kwargs = True
        self._sums: dict[str, Tensor] = {}
        self._since = 0.0
        if fused_head:
            base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
            add_fused_lm_head(
                cast("PreTrainedModel", base),
                temperature=temperature,
                outputs=("log_probs", "entropy"),
            )

    def _send_telemetry(self) -> None:
        """Send nothing."""

    def create_model_card(
        self,
        model_name: str | None = None,
        dataset_name: str | None = None,
        tags: str | list[str] | None = None,
    ) -> None:
        """Write none: the library's knows no base model in a folder; ``training.card`` writes."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return the objective's loss for one forward pass of an accumulated batch."""
        if "shift_labels" in inputs:
            raise TrainingError("context and sequence parallelism are not supported")
        if not self._sums:
            self._since = time.perf_counter()
        columns = _columns(inputs)
        logp_BT, entropy_BT = self._log_probs(model, inputs)
        items = columns.mask_BT.sum() if num_items_in_batch is None else num_items_in_batch
        loss = self.objective(logp_BT, columns, torch.as_tensor(items))
        self._count(loss, columns, entropy_BT, inputs)
        # Gradients are averaged over processes, the items are counted over all of them.
        share = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        value = loss.value * share
        return (value, {"log_probs": logp_BT}) if return_outputs else value

    def _log_probs(
        self, model: torch.nn.Module, inputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return log-probability and entropy by predicted position, 0 where not in the loss."""
        skipped = {*COLUMNS, "sampled"}
        fields = {name: value for name, value in inputs.items() if name not in skipped}
        if self.fused_head:
            output = model(**fields, use_cache=False, fused_lm_head=True)
            return output.log_probs, output.entropy.detach()
        labels_BT = fields.pop("labels")[:, 1:]
        logits = model(**fields, use_cache=False).logits[:, :-1]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / self.temperature
        mask_BT = labels_BT != IGNORED
        every = torch.log_softmax(logits, dim=-1)
        logp_BT = every.gather(-1, labels_BT.clamp(min=0)[..., None])[..., 0]
        entropy_BT = -(every.detach().exp() * every.detach()).sum(dim=-1)
        return torch.where(mask_BT, logp_BT, 0), torch.where(mask_BT, entropy_BT, 0)

    def _count(
        self, loss: Loss, columns: Columns, entropy_BT: Tensor, inputs: Mapping[str, Tensor]
    ) -> None:
        tokens = inputs["attention_mask"].sum() if "attention_mask" in inputs else None
        added = {
            **loss.sums,
            "entropy": entropy_BT.sum(),
            "items": columns.mask_BT.sum(),
            "sampled": inputs["sampled"].sum(),
            "tokens": torch.tensor(inputs["input_ids"].numel()) if tokens is None else tokens,
        }
        for name, value in added.items():
            before = self._sums.get(name, torch.zeros((), device=self.accelerator.device))
            self._sums[name] = before + value.to(before)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means over the loss tokens since the last call, over all processes."""
        if self._sums:
            logs.update(self._means())
        super().log(logs, start_time)

    def _means(self) -> dict[str, float]:
        names = sorted(self._sums)
        stacked = torch.stack([self._sums[name] for name in names])
        totals = cast("Tensor", self.accelerator.reduce(stacked, reduction="sum"))
        sums = dict(zip(names, totals.tolist(), strict=True))
        items = max(sums["items"], 1)
        means = {shown: sums[name] / items for name, shown in _NAMES.items() if name in sums}
        seconds = time.perf_counter() - self._since
        means["entropy"] = sums["entropy"] / items
        means["credit_share"] = sums["credited"] / max(sums["sampled"], 1)
        means["tokens_per_second"] = sums["tokens"] / seconds
        self._sums = {}
        return means


def _columns(inputs: Mapping[str, Tensor]) -> Columns:
    """Return the columns of the positions that are predicted: all but the first."""
    return Columns(
        mask_BT=inputs["labels"][:, 1:] != IGNORED,
        advantage_BT=inputs["advantage"][:, 1:],
        weight_BT=inputs["weight"][:, 1:],
        old_logp_BT=inputs["old_logp"][:, 1:],
    )
