import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewers.breaker import Breaker


class Midway(random.Random):
    """Draws one half, always."""

    def random(self) -> float:
        return 0.5


RNG = Midway()


def opened(faults: int = 3) -> Breaker:
    """Return a breaker that opened at 1 s; its cool-down of 1.1 s ends at 2.1 s."""
    breaker = Breaker(faults)
    for _ in range(faults):
        assert breaker.admit(0.5)
        breaker.faulted(0.5, 1.0, RNG)
    return breaker


def test_it_opens_after_faults_in_a_row_and_only_then() -> None:
    breaker = Breaker(3)
    for moment in range(10):
        breaker.faulted(moment, moment + 0.5, RNG)
        breaker.faulted(moment, moment + 0.5, RNG)
        breaker.answered(moment, moment + 0.5)
    assert breaker.admit(10.0)
    assert breaker.ready_at(10.0) == 10.0

    assert not opened().admit(2.0)
    assert opened().ready_at(1.0) == pytest.approx(2.1)
    assert opened().ready_at(5.0) == 5.0


def test_one_probe_goes_and_all_others_wait_for_its_fate() -> None:
    breaker = opened()

    assert breaker.admit(2.2)
    assert not breaker.admit(2.2)
    assert breaker.ready_at(2.3) == math.inf

    breaker.answered(2.2, 2.5)
    assert breaker.admit(2.5)
    assert breaker.admit(2.5)


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breaker, waits, now = opened(), [], 1.0
    for _ in range(7):
        waits.append(breaker.ready_at(now) - now)
        now = breaker.ready_at(now)
        assert breaker.admit(now)
        breaker.faulted(now, now, RNG)

    # With a jitter of a tenth: 1, 2, 4, 8, 16, 30, 30.
    assert waits == pytest.approx([1.1, 2.2, 4.4, 8.8, 17.6, 33.0, 33.0])


def test_the_cool_down_starts_small_again_after_a_recovery() -> None:
    breaker = opened(1)
    assert breaker.admit(2.2)
    breaker.faulted(2.2, 3.0, RNG)
    assert breaker.admit(6.0)
    breaker.answered(6.0, 6.5)
    breaker.faulted(6.6, 7.0, RNG)

    assert breaker.ready_at(7.0) == pytest.approx(8.1)


def test_requests_from_before_a_change_decide_nothing() -> None:
    breaker = opened()
    breaker.answered(0.6, 1.5)  # sent while it was closed: nothing of now
    breaker.faulted(0.6, 1.5, RNG)
    assert breaker.ready_at(1.5) == pytest.approx(2.1)

    assert breaker.admit(2.2)
    breaker.faulted(0.7, 2.3, RNG)  # not the probe
    breaker.answered(0.7, 2.3)
    assert breaker.ready_at(2.4) == math.inf

    breaker.answered(2.2, 2.5)
    for _ in range(5):
        breaker.faulted(0.7, 2.6, RNG)  # late news of the bad times
    assert breaker.admit(2.7)


def test_a_probe_that_tells_nothing_makes_way_for_another() -> None:
    breaker = opened()
    breaker.withdrawn(0.5)
    assert breaker.admit(2.2)
    breaker.withdrawn(2.2)

    assert breaker.ready_at(2.3) == 2.3
    assert breaker.admit(2.3)


def test_it_tells_for_how_long_nothing_was_heard() -> None:
    breaker = Breaker(3)
    assert breaker.silent_for(100.0) == 0.0

    breaker.faulted(100.0, 130.0, RNG)
    breaker.faulted(120.0, 140.0, RNG)
    assert breaker.silent_for(150.0) == 50.0

    breaker.answered(90.0, 160.0)
    assert breaker.silent_for(170.0) == 0.0


@given(st.integers(0, 10**6), st.integers(1, 5), st.lists(st.sampled_from("afwn"), max_size=80))
def test_at_most_one_request_is_out_while_it_is_not_closed(
    seed: int, faults: int, events: list[str]
) -> None:
    rng, breaker, now = random.Random(seed), Breaker(faults), 0.0
    probe: float | None = None
    for event in events:
        now += rng.choice((0.1, 1.0, 40.0))
        if probe is None and breaker.ready_at(now) > now:
            assert not breaker.admit(now)
            continue
        if probe is None:
            assert breaker.admit(now)
            probe = now
        if event == "a":
            breaker.answered(probe, now)
        elif event == "f":
            breaker.faulted(probe, now, rng)
        elif event == "w":
            breaker.withdrawn(probe)
        elif breaker.ready_at(now) == math.inf:
            assert not breaker.admit(now)
            continue
        probe = None
