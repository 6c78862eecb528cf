"""Atoms: the smallest stretches that no reviewer's boundary cuts, and the votes on them.

Shapes: D = documents, R = reviewers, S = steps of all reviewers, A = atoms.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dca.consensus.text import Corpus

NO_VOTE = -1
"""The reviewer did not look here, or abstained."""
NO_STEP = -1
"""The stretch is not marked."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of all reviewers, in corpus coordinates."""

    start_S: NDArray[np.int64]
    stop_S: NDArray[np.int64]
    label_S: NDArray[np.int64]
    """Label code."""
    reviewer_S: NDArray[np.int64]
    """Position in the panel."""
    document_S: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cover:
    """Ranges in which an unmarked stretch is a vote. C = ranges."""

    start_C: NDArray[np.int64]
    stop_C: NDArray[np.int64]
    reviewer_C: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Atoms:
    """Every reviewer's vote on every atom."""

    start_A: NDArray[np.int64]
    stop_A: NDArray[np.int64]
    document_A: NDArray[np.int64]
    label_RA: NDArray[np.int16]
    """Label code, or ``NO_VOTE``."""
    step_RA: NDArray[np.int64]
    """Position of the step in ``Steps``, or ``NO_STEP``."""
    word_A: NDArray[np.bool_]
    """True where the atom holds a letter or a digit."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Characters of each atom."""
        return self.stop_A - self.start_A


def cut(corpus: Corpus, steps: Steps, cover: Cover) -> tuple[NDArray[np.int64], ...]:
    """Return ``start_A``, ``stop_A`` and ``document_A`` of the atoms, in text order."""
    edge_E = np.unique(
        np.concatenate(
            (
                corpus.start_D,
                corpus.stop_D,
                steps.start_S,
                steps.stop_S,
                cover.start_C,
                cover.stop_C,
            )
        )
    )
    start_A, stop_A = edge_E[:-1], edge_E[1:]
    # The gap after a document lies between its end and the next start: not an atom.
    document_A = np.searchsorted(corpus.start_D, start_A, side="right") - 1
    inside_A = stop_A <= np.append(corpus.stop_D, 0)[document_A]
    return start_A[inside_A], stop_A[inside_A], document_A[inside_A]


def paint(
    edges: tuple[NDArray[np.int64], ...],
    corpus: Corpus,
    steps: Steps,
    cover: Cover,
    *,
    reviewers: int,
    unmarked: int,
) -> Atoms:
    """Return the votes on the atoms.

    Where steps of one reviewer overlap, the innermost (shortest) holds the atom; equal lengths go
    to the smaller start, then to the smaller label code, so the order of steps never matters.

    Args:
        edges: What ``cut`` returned.
        corpus: The texts.
        steps: The marked stretches.
        cover: The ranges in which unmarked is a vote.
        reviewers: R.
        unmarked: Label code of that vote.
    """
    start_A, stop_A, document_A = edges
    label_RA = np.full((reviewers, start_A.size), NO_VOTE, dtype=np.int16)
    step_RA = np.full((reviewers, start_A.size), NO_STEP, dtype=np.int64)
    owner_N, atom_N = _expand(start_A, cover.start_C, cover.stop_C)
    label_RA[cover.reviewer_C[owner_N], atom_N] = unmarked
    order_S = np.lexsort((steps.label_S, steps.start_S, steps.stop_S - steps.start_S))[::-1]
    owner_N, atom_N = _expand(start_A, steps.start_S[order_S], steps.stop_S[order_S])
    step_N = order_S[owner_N]
    # Of repeated targets numpy keeps the last value, which is the shortest step.
    label_RA[steps.reviewer_S[step_N], atom_N] = steps.label_S[step_N]
    step_RA[steps.reviewer_S[step_N], atom_N] = step_N
    word_A = corpus.words_before_P[stop_A] > corpus.words_before_P[start_A]
    return Atoms(start_A, stop_A, document_A, label_RA, step_RA, word_A)


def _expand(
    start_A: NDArray[np.int64], start_S: NDArray[np.int64], stop_S: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for every atom in every range, the range and the atom. Ranges end on atom edges."""
    first_S = np.searchsorted(start_A, start_S, side="left")
    count_S = np.maximum(np.searchsorted(start_A, stop_S, side="left") - first_S, 0)
    owner_N = np.repeat(np.arange(start_S.size, dtype=np.int64), count_S)
    within_N = np.arange(owner_N.size) - np.repeat(np.cumsum(count_S) - count_S, count_S)
    return owner_N, first_S[owner_N] + within_N
