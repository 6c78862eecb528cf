"""The rule ``dataflow``: what the final answer rests on.

Segmentation: clauses, one per line at most. Walks backward from the answer along the values: the
clause that produces the answer is decisive (contributing when the outcome is a failure), the ones
that it rests on contributing, clauses that only restate the problem setup, clauses whose values
nothing uses idle. A clause that the answer rests on is harmful when its equation does not hold or,
on a failure, when it brings in a number from nowhere. A closing line that states an answer already
derived is idle: it repeats what is known.

Equalities that cannot be read, algebra above all, may be where a number comes from and may hide a
mistake. With one before the answer, only a wrong equation is blamed, and soundness is unsure.
"Nobody is to blame" is said only when every equation that the answer rests on holds, nothing was
left unread, and the text holds no wrong equation at all. A failure gets no verdict on soundness.

The whole completion is covered when the answer can be followed to a clause that produces it;
otherwise only restatements and breaks are marked, and unmarked text is no vote.

Confidence is the estimated chance that a careful reader gives the same label; it falls from
equations to numbers in words and to numbers that merely fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from dca.domain.review import Blame, Link, LinkKind, Soundness, Step
from dca.domain.rollout import SUCCESS_AT, Rollout, succeeded
from dca.domain.spans import Span
from reviewers.rules.answer import Answer, find_answer
from reviewers.rules.equations import Page, read_page
from reviewers.rules.flow import Segment, segments
from reviewers.rules.ledger import ORDINARY, given_values
from reviewers.rules.numbers import Verdict, compare, show
from reviewers.rules.reading import Reading, RuleReviewer
from reviewers.rules.repairs import repairs

_MAX_STRANGE = 2
"""With more clauses whose numbers come from nowhere it is the reader who has lost the thread."""


class Dataflow(RuleReviewer):
    """Follows stated values from where they appear to the answer."""

    __slots__ = ()
    name: ClassVar[str] = "dataflow"
    needs: ClassVar[tuple[str, ...]] = ("decisive", "contributing", "setup", "idle", "harmful")

    def read(self, rollout: Rollout) -> Reading:
        """Return what the rule finds."""
        return read_dataflow(rollout, self.success_at)


@dataclass(frozen=True, slots=True)
class _Walk:
    """The way back from the answer. Positions are positions of segments."""

    parts: Sequence[Segment]
    page: Page
    repaired: Mapping[int, int | None]
    """Wrong equations that do not stand."""
    statement: int | None
    """The segment that states the answer."""
    producer: int | None
    """The segment whose values hold the answer."""
    way: frozenset[int]
    """The producer and everything that it rests on."""
    hidden: bool
    """True when the text before the answer holds equalities that could not be read."""

    def wrong(self, place: int) -> str:
        """Return why a segment's equations do not hold, ``""`` when they do.

        A slip in the words around a right calculator mark does not count.
        """
        for position in self.parts[place].equations:
            equation = self.page.equations[position]
            stands = position not in self.repaired and not equation.marked
            if equation.verdict is Verdict.WRONG and stands:
                real = "" if equation.value is None else show(equation.value)
                return f"the calculation comes to {real}"
        return ""


def read_dataflow(rollout: Rollout, success_at: float = SUCCESS_AT) -> Reading:
    """Walk back from the final answer and mark what it rests on."""
    text = rollout.completion
    page = read_page(text)
    parts = segments(text, page, given_values(rollout.problem))
    answer = find_answer(rollout)
    walk = _walk(parts, page, repairs(text, page.equations), answer)
    nowhere = _from_nowhere(walk, answer)
    strange = [place for place in walk.way if parts[place].strange]
    traced = len(strange) <= _MAX_STRANGE and not walk.hidden
    won = succeeded(rollout.reward, success_at)
    lost = won is False
    labels = [
        _label(walk, place, won, nowhere=nowhere, traced=traced) for place in range(len(parts))
    ]
    marked = [place for place, label in enumerate(labels) if label is not None]
    step_of = {place: step for step, place in enumerate(marked)}
    steps = tuple(
        Step(parts[place].span, *label) for place, label in enumerate(labels) if label is not None
    )
    return Reading(
        steps,
        _links(walk, step_of),
        covered=None if walk.producer is None else Span(0, len(text)),
        blame=_blame(walk, steps, step_of, nowhere) if lost else None,
        soundness=None if lost else _soundness(walk, nowhere),
    )


def _walk(
    parts: Sequence[Segment], page: Page, repaired: Mapping[int, int | None], answer: Answer | None
) -> _Walk:
    """Find the segment that states the answer, the one that produces it, and its ancestors."""
    if answer is None or answer.value is None:
        return _Walk(parts, page, repaired, None, None, frozenset(), hidden=False)
    before = [i for i, part in enumerate(parts) if part.span.start <= answer.span.start]
    statement = before[-1] if before else None
    producer = None
    for place in reversed(before):
        part = parts[place]
        bare = place == statement and not part.equations and not part.guessed
        if not bare and _produces(part, answer.value, answer.decimals):
            producer = place
            break
    way = {producer} if producer is not None else set[int]()
    waiting = list(way)
    while waiting:
        fresh = set(parts[waiting.pop()].sources) - way
        way |= fresh
        waiting.extend(fresh)
    hidden = page.unread_before(answer.span.start)
    return _Walk(parts, page, repaired, statement, producer, frozenset(way), hidden=hidden)


def _produces(part: Segment, value: Fraction, decimals: int) -> bool:
    return any(compare(v, value, decimals) is Verdict.RIGHT for v in part.outputs)


def _from_nowhere(walk: _Walk, answer: Answer | None) -> bool:
    """Tell whether a number is stated as the answer that the text does not lead to.

    True when nothing is calculated at all, or when equations are, and neither a result, rounded up
    or down, nor any number before the statement is the answer. What could not be read may lead.
    """
    if walk.producer is not None or walk.statement is None or answer is None or walk.hidden:
        return False
    value, parts = answer.value, walk.parts[: walk.statement]
    if value is None or (parts and not any(part.equations for part in parts)):
        return False
    stated = {n.value for n in walk.page.numerals if n.span.start < answer.span.start}
    near = any(abs(v - value) < 1 for part in parts for v in part.outputs)
    return value not in stated and not near


def _label(
    walk: _Walk, place: int, won: bool | None, *, nowhere: bool, traced: bool
) -> tuple[str, float, str] | None:
    """Return label, confidence and reason of one segment; ``None`` leaves it unmarked."""
    part = walk.parts[place]
    if place == walk.statement and place != walk.producer:
        if nowhere and not won:
            return "harmful", 0.6, "the answer follows from no step"
        if walk.producer is not None:
            return "idle", 0.7, "states the answer that is already derived"
    if place in walk.way:
        return _on_the_way(walk, place, lost=won is False, traced=traced)
    if not part.outputs:
        return _restatement(part)
    if walk.producer is None:
        return None
    return "idle", 0.6 if part.equations else 0.45, "nothing uses its values"


def _restatement(part: Segment) -> tuple[str, float, str] | None:
    if part.given:
        return "setup", 0.5 if part.known else 0.7, "restates numbers of the problem"
    return ("idle", 0.5, "repeats a known value") if part.known else None


def _on_the_way(walk: _Walk, place: int, *, lost: bool, traced: bool) -> tuple[str, float, str]:
    """Label a segment that the answer rests on."""
    part = walk.parts[place]
    wrong = walk.wrong(place)
    if wrong:
        return "harmful", 0.85, f"the answer rests on it, but {wrong}"
    strange = ", ".join(show(value) for value in part.strange[:3])
    if strange and lost and traced:
        return "harmful", 0.5, f"the answer rests on it, but {strange} comes from nowhere"
    sure = 0.8 if part.equations and not strange else 0.55
    if place == walk.producer:
        label = "contributing" if lost else "decisive"
        return label, sure, "produces the answer"
    return "contributing", sure, "the answer rests on its values"


def _links(walk: _Walk, step_of: Mapping[int, int]) -> tuple[Link, ...]:
    """Link values to where they are calculated with; stating an answer again uses nothing."""
    again = walk.statement if walk.statement != walk.producer else None
    return tuple(
        Link(step_of[source], step_of[place], LinkKind.USES)
        for place, part in enumerate(walk.parts)
        for source in part.sources
        if source in step_of and place in step_of and place != again
    )


def _blame(
    walk: _Walk, steps: Sequence[Step], step_of: Mapping[int, int], nowhere: bool
) -> Blame | None:
    """Blame the first harmful step on the way; nobody, when everything was read and holds."""
    for step in step_of.values():
        if steps[step].label == "harmful":
            return Blame(step)
    clean = all(equation.verdict is not Verdict.WRONG for equation in walk.page.equations)
    whole = walk.producer is not None and not nowhere and clean
    return Blame(None) if whole and _checked(walk) else None


def _checked(walk: _Walk) -> bool:
    """Tell whether every step on the way was read, holds, and reaches back to what is given."""
    equations = [walk.page.equations[i] for p in walk.way for i in walk.parts[p].equations]
    holds = all(equation.verdict is Verdict.RIGHT for equation in equations)
    rooted = all(_rooted(walk.parts[p]) for p in walk.way)
    strange = any(walk.parts[p].strange for p in walk.way)
    return holds and rooted and not strange and not walk.hidden


def _rooted(part: Segment) -> bool:
    """Tell whether a segment rests on the problem, on the text or on what everybody knows.

    What everybody knows is stated and not calculated: "there are 7 days in a week".
    """
    known = not part.equations and all(value in ORDINARY for value in part.outputs)
    return part.given or bool(part.sources) or known


def _soundness(walk: _Walk, nowhere: bool) -> Soundness:
    if nowhere or any(walk.wrong(place) for place in walk.way):
        return Soundness.UNSOUND
    return Soundness.SOUND if walk.producer is not None and _checked(walk) else Soundness.UNSURE
