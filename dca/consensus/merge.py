"""From atoms to spans: neighbours of one outcome join, unless the panel marks the boundary.

Shapes: A = atoms, W = solid atoms, B = W - 1 boundaries between neighbouring solid atoms,
R = reviewers.
"""

import numpy as np
from numpy.typing import NDArray

from dca.consensus.atoms import NO_VOTE, Atoms
from dca.consensus.vote import TIE, Decision


def solid_atoms(atoms: Atoms) -> NDArray[np.bool_]:
    """Return True for atoms that decide for themselves.

    That is every atom with a letter or digit, and every atom of a document that has none. The
    others, punctuation and white space alone, go with a neighbour.
    """
    documents = int(atoms.document_A.max(initial=-1)) + 1
    words_D = np.bincount(atoms.document_A, weights=atoms.word_A, minlength=documents)
    return atoms.word_A | (words_D[atoms.document_A] == 0)


def boundary_support(
    label_RW: NDArray[np.int16], step_RW: NDArray[np.int64], weight_R: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted share of reviewers that put a boundary between neighbours, in [0, 1].

    Only reviewers that voted on both sides are asked; 0 where there are none.
    """
    voted_RW = label_RW != NO_VOTE
    both_RB = voted_RW[:, :-1] & voted_RW[:, 1:]
    cut_RB = both_RB & (step_RW[:, :-1] != step_RW[:, 1:])
    asked_B = weight_R @ both_RB
    return np.divide(weight_R @ cut_RB, asked_B, out=np.zeros_like(asked_B), where=asked_B > 0)


def hosts(atoms: Atoms, decision: Decision, solid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return, for every atom, the solid atom that it goes with; a solid one goes with itself.

    Punctuation goes with the nearest solid neighbour of its document that has the larger share;
    a tie goes to the left.
    """
    count = atoms.start_A.size
    position_A = np.arange(count)
    left_A = np.maximum.accumulate(np.where(solid, position_A, -1))
    right_A = np.minimum.accumulate(np.where(solid, position_A, count)[::-1])[::-1]
    share_left_A = _share(atoms, decision, left_A)
    share_right_A = _share(atoms, decision, right_A)
    return np.where(share_left_A >= share_right_A, left_A, right_A)


def _share(
    atoms: Atoms, decision: Decision, neighbour_A: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the neighbour's leading share; -1 where it lies in another document or nowhere."""
    safe_A = np.clip(neighbour_A, 0, atoms.start_A.size - 1)
    near_A = (safe_A == neighbour_A) & (atoms.document_A[safe_A] == atoms.document_A)
    return np.where(near_A, decision.top_A[safe_A], -1.0)


def span_of_atom(
    atoms: Atoms, decision: Decision, weight_R: NDArray[np.float64], merge_support: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the span number of every atom, ascending, and the support of each span's left edge.

    Neighbouring solid atoms of one document join when they have the same outcome (label and
    status) and the boundary between them has at most ``merge_support``. The support at the edges
    of a document is 1.
    """
    solid = solid_atoms(atoms)
    solid_W = np.flatnonzero(solid)
    support_B = boundary_support(atoms.label_RA[:, solid_W], atoms.step_RA[:, solid_W], weight_R)
    label_W, status_W = decision.label_A[solid_W], decision.status_A[solid_W]
    document_W = atoms.document_A[solid_W]
    near_B = document_W[:-1] == document_W[1:]
    alike_B = (label_W[:-1] == label_W[1:]) & (status_W[:-1] == status_W[1:])
    open_W = np.concatenate(([True], ~(near_B & alike_B & (support_B <= merge_support + TIE))))
    span_W = np.cumsum(open_W[: solid_W.size]) - 1
    left_W = np.concatenate(([1.0], np.where(near_B, support_B, 1.0)))
    number_A = np.zeros(atoms.start_A.size, dtype=np.int64)
    number_A[solid_W] = span_W
    host = hosts(atoms, decision, solid)
    return number_A[host], left_W[: solid_W.size][open_W[: solid_W.size]]
