"""Put the reviews of two overlapping windows together: pure and deterministic.

Both windows show the *overlap*, so a step there may have been marked twice. Two steps are the same
when, inside the overlap, they share at least half of what they cover together (intersection over
union >= 0.5), the closest pairs first. Then:

- A step that begins in the overlap was seen whole by the later window, which also saw more of what
  came of it: the later one decides about label, reason and bounds.
- A step that begins before the overlap and ends in it was seen whole by the earlier window only,
  and the later saw a mere end of it: the earlier one decides, but where its step ran into the end
  of its window the later one says where it ends.
- A step that begins before the overlap and ends after it was seen whole by nobody. With one label
  it is one step from the one's beginning to the other's end, with the reason of the window that
  saw more of it, the later if both saw as much. With two labels it stays two.

What the later window marks there else is new, and takes its text from steps of the earlier window
that it did not confirm: these keep their longest rest. A step of which nothing is left gives its
links to the step that took most of it. A step of the earlier window that the later one neither
confirms nor contradicts stays, because an outline that shows it is reason enough not to repeat it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dca.domain.review import Blame, Link, Step
from dca.domain.spans import Span
from reviewers.parse import Parsed

SAME = 0.5
"""Smallest intersection over union, inside the overlap, of two views of one step."""


def shift(parsed: Parsed, offset: int) -> Parsed:
    """Return what was read of a stretch, in positions of the text that it begins in."""
    steps = tuple(replace(step, span=_moved(step.span, offset)) for step in parsed.steps)
    covered = None if parsed.covered is None else _moved(parsed.covered, offset)
    return replace(parsed, steps=steps, covered=covered)


def _moved(span: Span, offset: int) -> Span:
    return Span(span.start + offset, span.stop + offset)


def widest(spans: Sequence[Span]) -> Span | None:
    """Return the longest range without a gap that ``spans``, sorted by start, cover."""
    ranges: list[Span] = []
    for span in spans:
        if ranges and span.start <= ranges[-1].stop:
            last = ranges.pop()
            ranges.append(Span(last.start, max(last.stop, span.stop)))
        else:
            ranges.append(span)
    return max(ranges, key=len, default=None)


def merge(
    before: Parsed, part: Parsed, earlier: Sequence[int], overlap: Span, text: str
) -> Parsed:
    """Return the review of all windows so far.

    Args:
        before: Of the windows so far.
        part: Of the next window; its links and blame name a step of the windows before by
            ``len(part.steps)`` and more, which are positions in ``earlier``. Its verdicts replace
            those before; ``covered`` is left to ``widest``.
        earlier: Positions in ``before.steps``.
        overlap: What both show.
        text: The whole completion.
    """
    drafts = _drafts(before.steps, part.steps, overlap, text)
    drafts.sort(key=lambda draft: draft.step.span)
    old_at = {old: at for at, draft in enumerate(drafts) for old in draft.old}
    new_at = {draft.new: at for at, draft in enumerate(drafts) if draft.new is not None}
    named = [new_at[new] for new in range(len(part.steps))] + [old_at[old] for old in earlier]
    links = [*_renamed(before.links, old_at), *_renamed(part.links, dict(enumerate(named)))]
    blame = part.blame
    if blame is not None and blame.step is not None:
        blame = Blame(named[blame.step])
    return Parsed(
        tuple(draft.step for draft in drafts),
        tuple(sorted(set(links), key=lambda link: (link.source, link.target, link.kind))),
        None,
        blame,
        part.soundness,
        (*before.unplaced, *part.unplaced),
    )


@dataclass(slots=True)
class _Draft:
    """A step of the merged review, and what it was made of."""

    step: Step
    old: list[int]
    """Positions in the review before."""
    new: int | None = None
    """Position in the review of the part."""


def _renamed(links: Sequence[Link], at: Mapping[int, int]) -> list[Link]:
    """Return links between the new positions; those within one step are left out."""
    moved = [Link(at[link.source], at[link.target], link.kind) for link in links]
    return [link for link in moved if link.source != link.target]


def _drafts(old: Sequence[Step], new: Sequence[Step], overlap: Span, text: str) -> list[_Draft]:
    """Return the merged steps in no order."""
    drafts = [_Draft(step, [], position) for position, step in enumerate(new)]
    mates = _mates(old, new, overlap)
    for position, step in enumerate(old):
        mate = mates.get(position)
        joined = None if mate is None else _joined(step, new[mate], overlap)
        if mate is not None and joined is not None:
            drafts[mate].old.append(position)
            drafts[mate].step = joined
            continue
        takers = [item.span for item in new] if step.span.stop > overlap.start else []
        rest = _rest(step.span, takers, text)
        if rest is None:
            sizes = [item.span.overlap(step.span) for item in new]
            drafts[sizes.index(max(sizes))].old.append(position)
        else:
            drafts.append(_Draft(replace(step, span=rest), [position]))
    return [_trimmed(draft, new, text) for draft in drafts]


def _trimmed(draft: _Draft, new: Sequence[Step], text: str) -> _Draft:
    """Return ``draft`` without text of the earlier window that the later gave to another step."""
    if draft.new is None or not draft.old:
        return draft
    mine = new[draft.new].span
    others = (step.span for at, step in enumerate(new) if at != draft.new)
    # Steps of one reply may overlap; only what the earlier window adds is given away.
    takers = [span for span in others if not span.overlap(mine)]
    rest = _rest(draft.step.span, takers, text) or mine
    return replace(draft, step=replace(draft.step, span=rest))


def _mates(old: Sequence[Step], new: Sequence[Step], overlap: Span) -> dict[int, int]:
    """Return which step of the later window is which of the earlier, the closest pairs first."""
    inside = [at for at, step in enumerate(old) if step.span.overlap(overlap)]
    again = [at for at, step in enumerate(new) if step.span.overlap(overlap)]
    pairs = [(_closeness(old[a].span, new[b].span, overlap), a, b) for a in inside for b in again]
    mates: dict[int, int] = {}
    taken: set[int] = set()
    for closeness, a, b in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
        if closeness >= SAME and a not in mates and b not in taken:
            mates[a] = b
            taken.add(b)
    return mates


def _closeness(one: Span, other: Span, overlap: Span) -> float:
    """Return intersection over union inside the overlap, which both touch."""
    start, stop = max(one.start, other.start), min(one.stop, other.stop)
    shared = overlap.overlap(Span(start, stop)) if start < stop else 0
    return shared / (overlap.overlap(one) + overlap.overlap(other) - shared)


def _joined(old: Step, new: Step, overlap: Span) -> Step | None:
    """Return the one step that two views show, ``None`` when they differ about a long one."""
    if old.span.start >= overlap.start:
        return new
    if new.span.stop <= overlap.stop:
        open_end = old.span.stop >= overlap.stop
        stop = new.span.stop if open_end else old.span.stop
        return replace(old, span=Span(old.span.start, stop))
    if old.label != new.label:
        return None
    fuller = new if len(new.span) >= len(old.span) else old
    return replace(fuller, span=Span(old.span.start, new.span.stop))


def _rest(span: Span, takers: Sequence[Span], text: str) -> Span | None:
    """Return the longest stretch of ``span`` that no taker holds, ``None`` when there is none."""
    pieces = [span]
    for taker in (taker for taker in takers if taker.overlap(span)):
        pieces = [
            Span(start, stop)
            for piece in pieces
            for start, stop in (
                (piece.start, min(piece.stop, taker.start)),
                (max(piece.start, taker.stop), piece.stop),
            )
            if start < stop
        ]
    if pieces == [span]:
        return span
    bodies = [_stripped(piece, text) for piece in pieces]
    return max((body for body in bodies if len(body)), key=len, default=None)


def _stripped(span: Span, text: str) -> Span:
    """Return ``span`` without white space at its ends."""
    body = span.text(text)
    start = span.start + len(body) - len(body.lstrip())
    return Span(start, start + len(body.strip()))
