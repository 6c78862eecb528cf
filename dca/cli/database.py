"""``dca db``: look after the store."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dca.cli.run import Run
from dca.cli.stores import opened, sqlite_file
from dca.cli.tables import print_table
from dca.config.sources import shown
from dca.domain.errors import UsageError
from store import engine as engines
from store import schema
from store.backup import backup as copy_store
from store.stats import stats as count_store


def upgrade(context: typer.Context) -> None:
    """Bring the store's schema to this version.

    Cannot be undone: `dca db backup` first. A store that has this version's schema is left as it
    is, without a question.
    """
    run: Run = context.obj
    url = run.load().config.project.store
    shown_url, file = engines.safe_url(url), sqlite_file(url)
    if file is not None and not file.exists():
        raise UsageError(f"no store at {shown(file)}", hint="`dca import` or `dca demo` makes one")
    engine = engines.connect(url)
    try:
        with engine.connect() as connection:
            found = schema.revision(connection)
        if found is None or found < schema.HEAD:
            run.confirm(f"Upgrade the schema of {shown_url}?")
        revision = engines.upgrade(engine)
    finally:
        engine.dispose()
    run.done(
        {"store": shown_url, "revision": revision},
        lambda console: console.print(f"{shown_url}: schema {revision}", soft_wrap=True),
    )


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New SQLite file")],
) -> None:
    """Copy the store into a new SQLite file.

    Others may write meanwhile.
    """
    run: Run = context.obj
    with opened(run.load()) as engine:
        size = copy_store(engine, file)
    run.done(
        {"file": str(file), "bytes": size},
        lambda console: console.print(f"Wrote  {shown(file)}  {size:,} bytes", soft_wrap=True),
    )


def stats(context: typer.Context) -> None:
    """Count what the store holds."""
    run: Run = context.obj
    with opened(run.load()) as engine, engines.transaction(engine) as session:
        found = count_store(session)

    def text(console: Console) -> None:
        console.print(
            f"{found.url}  schema {found.revision}  {found.bytes:,} bytes", soft_wrap=True
        )
        rows = [(name, f"{count:,}") for name, count in found.rows.items()]
        print_table(console, ("table", "rows"), rows, right=(1,))

    run.done(asdict(found), text)
