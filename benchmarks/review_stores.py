"""Stores full of rollouts, for the benchmarks of the review engine."""

import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.review_work import make_rollouts
from store.engine import open_store, transaction
from store.rollouts import add_rollouts

PAGE = 500
"""Rollouts stored at once."""


def fill_store(url: str, count: int, *, sentences: int = 48) -> None:
    """Store ``count`` rollouts in a new store."""
    engine = open_store(url)
    for first in range(0, count, PAGE):
        page = make_rollouts(min(PAGE, count - first), first=first, sentences=sentences)
        with transaction(engine) as session:
            add_rollouts(session, list(page))
    engine.dispose()


class Stores:
    """New stores with the same rollouts, made from one that is filled once."""

    def __init__(self, folder: Path, count: int, *, sentences: int = 48) -> None:
        """Fill a SQLite store; PostgreSQL is filled when it is first asked for."""
        self.folder = folder
        self._count = count
        self._sentences = sentences
        self.file = folder / "filled.db"
        self._server = ""
        fill_store(str(self.file), count, sentences=sentences)

    @contextmanager
    def sqlite(self) -> Generator[str]:
        """Give the URL of a new SQLite store, thrown away after."""
        place = self.folder / f"{uuid.uuid4().hex}.db"
        shutil.copy(self.file, place)
        try:
            yield str(place)
        finally:
            for part in self.folder.glob(f"{place.name}*"):
                part.unlink()

    @contextmanager
    def serving(self, folder: Path) -> Generator[None]:
        """Run a PostgreSQL server in an empty ``folder`` and fill one database."""
        # Importing takes a second: it brings every format along.
        from benchmarks.import_rollouts import postgres  # noqa: PLC0415

        with postgres(folder) as server:
            self._server = server
            self._command("CREATE DATABASE filled")
            fill_store(named(server, "filled"), self._count, sentences=self._sentences)
            yield

    @contextmanager
    def postgres(self) -> Generator[str]:
        """Give the URL of a new PostgreSQL store, thrown away after; only while ``serving``."""
        name = f"run_{uuid.uuid4().hex}"
        self._command(f"CREATE DATABASE {name} TEMPLATE filled")
        try:
            yield named(self._server, name)
        finally:
            self._command(f"DROP DATABASE {name} WITH (FORCE)")

    def _command(self, command: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(command.encode())


def named(server: str, database: str) -> str:
    """Return the URL of another database of a server."""
    address, mark, query = server.partition("?")
    return f"{address.rpartition('/')[0]}/{database}{mark}{query}"
