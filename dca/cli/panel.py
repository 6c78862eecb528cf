"""``dca panel``: who reviews, and holding a reviewer back while a review runs."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy import Engine

from dca.cli.run import Run
from dca.cli.stores import opened
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.config import Config
from dca.config.suggest import did_you_mean
from dca.domain.errors import NothingSelected, UsageError
from store.engine import transaction
from store.jobs import list_jobs, pause_reviewers, paused_reviewers

HEADS = ("reviewer", "kind", "model", "family", "key", "panels")
AT_ONCE = "the running review obeys within two seconds; what is in flight is finished"

Name = Annotated[str, typer.Argument(metavar="NAME", help="Reviewer of the running review")]


@dataclass(frozen=True, slots=True)
class Member:
    """One configured reviewer."""

    name: str
    kind: str
    model: str
    """Model, rule or file of the recording."""
    family: str | None
    """``None``: its name."""
    key_variable: str | None
    """Variable that holds its key; ``None``: it needs none."""
    key_set: bool | None
    panels: tuple[str, ...]
    """Panels that it sits in."""


def list_(context: typer.Context) -> None:
    """List the reviewers and their panels.

    A star marks the panel that dca review asks.
    """
    run: Run = context.obj
    loaded = run.load()
    config = loaded.config
    found = [
        member(config, name, loaded.key_variables.get(name), loaded.environment.get)
        for name in config.reviewers
    ]
    run.done(
        {"asked": config.review.panel, "reviewers": [asdict(item) for item in found]},
        lambda console: print_members(console, found, config.review.panel),
    )


def pause(context: typer.Context, name: Name) -> None:
    """Ask a reviewer of the running review nothing more for now.

    The others go on. The review obeys within two seconds, finishes what is in flight, and says so.
    """
    _change(context.obj, name, paused=True)


def resume(context: typer.Context, name: Name) -> None:
    """Ask a paused reviewer again.

    The review obeys within two seconds.
    """
    _change(context.obj, name, paused=False)


def member(
    config: Config, name: str, variable: str | None, look_up: Callable[[str], str | None]
) -> Member:
    """Return what is configured of a reviewer; ``look_up`` reads the environment."""
    settings = config.reviewers[name]
    said = settings.model_dump()
    return Member(
        name,
        settings.kind,
        str(said.get("model") or said.get("rule") or said.get("path") or "-"),
        said.get("family"),
        variable,
        None if variable is None else bool((look_up(variable) or "").strip()),
        tuple(panel for panel, seats in config.panels.items() if name in seats.reviewers),
    )


def print_members(console: Console, members: Sequence[Member], asked: str) -> None:
    """Print one line per reviewer."""
    rows = [
        (
            item.name,
            item.kind,
            one_line(item.model),
            one_line(item.family or item.name),
            _key(item),
            ", ".join(f"{name}*" if name == asked else name for name in item.panels) or "-",
        )
        for item in members
    ]
    print_table(console, HEADS, rows)


def _key(item: Member) -> str:
    if item.key_variable is None:
        return "-"
    return f"{item.key_variable} is {'set' if item.key_set else 'not set'}"


def _change(run: Run, name: str, *, paused: bool) -> None:
    """Pause a reviewer of the running review, or let it go on."""
    with opened(run.load()) as engine:
        job, names = change(engine, name, paused=paused)
    held = ", ".join(names) or "nobody"
    run.done(
        {"job": job, "paused": names},
        lambda console: console.print(f"job {job}: paused: {held}; {AT_ONCE}", soft_wrap=True),
    )


def change(engine: Engine, name: str, *, paused: bool) -> tuple[int, list[str]]:
    """Tell the newest running review; return its number and whom it is to leave in peace.

    Raises:
        NothingSelected: No review is running on this store.
        UsageError: It asks no reviewer of this name.
    """
    with transaction(engine) as session:
        jobs = (job for job in list_jobs(session) if job.kind == "review")
        job = next((job for job in jobs if job.status == "running"), None)
        if job is None:
            raise NothingSelected("no review is running on this store")
        seated = job.params.get("panel")
        seats = [str(seat) for seat in seated] if isinstance(seated, list) else []
        if name not in seats:
            raise UsageError(f"job {job.id} asks no reviewer {name!r}{did_you_mean(name, seats)}")
        names = set(paused_reviewers(session, job.id))
        names = names | {name} if paused else names - {name}
        pause_reviewers(session, job.id, names)
    return job.id, sorted(names)
