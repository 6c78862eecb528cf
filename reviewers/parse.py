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

from collections import Counter
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
from reviewers.values import clean, fraction, known, link_name, short, whole

LONGEST_REASON = 1_000
"""Code points of a stored reason; the raw reply keeps all."""

LONGEST_QUOTE = 200
"""Code points of what ``unplaced`` repeats of a bad item."""

# An enumeration takes several times as long as a mapping to find its member for a word.
_LINK_KINDS = {kind.value: kind for kind in LinkKind}
_VERDICTS = {verdict.value: verdict for verdict in Soundness}


@dataclass(frozen=True, slots=True)
class Part:
    """Which stretch of a longer reasoning a reply is about."""

    first: int
    """Number of the first unit that was shown."""
    earlier: tuple[int, ...]
    """The numbers of steps found before, which links and blame may name."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The parts of a review, with steps sorted by span.

    In what is read of a ``Part``, a link or blame to ``len(steps) + i`` names ``earlier[i]``.
    """

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
    part: Part | None = None
    steps: list[tuple[int, Step]] = field(default_factory=list[tuple[int, Step]])
    """The number that the reply gave each placed step, and the step."""
    numbers: list[int] = field(default_factory=list[int])
    """The numbers of all steps, placed or not."""
    unplaced: list[Unplaced] = field(default_factory=list[Unplaced])
    keys: tuple[str, ...] = field(init=False)
    """The keys of the labels."""
    first: int = field(init=False)
    """Number of the first of ``units``."""

    def __post_init__(self) -> None:
        """Look up once what every step needs."""
        self.keys = self.form.labels.keys
        self.first = self.part.first if self.part else 1

    def order(self) -> dict[int, int]:
        """Sort the steps and return the position of each number that names one step."""
        self.steps.sort(key=_by_span)
        numbers = [number for number, _ in self.steps]
        numbers += self.part.earlier if self.part else ()
        order = {number: place for place, number in enumerate(numbers)}
        if len({*self.numbers}) == len(self.numbers):  # Nearly always.
            return order
        given = Counter(self.numbers)
        return {number: place for number, place in order.items() if given[number] < 2}

    def refuse(self, item: str, reason: str) -> None:
        """Set one bad item aside."""
        self.unplaced.append(Unplaced(clean(item)[:LONGEST_QUOTE], reason))

    def position(self, number: object, order: Mapping[int, int]) -> int | str:
        """Return the position of the step numbered ``number``, or why there is none."""
        wanted = whole(number)
        if wanted is None:
            return "is no number of a step"
        if wanted in order:
            return order[wanted]
        if self.numbers.count(wanted) > 1:
            return f"names step {wanted}, which the reply gives twice"
        if wanted in self.numbers:
            return f"names step {wanted}, which was set aside"
        return f"names step {wanted}, which the reply does not have"


def _by_span(item: tuple[int, Step]) -> tuple[int, int, int]:
    """Sort steps by span, then by number."""
    number, step = item
    return step.span.start, step.span.stop, number


def parse_reply(
    raw: str,
    text: str,
    form: ReplyForm,
    units: Sequence[Span] | None = None,
    part: Part | None = None,
) -> Parsed:
    """Return what ``raw`` says of ``text``.

    Args:
        raw: The reply as it came.
        text: The completion that was reviewed, or the part of it that was shown.
        form: What was asked.
        units: The units of ``text`` as they were shown; ``None``: cut them.
        part: Set when ``text`` is a part of a longer one; it may hold no step.

    Raises:
        ReplyInvalid: Structural damage.
        ReplyTruncated: The reply ends inside its JSON object.
        ReviewerRefused: The reply is a refusal in prose.
    """
    return read_review(decode_object(raw), text, form, units, part)


def read_review(
    reply: Mapping[str, object],
    text: str,
    form: ReplyForm,
    units: Sequence[Span] | None = None,
    part: Part | None = None,
) -> Parsed:
    """Return what one decoded review says of ``text``; as ``parse_reply``.

    Raises:
        ReplyInvalid: Structural damage.
    """
    shown = cut_units(text) if units is None else units
    reading = _Reading(text, form, shown, part)
    _read_steps(reading, reply.get("steps"))
    order = reading.order()
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
    if not isinstance(items, list) or not (items or reading.part):
        raise ReplyInvalid("the reply marks no step")
    place = _placer(reading)
    for position, item in enumerate(cast("list[object]", items), 1):
        if not isinstance(item, dict):
            raise ReplyInvalid("a step is no object")
        _read_step(reading, cast("dict[str, object]", item), position, place)
    earlier = reading.part.earlier if reading.part else ()
    taken = sorted({*reading.numbers} & {*earlier})
    if taken:
        raise ReplyInvalid(f"step {taken[0]} has the number of an earlier step")
    if reading.numbers and not reading.steps:
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
    label = known(item.get("label"), reading.keys)
    if label is None:
        said = short(item.get("label"))
        return reading.refuse(span.text(reading.text), f"unknown label {said}")
    sure = item.get("confidence")
    confidence = fraction(sure)
    if confidence is None and sure is not None:
        said = short(sure)
        reading.refuse(f"step {number}", f"confidence {said} is outside 0 to 1 and was left out")
    reason = item.get("reason")
    words = clean(reason)[:LONGEST_REASON] if isinstance(reason, str) else ""
    reading.steps.append((number, Step(span, label, confidence, words)))
    return None


def _placer(reading: _Reading) -> "Callable[[dict[str, object]], Span | str]":
    """Return the function that finds a step's span, or says why it has none."""
    if reading.form.protocol is ReplyProtocol.UNITS:
        units, base = reading.units, reading.first
        return lambda item: unit_span(units, item.get("first"), item.get("last"), base)
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


def unit_span(units: Sequence[Span], first: object, last: object, base: int = 1) -> Span | str:
    """Return the span of the units ``first`` to ``last``, or why there is none.

    The first of ``units`` has the number ``base``. Where that is not 1, units before it exist but
    were not shown: a range that begins among them is read from the first one shown.
    """
    begin, end = whole(first), whole(last)
    if begin is None or end is None:
        return f"units {short(first)} to {short(last)} are no numbers"
    if begin > end:
        return f"units {begin} to {end} run backwards"
    top = base + len(units) - 1
    if begin < 1 or not base <= end <= top:
        return f"units {begin} to {end} are not among {base} to {top}"
    return Span(units[max(begin - base, 0)].start, units[end - base].stop)


def _read_links(reading: _Reading, items: object, order: Mapping[int, int]) -> tuple[Link, ...]:
    """Return the links whose two ends are steps, each once, in the order of the reply."""
    if items is not None and not isinstance(items, list):
        reading.refuse("links", "the links are no list")
        return ()
    links: dict[Link, None] = {}
    for item in cast("list[object]", items or []):
        link = _read_link(reading, item, order)
        if isinstance(link, str):
            reading.refuse(link_name(item), link)
        else:
            links[link] = None
    return tuple(links)


def _read_link(reading: _Reading, item: object, order: Mapping[int, int]) -> Link | str:
    """Return one link, or why it is none."""
    if not isinstance(item, dict):
        return "the link is no object"
    fields = cast("dict[str, object]", item)
    kind = known(fields.get("kind"), _LINK_KINDS)
    if kind is None:
        return f"unknown kind {short(fields.get('kind'))}"
    source = reading.position(fields.get("from"), order)
    target = reading.position(fields.get("to"), order)
    if isinstance(source, str) or isinstance(target, str):
        return source if isinstance(source, str) else str(target)
    if source == target:
        return "the step links to itself"
    return Link(source, target, _LINK_KINDS[kind])


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
        reading.refuse(f"blame {short(said)}", step)
        return None
    return Blame(step)


def _read_soundness(reading: _Reading, reply: Mapping[str, object]) -> Soundness | None:
    """Return the verdict on the success. A null is no verdict."""
    said = reply.get("soundness")
    if not reading.form.outcome.asks_soundness or said is None:
        return None
    verdict = known(said, _VERDICTS)
    if verdict is None:
        reading.refuse(f"soundness {short(said)}", "no such verdict")
        return None
    return _VERDICTS[verdict]


def _read_covered(reading: _Reading, reply: Mapping[str, object]) -> Span | None:
    """Return the range in which an unmarked stretch was judged idle."""
    if reading.form.protocol is ReplyProtocol.QUOTES:
        return Span(0, len(reading.text)) if reply.get("covered") is True else None
    first, last = reply.get("covered_first"), reply.get("covered_last")
    if first is None or last is None:
        return None
    base = reading.first
    span = unit_span(reading.units, first, last, base)
    if isinstance(span, str):
        reading.refuse("covered", span)
        return None
    # White space around the units belongs to nobody: a whole range is the whole text.
    start = 0 if span.start == reading.units[0].start else span.start
    stop = len(reading.text) if span.stop == reading.units[-1].stop else span.stop
    return Span(start, stop)
