"""Reviews in providers' batches, over real sockets, through the real SDKs."""

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.fault_server.plan import Fault, Rates
from benchmarks.fault_server.running import on_thread
from benchmarks.fault_server.settings import BatchLimits
from dca.domain.errors import ConfigError, CredentialError, NothingSelected
from dca.pipeline.batch_office import parted
from dca.pipeline.batch_review import Rounds, batch_review
from dca.pipeline.review import review_store
from reviewers.batches.anthropic import AnthropicBatches
from reviewers.batches.openai import OpenAIBatches
from reviewers.batches.service import Limits
from reviewers.budget import Caps, Cost
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint
from reviewers.models import openai_reviewer
from reviewers.prices import cost_of
from reviewers.rules import offline_panel
from store.engine import open_store, transaction
from store.jobs import list_jobs
from store.rollouts import add_rollouts
from store.selection import Selection, parse_where
from tests.batch_reviews import (
    KEY,
    KINDS,
    ONCE,
    PRICE,
    QUICK,
    Notes,
    counts,
    doubled,
    filled,
    model,
    open_batch,
    run,
    settings,
    stored,
)
from tests.command_line import plain_rollouts

EACH = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)


@pytest.fixture
def store(tmp_path):
    """A store with twelve rollouts."""
    engine = filled(tmp_path, 12)
    yield engine
    engine.dispose()


@EACH
def test_a_panel_is_asked_in_batches_and_charged_by_their_price(kind, store):
    with on_thread(settings()) as server:
        reviewer = model(kind, server.url)
        result = run(store, [reviewer])
        again = run(store, [reviewer])
        totals = server.ledger.totals

    (row,), (reviews, abstentions) = result.reviewers, stored(store, reviewer)
    assert (row.reviews, row.pending, row.held, len(reviews), abstentions) == (12, 0, 0, 12, [])
    assert (result.submitted, result.open, result.unknown, result.complete) == (12, 0, 0, True)
    assert (totals.attempts, totals.batches, totals.requests) == (12, 1, 0)
    costs = [cost_of(review.usage, PRICE, batch=True) for review in reviews]
    assert sum(cost.nanodollars for cost in costs) == round(result.spent_dollars * 1e9)
    assert [review.usage.dollars for review in reviews] == [cost.dollars for cost in costs]
    assert result.spent_tokens == totals.input_tokens + totals.output_tokens
    assert result.reserved_dollars == 0
    assert counts(store) == {"reviews": 12, "claims": 0, "replies": 0, "batches": 1}
    # Nothing is pending: nothing is submitted.
    assert (again.submitted, again.reviewers[0].cached, again.complete) == (0, 12, True)


@pytest.mark.parametrize("where", ["sqlite", "postgres", "memory"])
def test_every_store_keeps_batches(where, request, tmp_path):
    urls = {"sqlite": f"sqlite:///{tmp_path}/dca.db", "memory": "sqlite://"}
    url = urls.get(where) or request.getfixturevalue("postgres_url")
    engine = open_store(url)
    with transaction(engine) as session:
        add_rollouts(session, plain_rollouts(6))
    with on_thread(settings(Rates({Fault.BAD_SCHEMA: 0.5}))) as server:
        models = [model("chat", server.url), model("anthropic", server.url, name="other")]
        run(engine, models, rounds=ONCE)
        result = run(engine, models)
    left = counts(engine)
    engine.dispose()

    assert sum(row.reviews for row in result.reviewers) == left["reviews"] > 0
    assert (left["claims"], left["replies"]) == (0, 0)


@EACH
def test_what_fails_is_sent_again_and_what_is_invalid_gets_its_repair_turn(kind, store):
    rates = Rates({Fault.SERVER_ERROR: 0.2, Fault.BAD_SCHEMA: 0.2}, batch_expired=0.3)
    with on_thread(settings(rates)) as server:
        reviewer = model(kind, server.url)
        result = run(store, [reviewer])
        records = list(server.ledger.items.values())
        assert doubled(server) == 0

    (row,), (reviews, abstentions) = result.reviewers, stored(store, reviewer)
    assert len(reviews) + len(abstentions) == 12
    assert row.reviews == len(reviews) == sum(record.valid for record in records)
    assert Counter(answer.kind for answer in abstentions) == row.abstentions
    assert counts(store)["claims"] == counts(store)["replies"] == 0
    # No question is sent more than three times in vain, and a repair turn is one more.
    assert max(record.attempts for record in records) <= 6
    assert any(record.attempts > 1 for record in records)
    repaired = [review for review in reviews if "\n\x1e\n" in review.raw]
    assert repaired
    assert all(review.usage.dollars > 0 for review in repaired)


@EACH
def test_what_fails_three_times_becomes_an_abstention(kind, store):
    with on_thread(settings(Rates({Fault.SERVER_ERROR: 1.0}))) as server:
        reviewer = model(kind, server.url)
        result = run(store, [reviewer])
        attempts = server.ledger.totals.attempts

    (row,), (_, abstentions) = result.reviewers, stored(store, reviewer)
    assert (row.reviews, row.abstentions, attempts) == (0, {"unavailable": 12}, 36)
    assert abstentions[0].reason.startswith(f"{kind}: HTTP 500: ")
    assert (row.stopped, result.complete, result.spent_tokens) == ("", False, 0)


def test_what_can_never_succeed_is_sent_once(store):
    with on_thread(settings()) as server:
        reviewer = model("chat", server.url, calling=Calling(extra={"stream": True}))
        result = run(store, [reviewer])
        batches = server.ledger.totals.batches

    assert result.reviewers[0].abstentions == {"unavailable": 12}
    assert batches == 1


def test_abstentions_are_asked_again_once_when_that_is_wanted(store):
    with on_thread(settings(Rates({Fault.REFUSAL: 1.0}))) as server:
        reviewer = model("chat", server.url)
        run(store, [reviewer])
        assert run(store, [reviewer]).submitted == 0
        again = run(store, [reviewer], retry_failed=True)

    assert (again.submitted, again.reviewers[0].abstentions) == (12, {"refused": 12})


@EACH
def test_leaving_at_once_and_coming_back_collects_what_is_there(kind, store):
    with on_thread(settings(seconds=0.3)) as server:
        reviewer = model(kind, server.url)
        left = run(store, [reviewer], rounds=ONCE)
        batch = open_batch(store, reviewer)
        held = counts(store)["claims"]
        # Another run, online, pays for none of them.
        online = review_store(store, [reviewer], Selection())
        back = run(store, [reviewer])
        assert doubled(server) == 0

    assert (left.submitted, left.open, left.reviewers[0].held, held) == (12, 12, 12, 12)
    assert left.reserved_dollars * 1e9 == pytest.approx(batch.nanodollars)
    assert not left.complete
    assert (online.reviewers[0].held, online.reviewers[0].reviews) == (12, 0)
    assert (back.submitted, back.reviewers[0].reviews, back.complete) == (0, 12, True)


@pytest.mark.parametrize("limits", [Limits(5, 1 << 20), Limits(100, 60_000)])
def test_batches_hold_what_the_provider_takes(limits, store, monkeypatch):
    monkeypatch.setattr(OpenAIBatches, "limits", limits)
    monkeypatch.setattr(AnthropicBatches, "limits", limits)
    # One request more, or one byte, and the server would refuse the batch.
    most = BatchLimits(limits.requests, limits.bytes + 1_000)
    with on_thread(settings(openai_batch=most, anthropic_batch=most)) as server:
        result = run(store, [model("chat", server.url), model("anthropic", server.url)])
        batches = server.ledger.totals.batches

    assert [row.reviews for row in result.reviewers] == [12, 12]
    assert batches > 2
    assert limits.requests > 5 or batches == 6


def test_only_the_selection_is_asked_but_every_batch_is_collected(store):
    with on_thread(settings()) as server:
        reviewer = model("chat", server.url)
        run(store, [reviewer], rounds=ONCE)
        result = batch_review(store, [reviewer], parse_where("step:0..2"), rounds=QUICK)
        with pytest.raises(NothingSelected):
            batch_review(store, [reviewer], parse_where("task:none"))

    assert (result.selected, result.reviewers[0].reviews) == (3, 12)


def test_a_rollout_without_text_needs_no_request(tmp_path):
    blank = replace(plain_rollouts(1)[0], completion=" \n")
    engine = filled(tmp_path, [blank, *plain_rollouts(3)[1:]])
    with on_thread(settings()) as server:
        result = run(engine, [model("chat", server.url)])
        attempts = server.ledger.totals.attempts
    engine.dispose()

    assert (result.reviewers[0].reviews, attempts) == (2, 2)
    assert result.reviewers[0].abstentions == {"invalid": 1}


def test_the_worst_case_of_what_is_submitted_stays_below_every_cap(store):
    with on_thread(settings()) as server:
        reviewer = model("chat", server.url)
        run(store, [reviewer], rounds=ONCE)
        batch = open_batch(store, reviewer)
    each = batch.nanodollars / 12
    for name, caps, too_low in (
        ("dollars", Caps(dollars=5.5 * each / 1e9), Caps(dollars=each / 2e9)),
        ("tokens", Caps(tokens=batch.tokens * 11 // 24), Caps(tokens=batch.tokens // 24)),
    ):
        engine = filled(store_folder(store, name), 12)
        with on_thread(settings()) as server:
            models = [model("chat", server.url)]
            none = run(engine, models, caps=too_low)
            left = run(engine, models, caps=caps, rounds=ONCE)
            ended = run(engine, models, caps=caps)
        engine.dispose()
        assert (none.submitted, none.over, none.open) == (0, name, 0)
        # Five at once; the others fit when these have turned out cheaper.
        assert (left.submitted, left.over, left.open) == (5, "", 5)
        assert left.reserved_dollars <= (caps.dollars or 1)
        assert left.reserved_tokens <= (caps.tokens or 10**9)
        assert (ended.over, ended.reviewers[0].reviews) == ("", 12)
        assert ended.spent_dollars <= (caps.dollars or 1)
        assert ended.spent_tokens <= (caps.tokens or 10**9)


def store_folder(engine, name):
    """Return a new folder beside a store."""
    folder = Path(engine.url.database).parent / name
    folder.mkdir()
    return folder


def test_a_dollar_cap_needs_a_price(store):
    reviewer = model("chat", "http://127.0.0.1:9", price=None)
    with pytest.raises(ConfigError, match="price is not known"):
        run(store, [reviewer], caps=Caps(dollars=1.0))


def test_after_its_time_a_run_submits_nothing_and_leaves(store):
    with on_thread(settings(seconds=5)) as server:
        reviewer = model("chat", server.url)
        run(store, [reviewer], rounds=ONCE)
        result = run(store, [reviewer], caps=Caps(seconds=0.0))

    assert (result.over, result.submitted, result.open) == ("seconds", 0, 12)


@EACH
def test_cancelling_keeps_the_results_that_exist_and_frees_the_rest(kind, store):
    with on_thread(settings(seconds=1.2)) as server:
        reviewer = model(kind, server.url)
        run(store, [reviewer], rounds=ONCE)
        while not 0 < server.ledger.totals.valid < 12:
            time.sleep(0.01)
        asked = run(store, [reviewer], rounds=Rounds(wait=False, cancel=True))
        result = run(store, [reviewer], rounds=replace(QUICK, cancel=True))
        paid = server.ledger.totals.valid

    # One look may be enough to see it stopped.
    assert asked.open in (0, 12)
    assert 0 < len(stored(store, reviewer)[0]) == paid < 12
    assert (result.submitted, result.open, result.reviewers[0].pending) == (0, 0, 12 - paid)
    assert counts(store)["claims"] == counts(store)["replies"] == 0


def test_ctrl_c_leaves_batches_at_the_provider(store):
    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    with on_thread(settings(seconds=30)) as server:
        reviewer = model("chat", server.url)
        result = run(store, [reviewer], stop=stop, rounds=Rounds(first=60))

    assert (result.stopped, result.open) == (True, 12)
    with transaction(store) as session:
        jobs = {job.kind: job.status for job in list_jobs(session)}
    assert jobs == {"review": "interrupted", "batch": "submitted"}


@pytest.mark.parametrize("kind", ["chat", "anthropic"])
def test_a_refused_key_ends_the_run_and_holds_nothing(kind, store, monkeypatch):
    with on_thread(settings()) as server:
        reviewer = model(kind, server.url)
        monkeypatch.setenv("MY_KEY", "sk-wrong-key-1234")
        with pytest.raises(CredentialError) as caught:
            run(store, [reviewer])
        monkeypatch.delenv("MY_KEY")
        with pytest.raises(CredentialError, match="MY_KEY is not set"):
            run(store, [reviewer])

    assert "sk-wrong" not in str(caught.value)
    assert counts(store)["claims"] == 0
    with transaction(store) as session:
        assert {job.status for job in list_jobs(session)} == {"failed"}


@pytest.mark.parametrize("kind", ["chat", "anthropic"])
def test_a_provider_that_is_not_there_stops_only_its_reviewer(kind, store):
    notes = Notes()
    with on_thread(settings()) as server:
        models = [
            model(kind, "http://127.0.0.1:9", name="away"),
            model("responses", server.url),
        ]
        result = run(store, models, rounds=ONCE, progress=notes)
        run(store, models[1:])

    assert result.submitted in (12, 24)
    assert len(stored(store, models[1])[0]) == 12


def test_only_models_with_batches_can_be_asked_so(tmp_path):
    compatible = openai_reviewer("local", Endpoint("tiny", "http://127.0.0.1:9/v1"))
    chat = model("chat", "http://127.0.0.1:9")
    rules = offline_panel()

    assert parted([*rules, chat, compatible]) == ([chat], [*rules, compatible])
    with pytest.raises(ConfigError, match="no reviewer of the panel can be asked in batches"):
        parted([*rules, compatible])


def test_batches_of_others_are_told_of(store):
    notes = Notes()
    with on_thread(settings(seconds=30)) as server:
        run(store, [model("chat", server.url)], rounds=ONCE)
        run(store, [model("responses", server.url)], rounds=ONCE, progress=notes)

    assert any(text.startswith("1 batches are of reviewers") for text in notes.said)
    # A run that has ended is no reason to ask again for what its batch asks.
    assert counts(store)["claims"] == 24


def test_what_others_of_the_panel_do_meanwhile_has_what_the_caps_leave(store):
    seen = []

    def spend(left):
        seen.append(left)
        return Cost(1_000_000_000, 5)

    with on_thread(settings()) as server:
        rounds = replace(QUICK, meanwhile=spend)
        caps = Caps(dollars=3.0, tokens=10_000_000, seconds=60.0)
        result = run(store, [model("chat", server.url)], rounds=rounds, caps=caps)

    (left,) = seen
    assert 0 < left.dollars < 3
    assert 0 < left.tokens < 10_000_000
    assert 0 < left.seconds < 60
    assert 1 < result.spent_dollars < 1.1
    assert result.reviewers[0].dollars == pytest.approx(result.spent_dollars - 1)
