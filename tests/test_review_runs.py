"""Whole review runs over a store: two at once, killed ones, caps, and a store that fails."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from benchmarks.fault_server.plan import Plan
from benchmarks.fault_server.running import Served, on_thread
from benchmarks.fault_server.settings import Settings
from dca.domain.errors import CredentialError
from dca.domain.rollout import Message, Rollout
from dca.pipeline.review import review_store
from reviewers.budget import Caps
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint
from reviewers.model_reviewer import ModelReviewer
from reviewers.models import openai_reviewer
from reviewers.prices import Price
from reviewers.protocol import review_key
from reviewers.rules import offline_panel
from store.claims import claim
from store.engine import open_store, transaction
from store.jobs import list_jobs, start_job
from store.reviews import count_answers
from store.rollouts import add_rollouts
from store.selection import Selection

ALL = Selection()
TEXT = "First, 2 + 3 = 5. Then 5 + 4 = 9. So the answer is 9."
CALLING = Calling(timeout=5, backoff=0.05, max_tokens=4000)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-of-the-test-0123456789")


@pytest.fixture
def server() -> Iterator[Served]:
    with on_thread(Settings(Plan(median_s=0.03))) as served:
        yield served


def fill(engine, count: int) -> None:
    with transaction(engine) as session:
        add_rollouts(
            session,
            [
                Rollout(f"{n:020d}", f"g{n // 4}", "", (Message("user", f"{n}?"),), TEXT, n % 2)
                for n in range(count)
            ],
        )


def model(url: str, name: str = "a") -> ModelReviewer:
    endpoint = Endpoint("tiny", f"{url}/v1", "A_KEY")
    return openai_reviewer(name, endpoint, calling=CALLING, price=Price(3.0, 15.0))


def stored(engine) -> int:
    with transaction(engine) as session:
        return sum(row.reviews for row in count_answers(session))


def run_in_child(url: str, served: str) -> None:
    review_store(open_store(url), [model(served)], ALL, concurrency=16)


def test_two_runs_at_once_never_pay_for_one_review_twice(store_url, server: Served) -> None:
    engine = open_store(store_url)
    fill(engine, 400)
    spawn = multiprocessing.get_context("spawn")
    children = [spawn.Process(target=run_in_child, args=(store_url, server.url)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)

    totals = server.ledger.summary()
    assert [child.exitcode for child in children] == [0, 0]
    assert stored(engine) == 400
    assert (totals["attempts"], totals["doubled"]) == (400, 0)
    engine.dispose()


def test_after_kill_9_only_what_was_in_flight_is_paid_again(store_url, server: Served) -> None:
    engine = open_store(store_url)
    fill(engine, 500)
    for _ in range(3):
        before = stored(engine)
        child = multiprocessing.get_context("spawn").Process(
            target=run_in_child, args=(store_url, server.url)
        )
        child.start()
        deadline = time.monotonic() + 60
        while stored(engine) < before + 40 and child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()

    last = review_store(engine, [model(server.url)], ALL, concurrency=16)

    totals = server.ledger.summary()
    with transaction(engine) as session:
        states = [job.status for job in list_jobs(session)]
    assert stored(engine) == 500
    assert last.complete
    assert last.interrupted_before > 0
    assert states == ["done", "lost", "lost", "lost"]
    # Each kill: the sixteen in flight, and the answers that were just being written.
    assert 0 <= totals["attempts"] - 500 <= 3 * 3 * 16
    engine.dispose()


def test_what_another_run_holds_is_left_to_it(store_engine) -> None:
    fill(store_engine, 20)
    panel = offline_panel()[:1]
    probe = review_store(store_engine, panel, Selection(limit=1))
    with transaction(store_engine) as session:
        other = start_job(session, "review", {})
        # Every key of the panel is that of its rollout: claim those of five rollouts.
        keys = [
            review_key(panel[0], Rollout(f"{n:020d}", "g", "", (), "x")).id for n in range(10, 15)
        ]
        assert claim(session, other, keys) == set(keys)

    result = review_store(store_engine, panel, ALL)

    (row,) = result.reviewers
    assert probe.complete
    assert (row.reviews, row.pending, row.held) == (14, 5, 5)
    assert not result.complete


def test_a_cap_ends_the_run_and_the_rest_goes_on_with_the_next(
    store_engine, server: Served
) -> None:
    fill(store_engine, 60)

    first = review_store(store_engine, [model(server.url)], ALL, caps=Caps(dollars=0.3))
    rest = review_store(store_engine, [model(server.url)], ALL)

    (row,) = first.reviewers
    assert (first.over, first.complete) == ("dollars", False)
    assert 0 < row.reviews < 60
    assert row.pending == 60 - row.reviews
    assert first.spent_dollars <= 0.3
    assert row.dollars == pytest.approx(first.spent_dollars)
    assert "of the budget is left" in row.stopped
    assert rest.complete
    assert server.ledger.summary()["doubled"] == 0


def test_a_cap_on_time_drains_the_run(store_engine) -> None:
    fill(store_engine, 60)
    with on_thread(Settings(Plan(median_s=0.3))) as slow:
        result = review_store(
            store_engine, [model(slow.url)], ALL, concurrency=2, caps=Caps(seconds=0.5)
        )

    assert result.over == "seconds"
    assert 0 < result.reviewers[0].reviews < 60
    assert stored(store_engine) == result.reviewers[0].reviews


def test_a_refused_key_ends_in_an_error_and_the_others_finish(
    store_engine, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store_engine, 10)
    monkeypatch.setenv("A_KEY", "sk-wrong")
    with (
        on_thread(Settings(Plan(median_s=0), key="sk-right")) as strict,
        pytest.raises(CredentialError, match="refused the key"),
    ):
        review_store(store_engine, [model(strict.url), offline_panel()[0]], ALL)

    assert stored(store_engine) == 10
    with transaction(store_engine) as session:
        assert list_jobs(session)[0].status == "failed"


def test_a_store_that_fails_stops_the_run_and_is_told(tmp_path: Path, server: Served) -> None:
    engine = open_store(str(tmp_path / "dca.db"))
    fill(engine, 300)
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER full BEFORE INSERT ON reviews WHEN (SELECT count(*) FROM reviews)"
                " > 20 BEGIN SELECT RAISE(FAIL, 'disk full'); END"
            )
        )

    with pytest.raises(IntegrityError, match="disk full"):
        review_store(engine, [model(server.url)], ALL, concurrency=8)

    assert server.ledger.summary()["attempts"] < 300
    engine.dispose()


def test_figures_of_a_running_review_are_in_its_job(store_engine) -> None:
    fill(store_engine, 40)
    seen: list[Mapping[str, Any]] = []
    with on_thread(Settings(Plan(median_s=0.25, sigma=0.01))) as slow:
        work = threading.Thread(
            target=review_store,
            args=(store_engine, [model(slow.url)], ALL),
            kwargs={"concurrency": 2},
        )
        work.start()
        while work.is_alive():
            time.sleep(0.2)
            with transaction(store_engine) as session:
                seen.extend(job.counts for job in list_jobs(session) if job.status == "running")
        work.join()

    figures = [counts["a"] for counts in seen if counts]
    assert figures
    assert 0 < figures[-1]["done"] < 40
    assert figures[-1]["dollars"] > 0
