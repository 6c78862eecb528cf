"""``dca ls``: list rollouts."""

import re
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
_KEYED = re.compile(r"(task|model|group|ids?|step|reward)(<=|>=|<|>|=)=?(\S+)")
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
    the newest consensus calls agreed and disputed. In a pipe there are no heads, the columns are
    parted by tabs and the ids are whole, so that `dca ls --where ... | dca review --ids -` works.
    The columns: id, task, step, reward, chars, reviews, agreed, disputed, model.
    """
    run: Run = context.obj
    choice = Choice(where, ids, sample=sample)
    with opened(run.load()) as engine:
        selection = choice.selection(run, engine)
        lines, following = page(engine, selection, limit, after)
    fields = {"rollouts": [asdict(line) for line in lines], "next": following}
    run.done(fields, lambda console: print_lines(console, lines))
    if following and not run.flags.json:
        run.note(f"there are more: dca ls --after {following}")


def page(
    engine: Engine, selection: Selection, limit: int, after: str | None
) -> tuple[list[RolloutLine], str | None]:
    """Return one page and the id after which the next one begins, ``None`` on the last.

    Raises:
        NothingSelected: The selection is empty; a word like ``reward<1`` gets a hint.
    """
    with transaction(engine) as session:
        last = find_rollout(session, after) if after else None
        key = (last.group_id, last.id) if last else None
        lines = list_rollouts(session, selection, limit=limit + 1, after=key)
    if not lines and after is None:
        raise NothingSelected("no rollout matches", hint=colon_hint(selection.words))
    return lines[:limit], lines[limit - 1].id if len(lines) > limit else None


def print_lines(console: Console, lines: Sequence[RolloutLine]) -> None:
    """Print one rollout per line: a table with heads on a terminal, else columns and tabs."""
    if console.is_terminal:
        print_table(console, HEADS, [_cells(line, SHORT_ID) for line in lines], right=RIGHT)
        return
    for line in lines:
        # Not by the console, which turns tabs into blanks.
        console.file.write("\t".join(_cells(line, None)) + "\n")


def colon_hint(words: Sequence[str]) -> str | None:
    """Return the term that was meant by a word such as ``reward<1``, ``None`` without one."""
    found = [match for word in words if (match := _KEYED.fullmatch(word))]
    if not found:
        return None
    key, compare, value = found[0].groups()
    sign = "" if compare == "=" else compare
    return f"A key takes a colon: did you mean {key}:{sign}{value}?"


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
