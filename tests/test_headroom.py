import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewers.headroom import (
    COARSE,
    FINE,
    SILENT,
    Headroom,
    Reset,
    Room,
    anthropic_headroom,
    openai_headroom,
    read_reset,
)

NOON = 1_767_268_800.0
"""2026-01-01T12:00:00Z."""


@pytest.mark.parametrize(
    ("text", "seconds", "grain"),
    [
        ("1s", 1.0, COARSE),
        ("6m0s", 360.0, COARSE),
        ("20ms", 0.02, FINE),
        ("1h2m3.5s", 3723.5, FINE),
        ("1d", 86400.0, COARSE),
        ("250us", 0.00025, FINE),
        ("250µs", 0.00025, FINE),
        ("7.66s", 7.66, FINE),
        ("12", 12.0, COARSE),
        ("11.38", 11.38, FINE),
        (" 0 ", 0.0, COARSE),
    ],
)
def test_a_span_is_read_in_every_spelling(text: str, seconds: float, grain: float) -> None:
    reset = read_reset(text, NOON)

    assert reset is not None
    assert reset.seconds == pytest.approx(seconds)
    assert (reset.grain, reset.dated) == (grain, False)


@pytest.mark.parametrize(
    ("text", "seconds", "grain"),
    [
        ("2026-01-01T12:00:30Z", 30.0, COARSE),
        ("2026-01-01T13:01:00+01:00", 60.0, COARSE),
        ("2026-01-01T12:00:00.250Z", 0.25, FINE),
        ("2026-01-01T11:59:00Z", 0.0, COARSE),
        ("1767268845", 45.0, COARSE),
        ("1767268845500", 45.5, FINE),
    ],
)
def test_a_date_is_read_in_every_spelling(text: str, seconds: float, grain: float) -> None:
    assert read_reset(text, NOON) == Reset(pytest.approx(seconds), grain, dated=True)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "soon", "-1", "-1s", "nan", "inf", "1e400", "5x", "1s later", "s", "9" * 60),
        *("2026-01-01T12:00:30", "2026-13-01T12:00:30Z"),
    ],
)
def test_a_reset_that_makes_no_sense_counts_as_not_sent(text: str | None) -> None:
    assert read_reset(text, NOON) is None


def test_openai_headers_are_read_in_full() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s",
    }

    assert openai_headroom(headers, NOON) == Headroom(
        requests=Room(60, 59, Reset(1, COARSE, dated=False)),
        tokens=Room(150_000, 149_984, Reset(360, COARSE, dated=False)),
    )


def test_anthropic_headers_are_read_in_full_and_the_total_only_where_it_is_alone() -> None:
    separate = {
        f"anthropic-ratelimit-{name}-{part}": value
        for name, limit, left in (
            ("requests", "50", "49"),
            ("input-tokens", "50000", "48000"),
            ("output-tokens", "10000", "9000"),
            ("tokens", "60000", "57000"),
        )
        for part, value in (
            ("limit", limit),
            ("remaining", left),
            ("reset", "2026-01-01T12:00:02Z"),
        )
    }
    total = {key: value for key, value in separate.items() if "put-tokens" not in key}
    soon = Reset(2, COARSE, dated=True)

    assert anthropic_headroom(separate, NOON) == Headroom(
        requests=Room(50, 49, soon),
        input_tokens=Room(50_000, 48_000, soon),
        output_tokens=Room(10_000, 9_000, soon),
    )
    assert anthropic_headroom(total, NOON) == Headroom(
        requests=Room(50, 49, soon), tokens=Room(60_000, 57_000, soon)
    )


def test_dates_are_meant_by_the_clock_of_the_server() -> None:
    def seconds(date: str) -> float:
        headers = {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "40",
            "anthropic-ratelimit-requests-reset": "2026-01-01T12:00:12Z",
            "date": date,
        }
        room = anthropic_headroom(headers, NOON).requests
        assert room is not None
        assert room.reset is not None
        return room.reset.seconds

    assert seconds("Thu, 01 Jan 2026 12:00:01 GMT") == 12  # one second is the grain of a date
    assert seconds("Thu, 01 Jan 2026 11:58:00 GMT") == 132  # our clock is two minutes ahead
    assert seconds("no date") == 12
    assert seconds("Thu, 01 Jan 99999999999 12:00:00 GMT") == 12


def test_limits_that_a_server_hides_are_not_taken_for_limits() -> None:
    # Azure at times sends remaining alone, limits of 0, or -1 in both.
    alone = {"x-ratelimit-remaining-requests": "79"}
    zero = {"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-requests": "79"}
    minus = {
        "x-ratelimit-limit-tokens": "-1",
        "x-ratelimit-remaining-tokens": "-1",
        "x-ratelimit-reset-tokens": "0",
    }
    nothing = {"x-ratelimit-limit-tokens": "0", "x-ratelimit-remaining-tokens": "0"}

    assert openai_headroom(alone, NOON) == Headroom(requests=Room(None, 79, None))
    assert openai_headroom(zero, NOON) == Headroom(requests=Room(None, 79, None))
    assert openai_headroom(minus, NOON) is SILENT
    assert openai_headroom(nothing, NOON) is SILENT


def test_headers_without_limits_give_the_one_silent_headroom() -> None:
    assert openai_headroom({"content-type": "application/json"}, NOON) is SILENT
    assert anthropic_headroom({"retry-after": "3"}, NOON) is SILENT
    assert anthropic_headroom({"anthropic-ratelimit-requests-remaining": "?"}, NOON) is SILENT


NAMES = [
    f"x-ratelimit-{part}-{kind}"
    for part, kind in itertools.product(("limit", "remaining", "reset"), ("requests", "tokens"))
] + [
    f"anthropic-ratelimit-{kind}-{part}"
    for part, kind in itertools.product(
        ("limit", "remaining", "reset"), ("requests", "tokens", "input-tokens", "output-tokens")
    )
]
VALUES = st.one_of(
    st.text(max_size=50),
    st.floats().map(str),
    st.integers().map(str),
    st.from_regex(r"\A[0-9.]{1,4}(ms|s|m|h)([0-9.]{1,4}s)?\Z"),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
)


@given(st.dictionaries(st.sampled_from([*NAMES, "date"]), VALUES))
def test_no_header_raises_or_gives_a_number_out_of_range(headers: dict[str, str]) -> None:
    for read in (openai_headroom, anthropic_headroom):
        found = read(headers, NOON)
        for room in (found.requests, found.tokens, found.input_tokens, found.output_tokens):
            if room is not None:
                assert room.limit is None or room.limit > 0
                assert room.left is None or room.left >= 0
                assert room.reset is None or room.reset.seconds >= 0
