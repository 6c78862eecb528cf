"""The rule ``revision``: what the writer takes back, repairs, drops, checks or contradicts.

Segmentation: the retracted stretch (a sentence, or its part before the cue), the clause of the
cue, and the stretch that repairs. A retracted stretch is indirect when something replaces it and
harmful when it is merely abandoned; the cue is indirect; the repair contributing. A retraction
that arrives at the same value again was needless: cue and repetition are idle. An approach that is
dropped for another is indirect and suggests the next. A check that confirms what is known is
idle, because it adds nothing that the answer uses. A quantity that is stated with two values, with
nothing taken back, is a contradiction: the statement that does not hold is harmful.

"Wait" and "hmm" alone are no retraction: something stated before must change. Unmarked text is
no vote, and no verdict on soundness is given.

Confidence is the estimated chance that a careful reader gives the same label: highest where the
text says outright that something is wrong, lower where that is only seen from what changes.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from dca.domain.review import Blame, Link, LinkKind, Step
from dca.domain.rollout import SUCCESS_AT, Rollout, succeeded
from reviewers.rules.cues import Cue, settles
from reviewers.rules.equations import read_page
from reviewers.rules.numbers import Verdict, show
from reviewers.rules.reading import Reading, RuleReviewer
from reviewers.rules.stretches import Stretch, stretches

PLAIN = 0.8
"""Confidence of a retraction in so many words."""
SEEN = 0.6
"""Confidence of a retraction that is seen from what changes, of checks and of dead ends."""
_REACH = 3
"""How many stretches after a cue may hold its repair."""
_CHECK_REACH = 4
"""How many stretches a check may take."""
_KNOWN_REACH = 60
"""How many stretches before a check may hold what it confirms."""
_ANSWERS = re.compile(r"no(?:pe)?[,.]", re.IGNORECASE)
_SHARED = 0.6
"""Share of words that two statements of one quantity have in common."""


class Revision(RuleReviewer):
    """Finds retractions, repairs, dead ends, checks and contradictions."""

    __slots__ = ()
    name: ClassVar[str] = "revision"
    needs: ClassVar[tuple[str, ...]] = ("contributing", "indirect", "idle", "harmful")

    def read(self, rollout: Rollout) -> Reading:
        """Return what the rule finds."""
        return read_revision(rollout, self.success_at)


class _Marks:
    """The steps and links found so far, by the position of their stretch."""

    def __init__(self) -> None:
        self.labels: dict[int, tuple[str, float, str]] = {}
        self.links: list[tuple[int, int, LinkKind]] = []

    def mark(self, place: int, label: str, sure: float, reason: str) -> None:
        self.labels[place] = (label, sure, reason)


def read_revision(rollout: Rollout, success_at: float = SUCCESS_AT) -> Reading:
    """Mark what the text takes back, and link it to what it led to."""
    text = rollout.completion
    page = read_page(text)
    parts = stretches(text, page)
    lost = succeeded(rollout.reward, success_at) is False
    given = frozenset(numeral.value for numeral in read_page(rollout.problem).numerals)
    marks = _Marks()
    place = 0
    while place < len(parts):
        follow = parts[place].cue is not None
        place = _follow(text, parts, place, given, marks) if follow else place + 1
    against = _contradictions(parts, marks)
    order = sorted(marks.labels)
    step_of = {position: step for step, position in enumerate(order)}
    blamed = [step_of[position] for position in against]
    return Reading(
        tuple(Step(parts[position].span, *marks.labels[position]) for position in order),
        tuple(Link(step_of[a], step_of[b], kind) for a, b, kind in marks.links),
        blame=Blame(min(blamed)) if blamed and lost else None,
    )


def _follow(
    text: str, parts: Sequence[Stretch], place: int, given: frozenset[Fraction], marks: _Marks
) -> int:
    """Read the cue at ``place`` and its neighbours; return where to go on."""
    cue = parts[place].cue
    if cue is Cue.CHECK:
        return _check(text, parts, place, given, marks)
    if cue is Cue.RETRACT:
        _retract(text, parts, place, marks)
    elif cue is Cue.TURN:
        _turn(parts, place, marks)
    else:
        _doubt(text, parts, place, marks)
    return place + 1


def _next(parts: Sequence[Stretch], start: int) -> int | None:
    """Return the next plain stretch with a number, else the next plain one, within reach."""
    near = [p for p in range(start, min(start + _REACH, len(parts))) if parts[p].cue is None]
    return next((p for p in near if parts[p].values), near[0] if near else None)


def _retract(text: str, parts: Sequence[Stretch], place: int, marks: _Marks) -> None:
    """Mark a retraction in so many words; "no" after a question only answers it."""
    wrong, repair = _target(parts, place - 1), _next(parts, place + 1)
    if wrong is None or marks.labels.get(wrong, ("",))[0] == "idle":
        return
    if parts[wrong].span.text(text).endswith("?") and _ANSWERS.match(
        text, parts[place].span.start
    ):
        return
    if repair is not None and _same(parts[wrong], parts[repair]):
        for position in (place, repair):
            marks.mark(position, "idle", SEEN, "a retraction that changes nothing")
        return
    marks.mark(place, "indirect", SEEN, "takes back what is before it")
    if repair is None:
        marks.mark(wrong, "harmful", SEEN, "taken back, and nothing replaces it")
        return
    sure = PLAIN if parts[wrong].values and parts[repair].values else SEEN
    marks.mark(wrong, "indirect", sure, "taken back and replaced")
    marks.mark(repair, "contributing", SEEN, "replaces what was taken back")
    marks.links.append((wrong, repair, LinkKind.REPAIRS))


def _same(old: Stretch, new: Stretch) -> bool:
    """Tell whether a new calculation arrives at the value that was there."""
    return bool(new.equations) and _value(old) == _value(new)


def _target(parts: Sequence[Stretch], before: int) -> int | None:
    """Return what is taken back: a wrong equation close before, else the last plain stretch."""
    near = [p for p in range(before, max(before - _REACH, -1), -1) if parts[p].cue is None]
    wrong = [p for p in near if any(e.verdict is Verdict.WRONG for e in parts[p].equations)]
    return next(iter(wrong or near), None)


def _value(part: Stretch) -> Fraction | None:
    """Return what a stretch arrives at: its last result, else its last number."""
    if part.equations:
        return part.equations[-1].result
    return part.values[-1] if part.values else None


def _turn(parts: Sequence[Stretch], place: int, marks: _Marks) -> None:
    """Mark an approach that is dropped for another."""
    old, new = _target(parts, place - 1), _next(parts, place + 1)
    if old is None or new is None:
        return
    marks.mark(old, "indirect", SEEN, "an approach that is dropped")
    marks.mark(place, "indirect", 0.5, "turns to another approach")
    marks.mark(new, "contributing", 0.5, "the approach that replaces it")
    marks.links.append((old, new, LinkKind.SUGGESTS))


def _doubt(text: str, parts: Sequence[Stretch], place: int, marks: _Marks) -> None:
    """Mark "wait" and "hmm" only where something stated before changes."""
    wrong, repair = _target(parts, place - 1), _next(parts, place + 1)
    if repair is None or wrong is None or not _changes(text, parts[wrong], parts[repair]):
        return
    marks.mark(wrong, "indirect", SEEN, "replaced after a doubt")
    marks.mark(place, "indirect", SEEN, "doubts what is before it")
    marks.mark(repair, "contributing", SEEN, "replaces what was doubted")
    marks.links.append((wrong, repair, LinkKind.REPAIRS))


def _changes(text: str, old: Stretch, new: Stretch) -> bool:
    """Tell whether ``new`` states again, with another value, what ``old`` states."""
    if any(e.verdict is Verdict.WRONG for e in old.equations):
        return any(e.verdict is Verdict.RIGHT for e in new.equations)
    keys = {e.key: e.result for e in old.equations}
    if any(keys.get(e.key, e.result) != e.result for e in new.equations):
        return True
    one, two = _value(old), _value(new)
    if one is None or two is None or one == two or not old.equations or not new.equations:
        return False
    words = [_words(part.span.text(text)) for part in (old, new)]
    shared = len(words[0] & words[1])
    return shared >= 2 and shared >= _SHARED * min(len(words[0]), len(words[1]))


def _words(text: str) -> set[str]:
    return {word for word in text.lower().split() if word.isalpha() and len(word) > 3}


def _check(
    text: str, parts: Sequence[Stretch], place: int, given: frozenset[Fraction], marks: _Marks
) -> int:
    """Mark a check that confirms; one that finds a fault is left to the retraction after it.

    A check confirms when it says so, or when everything that it calculates was known before.
    """
    known = given.union(*(part.values for part in parts[max(0, place - _KNOWN_REACH) : place]))
    end, confirmed, repeated = place, False, False
    while end < min(len(parts), place + 1 + _CHECK_REACH) and not confirmed:
        part = parts[end]
        if (end > place and part.cue is not None) or not _holds(part):
            break
        confirmed = settles(text, part.span)
        repeated = repeated or any(e.result in known for e in part.equations)
        end += 1
        if repeated and not confirmed:
            ahead = end < len(parts) and parts[end].cue is None
            confirmed = ahead and settles(text, parts[end].span)
            end += confirmed
            break
    fault = end < len(parts) and parts[end].cue in (Cue.RETRACT, Cue.DOUBT)
    if fault or not (confirmed or repeated):
        return place + 1
    for position in range(place, end):
        if position not in marks.labels:
            marks.mark(position, "idle", SEEN, "a check that confirms what is known")
    return end


def _holds(part: Stretch) -> bool:
    return all(equation.verdict is Verdict.RIGHT for equation in part.equations)


def _contradictions(parts: Sequence[Stretch], marks: _Marks) -> list[int]:
    """Mark wrong statements of a calculation that the text also states rightly, unretracted."""
    right: dict[tuple[str, ...], Fraction] = {
        equation.key: equation.result
        for part in parts
        for equation in part.equations
        if equation.verdict is Verdict.RIGHT
    }
    found: list[int] = []
    for place, part in enumerate(parts):
        for equation in part.equations:
            other = right.get(equation.key)
            stands = equation.verdict is Verdict.WRONG and place not in marks.labels
            if other is not None and stands:
                marks.mark(place, "harmful", SEEN, f"elsewhere the text says {show(other)}")
                found.append(place)
    return found
