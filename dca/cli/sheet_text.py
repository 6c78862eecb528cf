"""The score sheet on a terminal or in a pipe."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dca.cli.sheet_rows import Row, legend, reviewer_names, share_bar, verdicts
from dca.cli.terminal import one_line, speaks_unicode, visible
from dca.domain.consensus import Status
from dca.domain.labels import LabelSet
from dca.domain.review import Abstention, Review
from dca.pipeline.sheet import Sheet

WIDE = 90
"""Columns from which a step's text stands beside its letters."""
STYLES = {Status.DISPUTED: "yellow", Status.THIN: "dim", Status.UNCOVERED: "dim"}


def print_sheet(
    console: Console, sheet: Sheet, rows: Sequence[Row], labels: LabelSet | None
) -> None:
    """Print who, the problem, the steps one per row, and who abstained."""
    for line in head_lines(sheet):
        console.print(Text(line))
    console.print()
    console.print(Text("Problem", style="bold"))
    console.print(Padding(Text(visible(sheet.rollout.problem).strip()), (0, 0, 1, 2)))
    if rows:
        _print_rows(console, sheet, rows)
        console.print()
        console.print(Text(legend(rows, labels), style="dim"))
    else:
        _print_unsettled(console, sheet)
    for opinion in sheet.opinions:
        if isinstance(opinion.answer, Abstention):
            name, reason = one_line(opinion.reviewer.name), one_line(opinion.answer.reason)
            console.print(Text(f"{name} abstained ({opinion.answer.kind.value}): {reason}"))


def head_lines(sheet: Sheet) -> list[str]:
    """Return the facts about the rollout and its consensus."""
    rollout = sheet.rollout
    facts = [
        f"task {one_line(rollout.task)}" if rollout.task else "",
        f"step {rollout.step}" if rollout.step is not None else "",
        f"model {one_line(rollout.model)}" if rollout.model else "",
        f"group {one_line(rollout.group_id)}",
    ]
    reward = "not known" if rollout.reward is None else f"{rollout.reward:g}"
    size = f"{len(rollout.completion):,} characters"
    if rollout.tokens is not None:
        exact = "" if rollout.tokens.exact else " (ids approximate)"
        size += f", {len(rollout.tokens):,} tokens{exact}"
    truth = f" · truth {one_line(rollout.truth)}" if rollout.truth is not None else ""
    lines = [
        " · ".join([f"Rollout {rollout.id}", *(fact for fact in facts if fact)]),
        f"Reward {reward}{truth} · {size}",
    ]
    if sheet.version is None or sheet.consensus is None:
        return [*lines, "No consensus yet"]
    shares = " · ".join(
        f"{status} {share:.0%}" for status, share in sheet.consensus.shares().items()
    )
    return [*lines, f"Consensus {sheet.version.id} · {shares}", *verdicts(sheet)]


def _print_rows(console: Console, sheet: Sheet, rows: Sequence[Row]) -> None:
    unicode = speaks_unicode(sys.stdout)
    panel = ", ".join(one_line(name) for name in reviewer_names(sheet))
    console.print(Text(f"Votes in the order {panel}", style="dim"))
    console.print()
    if console.width >= WIDE:
        console.print(_wide(rows, unicode=unicode))
        return
    for row in rows:
        console.print(_letters(row, unicode=unicode))
        console.print(Padding(_body(row), (0, 0, 0, 4)))


def _wide(rows: Sequence[Row], *, unicode: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("#", "", "share", "votes"):
        table.add_column(head, no_wrap=True, justify="right" if head == "#" else "left")
    table.add_column("step", overflow="fold")
    for row in rows:
        bar = f"{share_bar(row.share, unicode=unicode)} {row.share:.2f}"
        table.add_row(
            Text(str(row.number)),
            Text(row.letter, _style(row)),
            Text(bar),
            Text(row.votes),
            _body(row),
        )
    return table


def _letters(row: Row, *, unicode: bool) -> Text:
    line = Text(f"{row.number:>3} ")
    line.append(f"{row.letter:3}", _style(row))
    bar = share_bar(row.share, unicode=unicode)
    return line.append(f" {bar} {row.share:.2f}  {row.votes}  {row.status.value}")


def _body(row: Row) -> Text:
    text = Text(row.text)
    for note in row.notes:
        text.append(f"\n- {note}", style="dim")
    return text


def _style(row: Row) -> str:
    if row.status in STYLES:
        return STYLES[row.status]
    return "bold green" if row.value > 0 else "bold red" if row.value < 0 else "bold"


def _print_unsettled(console: Console, sheet: Sheet) -> None:
    """Print the text, then what each reviewer marked in it."""
    console.print(Text("Completion", style="bold"))
    console.print(Padding(Text(visible(sheet.rollout.completion).strip()), (0, 0, 1, 2)))
    for opinion in sheet.opinions:
        if isinstance(opinion.answer, Review):
            console.print(Text(f"{one_line(opinion.reviewer.name)} marked", style="bold"))
            for step in opinion.steps:
                marked = one_line(step.span.text(sheet.rollout.completion))
                reason = f" - {one_line(step.reason)}" if step.reason else ""
                console.print(Padding(Text(f"{step.label}: {marked}{reason}"), (0, 0, 0, 2)))
    console.print(Text("`dca consensus` settles what reviewers agree on", style="dim"))
