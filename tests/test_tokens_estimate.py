import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewers.tokens_estimate import TokensEstimate


def test_the_first_guess_is_a_fair_one() -> None:
    estimate = TokensEstimate(max_tokens=4000)

    assert estimate.input_tokens(7000) == 2000  # 3.5 bytes each
    assert estimate.output_tokens() == 1000  # a quarter of the limit


def test_what_requests_used_replaces_the_guess() -> None:
    estimate = TokensEstimate(max_tokens=4000)
    estimate.learn(10_000, 2000, 500)

    # The guess counts as 7,000 bytes with 2,000 tokens and one answer of 1,000, at 99 %.
    assert estimate.input_tokens(1000) == pytest.approx(1000 * (1980 + 2000) / (6930 + 10_000))
    assert estimate.output_tokens() == pytest.approx((990 + 500) / 1.99)

    for _ in range(1000):
        estimate.learn(10_000, 2000, 500)
    assert estimate.input_tokens(1000) == pytest.approx(200, rel=1e-3)
    assert estimate.output_tokens() == pytest.approx(500, rel=1e-3)


def test_what_is_not_told_teaches_nothing() -> None:
    estimate = TokensEstimate(max_tokens=4000)
    estimate.learn(10_000, None, None)
    estimate.learn(0, 100, 0)

    assert estimate.input_tokens(7000) == 2000
    assert estimate.output_tokens() == 1000


@given(
    st.integers(1, 100_000),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))),
)
def test_estimates_are_positive_and_an_answer_is_never_above_its_limit(
    max_tokens: int, uses: list[tuple[int, int, int]]
) -> None:
    estimate = TokensEstimate(max_tokens)
    for use in uses:
        estimate.learn(*use)

    assert estimate.input_tokens(1000) > 0
    assert 0 < estimate.output_tokens() <= max_tokens
