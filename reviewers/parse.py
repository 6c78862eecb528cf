"""Turn a reply into the parts of a review: pure, total, and never a guess.

One rule decides every defect. *Structural damage makes the reply invalid*: no single JSON
object, no array of steps, no step at all, or not one step that can be placed. *A single bad item
is set aside* in ``unplaced`` with its reason, and the rest stands: a step with an unknown label,
a unit that does not exist, a range that runs backwards or a quote that is not in the text; a link
or a blame that names no step; a confidence or a verdict outside its values.

When a step was set aside, its text must not read as "judged and found idle", so such a reply
covers nothing: what it leaves unmarked is no vote. A part that the reply leaves out is not
stated: no links, nothing covered, no verdict. Overlapping steps are all kept.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from dca.domain.errors import ReplyInvalid
from dca.domain.review import Blame, Link, LinkKind, Soundness, Step, Unplaced
from dca.domain.spans import Span
from reviewers.anchor import Haystack, NotFound
from reviewers.decode import decode_object
from reviewers.schema import ReplyForm, ReplyProtocol
from reviewers.units import cut_units

LONGEST_REASON = 1_000
"""Code points of a stored reason; the raw reply keeps all."""

LONGEST_QUOTE = 200
"""Code points of what ``unplaced`` repeats of a bad item."""

# Control characters, and halves of characters that no encoding can write.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Parsed:
    """The parts of a review, with steps sorted by span."""

    steps: tuple[Step, ...]
    links: tuple[Link, ...]
    covered: Span | None
    blame: Blame | None
    soundness: Soundness | None
    unplaced: tuple[Unplaced, ...]


@dataclass(slots=True)
class _Reading:
    """What has been read of one reply so far."""

    text: str
    form: ReplyForm
    units: Sequence[Span]
    steps: list[tuple[int, Step]] = field(default_factory=list[tuple[int, Step]])
    """The number that the reply gave each placed step, and the step."""
    numbers: list[int] = field(default_factory=list[int])
    """The numbers of all steps, placed or not."""
    unplaced: list[Unplaced] = field(default_factory=list[Unplaced])

    def refuse(self, item: str, reason: str) -> None:
        """Set one bad item aside."""
        self.unplaced.append(Unplaced(clean(item)[:LONGEST_QUOTE], reason))

    def position(self, number: object, order: Mapping[int, int]) -> int | str:
        """Return the position of the step numbered ``number``, or why there is none."""
        wanted = whole(number)
        if wanted is None:
            return "is no number of a step"
        if self.numbers.count(wanted) > 1:
            return f"names step {wanted}, which the reply gives twice"
        if wanted in order:
            return order[wanted]
        if wanted in self.numbers:
            return f"names step {wanted}, which was set aside"
        return f"names step {wanted}, which the reply does not have"


def parse_reply(
    raw: str, text: str, form: ReplyForm, units: Sequence[Span] | None = None
) -> Parsed:
    """Return what ``raw`` says of ``text``.

    Args:
        raw: The reply as it came.
        text: The completion that was reviewed.
        form: What was asked.
        units: The units of ``text`` as they were shown; ``None``: cut them.

    Raises:
        ReplyInvalid: Structural damage.
        ReplyTruncated: The reply ends inside its JSON object.
        ReviewerRefused: The reply is a refusal in prose.
    """
    reply = decode_object(raw)
    shown = cut_units(text) if units is None else units
    reading = _Reading(text, form, shown)
    _read_steps(reading, reply["steps"])
    reading.steps.sort(key=lambda item: (item[1].span, item[0]))
    order = {number: place for place, (number, _) in enumerate(reading.steps)}
    complete = len(reading.steps) == len(reading.numbers)
    links = _read_links(reading, reply.get("links"), order)
    blame = _read_blame(reading, reply, order)
    soundness = _read_soundness(reading, reply)
    covered = _read_covered(reading, reply) if complete else None
    return Parsed(
        tuple(step for _, step in reading.steps),
        links,
        covered,
        blame,
        soundness,
        tuple(reading.unplaced),
    )


def _read_steps(reading: _Reading, items: object) -> None:
    """Place every step; raise ``ReplyInvalid`` when the list is damaged or none has a place."""
    if not isinstance(items, list) or not items:
        raise ReplyInvalid("the reply marks no step")
    place = _placer(reading)
    for position, item in enumerate(cast("list[object]", items), 1):
        if not isinstance(item, dict):
            raise ReplyInvalid("a step is no object")
        _read_step(reading, cast("dict[str, object]", item), position, place)
    if not reading.steps:
        reasons = "; ".join(dict.fromkeys(bad.reason for bad in reading.unplaced[:3]))
        raise ReplyInvalid(f"no step can be placed: {reasons}")


def _read_step(
    reading: _Reading,
    item: dict[str, object],
    position: int,
    place: "Callable[[dict[str, object]], Span | str]",
) -> None:
    """Place one step, or set it aside."""
    number = whole(item.get("n", position))
    number = position if number is None else number
    reading.numbers.append(number)
    span = place(item)
    if isinstance(span, str):
        quote = item.get("quote")
        return reading.refuse(quote if isinstance(quote, str) else f"step {number}", span)
    label = _known(item.get("label"), reading.form.labels.keys)
    if label is None:
        said = _short(item.get("label"))
        return reading.refuse(span.text(reading.text), f"unknown label {said}")
    confidence = _fraction(item.get("confidence"))
    if confidence is None and item.get("confidence") is not None:
        said = _short(item["confidence"])
        reading.refuse(f"step {number}", f"confidence {said} is outside 0 to 1 and was left out")
    reason = item.get("reason")
    words = clean(reason)[:LONGEST_REASON] if isinstance(reason, str) else ""
    reading.steps.append((number, Step(span, label, confidence, words)))
    return None


def _placer(reading: _Reading) -> "Callable[[dict[str, object]], Span | str]":
    """Return the function that finds a step's span, or says why it has none."""
    if reading.form.protocol is ReplyProtocol.UNITS:
        return lambda item: unit_span(reading.units, item.get("first"), item.get("last"))
    haystack = Haystack(reading.text)
    expected = 0

    def place(item: dict[str, object]) -> Span | str:
        nonlocal expected
        quote = item.get("quote")
        if not isinstance(quote, str):
            return "the step has no quote"
        found = haystack.find(quote, expected=expected)
        if isinstance(found, NotFound):
            return found.reason
        expected = found.span.stop
        return found.span

    return place


def unit_span(units: Sequence[Span], first: object, last: object) -> Span | str:
    """Return the span of the units ``first`` to ``last``, from 1, or why there is none."""
    begin, end = whole(first), whole(last)
    if begin is None or end is None:
        return f"units {_short(first)} to {_short(last)} are no numbers"
    if begin > end:
        return f"units {begin} to {end} run backwards"
    if begin < 1 or end > len(units):
        return f"units {begin} to {end} are not among 1 to {len(units)}"
    return Span(units[begin - 1].start, units[end - 1].stop)


def _read_links(reading: _Reading, items: object, order: Mapping[int, int]) -> tuple[Link, ...]:
    """Return the links whose two ends are steps, each once, in the order of the reply."""
    if items is not None and not isinstance(items, list):
        reading.refuse("links", "the links are no list")
        return ()
    links: dict[Link, None] = {}
    for item in cast("list[object]", items or []):
        link = _read_link(reading, item, order)
        if isinstance(link, str):
            reading.refuse(_name_link(item), link)
        else:
            links[link] = None
    return tuple(links)


def _read_link(reading: _Reading, item: object, order: Mapping[int, int]) -> Link | str:
    """Return one link, or why it is none."""
    if not isinstance(item, dict):
        return "the link is no object"
    fields = cast("dict[str, object]", item)
    kind = _known(fields.get("kind"), [kind.value for kind in LinkKind])
    if kind is None:
        return f"unknown kind {_short(fields.get('kind'))}"
    source = reading.position(fields.get("from"), order)
    target = reading.position(fields.get("to"), order)
    if isinstance(source, str) or isinstance(target, str):
        return source if isinstance(source, str) else str(target)
    if source == target:
        return "the step links to itself"
    return Link(source, target, LinkKind(kind))


def _read_blame(
    reading: _Reading, reply: Mapping[str, object], order: Mapping[int, int]
) -> Blame | None:
    """Return the blame; 0 says that no step is to blame. A null is no verdict."""
    said = reply.get("blame")
    if not reading.form.outcome.asks_blame or said is None:
        return None
    if whole(said) == 0:
        return Blame(None)
    step = reading.position(said, order)
    if isinstance(step, str):
        reading.refuse(f"blame {_short(said)}", step)
        return None
    return Blame(step)


def _read_soundness(reading: _Reading, reply: Mapping[str, object]) -> Soundness | None:
    """Return the verdict on the success. A null is no verdict."""
    said = reply.get("soundness")
    if not reading.form.outcome.asks_soundness or said is None:
        return None
    known = _known(said, [verdict.value for verdict in Soundness])
    if known is None:
        reading.refuse(f"soundness {_short(said)}", "no such verdict")
        return None
    return Soundness(known)


def _read_covered(reading: _Reading, reply: Mapping[str, object]) -> Span | None:
    """Return the range in which an unmarked stretch was judged idle."""
    if reading.form.protocol is ReplyProtocol.QUOTES:
        return Span(0, len(reading.text)) if reply.get("covered") is True else None
    first, last = reply.get("covered_first"), reply.get("covered_last")
    if first is None or last is None:
        return None
    span = unit_span(reading.units, first, last)
    if isinstance(span, str):
        reading.refuse("covered", span)
        return None
    # White space around the units belongs to nobody: a whole range is the whole text.
    start = 0 if whole(first) == 1 else span.start
    stop = len(reading.text) if whole(last) == len(reading.units) else span.stop
    return Span(start, stop)


def whole(value: object) -> int | None:
    """Return the whole number that ``value`` says without doubt: 3, 3.0 or "3"; else ``None``."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return int(value)
    if isinstance(value, int | float) and abs(value) < 10**9 and value == int(value):
        return int(value)
    return None


def _fraction(value: object) -> float | None:
    """Return ``value`` when it is a number in [0, 1], else ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def _known(value: object, keys: Sequence[str]) -> str | None:
    """Return the one key that ``value`` says, whatever its case, else ``None``."""
    if not isinstance(value, str) or value in keys:
        return value if isinstance(value, str) else None
    hits = [key for key in keys if key.casefold() == value.strip().casefold()]
    return hits[0] if len(hits) == 1 else None


def _name_link(item: object) -> str:
    """Return what to call a bad link."""
    if not isinstance(item, dict):
        return f"link {_short(item)}"
    fields = cast("dict[str, object]", item)
    return f"link {_short(fields.get('from'))} to {_short(fields.get('to'))}"


def _short(value: object) -> str:
    """Return a bad value on one short line; what it nests is not followed."""
    if isinstance(value, str):
        return f"'{clean(value)[:40]}'"
    if value is None or isinstance(value, bool | int | float):
        return str(value)[:40]
    return "a nested value"


def clean(text: str) -> str:
    """Return ``text`` on one line, without control characters and lone surrogates."""
    return _UNWRITABLE.sub(" ", text).strip()
