"""Every benchmark of the review engine runs, at a tiny scale, and writes what it promises."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.figures import Report, at_least, at_most, medians, table
from benchmarks.review_clean import is_there
from benchmarks.review_clients import CLIENT_PYTHONS, plain
from benchmarks.review_faults import audit

ROOT = Path(__file__).parents[1]


def run(script: str, out: Path, *options: str) -> dict[str, Any]:
    """Run a script as a user does and return the document it writes."""
    file = out / "figures.json"
    command = [sys.executable, f"benchmarks/{script}.py", *options, "--out", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert found["benchmark"] == script
    assert {"processor", "cores", "memory_gb", "system", "load"} <= found["machine"].keys()
    assert {"python", "aiohttp", "sqlalchemy"} <= found["versions"].keys()
    assert script in found["command"]
    assert found["rows"]
    assert found["goals"]
    # The table stands on standard output, its heads in the first line.
    assert all(head in done.stdout.splitlines()[0] for head in found["rows"][0])
    return found


def test_clean_compares_ours_with_the_bare_client_and_the_sdks(tmp_path: Path) -> None:
    clients = "bare,ours,openai-lean,anthropic"
    found = run(
        *("review_clean", tmp_path, "--items", "30", "--widths", "8", "--repeat", "1"),
        *("--clients", clients, "--median-ms", "5"),
    )

    rows = {row["client"]: row for row in found["rows"]}
    assert list(rows) == clients.split(",")
    assert all(row["cpu s/1,000"] > 0 and row["peak MB"] > 10 for row in rows.values())
    assert all((row["lost"], row["requests"]) == (0, 30) for row in rows.values())
    assert rows["bare"]["x bare"] == rows["bare"]["of bare"] == 1
    assert found["seeds"] == [1]
    assert len(found["runs"]) == 4
    assert len(found["goals"]) == 3


def test_clean_says_which_client_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report("review_clean", Namespace())
    assert is_there("bare", report)
    monkeypatch.setitem(CLIENT_PYTHONS, "curator", tmp_path)
    assert is_there("curator", report)
    monkeypatch.setitem(CLIENT_PYTHONS, "curator", tmp_path / "none")
    assert not is_there("curator", report)
    assert report.notes[0].startswith("curator: not measured")


def test_memory_tells_the_peak_of_each_size(tmp_path: Path) -> None:
    found = run("review_memory", tmp_path, "--items", "20,40", "--width", "8")

    assert [row["items"] for row in found["rows"]] == [20, 40]
    assert all(row["peak MB"] > 10 and row["lost"] == 0 for row in found["rows"])
    assert len(found["goals"]) == 2


def test_faults_checks_what_was_kept_against_the_ledger(tmp_path: Path) -> None:
    # Every kind that wastes no time, often enough to meet some; nothing is poisoned.
    faults = "cut-json=0.1,server-error=0.1,fenced=0.2"
    found = run(
        *("review_faults", tmp_path, "--items", "40", "--repeat", "1", "--width", "8"),
        *("--faults", faults, "--median-ms", "5", "--clients", "loop,ours"),
    )

    loop, ours = found["rows"]
    assert (ours["lost"], ours["wrong"], ours["poison"], ours["doubled"]) == (0, 0, 0, 0)
    assert ours["items"] == loop["items"] == 40
    assert loop["wrong"] > 0  # It believes what is cut.
    assert ours["over least"] <= 1.03
    assert all(goal["met"] for goal in found["goals"] if "over" not in goal["text"])


def test_limits_tells_share_and_refusals(tmp_path: Path) -> None:
    found = run(
        *("review_limits", tmp_path, "--items", "20", "--limits", "requests", "--rps", "20"),
        *("--median-ms", "20", "--width", "8", "--clients", "ours"),
    )

    (row,) = found["rows"]
    assert (row["client"], row["limit"], row["lost"], row["early"]) == ("ours", "requests", 0, 0)
    assert 0 < row["share"] <= 1
    assert row["429 first"] == row["requests"] - 20
    assert len(found["goals"]) == 4


def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    found = run(
        *("review_kills", tmp_path, "--items", "60", "--kills", "2", "--width", "4"),
        *("--median-ms", "100"),
    )

    (row,) = found["rows"]
    assert (row["lost"], row["doubled"], row["wrong"], row["exit 0"]) == (0, 0, 0, True)
    # It may come to its end before the second.
    assert 1 <= row["kills"] == len(found["runs"]) <= 2
    assert row["requests"] >= 60
    assert found["seeds"] == [1]


def test_million_runs_at_any_scale(tmp_path: Path) -> None:
    found = run("review_million", tmp_path, "--scale", "0.0001", "--width", "8")

    (row,) = found["rows"]
    assert (row["reviews"], row["missing"], row["requests"], row["paid twice"]) == (100, 0, 20, 0)
    assert row["peak MB"] > 10


def test_store_writes_measures_both_databases(tmp_path: Path) -> None:
    found = run("store_writes", tmp_path, "--reviews", "600", "--repeat", "1")

    assert [row["store"] for row in found["rows"]] == ["sqlite", "postgres"]
    assert all(row["write rate"] > row["rate"] > 0 for row in found["rows"])
    assert [goal["text"].partition(",")[0] for goal in found["goals"]] == ["sqlite", "postgres"]


def test_a_kept_text_is_wrong_unless_it_is_the_valid_answer_of_its_item() -> None:
    items = {
        "a": {"minimum_attempts": 1, "attempts": 1, "digest": "x"},
        "b": {"minimum_attempts": 2, "attempts": 3, "digest": "y"},
        "c": {"minimum_attempts": 1, "attempts": 1, "digest": "z"},
        "d": {"minimum_attempts": 1, "attempts": 1, "digest": ""},
        "e": {"minimum_attempts": None, "attempts": 9, "digest": ""},
    }

    found = audit({"a": "x", "b": "other", "e": "text"}, {"c"}, items)

    assert found == {
        "lost": 1,  # d: neither kept nor told
        "given up": 1,  # c
        "wrong": 1,  # b
        "poison": 1,  # e
        "poisoned": 1,
        "attempts each": 6 / 4,
        "over least": 6 / 5,
    }


@pytest.mark.parametrize("text", ['{"steps":[]}', '```json\n{"steps":[]}\n```'])
def test_a_code_fence_is_no_part_of_a_reply(text: str) -> None:
    assert plain(text) == '{"steps":[]}'


def test_medians_are_of_numbers_and_the_table_has_a_line_for_each_row() -> None:
    runs = [{"client": "a", "rate": rate, "items": 5, "none": None} for rate in (3.0, 1.0, 2.0)]

    assert medians(runs) == {"client": "a", "rate": 2.0, "items": 5, "none": None}
    assert table([{"client": "a", "rate": 2000.0}, {"client": "b", "rate": 2}]) == (
        "client   rate\na       2,000\nb           2"
    )
    assert (at_most("x", 2, 2).met, at_most("x", 3, 2).met) == (True, False)
    assert (at_least("x", 2, 2).met, at_least("x", 1, 2).met) == (True, False)
