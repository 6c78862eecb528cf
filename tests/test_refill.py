import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewers.headroom import COARSE, FINE, Reset
from reviewers.refill import Refill, Sighting


def span(left: float, seconds: float, sent: float, *, limit: float = 600.0) -> Sighting:
    return Sighting(limit, left, Reset(seconds, FINE, dated=False), sent, sent + 0.5)


def date(left: float, seconds: float, sent: float, *, limit: float = 600.0) -> Sighting:
    return Sighting(limit, left, Reset(seconds, COARSE, dated=True), sent, sent + 2)


def test_a_minute_is_believed_until_the_headers_say_otherwise() -> None:
    refill = Refill()

    assert refill.rate(600, 1) == 10
    assert refill.period == 60
    assert not refill.fixed


def test_resets_in_proportion_to_use_are_a_sliding_bucket() -> None:
    refill = Refill()
    for second in range(8):
        used = 100 + 50 * second
        refill.see(span(600 - used, used / 10, sent=second))

    assert not refill.fixed
    assert refill.votes < 0
    assert refill.rate(600, 1) == pytest.approx(10, rel=0.02)
    assert refill.room(span(250, 35, sent=9), 10) == (250, 250)


def test_resets_at_one_moment_are_a_fixed_window() -> None:
    refill = Refill()
    for second in range(8):
        refill.see(span(500 - 50 * second, 40 - second, sent=second))

    assert refill.fixed
    assert refill.window == 60
    # One request of size 1 may be over at the border of two windows: 599 in 60 s.
    assert refill.rate(600, 1) == 599 / 60
    assert refill.rate(600, 500) == 300 / 60


def test_room_in_a_fixed_window_is_what_an_even_use_of_the_rest_leaves() -> None:
    refill = Refill(votes=1, window=60)

    # 300 left and 20 s to go: 10 a second take 200 (and 0.1 for the grain of the header).
    assert refill.room(span(300, 20, sent=0), 10) == pytest.approx((99.9, 99.9))
    # A date counts from the answer, 2 s later: as the request was sent, 23 s were to go.
    assert refill.room(date(300, 20, sent=0), 10) == pytest.approx((70, 90))
    # No more than the window is ever to go.
    assert refill.room(span(600, 90, sent=0), 10) == pytest.approx((0, 0))


def small(left: float, sent: float) -> Sighting:
    """A bucket of 10 that refills by 10 a second, under the name of 600 a minute."""
    return span(left, (10 - left) / 10, sent)


def test_a_limit_by_the_minute_in_a_small_bucket_is_seen_after_eight_sightings() -> None:
    refill = Refill()
    for second in range(7):
        refill.see(small(second, sent=second))
    assert refill.burst is None

    refill.see(small(7, sent=7))

    # A hundredth of a second in the header is a tenth of a request.
    assert refill.burst == pytest.approx(9.9)
    assert refill.rate(600, 1) == 10
    assert not refill.fixed


def test_what_contradicts_a_small_bucket_ends_it() -> None:
    refill = Refill()
    for second in range(8):
        refill.see(small(second, sent=second))

    refill.see(span(300, 30, sent=9))

    assert refill.burst is None


def test_sightings_that_are_all_alike_tell_no_small_bucket() -> None:
    refill = Refill()
    for second in range(20):
        refill.see(small(second % 4, sent=second))  # 0 to 3: less than 4 apart

    assert refill.burst is None


def test_a_bucket_as_large_as_its_limit_is_not_small() -> None:
    refill = Refill()
    for second in range(20):
        used = 20 * second
        refill.see(span(600 - used, used / 10, sent=second))

    assert refill.burst is None


def test_a_window_is_the_shortest_usual_one_that_explains_every_reset() -> None:
    refill = Refill()
    windows = []
    for seconds in (0.4, 35, 200, 7000, 10**9):
        refill.see(span(500, seconds, sent=0))
        windows.append(refill.window)

    assert windows == [1, 60, 3600, 86400, 86400]


def test_the_period_is_learned_and_a_usual_one_preferred() -> None:
    refill = Refill()

    refill.see(span(5, 0.5, sent=0, limit=10))  # half is used and refills in half a second
    assert refill.period == 1

    refill.see(span(50, 5, sent=1, limit=100))  # 50 of 100 in 5 s: no usual period
    assert refill.period == pytest.approx(4.99 * 100 / 52)  # 48 to 52 are used: 50, rounded

    refill.see(span(100, 43200, sent=2, limit=200))  # a daily limit
    assert refill.period == 86400


def test_a_reset_of_zero_and_a_use_within_rounding_tell_nothing() -> None:
    refill = Refill()
    refill.see(span(300, 0, sent=0))
    refill.see(span(599, 59, sent=1))

    assert refill.period == 60
    assert refill.window == 60


def test_a_judgement_is_revised_when_the_server_changes() -> None:
    refill = Refill()
    for second in range(8):
        refill.see(span(500 - 50 * second, 40 - second, sent=second))
    assert refill.votes == 4

    for second in range(10, 60):
        used = 100 + 8 * (second - 10)
        refill.see(span(600 - used, used / 10, sent=second))
    assert not refill.fixed


def test_a_new_limit_is_not_compared_with_the_old_one() -> None:
    refill = Refill()
    refill.see(span(500, 40, sent=0))
    refill.see(span(100, 39, sent=1, limit=1200))

    assert refill.votes == 0
    assert refill.first is not None
    assert refill.first.limit == 1200


@given(
    st.sampled_from([1.0, 60.0, 86400.0]),
    st.lists(st.floats(0.05, 1.0), min_size=1, max_size=20),
    st.booleans(),
)
def test_a_true_sliding_bucket_is_never_taken_for_another(
    period: float, used: list[float], dated: bool
) -> None:
    refill = Refill()
    for second, share in enumerate(used):
        reset = Reset(share * period, COARSE, dated=dated)
        refill.see(Sighting(1000, 1000 * (1 - share), reset, second, second + 0.1))

    assert not refill.fixed
    scale = 1000 / max(1000 * min(used) - 11, 1)
    assert refill.period <= max(60, period * 1.1 + 2 * scale)
