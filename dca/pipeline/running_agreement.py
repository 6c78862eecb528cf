"""How far reviewers agree while they work: alpha on a bounded, even sample of the rollouts.

An estimate for whoever watches; ``dca consensus`` computes the figure that is kept. Which rollouts
are in the sample depends on their ids alone. When it overflows, every other rollout goes and only
half as many of the coming ones are taken, so at any moment it is an even sample of all so far.
Pure but for its own counts.
"""

import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from dca.consensus.agreement import nominal_alpha
from dca.domain.consensus import ConsensusParams
from dca.domain.labels import LabelSet
from dca.domain.review import Review
from dca.pipeline.progress import Agreement

SAMPLE = 128
"""Most rollouts in the sample."""
A_LOOK = 2
"""Rollouts counted at each look: at ten looks a second, some 5 ms of each second."""

Marks = Sequence[tuple[int, int, int]]
"""(start, stop, label code), the innermost last."""


@dataclass(slots=True)
class _Sampled:
    """One rollout of the sample."""

    marks: list[Marks] = field(default_factory=list[Marks])
    """Of each reviewer so far."""
    coincidence_KK: NDArray[np.float64] | None = None
    """``None`` until two have reviewed it and it has been counted."""
    waits: bool = False
    """True when it is to be counted, again."""


class RunningAgreement:
    """Takes reviews as they come."""

    def __init__(self, labels: LabelSet) -> None:
        """Begin with no review; those in other label sets are not counted."""
        self._labels = labels
        self._code = {key: number for number, key in enumerate(labels.keys)}
        unmarked = ConsensusParams().unmarked
        self._unmarked = self._code.get(unmarked)
        self._sample: dict[str, _Sampled] = {}
        self._waiting: deque[str] = deque()
        self._mask = 0

    def take(self, review: Review) -> None:
        """Count a review, when its rollout is in the sample."""
        rollout = review.key.rollout_id
        if zlib.crc32(rollout.encode()) & self._mask or review.key.label_set != self._labels.name:
            return
        sampled = self._sample.setdefault(rollout, _Sampled())
        sampled.marks.append(self._read(review))
        if len(sampled.marks) > 1 and not sampled.waits:
            sampled.waits = True
            self._waiting.append(rollout)
        while len(self._sample) > SAMPLE:
            self._thin()

    def look(self) -> Agreement | None:
        """Return the figure so far; ``None`` when it is not defined yet."""
        for sampled in islice(self._due(), A_LOOK):
            sampled.waits = False
            sampled.coincidence_KK = coincidence(sampled.marks, len(self._code))
        counted = [item.coincidence_KK for item in self._sample.values()]
        known = [matrix_KK for matrix_KK in counted if matrix_KK is not None]
        if not known:
            return None
        alpha = nominal_alpha(np.sum(known, axis=0))
        return None if np.isnan(alpha) else Agreement(alpha, len(known))

    def _due(self) -> Iterator[_Sampled]:
        """Take from the queue what is to be counted; what has left the sample is passed over."""
        while self._waiting:
            sampled = self._sample.get(self._waiting.popleft())
            if sampled is not None:
                yield sampled

    def _read(self, review: Review) -> Marks:
        """Return a review's votes: what it covers, then its steps, the shortest last."""
        steps = [
            (step.span.start, step.span.stop, self._code[step.label]) for step in review.steps
        ]
        steps.sort(key=lambda mark: (mark[1] - mark[0], mark[0], mark[2]), reverse=True)
        covered = review.covered
        if covered is None or self._unmarked is None:
            return steps
        return [(covered.start, covered.stop, self._unmarked), *steps]

    def _thin(self) -> None:
        """Let every other rollout go."""
        self._mask = 2 * self._mask + 1
        kept = (
            rollout for rollout in self._sample if not zlib.crc32(rollout.encode()) & self._mask
        )
        self._sample = {rollout: self._sample[rollout] for rollout in kept}


def coincidence(reviews: Sequence[Marks], labels: int) -> NDArray[np.float64]:
    """Return the coincidence matrix of one rollout in characters, without looking at its text.

    As ``dca.consensus.agreement.coincidences``, but white space at the ends of steps counts.
    """
    edges = sorted(
        {edge for marks in reviews for start, stop, _ in marks for edge in (start, stop)}
    )
    matrix_KK = np.zeros((labels, labels))
    votes = [_paint(edges, marks) for marks in reviews]
    for (start, stop), atom in zip(pairwise(edges), zip(*votes, strict=True), strict=True):
        cast = [code for code in atom if code is not None]
        for one, other in permutations(cast, 2):
            matrix_KK[one, other] += (stop - start) / (len(cast) - 1)
    return matrix_KK


def _paint(edges: Sequence[int], marks: Marks) -> list[int | None]:
    """Return one reviewer's label code between each two edges; ``None``: no vote."""
    codes: list[int | None] = [None] * (len(edges) - 1)
    for start, stop, code in marks:
        first, last = bisect_left(edges, start), bisect_left(edges, stop)
        codes[first:last] = [code] * (last - first)
    return codes
