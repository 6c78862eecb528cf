"""Toy panels over short texts, whose votes can be counted by hand."""

from collections.abc import Sequence

from dca.consensus.settle import Document, seat, settle
from dca.domain.consensus import AgreedSpan, Consensus, ConsensusParams
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Review, ReviewerInfo, ReviewKey, Step
from dca.domain.spans import Span

PARAMS = ConsensusParams()


def reviewer(name: str, family: str = "") -> ReviewerInfo:
    return ReviewerInfo(name, "rules", family or name, "1")


def review(*steps: tuple[int, int, str], covered: Span | None = None, **rest) -> Review:
    key = ReviewKey("r", "d", "rules", "contribution-v1")
    made = tuple(Step(Span(start, stop), label) for start, stop, label in steps)
    return Review(key, made, covered=covered, **rest)


def agree(
    text: str, reviews: dict[str, Review], *, params: ConsensusParams = PARAMS, panel: str = "abc"
) -> Consensus:
    bench = seat([reviewer(name) for name in panel], params)
    return settle([Document("r", text, reviews)], bench, CONTRIBUTION_V1, params).consensus[0]


def drawn(spans: Sequence[AgreedSpan]) -> list[tuple[int, int, str, str | None]]:
    return [(s.span.start, s.span.stop, s.status.value, s.label) for s in spans]
