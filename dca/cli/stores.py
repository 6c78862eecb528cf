"""Opening the store for one command."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from dca.config import Loaded
from dca.config.sources import shown
from dca.domain.errors import NothingSelected
from store.engine import open_store


@contextmanager
def opened(loaded: Loaded, *, must_exist: bool = True) -> Generator[Engine]:
    """Give the configured store and close it afterwards.

    Args:
        loaded: The configuration.
        must_exist: Whether a SQLite file that is not there is an error, not a new store.

    Raises:
        NothingSelected: There is no such file.
    """
    url = loaded.config.project.store
    file = sqlite_file(url)
    if must_exist and file is not None and not file.exists():
        raise NothingSelected(
            f"no store at {shown(file)}", hint="`dca import` or `dca demo` makes one"
        )
    engine = open_store(url)
    try:
        yield engine
    finally:
        engine.dispose()


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite store, ``None`` for a server or a store in memory."""
    if "://" not in url:
        return Path(url).expanduser()
    name = url.removeprefix("sqlite:///")
    return None if name in {url, "", ":memory:"} else Path(name)
