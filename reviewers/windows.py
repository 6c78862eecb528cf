"""Plan the windows in which a long reasoning is shown: pure, in linear time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dca.domain.errors import ReplyTruncated
from dca.domain.spans import Span
from reviewers.units import LIMIT

_DIGITS = "0123456789"


@dataclass(frozen=True, slots=True)
class Window:
    """The units that one question shows, by their numbers from 1, both inclusive."""

    first: int
    last: int


def estimate_tokens(text: str, bytes_per_token: float) -> int:
    """Return about how many tokens ``text`` has, rather too many than too few.

    Many tokenizers cut numbers into digits, so each digit counts as one token; the rest counts by
    its bytes in UTF-8.
    """
    digits = sum(map(text.count, _DIGITS))
    others = len(text.encode("utf-8", "surrogatepass")) - digits
    return digits + int(others / bytes_per_token) + 1


def unit_costs(
    text: str, units: Sequence[Span], bytes_per_token: float, *, numbered: bool
) -> list[int]:
    """Return the estimated tokens of each unit, with its number and the space before it.

    Args:
        text: The whole completion.
        units: Of ``text``.
        bytes_per_token: Of the model.
        numbered: True: shown as numbered lines, which repeat no long white space; else as it is.
    """
    most = LIMIT if numbered else len(text)
    stops = (0, *(unit.stop for unit in units))
    gaps = (min(unit.start - stop, most) for unit, stop in zip(units, stops, strict=False))
    return [
        estimate_tokens(f"[{number}] {unit.text(text)}", bytes_per_token)
        + int(gap / bytes_per_token)
        + 1
        for number, (unit, gap) in enumerate(zip(units, gaps, strict=True), 1)
    ]


def plan_windows(costs: Sequence[int], room: int, overlap: int) -> tuple[Window, ...]:
    """Return windows that show every unit, each beginning with the end of the one before.

    Args:
        costs: Tokens of each unit, at least one unit.
        room: Most tokens of a window.
        overlap: Tokens of a window that the next one shows again, at most half of ``room``; one
            unit at least is shown again.

    Raises:
        ReplyTruncated: Two neighbouring units need more than ``room``.
    """
    needed = max((one + other for one, other in pairwise(costs)), default=costs[0])
    if needed > room:
        raise ReplyTruncated(
            f"a window of {room} tokens is too small for units of {needed} tokens; is"
            " context_tokens right?"
        )
    windows: list[Window] = []
    begin, stop, used = 0, 0, 0
    while True:
        while stop < len(costs) and used + costs[stop] <= room:
            used += costs[stop]
            stop += 1
        windows.append(Window(begin + 1, stop))
        if stop == len(costs):
            return tuple(windows)
        least = begin + 1
        begin, used = stop - 1, costs[stop - 1]
        # What follows must fit beside what is shown again.
        spare = min(overlap, room - costs[stop])
        while begin > least and used + costs[begin - 1] <= spare:
            begin -= 1
            used += costs[begin]
