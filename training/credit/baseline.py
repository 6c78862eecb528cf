"""Rewards against the mean of their group. Shapes: G = rollouts of one prompt."""

import numpy as np
from jaxtyping import Float

ROUNDING = 1e-9
"""Rewards that differ by less than this share of the largest one are equal: their mean is a sum of
floating-point numbers, and dividing its rounding error by itself would make up winners."""


def centre(reward_G: Float[np.ndarray, " G"]) -> Float[np.ndarray, " G"]:
    """Return ``R_i - mean R``, exactly 0 for a group of equal rewards."""
    if np.ptp(reward_G) <= ROUNDING * np.abs(reward_G).max():
        return np.zeros_like(reward_G)
    return reward_G - reward_G.mean()
