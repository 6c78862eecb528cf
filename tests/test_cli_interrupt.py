"""Ctrl-C during a real review over a real socket: the first drains, the second aborts."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.fault_server.running import on_thread
from tests.command_line import clean_folder, fill, plain_rollouts
from tests.review_process import (
    begin_review,
    document,
    interrupt,
    kept,
    steady,
    wait_until,
    write_config,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of twenty rollouts, as the working directory."""
    clean_folder(tmp_path, monkeypatch)
    fill(tmp_path / "dca.db", plain_rollouts(20))
    return tmp_path


def test_the_first_interrupt_sends_nothing_new_and_keeps_what_is_in_flight():
    with on_thread(steady(2.0)) as server:
        write_config(server, "judge")
        with begin_review("--concurrency", "8") as child:
            wait_until(lambda: server.ledger.open == 8)
            interrupt(child)
            out, err = child.communicate(timeout=30)
        totals = server.ledger.totals

    result, store = document(out), kept()
    assert child.returncode == result["exit"] == 130
    assert result["stopped"] is True
    assert err.count("finishing what is in flight; press Ctrl-C again to abort") == 1
    assert (totals.requests, totals.paid, totals.abandoned) == (8, 8, 0)
    assert (store.reviews, store.claims) == (8, 0)
    assert (store.job.status, store.job.done) == ("interrupted", 8)


def test_the_second_interrupt_ends_at_once_and_running_again_asks_only_the_rest():
    with on_thread(steady(2.0)) as server:
        write_config(server, "judge")
        with begin_review("--concurrency", "8") as child:
            wait_until(lambda: server.ledger.open == 8 and server.ledger.totals.paid == 8)
            interrupt(child)
            # The second wave has been in flight for a moment only: draining would take 2 s.
            time.sleep(0.2)
            pressed = datetime.now(UTC)
            interrupt(child)
            _, err = child.communicate(timeout=30)
        store = kept()
        sent = server.ledger.totals.requests
        with begin_review("--concurrency", "12") as again:
            rest, _ = again.communicate(timeout=30)
        totals = server.ledger.totals

    assert child.returncode == 130
    assert store.job.finished is not None
    assert datetime.fromisoformat(store.job.finished) - pressed < timedelta(seconds=1.2)
    assert "dca: interrupted" in err
    assert "Traceback" not in err
    assert (store.reviews, store.abstentions, store.claims) == (8, 0, 0)
    assert (store.job.status, store.job.done) == ("interrupted", 8)
    assert sent == 16
    assert document(rest)["exit"] == 0
    assert kept().reviews == 20
    assert totals.requests - sent == 12
    assert totals.abandoned == 8
