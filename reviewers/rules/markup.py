"""Tags and the bars of tables around arithmetic: boundaries, mere dress, or neither."""

import re

from reviewers.rules.draft import Draft

_DRESSING = frozenset(
    [
        *("b", "i", "u", "s", "a", "em", "strong", "span", "font", "mark", "small", "big"),
        *("code", "kbd", "tt", "samp", "del", "ins", "strike"),
    ]
)
"""Tags that only change how their text looks: "<b>3</b> + 4" is a sum."""
_BREAKS = frozenset(["br", "hr"])
_RAISED = frozenset(["sup", "sub"])
_LETTERS = frozenset("abipqsu")
"""The one-letter names among the tags of HTML; "<x>" is a comparison."""
_ODD_BAR = re.compile(r"\|[ \t]*(?:[+*/^=<>)×÷]|-[ \t])|[-+*/^=(<>×÷][ \t]*\|")
"""A bar beside an operator, as in "|x| = 3": it holds an absolute value."""
_GLUED_BAR = re.compile(r"[^\s|]\||\|[^\s|]")
_LONGEST_ROW = 4_000
"""A longer line, in code points, is no row of a table."""


def read_tag(draft: Draft, match: re.Match[str]) -> None:
    """Read a tag as a boundary, as nothing, or as mathematics that is not read.

    A number before a raised one is a power, letters between ``<`` and ``>`` a comparison, and a
    tag between a name and a bracket, "max<int>(3)", belongs to both.
    """
    name = match.group().strip("</>").split()[0].lower()
    if name in _RAISED:
        draft.emit("q", match, "^")
    elif len(name) == 1 and (name not in _LETTERS or _after_a_letter(draft)):
        draft.emit("q", match, "<")
    elif name not in _DRESSING:
        inside = name not in _BREAKS and _between(draft, match)
        draft.emit("q" if inside else "b", match, "<")


def _after_a_letter(draft: Draft) -> bool:
    before = draft.tokens[-1].text if draft.tokens else ""
    return len(before) == 1 and before.isalpha()


def _between(draft: Draft, match: re.Match[str]) -> bool:
    """Tell whether a tag stands between a name or a number and what may go on with it."""
    before = draft.text[max(0, match.start() - 1) : match.start()]
    after = draft.text[match.end() : match.end() + 1]
    return (before.isalnum() or before in (")", "%")) and after in ("(", "-")


def read_bar(draft: Draft, match: re.Match[str]) -> None:
    """Read the bar of a table as a boundary; any other is mathematics that is not read."""
    if draft.row is None:
        draft.row = _is_row(draft.text, match.start())
    draft.emit("b" if draft.row else "q", match, "|")


def _is_row(text: str, bar: int) -> bool:
    """Tell whether the line around its first bar is a row of a table.

    A row begins and ends with a bar, or has white space around all its bars.
    """
    first, last = max(0, bar - _LONGEST_ROW), bar + _LONGEST_ROW
    start, stop = text.rfind("\n", first, bar) + 1, text.find("\n", bar, last)
    line = text[max(first, start) : stop if stop >= 0 else last]
    if len(line) >= _LONGEST_ROW or _ODD_BAR.search(line):
        return False
    row = line.strip()
    closed = len(row) > 1 and row[0] == row[-1] == "|"
    return closed or _GLUED_BAR.search(line) is None
