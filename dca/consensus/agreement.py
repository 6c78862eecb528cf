"""How far reviewers agree on labels, with intervals that resample rollouts.

Shapes: D = documents, A = atoms, R = reviewers, K = labels, N = bootstrap draws.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dca.consensus.atoms import NO_VOTE, Atoms
from dca.domain.consensus import Figure

DRAWS = 1000
"""Bootstrap draws; the ends of a 95 % interval then rest on 25 draws each."""
_CHUNK = 50
"""Draws at a time: 50 x 100,000 documents of weights are 40 MB."""


def coincidences(atoms: Atoms, documents: int, labels: int) -> NDArray[np.float64]:
    """Return each document's coincidence matrix in characters.

    ``o_ck = sum_a l_a n_ac (n_ak - [c = k]) / (m_a - 1)`` over the atoms with at least two votes
    (Krippendorff 2011, section C, with an atom of l characters counted as l units).
    """
    count_KA = np.stack([(atoms.label_RA == k).sum(axis=0) for k in range(labels)]).astype(float)
    votes_A = count_KA.sum(axis=0)
    paired_A = votes_A > 1
    scale_A = np.where(paired_A, atoms.lengths / np.maximum(votes_A - 1, 1), 0.0)
    result = np.zeros((documents, labels, labels))
    for c in range(labels):
        for k in range(labels):
            pairs_A = count_KA[c] * (count_KA[k] - (c == k)) * scale_A
            result[:, c, k] = np.bincount(atoms.document_A, weights=pairs_A, minlength=documents)
    return result


def nominal_alpha(coincidence_KK: NDArray[np.float64]) -> float:
    """Return Krippendorff's alpha for nominal data; ``nan`` where it is undefined.

    Undefined: fewer than two units, or one label only, since then nothing could disagree.
    """
    margin_K = coincidence_KK.sum(axis=1)
    n = margin_K.sum()
    if n <= 1:
        return float("nan")
    observed = n - np.trace(coincidence_KK)
    expected = (n * n - (margin_K**2).sum()) / (n - 1)
    return float(1 - observed / expected) if expected > 0 else float("nan")


def alpha(coincidence_DKK: NDArray[np.float64], *, seed: int = 0) -> Figure:
    """Return alpha over all documents with its bootstrap interval."""
    paired_D = coincidence_DKK.sum(axis=(1, 2)) > 0
    if not paired_D.any():
        return Figure(None, reason="no stretch has votes of two reviewers")
    used_DKK = coincidence_DKK[paired_D]
    shape = used_DKK.shape[1:]

    def statistic(sums_NX: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([nominal_alpha(row.reshape(shape)) for row in sums_NX])

    return bootstrap(
        used_DKK.reshape(len(used_DKK), -1), statistic, seed=seed, undefined="one label only"
    )


def pair_counts(atoms: Atoms, documents: int) -> NDArray[np.float64]:
    """Return, per document and pair of reviewers, characters that both label and that agree.

    P = pairs in the order of ``itertools.combinations``; X = 2: both labelled, same label.
    """
    pairs = list(combinations(range(len(atoms.label_RA)), 2))
    result = np.zeros((documents, len(pairs), 2))
    for number, (first, second) in enumerate(pairs):
        both_A = (atoms.label_RA[first] != NO_VOTE) & (atoms.label_RA[second] != NO_VOTE)
        same_A = both_A & (atoms.label_RA[first] == atoms.label_RA[second])
        for column, chosen_A in enumerate((both_A, same_A)):
            result[:, number, column] = np.bincount(
                atoms.document_A, weights=chosen_A * atoms.lengths, minlength=documents
            )
    return result


def pairwise(
    counts_DPX: NDArray[np.float64], names: Sequence[str], *, seed: int = 0
) -> dict[str, Figure]:
    """Return the share of jointly labelled characters with the same label, per pair ``a|b``."""
    figures: dict[str, Figure] = {}
    for number, (first, second) in enumerate(combinations(names, 2)):
        used_DX = counts_DPX[counts_DPX[:, number, 0] > 0, number]
        figures[f"{first}|{second}"] = (
            bootstrap(used_DX, _ratio, seed=seed, undefined="nothing labelled by both")
            if len(used_DX)
            else Figure(None, reason="nothing labelled by both")
        )
    return figures


def _ratio(sums_NX: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the second column over the first."""
    return sums_NX[:, 1] / sums_NX[:, 0]


def bootstrap(
    part_DX: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    undefined: str,
    seed: int = 0,
) -> Figure:
    """Return a statistic of column sums and its 95 % percentile interval over documents.

    Args:
        part_DX: Each document's additive parts.
        statistic: Sums ``[N, X]`` to values ``[N]``; ``nan`` where undefined.
        undefined: Reason given when the value is ``nan``.
        seed: Seed of the resampling.
    """
    documents = len(part_DX)
    value = float(statistic(part_DX.sum(axis=0, keepdims=True))[0])
    if np.isnan(value):
        return Figure(None, n=documents, reason=undefined)
    if documents < 2:
        return Figure(value, n=documents)
    random = np.random.default_rng(seed)
    row_N = np.arange(_CHUNK)[:, None] * documents
    draws: list[NDArray[np.float64]] = []
    for _ in range(DRAWS // _CHUNK):
        # Counting drawn numbers is several times faster than drawing multinomial counts.
        drawn_ND = random.integers(0, documents, size=(_CHUNK, documents)) + row_N
        count_ND = np.bincount(drawn_ND.ravel(), minlength=_CHUNK * documents)
        draws.append(statistic(count_ND.reshape(_CHUNK, documents) @ part_DX))
    low, high = np.nanquantile(np.concatenate(draws), [0.025, 0.975])
    return Figure(value, float(low), float(high), documents)
