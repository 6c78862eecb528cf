"""Caps on real runs: many requests in flight, answers of any length, faults, over real sockets."""

import threading

import pytest

from benchmarks.fault_server.plan import Plan
from benchmarks.fault_server.running import on_thread
from benchmarks.fault_server.settings import Settings
from benchmarks.review_budget import Draw, draw_run, overruns, run_once
from benchmarks.review_clients import KEY
from benchmarks.review_stores import Stores
from benchmarks.review_work import KEY_ENV
from dca.domain.errors import ConfigError
from dca.pipeline.review import review_store
from reviewers.budget import Caps
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint
from reviewers.models import openai_reviewer
from reviewers.prices import Price
from reviewers.rules import offline_panel
from store.engine import open_store, transaction
from store.jobs import list_jobs
from store.selection import Selection


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Stores:
    return Stores(tmp_path_factory.mktemp("stores"), 60, sentences=12)


@pytest.mark.parametrize("seed", [2, 4, 7, 12])
def test_no_random_run_spends_more_than_its_cap(seed, stores) -> None:
    outcome = run_once(draw_run(seed), stores)

    assert overruns([outcome]) == []
    # What the client counts is never less than what it is charged for.
    assert outcome.counted >= outcome.billed * (1 - 1e-9)
    if outcome.ended:
        # It went on as long as another request was sure to fit.
        assert outcome.room < 1.1


def test_a_cap_that_is_large_enough_ends_nothing(stores) -> None:
    outcome = run_once(Draw(1, "dollars", 50.0, 16, 0.5, faults=False), stores)

    assert not outcome.ended
    assert outcome.answers == 60
    assert outcome.counted == pytest.approx(outcome.billed)


def test_time_ends_a_run_and_running_again_goes_on(stores, monkeypatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    plan = Plan(1, median_s=0.4, sigma=0.0)
    with on_thread(Settings(plan)) as server, stores.sqlite() as url:
        reviewer = openai_reviewer(
            "slow",
            Endpoint("tiny", f"{server.url}/v1", KEY_ENV),
            calling=Calling(2_000),
            family="x",
        )
        engine = open_store(url)

        first = review_store(
            engine, [reviewer], Selection(), concurrency=4, caps=Caps(seconds=0.5)
        )
        rest = review_store(engine, [reviewer], Selection(), concurrency=64)

        with transaction(engine) as session:
            jobs = [job.status for job in list_jobs(session)]
        engine.dispose()

    (row,) = first.reviewers
    assert first.over == "seconds"
    assert 0 < row.reviews < 60
    assert row.pending == 60 - row.reviews
    assert rest.reviewers[0].reviews == 60 - row.reviews
    assert rest.over == ""
    assert jobs == ["done", "partial"]


def test_dollars_cannot_be_capped_where_no_price_is_known(stores) -> None:
    endpoint = Endpoint("tiny", "http://127.0.0.1:1/v1")
    priced = openai_reviewer("known", endpoint, price=Price(1.0, 1.0))
    panel = [
        *offline_panel(),
        priced,
        openai_reviewer("a", endpoint),
        openai_reviewer("b", endpoint),
    ]
    with stores.sqlite() as url:
        engine = open_store(url)

        with pytest.raises(
            ConfigError, match="reviewer 'a', 'b': the price is not known"
        ) as caught:
            review_store(engine, panel, Selection(), caps=Caps(dollars=1.0))
        with transaction(engine) as session:
            assert list_jobs(session) == []
        # Nobody is asked: it was told to stop before it began.
        stop = threading.Event()
        stop.set()
        review_store(engine, panel, Selection(), caps=Caps(tokens=5), stop=stop)
        engine.dispose()

    hint = caught.value.hint
    assert hint is not None
    assert "[reviewers.a] and [reviewers.b]" in hint
    assert "--max-tokens N" in hint
