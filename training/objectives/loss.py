"""What an objective takes and gives.

Shapes: B = sequences, T = positions. Every input is of shape (B, T); a padding-free batch is one
sequence of all positions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Columns:
    """What the rows say of each position."""

    mask_BT: Bool[Tensor, "B T"]
    """True where the position is in the loss."""
    advantage_BT: Float[Tensor, "B T"]
    """Outcome advantage, signed."""
    weight_BT: Float[Tensor, "B T"]
    """Factor >= 0 of the panel."""
    old_logp_BT: Float[Tensor, "B T"]
    """Behaviour log-probability, <= 0; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A differentiable loss and what to report of it."""

    value: Float[Tensor, ""]
    sums: Mapping[str, Float[Tensor, ""]]
    """Sums over the positions in the loss, detached; divided by their number they are means."""


Objective = Callable[[Float[Tensor, "B T"], Columns, Tensor], Loss]
"""From log-probabilities, columns and the loss tokens of the global batch to the loss."""


def check_shapes(logp_BT: Float[Tensor, "B T"], columns: Columns) -> None:
    """Raise ``ValueError`` unless all inputs are of one shape (B, T)."""
    for name in ("mask_BT", "advantage_BT", "weight_BT", "old_logp_BT"):
        shape = getattr(columns, name).shape
        if shape != logp_BT.shape or logp_BT.dim() != 2:
            raise ValueError(f"{name} is {tuple(shape)}, logp_BT is {tuple(logp_BT.shape)}")


def masked_sum(value_BT: Float[Tensor, "B T"], mask_BT: Bool[Tensor, "B T"]) -> Tensor:
    """Return the detached sum of ``value_BT`` where ``mask_BT`` holds."""
    return torch.where(mask_BT, value_BT.detach(), 0).sum()
