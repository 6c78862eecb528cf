"""``dca panel sheet`` and ``dca panel take``: the reviews of people."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dca.cli.run import PARTIAL, Run
from dca.cli.selecting import Choice, Ids, Limit, Sample, Where
from dca.cli.stores import opened
from dca.cli.terminal import one_line
from dca.config import Config
from dca.domain.errors import UsageError
from dca.formats.source import Source
from dca.pipeline.human_sheets import Taken, Written, take_sheets, write_sheets
from dca.pipeline.panels import build_reviewer
from reviewers.human import Human

SHOWN = 20
"""Wrong sheets that are named to people; a JSON document names all."""

Name = Annotated[str, typer.Argument(metavar="REVIEWER", help='Of kind "human" in dca.toml')]


def sheet(
    context: typer.Context,
    reviewer: Name,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A new file: JSON Lines")],
    where: Where = None,
    ids: Ids = None,
    limit: Limit = None,
    sample: Sample = None,
) -> None:
    """Write what a person is to fill in.

    One line for each rollout that the person has not reviewed: the problem, the numbered units of
    the reasoning, the labels, and an empty review.
    """
    run: Run = context.obj
    loaded = run.load()
    human = _human(loaded.config, reviewer)
    with opened(loaded) as engine:
        chosen = Choice(where, ids, limit, sample).selection(run, engine)
        result = write_sheets(engine, human, chosen, out)
    run.done(asdict(result), lambda console: print_written(console, result))


def take(
    context: typer.Context,
    reviewer: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Sheets that are filled in")],
) -> None:
    """Store the reviews of sheets that are filled in.

    Taking a file again changes nothing, so it can be filled in bit by bit. Exit code 3 when a
    sheet is wrong; the others are stored.
    """
    run: Run = context.obj
    loaded = run.load()
    human = _human(loaded.config, reviewer)
    with opened(loaded) as engine:
        result = take_sheets(engine, human, Source(str(file), file, "jsonl"))
    code = PARTIAL if result.wrong else 0
    run.done(asdict(result), lambda console: print_taken(console, result), exit_code=code)


def print_written(console: Console, result: Written) -> None:
    """Print how many sheets wait, and what comes next."""
    name = one_line(result.reviewer)
    if result.path is None:
        console.print(f"nothing waits for {name}", soft_wrap=True)
        return
    path = one_line(result.path)
    console.print(f"{result.sheets:,} sheets for {name} in {path}", soft_wrap=True)
    console.print(f"fill in each review, then: dca panel take {name} {path}", soft_wrap=True)


def print_taken(console: Console, result: Taken) -> None:
    """Print what became of the sheets."""
    for item in result.wrong[:SHOWN]:
        console.print(f"line {item.line}: {one_line(item.reason)}", soft_wrap=True)
    if len(result.wrong) > SHOWN:
        console.print(f"and {len(result.wrong) - SHOWN:,} more", soft_wrap=True)
    counts = (
        f"{result.taken:,} reviews stored",
        f"{result.before:,} stored before",
        f"{result.blank:,} not filled in",
        f"{len(result.wrong):,} wrong",
    )
    console.print(f"{one_line(result.reviewer)}: {', '.join(counts)}", soft_wrap=True)


def _human(config: Config, name: str) -> Human:
    """Return a configured person.

    Raises:
        ConfigError: There is no such reviewer.
        UsageError: It is no person.
    """
    reviewer = build_reviewer(config, name)
    if not isinstance(reviewer, Human):
        raise UsageError(
            f"{name} is of kind {reviewer.info.kind}: only people answer on sheets",
            hint='[reviewers.NAME] with kind = "human" makes a person a reviewer.',
        )
    return reviewer
