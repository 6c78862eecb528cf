"""``dca show``: read one rollout as a score sheet."""

import sys
from typing import Annotated

import typer

from dca.cli.run import Run
from dca.cli.sheet_json import sheet_fields
from dca.cli.sheet_markdown import sheet_markdown
from dca.cli.sheet_rows import Row, sheet_rows
from dca.cli.sheet_text import print_sheet
from dca.cli.stores import opened
from dca.domain.consensus import Status
from dca.domain.errors import NothingSelected
from dca.pipeline.label_sets import labels_to_show
from dca.pipeline.sheet import read_sheet

ORDER = (Status.DISPUTED, Status.THIN, Status.UNCOVERED, Status.AGREED)
"""Most contested first."""


def show(
    context: typer.Context,
    rollout: Annotated[str, typer.Argument(metavar="ID", help="The id or its beginning")],
    *,
    step: Annotated[
        int | None,
        typer.Option("--step", metavar="N", help="Only this step, with every reason", min=1),
    ] = None,
    contested: Annotated[bool, typer.Option("--contested", help="Disputed steps first")] = False,
    version: Annotated[
        int | None,
        typer.Option("--consensus", metavar="N", help="This version, not the newest"),
    ] = None,
    markdown: Annotated[bool, typer.Option("--md", help="As Markdown")] = False,
) -> None:
    """Read one rollout as a score sheet.

    One row per consensus step: its letter, the share of the vote behind it, every reviewer's
    letter, the text, what it was blamed for, which steps it rests on, and why.
    """
    run: Run = context.obj
    loaded = run.load()
    with opened(loaded) as engine:
        sheet = read_sheet(engine, rollout, loaded.config.project.labels, version_id=version)
        name = sheet.version.label_set if sheet.version else loaded.config.project.labels
        labels = labels_to_show(engine, name, loaded.config.labels.get(name))
    rows = choose(sheet_rows(sheet, labels, every_reason=step is not None), step, contested)
    if markdown and not run.flags.json:
        sys.stdout.write(sheet_markdown(sheet, rows, labels))
        return
    run.done(sheet_fields(sheet), lambda console: print_sheet(console, sheet, rows, labels))


def choose(rows: list[Row], step: int | None, contested: bool) -> list[Row]:
    """Return the rows that are wanted, in the order that is wanted.

    Raises:
        NothingSelected: There is no such step.
    """
    if step is not None:
        rows = [row for row in rows if row.number == step]
        if not rows:
            raise NothingSelected(f"no step {step}", hint="`dca show ID` numbers the steps")
    return sorted(rows, key=lambda row: ORDER.index(row.status)) if contested else rows
