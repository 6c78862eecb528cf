"""Review a reasoning that is longer than a model's context, window by window. Pure.

The windows are asked in order in one dialogue. Each question shows the problem, an outline of the
steps found so far and one stretch of the reasoning; the instructions and the form of the reply are
the same for all of them, so that a provider caches both. The reviews become one. A verdict is
asked for with each window, because whoever sees a wrong step in full is the one to suspect it, and
its step stays in the outline; that of the last window counts. A window that cannot be reviewed
makes the whole an abstention, because the rest would be a review of another text.
"""

from dataclasses import dataclass, field, replace

from dca.domain.errors import ReplyInvalid, ReplyTruncated, ReviewError
from dca.domain.rollout import Rollout
from dca.domain.spans import Span
from reviewers.dialogue import Asker, Book, Dialogue, obtain
from reviewers.exchange import Question
from reviewers.merge import merge, shift, widest
from reviewers.outline import Outline, Sketcher
from reviewers.parse import Parsed, Part, parse_reply
from reviewers.protocol import review_key
from reviewers.question import Asking, Exhibit, Scope, put
from reviewers.schema import ReplyForm, ReplyProtocol
from reviewers.units import cut_units, number_units
from reviewers.windows import Window, estimate_tokens, plan_windows, unit_costs

LEAST_ROOM = 600
"""Tokens that outline and window need: below, questions would be nothing but instructions."""
OUTLINE_SHARE = 0.25
"""Part of that room that the outline may take."""
OVERLAP_SHARE = 0.125
"""Part of a window that the next one shows again."""


def discuss_long(asker: Asker, rollout: Rollout, room: int) -> Dialogue:
    """Ask about one rollout in as many windows as it takes.

    Args:
        asker: Who is asked.
        rollout: About what.
        room: Most tokens of one question, instructions included.
    """
    key, book = review_key(asker, rollout), Book()
    try:
        if not rollout.completion.strip():
            raise ReplyInvalid("the completion holds no text to review")
        survey = _survey(rollout, asker.asking, room)
        for number in range(1, len(survey.windows) + 1):
            question, view = survey.question(number)

            def read(text: str, view: _View = view) -> Parsed:
                return parse_reply(text, view.text, survey.form, view.units, view.part)

            survey.take(view, (yield from obtain(question, read, book)))
        parsed = survey.result()
    except ReviewError as error:
        return (book.abstention(key, error),)
    return (book.review(key, parsed),)


_NOTHING = Parsed((), (), None, None, None, ())


@dataclass(frozen=True, slots=True)
class _View:
    """What one question shows, in positions of its own."""

    text: str
    span: Span
    """Where ``text`` stands in the completion."""
    units: tuple[Span, ...]
    """Units of ``text``; empty in the ``quotes`` protocol."""
    part: Part
    outline: Outline


@dataclass(slots=True)
class _Survey:
    """One long reasoning, and what has been found in it so far."""

    rollout: Rollout
    asking: Asking
    form: ReplyForm
    units: tuple[Span, ...]
    windows: tuple[Window, ...]
    sketcher: Sketcher
    found: Parsed = _NOTHING
    reached: int = 0
    """Where the last window ended."""
    covered: list[Span] = field(default_factory=list[Span])

    def question(self, number: int) -> tuple[Question, _View]:
        """Return the question about window ``number``, from 1, and what it shows."""
        window = self.windows[number - 1]
        outline = self.sketcher.sketch(self.found)
        view = self._view(window, outline)
        last = number == len(self.windows)
        choices = (self.form.outcome.value, "last" if last else "more")
        slots = {"number": str(number), "parts": str(len(self.windows))}
        if outline.steps:
            choices, slots = (*choices, "outline"), {**slots, "outline": outline.text}
        shown = view.text
        if view.units:
            slots |= {
                "first": str(window.first),
                "last": str(window.last),
                "count": str(len(self.units)),
            }
            shown = number_units(view.text, view.units, window.first)
        exhibit = Exhibit(shown, choices, slots)
        said = put(self.rollout, self.asking, self.form, Scope.PART, (exhibit,))
        units = self.units[window.first - 1 : window.last] if view.units else ()
        return Question(*said, self.form, units), view

    def _view(self, window: Window, outline: Outline) -> _View:
        """Return what a window shows; the first begins and the last ends with the text."""
        text = self.rollout.completion
        units = self.units[window.first - 1 : window.last]
        start = 0 if window.first == 1 else units[0].start
        stop = len(text) if window.last == len(self.units) else units[-1].stop
        own = ()
        if self.asking.protocol is ReplyProtocol.UNITS:
            own = tuple(Span(unit.start - start, unit.stop - start) for unit in units)
        part = Part(window.first, outline.numbers)
        return _View(text[start:stop], Span(start, stop), own, part, outline)

    def take(self, view: _View, parsed: Parsed) -> None:
        """Add what was found in a window."""
        part = shift(parsed, view.span.start)
        overlap = Span(view.span.start, max(view.span.start, self.reached))
        text = self.rollout.completion
        self.found = merge(self.found, part, view.outline.steps, overlap, text)
        self.reached = view.span.stop
        if part.covered is not None:
            self.covered.append(part.covered)

    def result(self) -> Parsed:
        """Return the review of the whole.

        Raises:
            ReplyInvalid: No window holds a step.
        """
        if not self.found.steps:
            raise ReplyInvalid("the replies mark no step in any part of the reasoning")
        return replace(self.found, covered=widest(self.covered))


def _survey(rollout: Rollout, asking: Asking, room: int) -> _Survey:
    """Plan the windows of ``rollout``.

    Raises:
        ReplyTruncated: Instructions and problem leave no room.
    """
    text = rollout.completion
    ratio = asking.bytes_per_token
    form = asking.form(asking.outcome(rollout))
    units = cut_units(text)
    left = room - fixed_tokens(rollout, asking)
    if left < LEAST_ROOM:
        raise ReplyTruncated(
            f"of {room} tokens for a question the instructions and the problem leave"
            f" {max(left, 0)}; a window needs {LEAST_ROOM}"
        )
    outline = int(left * OUTLINE_SHARE)
    window = left - outline
    numbered = asking.protocol is ReplyProtocol.UNITS
    costs = unit_costs(text, units, ratio, numbered=numbered)
    windows = plan_windows(costs, window, int(window * OVERLAP_SHARE))
    sketcher = Sketcher(text, units if numbered else (), asking.labels, outline, ratio)
    return _Survey(rollout, asking, form, units, windows, sketcher)


def fixed_tokens(rollout: Rollout, asking: Asking) -> int:
    """Return the tokens of a question about a window without outline and reasoning."""
    form = asking.form(asking.outcome(rollout))
    names = ["number", "parts"]
    if asking.protocol is ReplyProtocol.UNITS:
        names += ["first", "last", "count"]
    slots = {"outline": "", **dict.fromkeys(names, "999999")}
    exhibit = Exhibit("", (form.outcome.value, "last", "outline"), slots)
    system, turns = put(rollout, asking, form, Scope.PART, (exhibit,))
    return question_tokens(Question(system, turns, form), asking.bytes_per_token)


def question_tokens(question: Question, bytes_per_token: float) -> int:
    """Return about how many tokens a question has."""
    texts = (question.system, *(turn.text for turn in question.turns))
    return sum(estimate_tokens(text, bytes_per_token) for text in texts)
