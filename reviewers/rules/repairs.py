"""Wrong equations that the writer takes back or computes again."""

from collections.abc import Sequence

from reviewers.rules.cues import Cue, cues_in
from reviewers.rules.equations import Equation
from reviewers.rules.numbers import Verdict

_WINDOW = 250
"""How far after a wrong equation, in code points, its retraction may begin."""
_REPAIR = 400
"""How far after the retraction, in code points, the corrected equation may begin."""


def repairs(text: str, equations: Sequence[Equation]) -> dict[int, int | None]:
    """Return the wrong equations that do not stand, each with the position of its repair.

    A wrong equation is repaired by a later right one of the same calculation, or by the first
    right one after a retraction; it is ``None`` when it is taken back and nothing replaces it.
    """
    right = {e.key: i for i, e in enumerate(equations) if e.verdict is Verdict.RIGHT}
    found: dict[int, int | None] = {}
    for position, equation in enumerate(equations):
        if equation.verdict is not Verdict.WRONG:
            continue
        again = right.get(equation.key, -1)
        if again > position:
            found[position] = again
        else:
            _taken_back(text, equations, position, found)
    return found


def _taken_back(
    text: str, equations: Sequence[Equation], position: int, found: dict[int, int | None]
) -> None:
    """Look for a retraction behind the wrong equation at ``position``."""
    stop = equations[position].span.stop
    following = equations[position + 1] if position + 1 < len(equations) else None
    limit = min(stop + _WINDOW, following.span.start if following else len(text))
    for cue, where in cues_in(text, stop, limit):
        if cue not in (Cue.RETRACT, Cue.DOUBT):
            continue
        repaired = (
            following is not None
            and following.verdict is Verdict.RIGHT
            and following.span.start - where.stop <= _REPAIR
        )
        if repaired:
            found[position] = position + 1
        elif cue is Cue.RETRACT:
            found[position] = None
