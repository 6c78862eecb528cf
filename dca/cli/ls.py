"""``dca ls``: list rollouts."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy import Engine

from dca.cli.run import Run
from dca.cli.selecting import Choice, Ids, Sample, Where
from dca.cli.stores import opened
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.domain.consensus import Status
from dca.domain.errors import NothingSelected
from store.engine import transaction
from store.listing import RolloutLine, list_rollouts
from store.rollouts import find_rollout
from store.selection import Selection

HEADS = ("id", "task", "step", "reward", "chars", "reviews", "agreed", "disputed", "model")
RIGHT = (2, 3, 4, 5, 6, 7)
SHORT_ID = 12
"""Digits of an id on a terminal; any start that is unique finds a rollout."""


def ls(
    context: typer.Context,
    *,
    where: Where = None,
    ids: Ids = None,
    sample: Sample = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="Most lines", min=1)] = 50,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="Go on after this rollout")
    ] = None,
) -> None:
    """List rollouts.

    One line each: reward, characters, reviews (and abstentions), and the shares of the text that
    the newest consensus calls agreed and disputed. In a pipe the ids are whole, so that
    `dca ls --where ... | dca review --ids -` works.
    """
    run: Run = context.obj
    choice = Choice(where, ids, sample=sample)
    with opened(run.load()) as engine:
        lines, following = page(engine, choice.selection(run, engine), limit, after)
    fields = {"rollouts": [asdict(line) for line in lines], "next": following}
    run.done(fields, lambda console: print_lines(console, lines))
    if following and not run.flags.json:
        run.note(f"there are more: dca ls --after {following}")


def page(
    engine: Engine, selection: Selection, limit: int, after: str | None
) -> tuple[list[RolloutLine], str | None]:
    """Return one page and the id after which the next one begins, ``None`` on the last.

    Raises:
        NothingSelected: The selection is empty.
    """
    with transaction(engine) as session:
        last = find_rollout(session, after) if after else None
        key = (last.group_id, last.id) if last else None
        lines = list_rollouts(session, selection, limit=limit + 1, after=key)
    if not lines and after is None:
        raise NothingSelected("no rollout matches")
    return lines[:limit], lines[limit - 1].id if len(lines) > limit else None


def print_lines(console: Console, lines: Sequence[RolloutLine]) -> None:
    """Print one rollout per line; the line of heads only on a terminal."""
    heads = HEADS if console.is_terminal else ("",) * len(HEADS)
    digits = SHORT_ID if console.is_terminal else None
    print_table(console, heads, [_cells(line, digits) for line in lines], right=RIGHT)


def _cells(line: RolloutLine, digits: int | None) -> tuple[str, ...]:
    reviews = f"{line.reviews}+{line.abstentions}a" if line.abstentions else f"{line.reviews}"
    return (
        line.id[:digits],
        one_line(line.task) or "-",
        "-" if line.step is None else str(line.step),
        "-" if line.reward is None else f"{line.reward:g}",
        f"{line.chars}",
        reviews,
        _percent(line, Status.AGREED),
        _percent(line, Status.DISPUTED),
        one_line(line.model) or "-",
    )


def _percent(line: RolloutLine, status: Status) -> str:
    return "-" if line.shares is None else f"{line.shares.get(status, 0.0):.0%}"
