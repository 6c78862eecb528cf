import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewers.width import Width


def test_a_run_is_at_full_width_in_the_first_moments() -> None:
    width = Width(256)
    moments = (10.0, 10.024, 10.026, 10.051, 10.076, 10.101, 10.126, 99.0)

    assert [width.now(moment) for moment in moments] == [8, 8, 16, 32, 64, 128, 256, 256]


def test_a_refusal_ends_the_beginning_and_cuts_once_in_a_round() -> None:
    width = Width(256)
    width.now(0.0)

    width.refused(begun=0.0, now=0.06)
    assert width.now(0.06) == 22  # 0.7 of 32
    assert width.now(5.0) == 22
    width.refused(begun=0.01, now=0.07)  # was under way already
    assert width.now(5.0) == 22
    width.refused(begun=0.07, now=0.09)
    assert width.now(5.0) == 15


def test_after_a_cut_the_width_grows_by_a_share_of_the_ceiling_in_each_round() -> None:
    width = Width(256)
    width.now(0.0)
    width.refused(begun=0.0, now=0.1)
    before = width.now(0.1)  # 89 of 128
    for _ in range(before):
        width.answered(begun=0.2, now=1.0)

    assert before == 89
    assert width.now(1.0) == pytest.approx(before + 8, abs=1)


def test_answers_to_what_was_sent_before_a_cut_do_not_widen() -> None:
    width = Width(100)
    width.now(0.0)
    width.answered(begun=0.0, now=0.01)
    assert width.now(0.01) == 8

    width.refused(begun=0.0, now=0.02)
    for _ in range(100):
        width.answered(begun=0.01, now=1.0)
    assert width.now(1.0) == 5


def test_a_width_of_one_stays_one() -> None:
    width = Width(1)
    for moment in range(10):
        width.refused(begun=float(moment), now=float(moment))
        assert width.now(float(moment)) == 1
    assert Width(0).now(0.0) == 1


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.booleans(), st.floats(0, 2), st.floats(0, 2)), max_size=200),
)
def test_the_width_is_always_between_one_and_the_ceiling(
    ceiling: int, events: list[tuple[bool, float, float]]
) -> None:
    width, now = Width(ceiling), 0.0
    for good, passed, took in events:
        now += passed
        before = width.now(now)
        (width.answered if good else width.refused)(now - took, now)
        assert 1 <= width.now(now) <= ceiling
        assert good or width.now(now) <= before
