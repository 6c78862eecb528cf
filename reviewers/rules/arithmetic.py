"""The rule ``arithmetic``: every equation, re-evaluated.

Segmentation: the equation's phrase. A right equation is contributing, or decisive when it results
in the answer and the outcome is no failure. A wrong one is harmful, or indirect when the text
itself puts it right later; one that cannot be judged is not marked, and unmarked text is no vote.
Soundness is judged unless the outcome is a failure, and left unsure when the text before the
answer holds an equality that cannot be read.

Confidence is the estimated chance that a careful reader agrees: for a right equation whether
anything uses its result, for a wrong one how far units, words or a disagreeing calculator mark
leave room for another reading.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from dca.domain.review import Blame, Link, LinkKind, Soundness, Step
from dca.domain.rollout import SUCCESS_AT, Rollout, succeeded
from reviewers.rules.answer import Answer, find_answer
from reviewers.rules.equations import Equation, read_page
from reviewers.rules.numbers import Verdict, compare, show
from reviewers.rules.reading import Reading, RuleReviewer
from reviewers.rules.repairs import repairs

USED = 0.85
"""Confidence of a right equation whose result is used or is the answer."""
UNUSED = 0.6
"""Confidence of a right equation whose result nothing seems to use."""
WRONG_PLAIN = 0.95
"""Confidence of a wrong equation between plain numbers."""
WRONG_WORDED = 0.85
"""Confidence of a wrong equation with units, words, percentages or powers."""
WRONG_MARKED = 0.6
"""Confidence of a wrong equation whose calculator mark is right by itself."""


class Arithmetic(RuleReviewer):
    """Finds and re-evaluates equations."""

    __slots__ = ()
    name: ClassVar[str] = "arithmetic"
    needs: ClassVar[tuple[str, ...]] = ("decisive", "contributing", "indirect", "harmful")

    def read(self, rollout: Rollout) -> Reading:
        """Return what the rule finds."""
        return read_arithmetic(rollout, self.success_at)


def read_arithmetic(rollout: Rollout, success_at: float = SUCCESS_AT) -> Reading:
    """Mark right and wrong equations, and link each to those whose results it calculates with."""
    text = rollout.completion
    page, lost = read_page(text), succeeded(rollout.reward, success_at) is False
    equations = page.equations
    repaired = repairs(text, equations)
    uses = used_results(equations)
    answer = find_answer(rollout)
    final = final_equation(equations, answer)
    used = {source for sources in uses for source in sources} | {final}
    marked = [i for i, e in enumerate(equations) if e.verdict is not Verdict.UNCLEAR]
    place = {position: step for step, position in enumerate(marked)}
    steps = tuple(
        _decisive(equations[i])
        if i == final and not lost and equations[i].verdict is Verdict.RIGHT
        else _step(equations[i], i in used, i in repaired, repaired.get(i))
        for i in marked
    )
    hidden = answer is not None and page.unread_before(answer.span.start)
    return Reading(
        steps,
        _links(uses, repaired, place),
        blame=_blame(equations, repaired, place) if lost else None,
        soundness=None if lost else _soundness(equations, repaired, uses, final, hidden=hidden),
    )


def used_results(equations: Sequence[Equation]) -> list[list[int]]:
    """Return, for every equation, the nearest earlier ones whose results it calculates with."""
    latest: dict[Fraction, int] = {}
    uses: list[list[int]] = []
    for position, equation in enumerate(equations):
        sources = {latest[value] for value in equation.operands if value in latest}
        uses.append(sorted(sources))
        latest[equation.result] = position
    return uses


def final_equation(equations: Sequence[Equation], answer: Answer | None) -> int | None:
    """Return the last equation up to the final answer that results in it, rounding granted."""
    if answer is None or answer.value is None:
        return None
    for position in range(len(equations) - 1, -1, -1):
        equation = equations[position]
        before = equation.span.start <= answer.span.start
        if before and compare(equation.result, answer.value, answer.decimals) is Verdict.RIGHT:
            return position
    return None


def _decisive(equation: Equation) -> Step:
    return Step(equation.span, "decisive", USED, "the calculation is right and gives the answer")


def _step(equation: Equation, used: bool, retracted: bool, repair: int | None) -> Step:
    if equation.verdict is Verdict.RIGHT:
        why = "the calculation is right" + (" and its result is used" if used else "")
        return Step(equation.span, "contributing", USED if used else UNUSED, why)
    why = f"the calculation comes to {show(equation.value or Fraction(0))}"
    sure = WRONG_PLAIN if equation.sure else WRONG_WORDED
    sure = WRONG_MARKED if equation.marked else sure
    if retracted and repair is not None:
        return Step(equation.span, "indirect", sure, f"{why}; put right later")
    return Step(equation.span, "harmful", sure, why)


def _links(
    uses: Sequence[Sequence[int]], repaired: dict[int, int | None], place: dict[int, int]
) -> tuple[Link, ...]:
    links = [
        Link(place[source], place[target], LinkKind.USES)
        for target, sources in enumerate(uses)
        for source in sources
        if source in place and target in place
    ]
    links += [
        Link(place[wrong], place[repair], LinkKind.REPAIRS)
        for wrong, repair in repaired.items()
        if repair is not None
    ]
    return tuple(links)


def _blame(
    equations: Sequence[Equation], repaired: dict[int, int | None], place: dict[int, int]
) -> Blame | None:
    """Blame the first wrong equation that stands; other errors are beyond this rule."""
    for position, equation in enumerate(equations):
        if equation.verdict is Verdict.WRONG and position not in repaired:
            return Blame(place[position])
    return None


def _soundness(
    equations: Sequence[Equation],
    repaired: dict[int, int | None],
    uses: Sequence[Sequence[int]],
    final: int | None,
    *,
    hidden: bool,
) -> Soundness:
    """Judge the equations that lead to the answer; unsure when none results in it.

    A slip in the words around a right calculator mark makes unsure, not unsound. ``hidden`` says
    that the text before the answer holds what could not be read, so that the way to it may too.
    """
    if final is None:
        return Soundness.UNSURE
    way, waiting = {final}, [final]
    while waiting:
        fresh = set(uses[waiting.pop()]) - way
        way |= fresh
        waiting.extend(fresh)
    stands = [equations[i] for i in way if i not in repaired]
    if any(e.verdict is Verdict.WRONG and not e.marked for e in stands):
        return Soundness.UNSOUND
    right = all(e.verdict is Verdict.RIGHT for e in stands) and not hidden
    return Soundness.SOUND if right else Soundness.UNSURE
