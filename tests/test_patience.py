import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewers.calling import Calling
from reviewers.exchange import RETRIED, Cause, Fault
from reviewers.patience import Patience


@dataclass
class Draw(random.Random):
    """Draws the same share of every range."""

    share: float

    def random(self) -> float:
        return self.share


def waits(faults: list[Fault], *, share: float = 1.0, **settings: float) -> list[float | None]:
    rng = Draw(share)
    patience = Patience(Calling(**settings), rng)  # pyright: ignore[reportArgumentType]
    return [patience.next_wait(fault) for fault in faults]


DOWN = Fault(Cause.TRANSPORT, "reset")
BUSY = Fault(Cause.OVERLOAD, "529", 529)
FAST = Fault(Cause.LIMIT, "429", 429)


def test_waits_are_drawn_from_a_range_that_doubles_up_to_the_longest() -> None:
    faults = [DOWN] * 6

    assert waits(faults, attempts=10, backoff=1.0, max_wait=10.0) == [1, 2, 4, 8, 10, 10]
    assert waits(faults, attempts=10, backoff=1.0, max_wait=10.0, share=0.5) == [
        0.5,
        1,
        2,
        4,
        5,
        5,
    ]
    assert waits(faults, attempts=10, share=0.0) == [0.0] * 6


def test_faults_use_up_the_attempts() -> None:
    assert waits([DOWN, BUSY, DOWN], attempts=3) == [1, 2, None]
    assert waits([DOWN], attempts=1) == [None]


def test_rate_limits_use_up_no_attempts_and_widen_their_own_range() -> None:
    faults = [FAST, FAST, DOWN, FAST, DOWN]

    assert waits(faults, attempts=3) == [1, 2, 1, 4, 2]


def test_rate_limits_hold_a_request_back_for_an_hour_at_most() -> None:
    faults = [Fault(Cause.LIMIT, "429", 429, retry_after=600.0)] * 10

    # Each waits 600 s and, here, no jitter: six would make the hour full.
    assert waits(faults, share=0.0)[:7] == [600.0] * 5 + [None] * 2


def test_what_the_server_asks_for_is_waited_in_full_and_a_little_longer() -> None:
    def asked(seconds: float, share: float) -> list[float | None]:
        return waits([Fault(Cause.LIMIT, "429", 429, retry_after=seconds)], share=share)

    assert asked(20.0, 0.0) == [20.0]
    assert asked(20.0, 0.5) == [21.0]  # half of a tenth
    assert asked(300.0, 1.0) == [305.0]  # five seconds at most
    assert asked(0.1, 1.0) == [1.0]  # the drawn wait is longer


@pytest.mark.parametrize(
    ("cause", "seconds", "given_up"),
    [
        (Cause.LIMIT, 600.0, False),
        (Cause.LIMIT, 601.0, True),
        (Cause.OVERLOAD, 60.0, False),
        (Cause.OVERLOAD, 61.0, True),
    ],
)
def test_a_server_that_asks_for_too_much_is_given_up(
    cause: Cause, seconds: float, given_up: bool
) -> None:
    fault = Fault(cause, "later", 429, retry_after=seconds)

    assert (waits([fault]) == [None]) is given_up


def test_a_longer_wait_may_be_allowed() -> None:
    fault = Fault(Cause.LIMIT, "429", 429, retry_after=900.0)

    assert waits([fault], max_wait=1000.0, share=0.0) == [900.0]


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause not in RETRIED])
def test_faults_that_waiting_does_not_heal_are_final(cause: Cause) -> None:
    assert waits([Fault(cause, "no")]) == [None]


@given(
    st.integers(0, 10**6),
    st.integers(1, 8),
    st.lists(
        st.tuples(st.sampled_from(sorted(RETRIED)), st.floats(0, 700)), min_size=1, max_size=40
    ),
)
def test_nothing_is_ever_asked_again_too_early_or_too_often(
    seed: int, attempts: int, faults: list[tuple[Cause, float]]
) -> None:
    patience = Patience(Calling(attempts=attempts), random.Random(seed))
    again = 0
    for cause, seconds in faults:
        wait = patience.next_wait(Fault(cause, "", None, retry_after=seconds))
        if wait is not None:
            assert wait >= seconds
            assert wait <= max(60.0, seconds + 5.0)
            again += cause is not Cause.LIMIT
    assert again < attempts
