"""Links by support: which consensus span led to which.

Reference: a reviewer's step stands for a consensus span when their overlap coefficient
``|C n S| / min(|C|, |S|)`` is large enough, so finer and coarser segmentations both map.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from dca.domain.consensus import AgreedLink, AgreedSpan, ConsensusParams
from dca.domain.review import LinkKind, Review
from dca.domain.spans import Span

_KINDS = tuple(LinkKind)
"""A tie between kinds goes to the weaker claim: uses, suggests, repairs."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """What reviewers say about one ordered pair of spans."""

    source: int
    target: int
    kind: LinkKind
    support: float
    reviewers: tuple[str, ...]
    unanimous: bool
    """Every reviewer that covers both ends says so."""


def settle_links(
    spans: Sequence[AgreedSpan],
    reviews: Mapping[str, Review],
    weights: Mapping[str, float],
    params: ConsensusParams,
) -> tuple[AgreedLink, ...]:
    """Return the supported links, strongest first, with the reason where one was refused.

    A link is supported at ``params.link_support`` of the weight of the reviewers that cover both
    ends and at least ``params.link_reviewers`` of them. It is refused when its cause begins after
    its effect (unless all who cover both say so) or when it would close a cycle.
    """
    claims = _claims(spans, reviews, weights, params)
    strong = [
        claim
        for claim in claims
        if claim.support >= params.link_support - 1e-9
        and len(claim.reviewers) >= params.link_reviewers
    ]
    strong.sort(key=lambda claim: (-claim.support, claim.source, claim.target))
    successors: dict[int, set[int]] = defaultdict(set)
    links: list[AgreedLink] = []
    for claim in strong:
        dropped = ""
        if claim.source > claim.target and not claim.unanimous:
            dropped = "the cause begins after the effect"
        elif _reaches(successors, claim.target, claim.source):
            dropped = "closes a cycle"
        else:
            successors[claim.source].add(claim.target)
        links.append(
            AgreedLink(
                claim.source, claim.target, claim.kind, claim.support, claim.reviewers, dropped
            )
        )
    return tuple(links)


def _claims(
    spans: Sequence[AgreedSpan],
    reviews: Mapping[str, Review],
    weights: Mapping[str, float],
    params: ConsensusParams,
) -> list[_Claim]:
    """Return one claim for every ordered pair that any reviewer links."""
    said: dict[tuple[int, int], dict[str, LinkKind]] = defaultdict(dict)
    covered: dict[str, frozenset[int]] = {}
    for name in sorted(reviews):
        covered[name] = frozenset(
            number for number, item in enumerate(spans) if name in item.votes
        )
        for source, target, kind in _pairs(reviews[name], spans, params.link_overlap):
            said[source, target].setdefault(name, kind)
    claims: list[_Claim] = []
    for (source, target), kinds in said.items():
        asked = [name for name in reviews if source in covered[name] and target in covered[name]]
        behind = [name for name in asked if name in kinds]
        if behind:
            total = sum(weights[name] for name in asked)
            support = sum(weights[name] for name in behind) / total
            kind = max(
                _KINDS, key=lambda k: sum(weights[name] for name in behind if kinds[name] is k)
            )
            names = tuple(sorted(behind))
            claims.append(_Claim(source, target, kind, support, names, len(names) == len(asked)))
    return claims


def _pairs(
    review: Review, spans: Sequence[AgreedSpan], least: float
) -> Iterator[tuple[int, int, LinkKind]]:
    """Yield the pairs of consensus spans that one reviewer links."""
    if not review.links:
        return
    edges = [item.span.start for item in spans]
    places = [_places(step.span, spans, edges, least) for step in review.steps]
    for link in review.links:
        for source, target in product(places[link.source], places[link.target]):
            if source != target:
                yield source, target, link.kind


def _places(
    step: Span, spans: Sequence[AgreedSpan], edges: Sequence[int], least: float
) -> list[int]:
    """Return the consensus spans that a step stands for; ``edges`` are the spans' starts."""
    first = max(bisect_right(edges, step.start) - 1, 0)
    last = bisect_left(edges, step.stop)
    found: list[int] = []
    for number in range(first, last):
        held = spans[number].span
        shared = step.overlap(held)
        if shared > 0 and shared >= least * min(len(step), len(held)):
            found.append(number)
    return found


def _reaches(successors: Mapping[int, set[int]], start: int, goal: int) -> bool:
    """Tell whether a path leads from ``start`` to ``goal``."""
    seen, open_ = {start}, [start]
    while open_:
        node = open_.pop()
        if node == goal:
            return True
        fresh = successors.get(node, set()) - seen
        seen |= fresh
        open_.extend(fresh)
    return False
