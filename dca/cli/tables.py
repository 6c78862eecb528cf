"""Columns of text: the last one cut to a terminal's width, nothing cut for a pipe."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

GAP = "  "


def print_table(
    console: Console,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
) -> None:
    """Print columns without a frame.

    Args:
        console: Where to.
        heads: Names of the columns; all empty: no line of names.
        rows: Cells of one line each, safe to show.
        right: Positions of the columns that are aligned to the right.
    """
    table = [*([heads] if any(heads) else []), *rows]
    widths = [max(cell_len(row[column]) for row in table) for column in range(len(heads))]
    for number, row in enumerate(table):
        cells = [
            _pad(cell, width, to_the_right=column in right)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        style = "bold" if number == 0 and any(heads) else ""
        print_line(console, Text(GAP.join(cells).rstrip(), style=style))


def print_line(console: Console, line: Text) -> None:
    """Print one line: cut with an ellipsis on a terminal, whole anywhere else."""
    if console.is_terminal:
        line.truncate(console.width, overflow="ellipsis")
    console.print(line, soft_wrap=True)


def _pad(cell: str, width: int, *, to_the_right: bool) -> str:
    if to_the_right:
        return " " * (width - cell_len(cell)) + cell
    return set_cell_size(cell, width)
