"""Weights of reviewers that are not independent.

Shapes: R = reviewers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def family_correlation(families: Sequence[str], within: float) -> NDArray[np.float64]:
    """Return the assumed correlation of reviewers' errors.

    Args:
        families: The family of each reviewer.
        within: Correlation of two reviewers of one family, in [0, 1]; across families it is 0.
    """
    same_RR = np.array([[a == b for b in families] for a in families], dtype=np.float64)
    same_RR = same_RR.reshape(len(families), len(families))
    return np.where(np.eye(len(families), dtype=bool), 1.0, within * same_RR)


def vote_weights(rho_RR: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each reviewer's weight, ``1 / sum_s rho_rs``, in (0, 1].

    k clones (correlation 1) share one vote; independent reviewers have one each.
    """
    return 1.0 / rho_RR.sum(axis=1)


def effective_number(weight_R: NDArray[np.float64], rho_RR: NDArray[np.float64]) -> float:
    """Return Kish's effective number of independent reviewers, ``(sum w)^2 / (w' rho w)``.

    0 for an empty panel.
    """
    if weight_R.size == 0:
        return 0.0
    return float(weight_R.sum() ** 2 / (weight_R @ rho_RR @ weight_R))
