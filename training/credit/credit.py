"""What an assigner gives.

Shapes: G = rollouts of one prompt, T = completion tokens, padded to the longest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, slots=True)
class Credit:
    """Per-token credit of one group: ``advantage * weight`` where ``mask`` holds."""

    advantage_GT: Float[np.ndarray, "G T"]
    """Outcome advantage, the same on every sampled token of a rollout; 0 on padding."""
    weight_GT: Float[np.ndarray, "G T"]
    """Factor >= 0 on the advantage: it moves reward, it never turns its sign."""
    mask_GT: Bool[np.ndarray, "G T"]
    """True where the token takes part in the loss."""
    events: Mapping[str, Bool[np.ndarray, " G"]] = field(
        default_factory=dict[str, Bool[np.ndarray, " G"]]
    )
    """Rollouts whose total is not that of the uniform credit, by reason, and other exceptions."""

    @property
    def total_G(self) -> Float[np.ndarray, " G"]:
        """Sum of the credit over each rollout's tokens."""
        return (self.advantage_GT * self.weight_GT * self.mask_GT).sum(axis=1)


def spread(advantage_G: Float[np.ndarray, " G"], sampled_GT: Bool[np.ndarray, "G T"]) -> Credit:
    """Return the credit that gives every sampled token its rollout's advantage."""
    return Credit(
        advantage_G[:, None] * sampled_GT, sampled_GT.astype(np.float64), sampled_GT.copy()
    )
