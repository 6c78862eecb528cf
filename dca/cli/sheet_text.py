"""The score sheet on a terminal or in a pipe."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from dca.cli.sheet_rows import Row, legend, reviewer_names, share_bar, verdicts
from dca.cli.terminal import one_line, speaks_unicode, visible
from dca.domain.consensus import Status
from dca.domain.labels import LabelSet
from dca.domain.review import Abstention, Review
from dca.pipeline.sheet import Sheet

WIDE = 90
"""Columns from which a step's text stands beside its letters."""
NARROWEST = 20
"""Columns that a text gets on the narrowest terminal."""
STYLES = {Status.DISPUTED: "yellow", Status.THIN: "dim", Status.UNCOVERED: "dim"}


def print_sheet(
    console: Console, sheet: Sheet, rows: Sequence[Row], labels: LabelSet | None
) -> None:
    """Print who, the problem, the steps one per row, and who abstained."""
    for line in head_lines(sheet):
        print_indented(console, Text(line), 0)
    console.print()
    console.print(Text("Problem", style="bold"))
    print_indented(console, Text(visible(sheet.rollout.problem).strip()), 2)
    console.print()
    if rows:
        _print_rows(console, sheet, rows)
        console.print()
        print_indented(console, Text(legend(rows, labels), style="dim"), 0)
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
    print_indented(console, Text(f"Votes in the order {panel}", style="dim"), 0)
    console.print()
    for row in rows:
        head = _letters(row, unicode=unicode)
        if console.width >= WIDE:
            print_indented(console, _body(row), len(head) + 2, head=head)
        else:
            console.print(head.append(row.status.value), soft_wrap=True)
            print_indented(console, _body(row), 4)


def print_indented(console: Console, text: Text, indent: int, *, head: Text | None = None) -> None:
    """Print text wrapped between ``indent`` and the right edge, ``head`` before its first line."""
    width = max(console.width - indent, NARROWEST)
    for number, line in enumerate(text.wrap(console, width)):
        line.rstrip()
        start = head if head is not None and number == 0 else Text()
        gap = Text(" " * (indent - len(start))) if line.plain else Text()
        console.print(Text.assemble(start, gap, line), soft_wrap=True)


def _letters(row: Row, *, unicode: bool) -> Text:
    line = Text(f"{row.number:>3} ")
    line.append(f"{row.letter:3}", _style(row))
    return line.append(f" {share_bar(row.share, unicode=unicode)} {row.share:.2f}  {row.votes}  ")


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
    print_indented(console, Text(visible(sheet.rollout.completion).strip()), 2)
    console.print()
    for opinion in sheet.opinions:
        if isinstance(opinion.answer, Review):
            console.print(Text(f"{one_line(opinion.reviewer.name)} marked", style="bold"))
            for step in opinion.steps:
                marked = one_line(step.span.text(sheet.rollout.completion))
                reason = f" - {one_line(step.reason)}" if step.reason else ""
                print_indented(console, Text(f"{step.label}: {marked}{reason}"), 2)
    console.print(Text("`dca consensus` settles what reviewers agree on", style="dim"))
