"""The weighted vote on atoms and its four outcomes.

Shapes: A = atoms, R = reviewers, F = families, K = labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dca.consensus.atoms import NO_VOTE
from dca.domain.consensus import ConsensusParams, Status

STATUSES = tuple(Status)
"""Integer codes of the statuses in arrays."""
AGREED, DISPUTED, THIN, UNCOVERED = range(4)
TIE = 1e-9
"""Shares closer than this are equal: they are sums of a few floating-point weights."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Who votes, with what weight."""

    weight_R: NDArray[np.float64]
    """Weight of each reviewer, > 0."""
    family_R: NDArray[np.int64]
    """Family number of each reviewer, 0 to F - 1."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of the vote on each atom."""

    share_KA: NDArray[np.float64]
    """Weighted share of each label among those who voted; 0 where nobody did."""
    status_A: NDArray[np.int8]
    """Position in ``STATUSES``."""
    label_A: NDArray[np.int16]
    """Leading label where agreed or thin, ``NO_VOTE`` where disputed, tied or uncovered."""
    top_A: NDArray[np.float64]
    """Share of the leading label."""


def shares(
    label_RA: NDArray[np.int16], weight_R: NDArray[np.float64], labels: int
) -> NDArray[np.float64]:
    """Return ``sum_r w_r [Y_ra = k] / sum_r w_r [Y_ra >= 0]``, 0 where nobody voted."""
    mass_KA = np.stack([weight_R @ (label_RA == code) for code in range(labels)])
    total_A = mass_KA.sum(axis=0)
    return np.divide(mass_KA, total_A, out=np.zeros_like(mass_KA), where=total_A > 0)


def is_thin(
    voted_RN: NDArray[np.bool_], panel: Panel, params: ConsensusParams
) -> NDArray[np.bool_]:
    """Return True where too few reviewers or families voted, or too little weight."""
    families = int(panel.family_R.max()) + 1 if panel.family_R.size else 0
    family_FN = [voted_RN[panel.family_R == family].any(axis=0) for family in range(families)]
    voters_N = voted_RN.sum(axis=0)
    families_N = np.sum(family_FN, axis=0) if family_FN else np.zeros_like(voters_N)
    weight_N = panel.weight_R @ voted_RN
    light_N = weight_N < params.min_weight * panel.weight_R.sum() - TIE
    few_N = (voters_N < params.min_reviewers) | (families_N < params.min_families)
    return few_N | light_N


def decide(
    label_RA: NDArray[np.int16], panel: Panel, params: ConsensusParams, labels: int
) -> Decision:
    """Return status and label of every atom.

    uncovered: no vote. thin: see ``is_thin``. disputed: the leading share is below the quorum, the
    lead below the margin, or the top two tie. Else agreed; unanimity always reaches it.
    """
    share_KA = shares(label_RA, panel.weight_R, labels)
    voted_RA = label_RA != NO_VOTE
    ranked_KA = np.sort(share_KA, axis=0)
    top_A = ranked_KA[-1]
    second_A = ranked_KA[-2] if labels > 1 else np.zeros_like(top_A)
    tie_A = top_A - second_A < TIE
    below_A = (top_A < params.quorum - TIE) | (top_A - second_A < params.margin - TIE)
    status_A = np.where(tie_A | below_A, DISPUTED, AGREED)
    status_A = np.where(is_thin(voted_RA, panel, params), THIN, status_A)
    status_A = np.where(voted_RA.any(axis=0), status_A, UNCOVERED).astype(np.int8)
    named_A = ((status_A == AGREED) | (status_A == THIN)) & ~tie_A
    label_A = np.where(named_A, share_KA.argmax(axis=0), NO_VOTE).astype(np.int16)
    return Decision(share_KA, status_A, label_A, top_A)
