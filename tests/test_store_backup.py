import sqlite3

import pytest
from sqlalchemy import text

from dca.domain.errors import SchemaOutdated, UsageError
from dca.domain.labels import CONTRIBUTION_V1
from store import schema
from store.backup import backup
from store.consensus import add_consensus, add_version
from store.engine import open_store, transaction
from store.jobs import list_jobs, start_job
from store.label_sets import add_label_set, find_label_set
from store.reviews import abstentions_of, add_answers, add_reviewers, list_reviewers, reviews_of
from store.rollouts import add_rollouts, iter_rollouts
from store.scores import CreditRun, TokenScores, add_credit_run, add_scores, list_credit_runs
from store.selection import Selection
from store.stats import stats
from tests.store_examples import (
    LABELS,
    OTHER,
    REVIEWER,
    abstention,
    consensus,
    full_rollout,
    review,
    rollout,
    version,
)


def fill(engine):
    """Put something into every table."""
    items = [full_rollout(), *[rollout(number) for number in range(1200)]]
    with transaction(engine) as session:
        add_rollouts(session, items)
        add_label_set(session, CONTRIBUTION_V1)
        add_reviewers(session, [REVIEWER, OTHER])
        add_answers(session, [review(item, raw="\x00\ud800") for item in items])
        add_answers(session, [abstention(items[0], OTHER, reason="\x00")])
        number = add_version(session, version()).id
        add_consensus(session, number, [consensus(item) for item in items[:3]])
        tokens = items[0].tokens
        add_scores(session, [TokenScores(items[0].id, "credit", "1", tokens.logprobs, {"a": 1})])
        add_credit_run(session, CreditRun("grpo", {"x": [1.5]}, number, LABELS))
        start_job(session, "import", {"a": "\x00"})


def everything(engine):
    """Return what a reader sees of every table but the scores."""
    with transaction(engine) as session:
        rollouts = [item for page in iter_rollouts(session, Selection()) for item in page]
        ids = [item.id for item in rollouts]
        return (
            rollouts,
            find_label_set(session, LABELS),
            list_reviewers(session),
            reviews_of(session, ids, label_set=LABELS),
            abstentions_of(session, ids, label_set=LABELS),
            list_credit_runs(session),
            list_jobs(session),
            stats(session).rows,
        )


def test_a_backup_is_a_store_with_the_same_content(store_engine, tmp_path):
    fill(store_engine)
    path = tmp_path / "copy.db"

    size = backup(store_engine, path)

    assert size == path.stat().st_size > 100_000
    assert [item.name for item in tmp_path.glob("copy*")] == ["copy.db"]
    copy = open_store(str(path), migrate=False)
    assert everything(copy) == everything(store_engine)
    with transaction(copy) as session:
        assert add_version(session, version()).id == 2
    copy.dispose()


def test_a_backup_is_of_one_moment_and_of_committed_work_only(store_engine, tmp_path):
    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(1)])
    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(2)])
        backup(store_engine, tmp_path / "copy.db")

    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("SELECT id FROM rollouts").fetchall() == [(rollout(1).id,)]
    copy.close()


def test_a_backup_never_overwrites_a_file_and_replaces_what_a_killed_one_left(
    store_engine, tmp_path
):
    path = tmp_path / "copy.db"
    path.write_text("precious")
    with pytest.raises(UsageError, match=r"copy\.db exists"):
        backup(store_engine, path)
    assert path.read_text() == "precious"

    path.rename(tmp_path / "copy.db.part")
    backup(store_engine, path)

    assert not (tmp_path / "copy.db.part").exists()


def test_a_postgresql_store_of_another_schema_is_not_copied(postgres_url, tmp_path):
    engine = open_store(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE dca_schema SET version_num = '9999'"))

    with pytest.raises(SchemaOutdated):
        backup(engine, tmp_path / "copy.db")
    engine.dispose()

    assert list(tmp_path.glob("copy*")) == []


def test_stats_count_every_table_and_measure_the_store(store_engine):
    with transaction(store_engine) as session:
        empty = stats(session)
    fill(store_engine)
    with transaction(store_engine) as session:
        full = stats(session)

    assert set(empty.rows.values()) == {0}
    assert {name: count for name, count in full.rows.items() if count} == {
        "rollouts": 1201,
        "label_sets": 1,
        "reviewers": 2,
        "reviews": 1201,
        "abstentions": 1,
        "consensus_versions": 1,
        "consensus": 3,
        "token_scores": 1,
        "credit_runs": 1,
        "jobs": 1,
    }
    assert full.revision == schema.HEAD
    assert full.bytes > empty.bytes + 300_000


def test_stats_show_no_password(postgres_server, postgres_url):
    engine = open_store(postgres_url.replace("postgres:@", "postgres:s3cret@"))
    with transaction(engine) as session:
        assert ":***@" in stats(session).url
        assert "s3cret" not in str(stats(session))
    engine.dispose()
