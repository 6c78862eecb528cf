"""The whole engine against a real server that misbehaves: nothing lost, doubled or wrong."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.fault_server.ledger import digest
from benchmarks.fault_server.limits import Limits
from benchmarks.fault_server.plan import MIXED, Fault, Plan, Rates
from benchmarks.fault_server.running import Served, on_thread
from benchmarks.fault_server.settings import Settings
from dca.domain.errors import BudgetSpent, CredentialError, ReviewerUnavailable
from dca.domain.review import Abstention, AbstentionKind, Answer, Review
from dca.domain.rollout import Message, Rollout
from reviewers.budget import Budget, Caps
from reviewers.calling import Calling
from reviewers.dialogue import NEXT_REPLY
from reviewers.endpoint import Endpoint
from reviewers.model_reviewer import ModelReviewer
from reviewers.models import anthropic_reviewer, openai_reviewer
from reviewers.panel import Seat, convene_seats
from reviewers.prices import Price
from reviewers.question import Asking
from reviewers.switchboard import Switchboard

QUICK = Calling(timeout=1.0, backoff=0.02, max_wait=2.0, max_tokens=4000)
TEXT = "First, 2 + 3 = 5. Then 5 + 4 = 9. Wait, check: 9 - 4 = 5, fine. So the answer is 9."


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-of-the-test-0123456789")


def rollouts(count: int) -> list[Rollout]:
    return [
        Rollout(f"r{number}", "g", "", (Message("user", f"What? ({number})"),), TEXT, number % 2)
        for number in range(count)
    ]


INVALID, TRUNCATED = AbstentionKind.INVALID, AbstentionKind.TRUNCATED


def last_reply(review: Review) -> str:
    """Return the reply that a review was read from, out of the fence that it may stand in."""
    text = review.raw.split(NEXT_REPLY)[-1].strip()
    return text.removeprefix("```json").removesuffix("```").strip()


def chat(server: Served, name: str = "a", calling: Calling = QUICK, **more) -> ModelReviewer:
    endpoint = Endpoint("tiny", f"{server.url}/v1", more.pop("key", "A_KEY"))
    return openai_reviewer(name, endpoint, calling=calling, **more)


def responses(server: Served) -> ModelReviewer:
    return chat(server, api="responses", kind="openai-compatible")


def messages(server: Served, name: str = "b", calling: Calling = QUICK) -> ModelReviewer:
    return anthropic_reviewer(name, Endpoint("tiny", server.url, "A_KEY"), calling=calling)


def run(
    panel: list[ModelReviewer],
    items: list[Rollout],
    *,
    slots: int = 16,
    budget: Budget | None = None,
) -> tuple[list[Answer], Switchboard]:
    async def main() -> tuple[list[Answer], Switchboard]:
        answers: list[Answer] = []
        async with Switchboard(slots, budget=budget) as board:
            seats = [Seat(reviewer, items) for reviewer in panel]
            await convene_seats(seats, board, on_answer=answers.append)
        return answers, board

    return asyncio.run(main())


@pytest.mark.parametrize("make", [chat, responses, messages])
def test_every_rollout_is_reviewed_once_and_paid_once(
    make: Callable[[Served], ModelReviewer],
) -> None:
    with on_thread(Settings(Plan(median_s=0.01))) as server:
        answers, board = run([make(server)], rollouts(60))
        totals = server.ledger.summary()

    assert all(isinstance(answer, Review) for answer in answers)
    assert len({answer.key for answer in answers}) == 60
    assert (totals["attempts"], totals["doubled"], totals["peak"]) == (60, 0, 16)
    (line,) = board.lines
    assert (line.meter.requests, line.meter.replies, line.meter.faults.total()) == (60, 60, 0)
    assert line.meter.latency(0.5) > 0
    usage = [answer.usage for answer in answers]
    assert all(one.input_tokens and one.output_tokens and one.seconds for one in usage)


@pytest.mark.parametrize("make", [chat, responses, messages])
def test_under_faults_of_every_kind_nothing_is_lost_wrong_or_doubled(
    make: Callable[[Served], ModelReviewer],
) -> None:
    rates = replace(MIXED, poison=0.02)
    plan = Plan(seed=7, median_s=0.005, rates=rates)
    with on_thread(Settings(plan, retry_after_s=0.2, drip_s=0.1)) as server:
        answers, _ = run([make(server)], rollouts(300), slots=64)
        report = server.ledger.report()

    items = report["items"]
    reviews = [answer for answer in answers if isinstance(answer, Review)]
    kept = Counter(digest(last_reply(answer)) for answer in reviews)
    poisoned = sum(item["valid"] == 0 for item in items.values())
    abstained = [answer for answer in answers if isinstance(answer, Abstention)]
    assert len({answer.key for answer in answers}) == 300
    assert len(abstained) == poisoned
    # Every review is the valid reply that the server gave for its rollout, and no other.
    assert kept == Counter(item["digest"] for item in items.values() if item["valid"])
    assert all(answer.kind in (INVALID, TRUNCATED) for answer in abstained)
    assert report["totals"]["doubled"] == 0


def test_a_key_that_expires_midway_stops_its_reviewer_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONE_KEY", "sk-one-0123456789")
    with (
        on_thread(Settings(Plan(median_s=0.01), key_requests=20)) as strict,
        on_thread(Settings(Plan(median_s=0.01))) as kind,
    ):
        answers, board = run([chat(strict, key="ONE_KEY"), messages(kind)], rollouts(50), slots=8)

    counts = Counter(answer.key.reviewer for answer in answers)
    down = [line.down for line in board.lines]
    assert sorted(counts.values()) == [20, 50]
    assert isinstance(down[0], CredentialError)
    assert down[1] is None
    # What was not answered is no abstention: it is asked for with the next key.
    assert all(isinstance(answer, Review) for answer in answers)


def test_reviewers_of_one_model_share_its_limits() -> None:
    limits = Limits(requests=600, burst_s=1.0)
    with on_thread(Settings(Plan(median_s=0.05), limits=limits)) as server:
        # Not the same question twice: the server tells questions apart by their bodies.
        panel = [chat(server, "a"), chat(server, "c", asking=Asking(blind=True))]
        answers, _ = run(panel, rollouts(15), slots=32)
        totals = server.ledger.summary()

    assert len(answers) == 30
    assert all(isinstance(answer, Review) for answer in answers)
    # Ten a second, ten at once: thirty take two seconds, however many want to go.
    assert totals["seconds"] >= 1.5
    assert totals["early"] == 0


PRICE = Price(input=3.0, output=15.0)


@pytest.mark.parametrize("seed", range(3))
def test_no_cap_is_ever_crossed_and_what_stands_is_paid_for(seed: int) -> None:
    budget = Budget(Caps(dollars=0.9))
    with on_thread(Settings(Plan(seed=seed, median_s=0.01))) as server:
        answers, board = run([chat(server, price=PRICE)], rollouts(200), budget=budget)
        totals = server.ledger.summary()

    (line,) = board.lines
    paid = totals["input_tokens"] * 3e-6 + totals["output_tokens"] * 15e-6
    assert isinstance(line.down, BudgetSpent)
    assert line.down.cap == "dollars"
    assert 0 < len(answers) < 200
    assert paid <= budget.spent.dollars + 1e-9 <= 0.9 + 2e-9
    assert budget.reserved.nanodollars == 0
    assert sum(answer.usage.dollars for answer in answers) == pytest.approx(paid)


def test_a_cap_on_tokens_holds_without_any_price() -> None:
    budget = Budget(Caps(tokens=100_000))
    with on_thread(Settings(Plan(median_s=0.005))) as server:
        answers, board = run([chat(server)], rollouts(100), budget=budget)
        totals = server.ledger.summary()

    assert 0 < len(answers) < 100
    assert totals["input_tokens"] + totals["output_tokens"] <= budget.spent.tokens <= 100_000
    assert "tokens" in str(board.lines[0].down)


def test_a_cap_below_one_worst_case_asks_nothing_and_says_why() -> None:
    with on_thread(Settings(Plan(median_s=0))) as server:
        answers, board = run(
            [chat(server, price=PRICE)], rollouts(5), budget=Budget(Caps(dollars=0.01))
        )
        totals = server.ledger.summary()

    assert (answers, totals["requests"]) == ([], 0)
    assert "one more request may cost $0.0" in str(board.lines[0].down)


def test_what_may_have_been_charged_counts_as_spent() -> None:
    rates = Rates({Fault.HANG: 1.0})
    budget = Budget(Caps(dollars=5.0))
    hasty = Calling(timeout=0.1, attempts=2, backoff=0.01, max_tokens=4000)
    with on_thread(Settings(Plan(median_s=0, rates=rates))) as server:
        answers, _ = run([chat(server, calling=hasty, price=PRICE)], rollouts(3), budget=budget)

    assert [answer.kind for answer in answers] == [AbstentionKind.UNAVAILABLE] * 3
    # Two attempts each, and for every one the whole worst case.
    assert budget.doubtful == budget.spent
    assert budget.spent.dollars >= 6 * 4000 * 15e-6


def test_a_server_that_only_fails_is_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviewers.line.SILENCE", 0.5)
    stubborn = Calling(timeout=1, attempts=500, backoff=0.01, max_wait=0.02)
    with on_thread(Settings(Plan(median_s=0, rates=Rates({Fault.SERVER_ERROR: 1.0})))) as server:
        answers, board = run([chat(server, calling=stubborn)], rollouts(40))
        totals = server.ledger.summary()

    down = board.lines[0].down
    assert isinstance(down, ReviewerUnavailable)
    assert "only faults for" in str(down)
    assert answers == []
    # The breaker let few through.
    assert totals["requests"] < 100


def test_an_empty_account_stops_the_reviewer_without_abstentions() -> None:
    with on_thread(Settings(Plan(median_s=0), key="sk-other")) as server:
        answers, board = run([chat(server)], rollouts(10))

    assert answers == []
    assert "refused the key" in str(board.lines[0].down)
