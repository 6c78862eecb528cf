"""Group-relative credit (GRPO, arXiv 2402.03300, section 4.1.2)."""

import numpy as np
from jaxtyping import Float

from training.credit.baseline import centre
from training.credit.credit import Credit, spread
from training.credit.group import Group

EPSILON = 1e-4
"""Added to the standard deviation, as in TRL's GRPOTrainer."""


def group_advantage(reward_G: Float[np.ndarray, " G"]) -> Float[np.ndarray, " G"]:
    """Return ``(R_i - mean R) / (std R + 1e-4)``, 0 for a group of one or of equal rewards.

    The deviation is the unbiased one (divisor G - 1), as in TRL; the paper does not say which.
    """
    centred_G = centre(reward_G)
    if not centred_G.any():
        return centred_G
    return centred_G / (reward_G.std(ddof=1) + EPSILON)


def grpo(group: Group) -> Credit:
    """Return the group advantage on every token of a rollout."""
    return spread(group_advantage(group.reward_G), group.sampled_GT)
