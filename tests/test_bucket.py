import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewers.bucket import Bucket
from reviewers.caps import Cap


def test_each_place_in_line_is_due_when_the_refill_has_reached_it() -> None:
    bucket = Bucket(capacity=4, refill=2, level=4)
    bucket.level -= 6  # six requests are reserved: four may go, two wait

    # Behind the first are five, behind the fourth two, behind the last none.
    assert [bucket.due(1, behind) for behind in (5, 2, 1, 0)] == [0, 0, 0.5, 1.0]


def test_a_cushion_stays_in_the_bucket() -> None:
    bucket = Bucket(capacity=4, refill=2, cushion=1, level=4)
    bucket.level -= 4

    assert [bucket.due(1, behind) for behind in (1, 0)] == [0, 0.5]


def test_a_request_above_the_capacity_goes_when_the_bucket_is_full() -> None:
    bucket = Bucket(capacity=4, refill=2, cushion=1, level=2)
    bucket.level -= 10

    assert bucket.due(10, 0) == 1.0  # 2 are missing to the brim, at 2 a second


def test_a_bucket_never_holds_more_than_its_capacity_and_what_is_reserved_is_in_it() -> None:
    bucket = Bucket(capacity=4, refill=2, level=-1)

    bucket.advance(100.0, unsent=3)
    assert bucket.level == 1  # 1 + 3 reserved but not sent = 4

    bucket.advance(99.0, unsent=0)
    assert (bucket.level, bucket.at) == (1, 100.0)  # time does not run back


def test_what_others_use_slows_the_refill_but_never_stops_it_and_is_forgotten() -> None:
    bucket = Bucket(capacity=100, refill=10, drain=4)
    assert bucket.speed == 6

    bucket.drain = 50
    assert bucket.speed == 0.5  # a twentieth of 10

    bucket.advance(15.0, unsent=0)
    assert bucket.drain == 25  # half of the thirty seconds
    bucket.advance(100.0, unsent=0)
    assert bucket.drain == 0


def test_a_cap_spreads_requests_evenly() -> None:
    # 120 a minute: two at once, then one each half second.
    cap = Cap(120)
    sent = _drive(cap, [1.0] * 5)

    assert sent == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.5])


def test_a_request_above_the_whole_cap_goes_alone() -> None:
    cap = Cap(60)
    sent = _drive(cap, [10.0, 90.0, 10.0])

    # The second waits until the first is a minute old, the third until the second is.
    assert sent == pytest.approx([0.0, 60.0, 120.0], abs=30.0)
    assert sent[1] >= 60.0
    assert sent[2] >= sent[1] + 60.0


def test_what_was_used_replaces_the_estimate_in_the_record_while_it_counts() -> None:
    cap = Cap(60)
    cap.bucket.advance(0.0, 0.0)
    entry = cap.record(50.0, 0.0)

    assert cap.due(20.0, 0.0, 20.0) == 60.0  # 50 + 20 > 60
    cap.correct(entry, 30.0)
    assert cap.due(20.0, 0.0, 20.0) < 60.0
    cap.bucket.advance(60.0, 0.0)
    cap.due(20.0, 0.0, 20.0)  # forgets what is a minute old
    cap.correct(entry, 1000.0)
    assert cap.due(20.0, 0.0, 20.0) == 60.0


def _drive(cap: Cap, sizes: list[float], late: list[float] | None = None) -> list[float]:
    """Send requests one after the other, each as soon as it is due, and return the moments."""
    now, sent = 0.0, list[float]()
    for size, wait in zip(sizes, late or [0.0] * len(sizes), strict=True):
        now += wait
        cap.bucket.advance(now, 0.0)
        cap.bucket.level -= size
        while (due := cap.due(size, 0.0, size)) > now:
            now = due
            cap.bucket.advance(now, size)
        cap.record(size, now)
        sent.append(now)
    return sent


@given(
    st.floats(1.0, 1000.0),
    st.lists(
        st.tuples(st.floats(0.01, 0.9), st.one_of(st.just(0.0), st.floats(0.0, 30.0))),
        max_size=60,
    ),
)
def test_no_minute_ever_holds_more_than_the_cap(
    per_minute: float, requests: list[tuple[float, float]]
) -> None:
    sizes = [share * per_minute for share, _ in requests]
    sent = _drive(Cap(per_minute), sizes, [wait for _, wait in requests])

    for start in sent:
        inside = sum(
            size
            for moment, size in zip(sent, sizes, strict=True)
            if start <= moment < start + 59.999
        )
        assert inside <= per_minute * (1 + 1e-4)
