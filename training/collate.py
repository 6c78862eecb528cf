"""From examples to a batch of tensors, padded or laid end to end.

Shapes: B = sequences, L = positions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

COLUMNS = ("advantage", "weight", "old_logp")
"""Per-token columns of an example, carried into the batch."""
IGNORED = -100
"""Label of a position that is not in the loss."""

Example = Mapping[str, NDArray[Any]]


class Collator:
    """Turns examples into ``input_ids``, ``labels``, the columns and ``sampled``.

    A label is the token itself where it is in the loss, else ``IGNORED``; so the trainer's count
    of labels is the number of loss tokens. Position 0 has no prediction and is never in the loss.
    """

    def __init__(self, pad_token_id: int, *, padding_free: bool) -> None:
        self._padding_free = padding_free
        self._ids = DataCollatorForLanguageModeling(pad_token_id, padding_free=padding_free)

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Return the batch: columns of shape (B, L), or (1, sum of L) when padding-free."""
        batch: dict[str, Tensor] = self._ids([_labelled(example) for example in examples])
        for name in COLUMNS:
            values = [torch.tensor(example[name]) for example in examples]
            batch[name] = (
                torch.cat(values)[None]
                if self._padding_free
                else pad_sequence(values, batch_first=True)
            )
        batch["sampled"] = torch.tensor([int(example["sampled"]) for example in examples])
        return batch


def _labelled(example: Example) -> dict[str, NDArray[np.int64]]:
    ids = example["input_ids"].astype(np.int64)
    labels = np.where(example["in_loss"], ids, IGNORED)
    labels[0] = IGNORED
    return {"input_ids": ids, "labels": labels}
