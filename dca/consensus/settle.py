"""The consensus of a panel on many rollouts in one pass over flat arrays.

Shapes: D = documents, R = reviewers, A = atoms, K = labels, N = spans, P = pairs of reviewers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dca.consensus.agreement import coincidences, pair_counts
from dca.consensus.atoms import NO_VOTE, Atoms, Cover, Steps, cut, paint
from dca.consensus.links import settle_links
from dca.consensus.merge import span_of_atom
from dca.consensus.text import Corpus, lay_out, local_span, trim
from dca.consensus.verdicts import settle_blame, settle_soundness
from dca.consensus.vote import STATUSES, Decision, Panel, decide
from dca.consensus.weights import effective_number, family_correlation, vote_weights
from dca.domain.consensus import AgreedSpan, Consensus, ConsensusParams
from dca.domain.labels import LabelSet
from dca.domain.review import Review, ReviewerInfo


@dataclass(frozen=True, slots=True)
class Document:
    """One rollout to settle."""

    rollout_id: str
    text: str
    """The completion, not empty."""
    reviews: Mapping[str, Review]
    """Reviewer name to review; a reviewer that abstained is absent."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The panel that votes, in the order of its names."""

    names: tuple[str, ...]
    panel: Panel
    n_eff: float
    """Effective number of independent reviewers."""

    @property
    def weights(self) -> dict[str, float]:
        """Reviewer name to weight."""
        return dict(zip(self.names, self.panel.weight_R.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Settled:
    """Consensus of some documents and the parts that agreement figures add up."""

    consensus: tuple[Consensus, ...]
    coincidence_DKK: NDArray[np.float64]
    pair_counts_DPX: NDArray[np.float64]


def seat(infos: Sequence[ReviewerInfo], params: ConsensusParams) -> Bench:
    """Return the panel with its weights. Names are sorted: their order never matters."""
    ordered = sorted(infos, key=lambda info: info.name)
    families = [info.family for info in ordered]
    rho_RR = family_correlation(families, params.family_correlation)
    weight_R = vote_weights(rho_RR)
    family_R = np.array([sorted(set(families)).index(name) for name in families], dtype=np.int64)
    return Bench(
        tuple(info.name for info in ordered),
        Panel(weight_R, family_R),
        effective_number(weight_R, rho_RR),
    )


def settle(
    documents: Sequence[Document], bench: Bench, labels: LabelSet, params: ConsensusParams
) -> Settled:
    """Return what the panel settled for each document.

    Documents do not touch each other: settling them in pieces gives the same consensus.
    """
    corpus = lay_out([document.text for document in documents])
    steps, cover = gather(documents, bench.names, corpus, labels)
    atoms = paint(
        cut(corpus, steps, cover),
        corpus,
        steps,
        cover,
        reviewers=len(bench.names),
        unmarked=labels.code(params.unmarked),
    )
    decision = decide(atoms.label_RA, bench.panel, params, len(labels))
    span_A, left_N = span_of_atom(atoms, decision, bench.panel.weight_R, params.merge_support)
    spans = _spans(corpus, atoms, decision, span_A, left_N, labels, bench.names)
    weights = bench.weights
    return Settled(
        tuple(
            Consensus(
                document.rollout_id,
                found,
                settle_links(found, document.reviews, weights, params),
                settle_blame(document.reviews, bench.names, bench.panel, params),
                settle_soundness(document.reviews, bench.names, bench.panel, params),
            )
            for document, found in zip(documents, spans, strict=True)
        ),
        coincidences(atoms, len(documents), len(labels)),
        pair_counts(atoms, len(documents)),
    )


def gather(
    documents: Sequence[Document], names: Sequence[str], corpus: Corpus, labels: LabelSet
) -> tuple[Steps, Cover]:
    """Return all steps and covered ranges in corpus coordinates, clipped, trimmed, not empty."""
    step_rows: list[tuple[int, int, int, int, int]] = []
    cover_rows: list[tuple[int, int, int]] = []
    code = {key: number for number, key in enumerate(labels.keys)}
    for number, document in enumerate(documents):
        origin, end = int(corpus.start_D[number]), int(corpus.stop_D[number])
        for reviewer, name in enumerate(names):
            review = document.reviews.get(name)
            if review is None:
                continue
            if review.covered is not None:
                stop = min(origin + review.covered.stop, end)
                cover_rows.append((min(origin + review.covered.start, stop), stop, reviewer))
            for step in review.steps:
                stop = min(origin + step.span.stop, end)
                start = min(origin + step.span.start, stop)
                step_rows.append((start, stop, code[step.label], reviewer, number))
    table_SX = np.array(step_rows, dtype=np.int64).reshape(-1, 5)
    start_S, stop_S = trim(corpus, table_SX[:, 0], table_SX[:, 1])
    keep_S = stop_S > start_S
    steps = Steps(start_S[keep_S], stop_S[keep_S], *table_SX[keep_S, 2:].T)
    cover_CX = np.array(cover_rows, dtype=np.int64).reshape(-1, 3)
    return steps, Cover(*cover_CX.T)


def _spans(
    corpus: Corpus,
    atoms: Atoms,
    decision: Decision,
    span_A: NDArray[np.int64],
    left_N: NDArray[np.float64],
    labels: LabelSet,
    names: Sequence[str],
) -> list[tuple[AgreedSpan, ...]]:
    """Return the spans of every document."""
    count = left_N.size
    first_N = np.searchsorted(span_A, np.arange(count), side="left")
    last_N = np.searchsorted(span_A, np.arange(count), side="right") - 1
    # Punctuation rides along: figures of a span come from the stretches that decided it.
    length_A = np.where(_deciders(atoms, span_A, count), atoms.lengths, 0).astype(float)
    chars_N = np.bincount(span_A, weights=length_A, minlength=count)
    share_NK = np.stack(
        [
            np.bincount(span_A, weights=row_A * length_A, minlength=count) / chars_N
            for row_A in decision.share_KA
        ],
        axis=1,
    ).reshape(count, len(labels))
    vote_RN = _votes(atoms, span_A, length_A, count, len(labels))
    top_A = np.bincount(span_A, weights=decision.top_A * length_A, minlength=count) / chars_N
    keys = labels.keys
    right_N = np.concatenate((left_N[1:], [1.0]))
    result: list[list[AgreedSpan]] = [[] for _ in range(corpus.start_D.size)]
    for n in range(count):
        a, b = int(first_N[n]), int(last_N[n])
        document = int(atoms.document_A[a])
        decider = a + int(length_A[a : b + 1].argmax())
        label = int(decision.label_A[decider])
        result[document].append(
            AgreedSpan(
                local_span(corpus, document, int(atoms.start_A[a]), int(atoms.stop_A[b])),
                STATUSES[decision.status_A[decider]],
                keys[label] if label != NO_VOTE else None,
                float(top_A[n]),
                {keys[k]: float(share_NK[n, k]) for k in np.flatnonzero(share_NK[n])},
                {
                    names[r]: keys[vote_RN[r, n]]
                    for r in range(len(names))
                    if vote_RN[r, n] != NO_VOTE
                },
                float(left_N[n]),
                float(right_N[n]),
            )
        )
    return [tuple(found) for found in result]


def _deciders(atoms: Atoms, span_A: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return True for the atoms that decided their span; see ``merge.solid_atoms``."""
    words_N = np.bincount(span_A, weights=atoms.word_A, minlength=count)
    return atoms.word_A | (words_N[span_A] == 0)


def _votes(
    atoms: Atoms, span_A: NDArray[np.int64], length_A: NDArray[np.float64], count: int, labels: int
) -> NDArray[np.int64]:
    """Return the label that each reviewer gave to most of each span, or ``NO_VOTE``."""
    rows: list[NDArray[np.int64]] = []
    for label_A in atoms.label_RA:
        cell_A = span_A * (labels + 1) + (label_A + 1)
        chars = np.bincount(cell_A, weights=length_A, minlength=count * (labels + 1))
        given_NK = chars.reshape(count, labels + 1)[:, 1:]
        rows.append(np.where(given_NK.max(axis=1) > 0, given_NK.argmax(axis=1), NO_VOTE))
    return np.array(rows, dtype=np.int64).reshape(len(atoms.label_RA), count)
