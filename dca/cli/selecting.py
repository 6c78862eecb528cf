"""The selection flags: which rollouts a verb works on."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from dca.cli.run import Run
from dca.domain.errors import NothingSelected, SelectionError
from store.engine import transaction
from store.rollouts import missing_ids
from store.selection import Selection, parse_where

PANEL = "Selection"

Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="TERMS",
        help="task:x model:m group:g id:7f3a step:120..200 reward:<1 ids:exact words -word",
        rich_help_panel=PANEL,
    ),
]
Ids = Annotated[
    str | None,
    typer.Option(
        "--ids",
        metavar="FILE",
        help="Ids, one per line; - is standard input",
        rich_help_panel=PANEL,
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", help="The first N", rich_help_panel=PANEL)
]
Sample = Annotated[
    int | None,
    typer.Option("--sample", metavar="N", help="N at random, see --seed", rich_help_panel=PANEL),
]


@dataclass(frozen=True, slots=True)
class Choice:
    """The selection flags of one command line."""

    where: str | None = None
    ids: str | None = None
    limit: int | None = None
    sample: int | None = None

    def selection(self, run: Run, engine: Engine) -> Selection:
        """Return what the flags select; ids that are not stored are counted on standard error.

        Raises:
            SelectionError: A term or a file cannot be read.
            NothingSelected: None of the ids is stored.
        """
        chosen = replace(
            parse_where(self.where or ""),
            limit=self.limit,
            sample=self.sample,
            seed=run.flags.seed,
        )
        if self.ids is None:
            return chosen
        ids = read_ids(self.ids)
        with transaction(engine) as session:
            missing = frozenset(missing_ids(session, ids))
        if len(missing) == len(ids):
            raise NothingSelected(f"none of the {len(ids)} ids in {self.ids} is in the store")
        if missing:
            run.note(f"{len(missing)} of {len(ids)} ids are not in the store")
        return replace(chosen, ids=tuple(key for key in ids if key not in missing))


def read_ids(file: str) -> tuple[str, ...]:
    """Return the first word of every line, each once, in order; ``#`` begins a comment line.

    Raises:
        SelectionError: The file cannot be read or holds none.
    """
    try:
        lines = sys.stdin if file == "-" else Path(file).read_text("utf-8").splitlines()
        ids = tuple(dict.fromkeys(_first_words(lines)))
    except OSError as error:
        raise SelectionError(f"--ids {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SelectionError(f"--ids {file}: is not UTF-8 text") from error
    if not ids:
        raise SelectionError(f"--ids {file}: holds no id")
    return ids


def _first_words(lines: Iterable[str]) -> Iterable[str]:
    words = (line.split(maxsplit=1) for line in lines)
    return (word[0] for word in words if word and not word[0].startswith("#"))
