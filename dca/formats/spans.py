"""``spans.jsonl``: one row per span of a consensus, with who voted what and why."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import msgspec

from dca.domain.consensus import AgreedLink, AgreedSpan, Consensus, ConsensusVersion, Status
from dca.domain.errors import FormatError
from dca.domain.review import LinkKind, Review, Soundness, Step
from dca.domain.rollout import Rollout
from dca.domain.spans import Span


@dataclass(frozen=True, slots=True)
class SpanLink:
    """The span of this row led to another span of the same rollout."""

    target: int
    """``SpanRow.index`` of the other span."""
    kind: LinkKind
    support: float
    """In [0, 1]."""
    reviewers: tuple[str, ...]
    dropped: str = ""
    """Why the link was refused although supported; ``""`` when it stands."""


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One line of ``spans.jsonl``."""

    rollout_id: str
    group_id: str
    task: str
    model: str
    step: int | None
    reward: float | None
    index: int
    """Position of the span in its rollout, from 0."""
    start: int
    """First code point in the completion."""
    stop: int
    """One past the last code point."""
    text: str
    """``completion[start:stop]``."""
    status: Status
    label: str | None
    share: float
    shares: Mapping[str, float]
    """Weighted share per label that got a vote."""
    votes: Mapping[str, str]
    """Reviewer to label."""
    reasons: Mapping[str, str]
    """Reviewer to the reason of its step that covers most of the span."""
    links: tuple[SpanLink, ...]
    """Links that leave this span."""
    blamed: bool
    """Whether the panel agreed that the first wrong step lies here."""
    soundness: Soundness | None
    """The panel's verdict on the whole rollout, ``None`` when not agreed."""
    left: float
    """Support in [0, 1] for the boundary at ``start``."""
    right: float
    """Support in [0, 1] for the boundary at ``stop``."""
    consensus: int
    """Number of the consensus version."""
    label_set: str
    panel: tuple[str, ...]
    dca_version: str


def span_rows(
    rollout: Rollout,
    consensus: Consensus,
    version: ConsensusVersion,
    reviews: Sequence[Review] = (),
) -> list[SpanRow]:
    """Return the rows of one rollout, in text order.

    Args:
        rollout: The rollout that ``consensus`` settles.
        consensus: Its result.
        version: The run of the vote that made it.
        reviews: The reviews behind it, for the reasons; reviewers without one give none.
    """
    names = {digest: name for name, digest in version.reviewers.items()}
    steps = {
        names[review.key.reviewer]: _Reach.of(review.steps)
        for review in reviews
        if review.key.reviewer in names
    }
    links: dict[int, list[SpanLink]] = defaultdict(list)
    for link in consensus.links:
        links[link.source].append(_link(link))
    verdict = consensus.soundness
    return [
        SpanRow(
            rollout_id=rollout.id,
            group_id=rollout.group_id,
            task=rollout.task,
            model=rollout.model,
            step=rollout.step,
            reward=rollout.reward,
            index=index,
            start=item.span.start,
            stop=item.span.stop,
            text=item.span.text(rollout.completion),
            status=item.status,
            label=item.label,
            share=item.share,
            shares=dict(item.shares),
            votes=dict(item.votes),
            reasons=_reasons(item, steps),
            links=tuple(links[index]),
            blamed=_blamed(consensus, item.span),
            soundness=None if verdict is None else verdict.verdict,
            left=item.left,
            right=item.right,
            consensus=version.id,
            label_set=version.label_set,
            panel=version.panel,
            dca_version=version.dca_version,
        )
        for index, item in enumerate(consensus.spans)
    ]


@dataclass(frozen=True, slots=True)
class _Reach:
    """A reviewer's steps, ready to be searched: rollouts with 10,000 spans are a thing."""

    steps: tuple[Step, ...]
    """Ascending by start."""
    starts: list[int]
    reached: list[int]
    """Largest end of the steps so far, so that those before a place can be skipped."""

    @classmethod
    def of(cls, steps: Sequence[Step]) -> "_Reach":
        """Return the steps in order."""
        ordered = tuple(sorted(steps, key=lambda step: step.span))
        ends = accumulate((step.span.stop for step in ordered), max)
        return cls(ordered, [step.span.start for step in ordered], list(ends))

    def nearest(self, span: Span) -> Step | None:
        """Return the step that holds most of ``span``, the first of equals; ``None`` if none."""
        first = bisect_right(self.reached, span.start)
        last = bisect_left(self.starts, span.stop)
        return max(self.steps[first:last], key=lambda s: s.span.overlap(span), default=None)


def _link(link: AgreedLink) -> SpanLink:
    return SpanLink(link.target, link.kind, link.support, link.reviewers, link.dropped)


def _reasons(item: AgreedSpan, steps: Mapping[str, _Reach]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for name in sorted(steps):
        nearest = steps[name].nearest(item.span)
        if nearest is not None and nearest.span.overlap(item.span) and nearest.reason:
            reasons[name] = nearest.reason
    return reasons


def _blamed(consensus: Consensus, span: Span) -> bool:
    blame = consensus.blame
    if blame is None or blame.status is not Status.AGREED or blame.span is None:
        return False
    return blame.span.overlap(span) > 0


def write_spans(path: Path, rows: Iterable[SpanRow]) -> int:
    """Write rows as JSON Lines and return how many.

    Raises:
        FormatError: The file cannot be written.
    """
    count = 0
    encoder = msgspec.json.Encoder()
    try:
        with path.open("wb") as stream:
            for row in rows:
                stream.write(encoder.encode(row) + b"\n")
                count += 1
    except OSError as error:
        raise FormatError(f"{path}: cannot be written: {error}") from error
    return count
