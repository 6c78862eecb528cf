"""The reviewers at work: one row each where a terminal redraws itself, one line each elsewhere.

Rows hold as many columns as fit: those that matter least go first, and a column in which nobody
has anything to show is left out. So no row is ever wider than the terminal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from dca.cli.amounts import compact, duration, latency, money, rate
from dca.cli.terminal import one_line
from dca.pipeline.progress import Agreement, ReviewerFigures

SURE_AFTER = 20
"""Answers from which a projection is no longer marked as a guess."""
LONGEST_NAME = 20
SHORTEST_NAME = 8
"""Cells that a name keeps however narrow the terminal is."""
GAP = "  "
EXACT_BELOW = 100_000
"""Totals below this are written with all their digits."""
BAR = 16
"""Cells of the bar."""
GUESS = "~"
IN_ASCII = str.maketrans("█░·…", "#-|.")
"""For terminals that are sent no other characters."""

Figures = ReviewerFigures


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the panel."""

    head: str
    cell: Callable[[Figures], str]
    """Empty where there is nothing to show."""
    rank: int
    """The highest goes first when there is no room; 0 stays."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a terminal shows while a panel works."""

    reviewers: Sequence[Figures]
    agreement: Agreement | None
    seconds: float
    """Since the beginning."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the rows at the terminal's width."""
        width = options.max_width
        yield from (_plain(row, options) for row in panel_rows(self.reviewers, width))
        total = total_line(self.reviewers, self.agreement, self.seconds, width)
        yield _plain(total, options)


def panel_rows(reviewers: Sequence[Figures], width: int) -> list[Text]:
    """Return a line of heads and one line for each reviewer, none wider than ``width`` cells."""
    columns = [column for column in COLUMNS if column.rank == 0 or _filled(column, reviewers)]
    names = [one_line(row.name) for row in reviewers]
    name_width = min(LONGEST_NAME, max(map(cell_len, ("reviewer", *names))))
    while True:
        table = [[column.head for column in columns]]
        table += [[column.cell(row) for column in columns] for row in reviewers]
        widths = [max(map(cell_len, cells)) for cells in zip(*table, strict=True)]
        needed = sum(widths) + len(GAP) * len(widths)
        spare = max(columns, key=lambda column: column.rank)
        if needed + name_width <= width or spare.rank == 0:
            break
        columns.remove(spare)
    name_width = max(SHORTEST_NAME, min(name_width, width - needed))
    lines: list[Text] = []
    for number, (name, cells) in enumerate(zip(("reviewer", *names), table, strict=True)):
        padded = (
            " " * (wide - cell_len(cell)) + cell for cell, wide in zip(cells, widths, strict=True)
        )
        line = Text(GAP.join((_fitted(name, name_width), *padded)), style="" if number else "dim")
        line.truncate(width)
        lines.append(line)
    return lines


def total_line(
    reviewers: Sequence[Figures], agreement: Agreement | None, seconds: float, width: int
) -> Text:
    """Return the whole panel in one line of at most ``width`` cells; the last parts go first.

    Args:
        reviewers: The latest figures.
        agreement: So far.
        seconds: Since the beginning.
        width: Of the terminal, cells.
    """
    done, total = sum(row.done for row in reviewers), sum(row.total for row in reviewers)
    left = seconds_left(reviewers)
    parts = [
        _ratio(done, total),
        "" if left is None else f"about {duration(left)} left",
        _spent(reviewers),
        duration(seconds),
        f"{rate(60 * done / seconds)}/min" if seconds > 0 else "",
        _agreed(agreement),
    ]
    kept = [part for part in parts if part]
    while len(kept) > 1 and cell_len(" · ".join(kept)) > width:
        kept.pop()
    text = " · ".join(kept)
    if cell_len(text) + len(GAP) + BAR <= width:
        text = _bar(done, total) + GAP + text
    line = Text(text, style="bold")
    line.truncate(width)
    return line


def reviewer_line(row: Figures) -> str:
    """Return one reviewer's figures in one line for people."""
    parts = [
        f"{one_line(row.name)}: {row.done:,}/{row.total:,}",
        f"ok {row.reviews:,}",
        f"abstained {row.abstained:,}" if row.abstained else "",
        f"in flight {row.flying:,}" if row.flying else "",
        f"retrying {row.resting:,}" if row.resting else "",
        f"{rate(row.per_minute)}/min",
        _tokens(row),
        "" if row.dollars is None else f"{money(row.dollars)} of {projected(row) or '?'}",
        "" if row.p50 is None else f"p50 {latency(row.p50)}, p95 {latency(row.p95)}",
        "" if (left := seconds_left([row])) is None else f"about {duration(left)} left",
        one_line(row.state),
    ]
    return " · ".join(part for part in parts if part)


def projected(row: Figures) -> str:
    """Return what a reviewer will have cost in the end; a guess is marked as one."""
    dollars = row.projected_dollars
    if dollars is None:
        return ""
    return (GUESS if row.done < min(SURE_AFTER, row.total) else "") + money(dollars)


def seconds_left(reviewers: Sequence[Figures]) -> float | None:
    """Return the seconds until the slowest reviewer has answered; ``None`` when not known.

    Whoever is paused or asked no more is not waited for.
    """
    working = [row for row in reviewers if not row.state and row.done < row.total]
    if not working or any(row.done < SURE_AFTER or not row.per_minute for row in working):
        return None
    return max(60 * (row.total - row.done) / row.per_minute for row in working)


def _plain(line: Text, options: ConsoleOptions) -> Text:
    """Return a line in characters that the terminal can be sent, as wide as before."""
    line.no_wrap = True
    if options.ascii_only:
        line.plain = line.plain.translate(IN_ASCII)
    return line


def _filled(column: Column, reviewers: Sequence[Figures]) -> bool:
    return any(column.cell(row) for row in reviewers)


def _fitted(name: str, width: int) -> str:
    """Return a name in exactly ``width`` cells."""
    if cell_len(name) <= width:
        return name + " " * (width - cell_len(name))
    return set_cell_size(name, width - 1) + "…"


def _ratio(done: int, total: int) -> str:
    if total < EXACT_BELOW:
        return f"{done:,}/{total:,}"
    return f"{compact(done)}/{compact(total)}"


def _bar(done: int, total: int) -> str:
    """Return ``done`` of ``total`` as a bar."""
    full = BAR * done // total if total else BAR
    return "█" * full + "░" * (BAR - full)


def _spent(reviewers: Sequence[Figures]) -> str:
    """Return what all reviewers with a price have cost, and will have cost."""
    priced = [row for row in reviewers if row.dollars is not None]
    if not priced:
        return ""
    spent = money(sum(row.dollars or 0.0 for row in priced))
    ends = [row.projected_dollars for row in priced if row.total]
    if None in ends:
        return spent
    guessed = any(row.done < min(SURE_AFTER, row.total) for row in priced)
    return f"{spent} of {GUESS if guessed else ''}{money(sum(end or 0.0 for end in ends))}"


def _agreed(agreement: Agreement | None) -> str:
    return "" if agreement is None else f"alpha {agreement.alpha:.2f} on {agreement.rollouts:,}"


def _tokens(row: Figures) -> str:
    if not row.input_tokens and not row.output_tokens:
        return ""
    cached = f" ({_share(row)} cached)" if row.cached_tokens else ""
    return f"{compact(row.input_tokens)} tokens in{cached}, {compact(row.output_tokens)} out"


def _share(row: Figures) -> str:
    """Return the share of the input that came from the provider's cache."""
    return f"{100 * row.cached_tokens / row.input_tokens:.0f}%" if row.input_tokens else ""


def _state(row: Figures) -> str:
    """Return the state in one word; the reason of a stop has been said in a note."""
    if row.state:
        return "paused" if row.state == "paused" else "stopped"
    return "done" if row.done >= row.total else ""


def _count(count: int) -> str:
    return compact(count) if count else ""


def _moving(row: Figures, count: int) -> str:
    """Return a count that comes and goes, also 0, so that its column stays; models only."""
    return compact(count) if row.flying or row.resting or row.p50 is not None else ""


COLUMNS = (
    Column("done", lambda row: _ratio(row.done, row.total), 0),
    Column("ok", lambda row: _count(row.reviews), 10),
    Column("abst", lambda row: _count(row.abstained), 2),
    Column("retry", lambda row: _moving(row, row.resting), 7),
    Column("fly", lambda row: _moving(row, row.flying), 8),
    Column("/min", lambda row: rate(row.per_minute) if row.done else "", 5),
    Column("in", lambda row: _count(row.input_tokens), 9),
    Column("out", lambda row: _count(row.output_tokens), 9),
    Column("cached", lambda row: _share(row) if row.cached_tokens else "", 11),
    Column("cost", lambda row: "" if row.dollars is None else money(row.dollars), 3),
    Column("in all", projected, 4),
    Column("p50", lambda row: "" if row.p50 is None else latency(row.p50), 6),
    Column("p95", lambda row: "" if row.p95 is None else latency(row.p95), 6),
    Column("state", _state, 1),
)
