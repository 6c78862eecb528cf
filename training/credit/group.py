"""What an assigner gets.

Shapes: G = rollouts of one prompt, T = completion tokens, padded to the longest.
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from dca.domain.errors import CreditError

NO_SPAN = -1
"""``span_GT`` where no consensus span holds the token."""


@dataclass(frozen=True, slots=True)
class PanelSignal:
    """What the panel settled on the rollouts of one group."""

    agreed_GT: Bool[np.ndarray, "G T"]
    """True where the consensus has status agreed."""
    value_GT: Float[np.ndarray, "G T"]
    """Value of the agreed label in [-1, 1]; 0 where not agreed."""
    confidence_GT: Float[np.ndarray, "G T"]
    """Share of the leading label in [0, 1]; 0 where no span holds the token."""
    span_GT: Int[np.ndarray, "G T"]
    """Number of the consensus span, ``NO_SPAN`` where there is none."""
    blamed_GT: Bool[np.ndarray, "G T"]
    """True on the step that the panel blames; it is asked about failures only."""
    unsound_G: Bool[np.ndarray, " G"]
    """True where the panel agrees that the stated steps do not support the answer; it is asked
    about successes only."""
    reviewed_G: Bool[np.ndarray, " G"]
    """False where a rollout has no consensus."""


@dataclass(frozen=True, slots=True)
class Group:
    """All rollouts of one prompt."""

    reward_G: Float[np.ndarray, " G"]
    """Outcome reward."""
    success_G: Bool[np.ndarray, " G"]
    """True where the reward counts as a success, see ``dca.domain.rollout.succeeded``."""
    sampled_GT: Bool[np.ndarray, "G T"]
    """True where the policy sampled the token; False for padding."""
    panel: PanelSignal | None = None
    """``None`` when the group was never settled."""

    def __post_init__(self) -> None:
        """Refuse arrays whose shapes disagree, and rewards that are no numbers."""
        rollouts, tokens = self.sampled_GT.shape
        _expect("reward_G", self.reward_G, (rollouts,))
        _expect("success_G", self.success_G, (rollouts,))
        if not np.isfinite(self.reward_G).all():
            raise CreditError("reward_G holds a value that is not finite")
        if self.panel is None:
            return
        for item in fields(self.panel):
            array: np.ndarray = getattr(self.panel, item.name)
            wanted = (rollouts, tokens) if item.name.endswith("_GT") else (rollouts,)
            _expect(item.name, array, wanted)

    @property
    def tokens_G(self) -> Int[np.ndarray, " G"]:
        """Sampled tokens of each rollout."""
        return self.sampled_GT.sum(axis=1)


def _expect(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape, by name."""
    if array.shape != shape:
        raise CreditError(f"{name} has shape {array.shape}, the group's is {shape}")
