"""Progress on standard error, in every form, and on a real terminal."""

import io
import json
import re
import threading
import time

import pytest
from rich.console import Console

from dca.cli.display import (
    Display,
    Lines,
    Live,
    Stage,
    choose_display,
    json_line,
    make_progress,
    plain_line,
)
from dca.cli.flags import Flags
from dca.pipeline.progress import Silent
from tests.command_line import fill, on_terminal, plain_rollouts


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_name_the_stage_its_counts_its_rate_and_what_is_left():
    stage = Stage("review", 200, began=0.0)
    assert plain_line("start", stage, 0.0, "") == "review: 0/200"

    stage.done = 19
    assert plain_line("progress", stage, 10.0, "") == "review: 19/200"

    stage.done = 50
    stage.counts.update(abstained=3)
    assert plain_line("progress", stage, 10.0, "") == (
        "review: 50/200 · abstained 3 · 5/s · about 30.0 s left"
    )
    assert plain_line("finish", stage, 100.0, "") == (
        "review: 50/200 · abstained 3 · 0.5/s · 1 min 40 s"
    )


def test_plain_lines_of_a_stage_without_a_total_foretell_nothing():
    stage = Stage("import", None, began=0.0, done=20_000)

    assert plain_line("start", stage, 0.0, "") == "import: started"
    assert plain_line("progress", stage, 100.0, "") == "import: 20,000 · 200/s"
    assert plain_line("finish", stage, 7265.0, "") == "import: 20,000 · 2.75/s · 2 h 01 min"


def test_json_lines_are_objects_with_null_for_what_is_unknown():
    stage = Stage("review", 100, began=0.0, done=5)
    stage.counts.update(abstained=1)

    early = json.loads(json_line("progress", stage, 2.0, ""))
    stage.done = 50
    later = json.loads(json_line("progress", stage, 10.0, ""))
    note = json.loads(json_line("note", Stage("", None, 0.0), 0.0, "done\nnow"))

    assert early == {
        "event": "progress",
        "stage": "review",
        "done": 5,
        "total": 100,
        "counts": {"abstained": 1},
        "seconds": 2.0,
        "per_second": None,
        "seconds_left": None,
    }
    assert (later["per_second"], later["seconds_left"]) == (5.0, 10.0)
    assert note == {"event": "note", "stage": None, "text": "done\nnow"}


def test_a_stage_says_its_beginning_its_notes_and_its_end(capsys):
    clock = Clock()
    progress = Lines(plain_line, seconds=60.0, clock=clock)

    progress.note("before")
    progress.start(2, "one")
    progress.advance(1, abstained=1)
    clock.now = 2.0
    progress.note("a \x1b[31mnote\x1b[0m")
    progress.start(None, "two")
    progress.advance()
    progress.finish()
    progress.finish()
    progress.advance(5)

    assert capsys.readouterr().err.splitlines() == [
        "before",
        "one: 0/2",
        "a \\x1b[31mnote\\x1b[0m",
        "one: 1/2 · abstained 1 · 2.0 s",
        "two: started",
        "two: 1 · 0.0 s",
    ]


def test_a_stage_that_is_stuck_still_speaks(capsys):
    progress = Lines(plain_line, seconds=0.02)

    progress.start(10, "stuck")
    deadline = time.monotonic() + 5
    shown = ""
    while shown.count("stuck: 0/10") < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
        shown += capsys.readouterr().err
    progress.finish()

    assert shown.count("stuck: 0/10") >= 3
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_counting_from_many_threads_loses_nothing(capsys):
    progress = Lines(json_line, seconds=60.0)
    progress.start(None, "count")
    threads = [
        threading.Thread(target=lambda: [progress.advance(1, odd=1) for _ in range(500)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.finish()

    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (last["done"], last["counts"]) == (4000, {"odd": 4000})


@pytest.mark.parametrize(
    ("flags", "is_terminal", "term", "display"),
    [
        (Flags(), True, "xterm", Display.RICH),
        (Flags(), True, "dumb", Display.PLAIN),
        (Flags(), False, "xterm", Display.PLAIN),
        (Flags(display=Display.JSON), True, "xterm", Display.JSON),
        (Flags(display=Display.RICH), False, "xterm", Display.RICH),
        (Flags(quiet=True, display=Display.JSON), True, "xterm", Display.NONE),
    ],
)
def test_the_display_is_the_one_asked_for_or_the_one_that_fits(flags, is_terminal, term, display):
    chosen = choose_display(flags, is_terminal=is_terminal, environment={"TERM": term})

    assert chosen is display


def test_every_display_takes_every_call(capsys):
    for display in Display:
        progress = make_progress(display)
        progress.start(3, "stage")
        progress.advance(2, abstained=1)
        progress.note("a note")
        progress.finish()
        progress.finish()

    assert isinstance(make_progress(Display.NONE), Silent)
    assert capsys.readouterr().out == ""


def test_a_live_line_shows_names_and_notes_as_plain_text():
    shown = io.StringIO()
    progress = Live(Console(file=shown, force_terminal=True, width=100, markup=False))

    progress.advance(1, early=1)
    progress.start(2, "re[bold]view\x1b]0;x\x07")
    progress.advance(1, abstained=1)
    progress.note("model said [red]\x1b[2J")
    progress.start(None, "next")
    progress.finish()

    text = shown.getvalue()
    assert "re[bold]view\\x1b]0;x\\x07" in text
    assert "model said [red]\\x1b[2J" in text
    assert "abstained 1" in text
    assert "1/2" in text


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A folder with a store of some rollouts, as the working directory."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "dca.db", plain_rollouts(30))
    return tmp_path


def test_on_a_terminal_progress_redraws_itself_and_the_result_follows(store):
    code, shown = on_terminal("review")

    assert code == 0
    assert "120/120" in shown
    assert "\x1b[?25l" in shown
    assert shown.count("\x1b[?25h") >= 1
    assert re.search(r"30 rollouts, panel offline: done", shown)


def test_on_a_dumb_terminal_progress_is_lines(store):
    code, shown = on_terminal("review", environment={"TERM": "dumb"})

    assert code == 0
    assert "review: 0/120" in shown
    assert "\x1b" not in shown


def test_progress_goes_to_standard_error_only(store, capsys):
    from dca import cli  # noqa: PLC0415 - after the working directory is set

    assert cli.run(["review", "--display", "json"]) == 0

    captured = capsys.readouterr()
    events = [json.loads(line) for line in captured.err.splitlines()]
    assert events[0]["event"] == "start"
    assert events[-1]["event"] == "finish"
    assert events[-1]["done"] == 120
    assert [(row["name"], row["done"]) for row in events[-1]["reviewers"]] == [
        ("arithmetic", 30),
        ("dataflow", 30),
        ("revision", 30),
        ("novelty", 30),
    ]
    assert events[-1]["agreement"]["rollouts"] > 0
    assert captured.out.startswith("reviewer")
