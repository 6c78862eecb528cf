import json
import subprocess
import sys

import pytest

from store.engine import open_store, transaction
from store.jobs import list_jobs
from store.reviews import count_answers, reviews_of
from store.rollouts import add_rollouts, count_rollouts, iter_rollouts
from store.selection import Selection
from store.stats import stats
from tests.store_examples import LABELS, rollout
from tests.store_writer import COUNT


@pytest.fixture
def start_writer():
    started = []

    def start(*arguments):
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.store_writer", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(writer)
        assert writer.stdout.readline() == "ready\n"
        return writer

    yield start
    for writer in started:
        writer.kill()
        writer.communicate()


def test_two_processes_that_open_an_empty_store_and_add_the_same_neither_fail_nor_double(
    store_url, start_writer
):
    writers = [start_writer(store_url, seed) for seed in ("1", "2")]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()

    found = [json.loads(writer.stdout.readline()) for writer in writers]

    assert [writer.wait() for writer in writers] == [0, 0]
    assert sum(part["rollouts"] for part in found) == COUNT
    assert sum(part["unchanged"] for part in found) == COUNT
    assert sum(part["reviews"] for part in found) == COUNT
    engine = open_store(store_url)
    with transaction(engine) as session:
        rows = stats(session).rows
    engine.dispose()
    assert rows["rollouts"] == rows["reviews"] == rows["abstentions"] == COUNT
    assert rows["reviewers"] == 2


def test_after_kill_9_every_rollout_has_its_review_and_the_job_is_seen_to_be_lost(
    store_url, start_writer
):
    writer = start_writer(store_url, "0", "forever")
    writer.stdin.write("go\n")
    writer.stdin.flush()
    assert writer.stdout.readline() == "going\n"
    writer.kill()
    writer.wait()

    engine = open_store(store_url)
    with transaction(engine) as session:
        stored = [item for page in iter_rollouts(session, Selection()) for item in page]
        reviews = reviews_of(session, [item.id for item in stored], label_set=LABELS)
        (job,) = list_jobs(session)
        again = add_rollouts(session, [rollout(number) for number in range(len(stored) + 5)])
        count = count_rollouts(session, Selection())
        (answers,) = count_answers(session)
    engine.dispose()

    assert len(stored) >= 21
    assert stored == [rollout(number) for number in range(len(stored))]
    assert {key: len(found) for key, found in reviews.items()} == {item.id: 1 for item in stored}
    assert (job.status, job.pid, job.finished) == ("lost", writer.pid, None)
    assert job.done == answers.reviews == len(stored)
    assert (again.new, again.unchanged, count) == (5, len(stored), len(stored) + 5)
