"""The reviewers at work on a terminal, in plain lines and as JSON."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.fault_server.running import on_thread
from dca.cli.amounts import compact, duration, latency, money, rate
from dca.cli.display import Live, Stage, json_line, plain_line
from dca.cli.review_panel import (
    Frame,
    panel_rows,
    projected,
    reviewer_line,
    seconds_left,
    total_line,
)
from dca.pipeline.progress import Agreement, ReviewerFigures
from tests.command_line import clean_folder, fill, on_terminal, plain_rollouts, unstyled
from tests.review_process import KEY, steady, write_config

IDLE = ReviewerFigures("local", 0, 1000, 0, 0, 0, 0, 0.0, 0, 0, 0, None, None, None, "")
JUDGE = ReviewerFigures(
    name="judge",
    done=250,
    total=1000,
    reviews=240,
    abstained=10,
    flying=16,
    resting=2,
    per_minute=120.0,
    input_tokens=1_234_567,
    output_tokens=45_678,
    cached_tokens=617_283,
    dollars=0.42,
    p50=1.23,
    p95=14.2,
    state="",
)
RULE = replace(IDLE, name="arithmetic", done=1000, reviews=1000, per_minute=90_000.0)


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [
        (0.0, "$0"),
        (0.000042, "$0.000042"),
        (0.00996, "$0.010"),
        (0.0123, "$0.012"),
        (0.5, "$0.50"),
        (1.234, "$1.23"),
        (41.0, "$41.00"),
        (1234.5, "$1,234"),
    ],
)
def test_money_is_never_rounded_to_nothing(dollars: float, shown: str):
    assert money(dollars) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (0.0341, "0.034"), (0.996, "1.0"), (3.44, "3.4"), (12.3, "12"), (2150.4, "2,150")],
)
def test_small_rates_have_two_significant_digits(number: float, shown: str):
    assert rate(number) == shown


def test_counts_and_times_are_short():
    counts = (0, 9_999, 12_345, 123_456, 999_999, 4_560_000, 7_000_000_000, 3_000_000_000_000)
    assert [compact(count) for count in counts] == [
        "0", "9,999", "12.3k", "123k", "1.00M", "4.56M", "7.00G", "3,000G",
    ]  # fmt: skip
    assert (latency(None), latency(0.423), latency(12.3)) == ("-", "0.42 s", "12 s")
    assert [duration(s) for s in (5.04, 100, 7265)] == ["5.0 s", "1 min 40 s", "2 h 01 min"]


@given(st.floats(1e-12, 1e9))
def test_no_amount_above_nothing_reads_as_nothing(amount: float):
    assert any(digit in money(amount) for digit in "123456789")
    assert any(digit in rate(amount) for digit in "123456789")


def test_a_wide_terminal_shows_everything_that_is_known():
    heads, judge, rule = (row.plain.split() for row in panel_rows([JUDGE, RULE], 200))

    assert " ".join(heads) == (
        "reviewer done ok abst retry fly /min in out cached cost in all p50 p95 state"
    )
    assert " ".join(judge) == (
        "judge 250/1,000 240 10 2 16 120 1.23M 45.7k 50% $0.42 $1.68 1.2 s 14 s"
    )
    assert " ".join(rule) == "arithmetic 1,000/1,000 1,000 90,000 done"


def test_what_nobody_has_is_no_column():
    heads, *_ = panel_rows([RULE], 200)

    assert heads.plain.split() == ["reviewer", "done", "ok", "/min", "state"]


def test_at_80_columns_progress_cost_and_state_are_left():
    stopped = replace(
        IDLE, state="stopped after 5 failures in a row: no connection", total=300_000
    )
    paused = replace(JUDGE, name="a-reviewer-with-a-very-long-name", state="paused", total=300_000)

    rows = [row.plain for row in panel_rows([paused, stopped], 80)]

    assert " ".join(rows[0].split()) == "reviewer done abst /min cost in all p50 p95 state"
    assert rows[1].startswith("a-reviewer-with-a-v…")
    assert rows[1].split()[1:] == [
        "250/300k",
        "10",
        "120",
        "$0.42",
        "$504.00",
        "1.2",
        "s",
        "14",
        "s",
        "paused",
    ]
    assert rows[2].split() == ["local", "0/300k", "stopped"]


figures = st.builds(
    ReviewerFigures,
    name=st.text(min_size=1, max_size=40),
    done=st.integers(0, 10**9),
    total=st.integers(0, 10**9),
    reviews=st.integers(0, 10**9),
    abstained=st.integers(0, 10**6),
    flying=st.integers(0, 5000),
    resting=st.integers(0, 5000),
    per_minute=st.just(0.0) | st.floats(0.001, 1e7),
    input_tokens=st.integers(0, 10**13),
    output_tokens=st.integers(0, 10**12),
    cached_tokens=st.integers(0, 10**12),
    dollars=st.none() | st.floats(0, 1e6),
    p50=st.none() | st.floats(0.001, 1000),
    p95=st.none() | st.floats(0.001, 1000),
    state=st.sampled_from(["", "paused", "stopped: the endpoint refused the key"]),
)


@given(st.lists(figures, min_size=1, max_size=6), st.integers(30, 200), st.floats(0, 1e6))
def test_no_row_is_wider_than_the_terminal(reviewers, width: int, seconds: float):
    rows = [*panel_rows(reviewers, width), total_line(reviewers, None, seconds, width)]

    assert len(rows) == len(reviewers) + 2
    assert all(row.cell_len <= width for row in rows)
    assert all("\n" not in row.plain for row in rows)


def test_a_projection_is_a_guess_until_20_are_done():
    assert projected(replace(JUDGE, done=19, dollars=0.019)) == "~$1.00"
    assert projected(replace(JUDGE, done=20, dollars=0.02)) == "$1.00"
    assert projected(replace(JUDGE, done=5, total=5, dollars=0.5)) == "$0.50"
    assert projected(replace(JUDGE, done=0, dollars=0.0)) == ""
    assert projected(IDLE) == ""


def test_the_slowest_at_work_decides_what_is_left():
    slow = replace(JUDGE, name="slow", per_minute=10.0)

    assert seconds_left([JUDGE, slow, RULE]) == 60 * 750 / 10
    assert seconds_left([JUDGE, replace(slow, state="paused")]) == 60 * 750 / 120
    assert seconds_left([JUDGE, replace(slow, done=19)]) is None
    assert seconds_left([RULE]) is None


def test_the_total_drops_its_last_parts_where_there_is_no_room():
    agreed = Agreement(0.4712, 120)

    assert total_line([JUDGE, RULE], agreed, 125.0, 120).plain == (
        "██████████░░░░░░  1,250/2,000 · about 6 min 15 s left · $0.42 of $1.68 · 2 min 05 s"
        " · 600/min · alpha 0.47 on 120"
    )
    assert total_line([JUDGE, RULE], agreed, 125.0, 60).plain == (
        "1,250/2,000 · about 6 min 15 s left · $0.42 of $1.68"
    )
    assert total_line([replace(JUDGE, done=0)], None, 0.0, 80).plain == (
        "░░░░░░░░░░░░░░░░  0/1,000 · $0.42 · 0.0 s"
    )
    nothing = replace(RULE, done=0, total=0)
    assert total_line([nothing], None, 1.0, 40).plain == f"{'█' * 16}  0/0 · 1.0 s · 0/min"


def test_a_plain_line_says_all_of_a_reviewer():
    assert reviewer_line(JUDGE) == (
        "judge: 250/1,000 · ok 240 · abstained 10 · in flight 16 · retrying 2 · 120/min"
        " · 1.23M tokens in (50% cached), 45.7k out · $0.42 of $1.68 · p50 1.2 s, p95 14 s"
        " · about 6 min 15 s left"
    )
    assert reviewer_line(replace(IDLE, state="stopped: no\x1b[2J connection", dollars=0.0)) == (
        "local: 0/1,000 · ok 0 · 0/min · $0 of ? · stopped: no\\x1b[2J connection"
    )


def test_plain_progress_has_one_line_a_reviewer():
    stage = Stage("review", 2000, 0.0, 1250, reviewers=(JUDGE, RULE), agreement=Agreement(0.5, 8))

    text = plain_line("progress", stage, 100.0, "")

    assert text.split("\n") == [
        "review: 1,250/2,000 · 12.5/s · about 1 min 00 s left · alpha 0.50 on 8",
        f"  {reviewer_line(JUDGE)}",
        f"  {reviewer_line(RULE)}",
    ]
    assert "\n" not in plain_line("finish", stage, 100.0, "")


def test_json_events_carry_every_figure_as_a_number():
    stage = Stage("review", 2000, 0.0, 1250, reviewers=(JUDGE, IDLE))

    event = json.loads(json_line("progress", stage, 100.0, ""))

    judge, local = event["reviewers"]
    assert judge == {**JUDGE.as_json(), "projected_dollars": 1.68}
    assert (local["dollars"], local["p50"], local["projected_dollars"]) == (None, None, None)
    assert event["agreement"] is None
    stage.agreement = Agreement(0.5, 8)
    event = json.loads(json_line("progress", stage, 100.0, ""))
    assert event["agreement"] == {"alpha": 0.5, "rollouts": 8}


def test_the_last_frame_stays_and_names_are_plain_text():
    shown = io.StringIO()
    live = Live(Console(file=shown, force_terminal=True, width=80), clock=lambda: 0.0)

    live.show([JUDGE])  # Before any stage there is nothing to draw on.
    live.start(2000, "review")
    live.show([replace(JUDGE, name="[bold]j\x1b[2J")], Agreement(0.5, 8))
    live.note("judge: paused")
    live.finish()

    text = shown.getvalue()
    assert "[bold]j\\x1b[2J" in text
    assert "judge: paused" in text
    assert "alpha 0.50 on 8" in text


def test_on_a_real_terminal_of_80_columns_no_row_wraps_and_few_frames_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clean_folder(tmp_path, monkeypatch)
    fill(tmp_path / "dca.db", plain_rollouts(40))
    with on_thread(steady(0.2)) as server:
        write_config(server, "judge", "a-reviewer-with-a-very-long-name")
        with (tmp_path / "dca.toml").open("a") as file:
            file.write("price={input=1.0, output=2.0}\n")
        code, shown = on_terminal(
            "review", "--concurrency", "8", "--max-tokens", "999999999", columns=80,
            environment={"A_KEY": KEY},
        )  # fmt: skip

    # Each frame begins where the one before it began: its rows are what stands between two
    # carriage returns.
    rows = unstyled(re.sub(r"\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]", "\n", shown))
    heads = [row for row in rows if row.startswith("reviewer") and "/min" in row]
    seconds = float(re.findall(r"done in ([0-9.]+) s", shown)[-1])
    assert code == 0
    assert max(len(row) for row in rows if "warning" not in row and "price of" not in row) <= 80
    assert any(row.startswith("a-reviewer-with-a-v…") for row in rows)
    assert any("40/40" in row and "done" in row for row in rows)
    assert any(re.search(r"█+░* +\d+/80 ", row) for row in rows)
    assert 3 <= len(heads) <= 4 * seconds + 3


def test_a_terminal_without_unicode_gets_rows_of_the_same_width():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(file=stream, force_terminal=True, width=120)

    console.print(Frame([replace(JUDGE, name="n" * 30)], Agreement(0.5, 8), 60.0))
    stream.flush()

    rows = raw.getvalue().decode("ascii").splitlines()
    assert any("####------------  250/1,000 | about 6 min 15 s left" in row for row in rows)
