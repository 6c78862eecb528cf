import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from dca.domain.errors import SchemaOutdated, StoreError, StoreUnreachable, UsageError
from store import schema
from store.engine import connect, open_store, safe_url, transaction, upgrade
from store.rollouts import add_rollouts, count_rollouts
from store.selection import Selection
from tests.store_examples import rollout


def test_a_new_file_becomes_a_store_whatever_form_its_name_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    for url in (
        "plain.db",
        "sqlite:///three.db",
        f"sqlite:///{tmp_path}/four.db",
        "~/50% #home?.db",
    ):
        engine = open_store(url)
        with transaction(engine) as session:
            add_rollouts(session, [rollout(1)])
        engine.dispose()

    assert sorted(path.name for path in tmp_path.glob("*.db")) == [
        "50% #home?.db",
        "four.db",
        "plain.db",
        "three.db",
    ]


def test_a_store_in_memory_is_one_for_all_threads():
    engine = open_store("sqlite://")
    with transaction(engine) as session:
        add_rollouts(session, [rollout(1)])
    counts = []

    def count():
        with transaction(engine) as session:
            counts.append(count_rollouts(session, Selection()))

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    engine.dispose()

    assert counts == [1]


def test_the_pragmas_hold_on_every_connection(tmp_path):
    engine = open_store(str(tmp_path / "dca.db"))
    wanted = {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 30_000, "foreign_keys": 1}

    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            found = {name: connection.scalar(text(f"PRAGMA {name}")) for name in wanted}
            assert found == wanted
    upgrade(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    engine.dispose()


def test_work_is_committed_at_the_end_and_undone_when_an_error_leaves(store_engine):
    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(1)])

    def fail():
        with transaction(store_engine) as session:
            add_rollouts(session, [rollout(2)])
            raise KeyError("bug")

    with pytest.raises(KeyError):
        fail()
    with transaction(store_engine) as session:
        assert count_rollouts(session, Selection()) == 1


def test_a_broken_statement_is_a_bug_and_no_store_error(store_engine):
    if store_engine.dialect.name == "postgresql":
        with pytest.raises(ProgrammingError), transaction(store_engine) as session:
            session.execute(text("SELECT nothing FROM nowhere"))


def test_a_fault_of_the_database_is_a_store_error_that_quotes_no_data(tmp_path):
    item = rollout(7531)
    engine = open_store(str(tmp_path / "dca.db"))
    other = sqlite3.connect(tmp_path / "dca.db")
    other.execute("BEGIN IMMEDIATE")

    def write():
        with transaction(engine) as session:
            session.execute(text("PRAGMA busy_timeout = 20"))
            add_rollouts(session, [item])

    with pytest.raises(StoreError, match="the store failed: database is locked") as caught:
        write()
    other.close()
    engine.dispose()

    assert "7531" not in "".join(traceback.format_exception(caught.value)).replace("(7531)", "")


def test_opening_waits_for_a_writer_that_holds_a_new_file(tmp_path):
    path = tmp_path / "dca.db"
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("CREATE TABLE other (x)")
    holder.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.3, lambda: holder.execute("COMMIT"))
    begun = time.monotonic()
    timer.start()

    engine = open_store(str(path))
    waited = time.monotonic() - begun
    timer.join()
    holder.close()
    engine.dispose()

    assert waited >= 0.3


def test_opening_waits_for_a_reader_while_it_changes_the_journal(tmp_path):
    path = tmp_path / "dca.db"
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("CREATE TABLE other (x)")
    holder.execute("BEGIN")
    holder.execute("SELECT * FROM other").fetchall()
    timer = threading.Timer(0.3, lambda: holder.execute("COMMIT"))
    timer.start()

    engine = open_store(str(path))
    timer.join()
    holder.close()
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
    engine.dispose()


def test_many_that_open_a_new_file_at_the_same_moment_all_get_it(tmp_path):
    count = 4
    barrier = threading.Barrier(count)

    def open_all(_number):
        modes = set()
        for number in range(60):
            barrier.wait()
            engine = connect(str(tmp_path / f"{number}.db"))
            with engine.connect() as connection:
                modes.add(connection.scalar(text("PRAGMA journal_mode")))
            engine.dispose()
        return modes

    # Without its retry about one of three hundred connections fails with "database is locked".
    with ThreadPoolExecutor(count) as pool:
        assert list(pool.map(open_all, range(count))) == [{"wal"}] * count


UNREACHABLE = [
    "postgresql://user:s3cr%40t@127.0.0.1:1/dca",
    "postgres://user@127.0.0.1:1/dca?password=s3cr%40t&connect_timeout=2",
    "postgresql+psycopg://user:s3cr%40t@/dca?host=/nowhere&sslpassword=s3cr%40t",
    "postgresql://user:s3cr%40t@no-such-host.invalid/dca",
]


@pytest.mark.parametrize("url", UNREACHABLE)
def test_a_server_that_is_not_there_is_named_without_its_password(url):
    with pytest.raises(StoreError) as caught:
        open_store(url)

    said = "".join(traceback.format_exception(caught.value)) + str(caught.value.hint)
    assert "s3cr@t" not in said
    assert "s3cr%40t" not in said
    assert str(caught.value).startswith("no connection to postgresql+psycopg://user")
    assert isinstance(caught.value, StoreUnreachable)
    assert caught.value.exit_code == 7


def test_an_address_that_the_driver_cannot_read_is_named_without_its_password():
    with pytest.raises(
        StoreError, match=r"user:\*\*\*@127\.0\.0\.1:1/dca\?no_such_option=1 cannot be opened"
    ):
        open_store("postgresql://user:s3cret@127.0.0.1:1/dca?no_such_option=1")


def test_a_password_in_a_server_s_answer_is_masked(postgres_server):
    url = postgres_server.get_uri(database="s3cret").replace("postgres:@", "postgres:s3cret@")

    with pytest.raises(StoreUnreachable, match=r'database "\*\*\*" does not exist'):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("dca.db", "dca.db"),
        ("sqlite:///x/dca.db", "sqlite:///x/dca.db"),
        ("postgresql://me:pw@host:5/db", "postgresql+psycopg://me:***@host:5/db"),
        ("postgres://me@host/db", "postgresql+psycopg://me@host/db"),
        (
            "postgresql://host/db?password=pw&sslmode=require",
            "postgresql+psycopg://host/db?password=***&sslmode=require",
        ),
    ],
)
def test_a_url_is_shown_without_its_passwords(url, shown):
    assert safe_url(url) == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:pw@host/db", "no store can be kept in 'mysql'"),
        ("postgresql+asyncpg://me:pw@host/db", "no store can be kept in 'postgresql\\+asyncpg'"),
        ("sqlite://dca.db", "names a host: a file needs three slashes"),
        ("postgresql://me:pw@host:port/db", "the store's URL cannot be read"),
        ("://pw", "the store's URL cannot be read"),
    ],
)
def test_a_url_of_no_store_is_refused(url, said):
    with pytest.raises(UsageError, match=said) as caught:
        open_store(url)

    assert "pw" not in str(caught.value)
    assert "postgresql://USER" in str(caught.value.hint)


def test_a_place_where_no_file_can_be_is_unreachable(tmp_path):
    for url in (tmp_path / "none" / "dca.db", tmp_path):
        with pytest.raises(StoreUnreachable, match="unable to open database file"):
            open_store(str(url))


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("my notes " * 100)

    with pytest.raises(StoreError, match=r"notes\.db cannot be opened: file is not a database"):
        open_store(str(path))

    assert path.read_text() == "my notes " * 100


def test_a_file_that_cannot_be_written_is_unreachable(tmp_path):
    path = tmp_path / "dca.db"
    sqlite3.connect(path).execute("CREATE TABLE other (x)").connection.close()

    with pytest.raises(StoreUnreachable, match="readonly"):
        open_store(f"sqlite:///file:{path}?mode=ro&uri=true")


def test_without_psycopg_the_extra_is_named():
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from store.engine import open_store\n"
        "from dca.domain.errors import MissingExtra\n"
        "try: open_store('postgresql://host/db')\n"
        "except MissingExtra as error: print(error, error.hint)\n"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout == (
        "PostgreSQL needs psycopg, which is not installed "
        "pip install '.[postgres]' in the project's folder\n"
    )


def test_an_empty_database_is_built_only_when_asked(store_url):
    with pytest.raises(SchemaOutdated, match="holds no tables yet") as caught:
        open_store(store_url, migrate=False)
    assert caught.value.hint == "Run `dca db upgrade`."
    assert caught.value.exit_code == 2

    engine = connect(store_url)
    assert schema.is_empty(engine)
    assert upgrade(engine) == schema.HEAD
    assert upgrade(engine) == schema.HEAD
    engine.dispose()
    open_store(store_url, migrate=False).dispose()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("0000", f"has schema 0000, this version needs {schema.HEAD}"),
        ("9999", "has schema 9999, newer than"),
    ],
)
def test_another_schema_is_refused(store_engine, store_url, found, said):
    with store_engine.begin() as connection:
        connection.execute(text("UPDATE dca_schema SET version_num = :found"), {"found": found})

    with pytest.raises(SchemaOutdated, match=said) as caught:
        open_store(store_url)

    assert caught.value.hint


def test_a_newer_schema_is_never_upgraded(store_engine):
    with store_engine.begin() as connection:
        connection.execute(text("UPDATE dca_schema SET version_num = '9999'"))

    with pytest.raises(SchemaOutdated, match="newer than"):
        upgrade(store_engine)


def test_a_database_with_tables_of_our_names_is_refused_and_others_are_left_alone(store_url):
    engine = connect(store_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (x INTEGER)"))
        connection.execute(text("CREATE TABLE jobs (x INTEGER)"))
    with pytest.raises(StoreError, match="already holds other tables named jobs"):
        open_store(store_url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE jobs"))
        connection.execute(text("INSERT INTO theirs VALUES (7)"))

    opened = open_store(store_url)
    with opened.connect() as connection:
        assert connection.scalar(text("SELECT x FROM theirs")) == 7
    opened.dispose()
    engine.dispose()
