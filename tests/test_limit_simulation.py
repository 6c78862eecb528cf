"""The goals for rate limits, in virtual time: at least 97 % of the rate, under 1 % refused.

64 at once, answers of 2 s, 10 requests or 24,000 input tokens a second.
"""

import pytest

from tests.limit_simulator import Client, Limit, Outcome, Server, World

WAYS = [("openai", False), ("anthropic", True)]
"""Dialect, and whether the headers are written as the answer is ready or as it is begun."""


def limit(kind: str, *, period: float, fixed: bool = False) -> Limit:
    per_second = 10 if kind == "requests" else 24_000
    return Limit(kind, per_second * period, period, fixed, phase=17.0 if period > 17 else 0.0)


def run(
    limits: list[Limit], items: int, way: tuple[str, bool], *, processes: int = 1, **caps: float
) -> Outcome:
    world = World(Server(limits, way[0], way[1]), seed=1)
    for _ in range(processes):
        Client(world, items // processes, at_once=64, input_tokens=2400, **caps)
    outcome = world.run()
    assert len(outcome.accepted) == items
    assert outcome.lost == 0
    assert outcome.early == 0
    return outcome


def share(outcome: Outcome, tested: Limit, start: float) -> float:
    """Return the part of the allowed rate that was reached from ``start`` to the last request."""
    last = max(moment for moment, *_ in outcome.accepted)
    column = 0 if tested.name == "requests" else 1
    return outcome.rate(start, last, column) / tested.rate


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("kind", ["requests", "input-tokens"])
def test_a_limit_by_the_minute_is_used_up_and_kept(
    kind: str, fixed: bool, way: tuple[str, bool]
) -> None:
    tested = limit(kind, period=60.0, fixed=fixed)
    outcome = run([tested], 5000, way)

    assert share(outcome, tested, 60.0) >= 0.97
    assert outcome.share_refused() < 0.01


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["requests", "input-tokens"])
@pytest.mark.parametrize("items", [250, 5000])
def test_a_limit_by_the_second_is_used_up_and_kept(
    items: int, kind: str, way: tuple[str, bool]
) -> None:
    tested = limit(kind, period=1.0)
    outcome = run([tested], items, way)

    assert share(outcome, tested, 0.0 if items == 250 else 60.0) >= 0.97
    assert outcome.share_refused(after=2.0) < 0.01
    # Before the first headers come, a tenth of a second is enough to send too many.
    assert sum(moment < 2.0 for moment in outcome.refused) <= 25


@pytest.mark.parametrize("kind", ["requests", "input-tokens"])
def test_a_limit_named_by_the_minute_and_kept_by_the_second_is_learned(kind: str) -> None:
    tested = limit(kind, period=1.0)
    tested.of_minute = True
    outcome = run([tested], 2000, ("openai", False))

    assert share(outcome, tested, 60.0) >= 0.97
    assert outcome.share_refused(after=60.0) < 0.01


@pytest.mark.parametrize("way", [("openai", False), ("anthropic", True)])
def test_three_processes_share_a_key(way: tuple[str, bool]) -> None:
    tested = limit("requests", period=60.0)
    outcome = run([tested], 4500, way, processes=3)

    assert share(outcome, tested, 60.0) >= 0.97
    assert outcome.share_refused(after=60.0) < 0.01


def test_the_tighter_of_two_limits_decides() -> None:
    tight = Limit("requests", 300, 60.0, fixed=False)
    outcome = run([tight, limit("input-tokens", period=60.0)], 1500, ("openai", False))

    assert share(outcome, tight, 60.0) >= 0.97
    assert outcome.share_refused() < 0.01


def test_a_server_that_tells_only_when_it_has_refused_is_used_at_nine_tenths() -> None:
    tested = limit("requests", period=1.0)
    outcome = run([tested], 2000, ("mute", False))

    assert share(outcome, tested, 60.0) >= 0.9
    assert outcome.share_refused(after=60.0) < 0.03


def test_a_cap_of_the_user_is_kept_to_the_request() -> None:
    tested = limit("requests", period=60.0)
    outcome = run([tested], 900, ("openai", False), requests_per_minute=300)

    moments = [moment for moment, *_ in outcome.accepted]
    # The wire delays each request by 5 to 50 ms, so a minute is looked at less that much.
    most = max(sum(start <= moment < start + 59.95 for moment in moments) for start in moments)
    assert most <= 300
    assert len(moments) / (max(moments) - min(moments)) >= 0.97 * 5
    assert not outcome.refused


def test_two_runs_with_one_seed_are_the_same() -> None:
    first, second = (
        run([limit("requests", period=1.0)], 100, ("openai", False)) for _ in range(2)
    )

    assert first == second
