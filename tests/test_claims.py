"""Claims: nobody asks for what another asks for, and the dead hold nothing."""

import socket
import subprocess
import sys
import threading

import pytest
from sqlalchemy import update

from store.claims import claim, reap, release, release_job
from store.engine import transaction
from store.jobs import (
    finish_job,
    list_jobs,
    pause_reviewers,
    paused_reviewers,
    start_job,
)
from store.reviews import add_answers, add_reviewers
from store.rollouts import add_rollouts
from store.tables import JobRow
from tests.store_examples import REVIEWER, abstention, review, rollout


def job(session) -> int:
    return start_job(session, "review", {})


def filled(engine, count: int = 6) -> list[str]:
    """Store rollouts and a reviewer, and return the keys of its reviews."""
    with transaction(engine) as session:
        add_reviewers(session, [REVIEWER])
        add_rollouts(session, [rollout(number) for number in range(count)])
    return [review(rollout(number)).key.id for number in range(count)]


def test_a_review_is_claimed_by_one_job_only(store_engine) -> None:
    keys = filled(store_engine)
    with transaction(store_engine) as session:
        one, other = job(session), job(session)
        assert claim(session, one, keys[:3]) == set(keys[:3])
        assert claim(session, other, keys) == set(keys[3:])
        # Whoever holds a claim may make it again.
        assert claim(session, one, keys[:4]) == set(keys[:3])
        release(session, keys[:1])
        assert claim(session, other, keys[:2]) == {keys[0]}
        assert release_job(session, other) == 4
        assert claim(session, one, keys) == set(keys)
        release(session, [])


@pytest.mark.parametrize("again", [False, True])
def test_what_is_answered_is_not_claimed(store_engine, again: bool) -> None:
    keys = filled(store_engine)
    with transaction(store_engine) as session:
        add_answers(session, [review(rollout(0)), abstention(rollout(1))])
        mine = job(session)

        granted = claim(session, mine, keys, again=again)

        assert granted == set(keys[1:] if again else keys[2:])
        assert release_job(session, mine) == len(granted)


def test_claims_at_the_same_moment_never_meet(store_url, store_engine) -> None:
    keys = filled(store_engine, 200)
    with transaction(store_engine) as session:
        jobs = [job(session) for _ in range(4)]
    granted: dict[int, set[str]] = {number: set() for number in jobs}
    begin = threading.Barrier(len(jobs))

    def take(number: int) -> None:
        begin.wait()
        for at in range(0, 200, 20):
            with transaction(store_engine) as session:
                granted[number] |= claim(session, number, keys[at : at + 20])

    threads = [threading.Thread(target=take, args=(number,)) for number in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(map(len, granted.values())) == 200
    assert set.union(*granted.values()) == set(keys)


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_the_dead_and_the_silent_are_found_and_hold_nothing(store_engine) -> None:
    keys = filled(store_engine)
    with transaction(store_engine) as session:
        dead, far, alive, done, other = (job(session) for _ in range(5))
        for number, key in zip((dead, far, alive, done, other), keys, strict=False):
            claim(session, number, [key])
        finish_job(session, done, "failed")
        long_ago = "2020-01-01T00:00:00.000000+00:00"
        for number, columns in (
            (dead, {"pid": dead_pid()}),
            (far, {"host": "elsewhere", "heartbeat": long_ago}),
            (other, {"pid": 1, "host": socket.gethostname()}),
        ):
            session.execute(update(JobRow).where(JobRow.id == number).values(**columns))

        left = reap(session)

        assert left.jobs == (dead, far)
        assert left.claims == 3
        assert claim(session, alive, keys[:5]) == {keys[0], keys[1], keys[2], keys[3]}
        states = {item.id: item.status for item in list_jobs(session)}
        assert [states[number] for number in (dead, far, alive, done, other)] == [
            "lost",
            "lost",
            "running",
            "failed",
            "running",
        ]
        assert reap(session).claims == 0


def test_a_job_is_told_whom_to_leave_in_peace(store_engine) -> None:
    with transaction(store_engine) as session:
        one, other = job(session), job(session)
        assert paused_reviewers(session, one) == frozenset()
        pause_reviewers(session, one, ["b", "a"])
        assert paused_reviewers(session, one) == {"a", "b"}
        assert paused_reviewers(session, other) == frozenset()
        pause_reviewers(session, one, [])
        assert paused_reviewers(session, one) == frozenset()
