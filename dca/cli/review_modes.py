"""Flags of ``dca review`` for answers that come later: files of requests, and batches."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from dca.cli.review_estimate import Order
from dca.cli.run import Run
from dca.domain.errors import UsageError
from reviewers.budget import Caps

PANEL = "Batches and files"
REJECTS = Path("ingest-rejects.jsonl")

Batch = Annotated[
    bool,
    typer.Option(
        "--batch",
        help="Ask in the provider's batches: cheaper, within a day; again resumes",
        rich_help_panel=PANEL,
    ),
]
NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        help="With --batch: collect what is there, submit, and leave",
        rich_help_panel=PANEL,
    ),
]
Cancel = Annotated[
    bool,
    typer.Option(
        "--cancel", help="With --batch: stop them, keep the results", rich_help_panel=PANEL
    ),
]
Every = Annotated[
    float | None,
    typer.Option(
        "--every",
        metavar="SECONDS",
        help="With --batch: most seconds between two looks",
        min=0.01,
        rich_help_panel=PANEL,
    ),
]
Emit = Annotated[
    Path | None,
    typer.Option(
        "--emit",
        metavar="FILE",
        help="Write the requests to a file (.jsonl, .gz, .zst) and ask nobody",
        rich_help_panel=PANEL,
    ),
]
Ingest = Annotated[
    str | None,
    typer.Option(
        "--ingest",
        metavar="FILE",
        help="Take answers to such requests, made elsewhere; - is standard input",
        rich_help_panel=PANEL,
    ),
]
Final = Annotated[
    bool,
    typer.Option(
        "--final",
        help="With --ingest: unusable answers become abstentions, not repair turns",
        rich_help_panel=PANEL,
    ),
]
Rejects = Annotated[
    Path | None,
    typer.Option(
        "--rejects",
        metavar="FILE",
        help=f"With --ingest: answers that cannot be used, and why [{REJECTS}]",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True, slots=True)
class Mode:
    """Which of these flags were given."""

    batch: bool = False
    no_wait: bool = False
    cancel: bool = False
    every: float | None = None
    emit: Path | None = None
    ingest: str | None = None
    final: bool = False
    rejects: Path | None = None

    def __post_init__(self) -> None:
        """Refuse flags that do not go together.

        Raises:
            UsageError: Two ways at once, or a flag without the one that it belongs to.
        """
        if sum((self.batch, self.emit is not None, self.ingest is not None)) > 1:
            raise UsageError("--batch, --emit and --ingest are three ways", hint="Give one.")
        lonely = {
            "--no-wait": self.no_wait and not self.batch,
            "--cancel": self.cancel and not self.batch,
            "--every": self.every is not None and not self.batch,
            "--final": self.final and self.ingest is None,
            "--rejects": self.rejects is not None and self.ingest is None,
        }
        for flag, alone in lonely.items():
            if alone:
                other = "--ingest" if flag in ("--final", "--rejects") else "--batch"
                raise UsageError(f"{flag} belongs to {other}")

    @property
    def chosen(self) -> bool:
        """Whether the panel is asked in another way than at once."""
        return self.batch or self.emit is not None or self.ingest is not None


def review_otherwise(
    run: Run, engine: Engine, order: Order, mode: Mode, caps: Caps, stop: threading.Event
) -> None:
    """Do what the flags say, and print it."""
    # Each way loads only what it needs.
    if mode.emit is not None:
        from dca.cli.review_files import write_requests  # noqa: PLC0415 - see above

        write_requests(run, engine, order, mode.emit)
    elif mode.ingest is not None:
        from dca.cli.review_files import take_answers  # noqa: PLC0415 - see above

        rejects = mode.rejects or REJECTS
        take_answers(run, engine, order, mode.ingest, rejects, final=mode.final)
    else:
        from dca.cli.review_batch import ask_in_batches  # noqa: PLC0415 - see above

        ask_in_batches(run, engine, order, mode, caps, stop)
