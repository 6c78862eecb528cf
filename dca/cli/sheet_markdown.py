"""The score sheet as Markdown, to paste into an issue or to give to a language model."""

import re
from collections.abc import Sequence

from dca.cli.sheet_rows import Row, legend, reviewer_names
from dca.cli.sheet_text import head_lines
from dca.cli.terminal import one_line, visible
from dca.domain.labels import LabelSet
from dca.pipeline.sheet import Sheet

SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$])")
FENCE = re.compile(r"`{3,}")


def sheet_markdown(sheet: Sheet, rows: Sequence[Row], labels: LabelSet | None) -> str:
    """Return the sheet as Markdown; nothing in the model's text is read as markup."""
    names = ", ".join(escaped(name) for name in reviewer_names(sheet))
    title = f"Rollout {sheet.rollout.id}"
    facts = [line.removeprefix(title).removeprefix(" · ") for line in head_lines(sheet)]
    parts = [
        f"# {title}",
        "\n".join(f"- {escaped(line)}" for line in facts),
        "## Problem",
        fenced(sheet.rollout.problem),
        "## Steps" if rows else "## Completion",
    ]
    if rows:
        parts += [f"Votes in the order {names}.", "\n".join(_step(row) for row in rows)]
        parts.append(escaped(legend(rows, labels)))
    else:
        parts.append(fenced(sheet.rollout.completion))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Return one line of text in which nothing is markup."""
    return SPECIAL.sub(r"\\\1", one_line(text))


def fenced(text: str) -> str:
    """Return text in a fence that is longer than any fence inside it."""
    shown = visible(text).strip()
    longest = max((len(match) for match in FENCE.findall(shown)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{shown}\n{fence}"


def _step(row: Row) -> str:
    head = f"{row.number}. **{escaped(row.letter)}** {row.status.value} {row.share:.2f}"
    notes = "".join(f"\n   - {escaped(note)}" for note in row.notes)
    return f"{head} votes {escaped(row.votes)}: {escaped(row.text)}{notes}"
