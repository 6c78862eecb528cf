"""A process of its own that writes to a store: for tests of concurrency and of kill -9.

Run as ``python -m tests.store_writer URL SEED [forever]``. It says ``ready``, waits for a line,
then adds 300 rollouts and their reviews in an order of its own, in batches of 20, one transaction
each, and prints how many were new as JSON. With ``forever`` it starts a job and goes on until it
is killed.
"""

import json
import random
import sys

from store.engine import open_store, transaction
from store.jobs import start_job, update_job
from store.reviews import add_answers, add_reviewers
from store.rollouts import add_rollouts
from tests.store_examples import OTHER, REVIEWER, abstention, review, rollout

COUNT = 300
BATCH = 20


def say(line: str) -> None:
    """Tell the parent at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def write_once(engine, seed: int) -> dict[str, int]:
    """Add everything once and return how much was new."""
    order = [rollout(number, group=f"g{number % 7}") for number in range(COUNT)]
    random.Random(seed).shuffle(order)
    found = {"rollouts": 0, "unchanged": 0, "reviews": 0}
    for start in range(0, COUNT, BATCH):
        batch = order[start : start + BATCH]
        with transaction(engine) as session:
            added = add_rollouts(session, batch)
            add_reviewers(session, [OTHER, REVIEWER])
            answers = [review(item) for item in batch]
            answers += [abstention(item, OTHER) for item in batch]
            found["reviews"] += add_answers(session, answers)
        assert not added.conflicts
        found["rollouts"] += added.new
        found["unchanged"] += added.unchanged
    return found


def write_forever(engine) -> None:
    """Add rollout after rollout with its review, and tell a job how many, until killed."""
    with transaction(engine) as session:
        job = start_job(session, "import", {"source": "x"})
        add_reviewers(session, [REVIEWER])
    for number in range(10**9):
        item = rollout(number)
        with transaction(engine) as session:
            add_rollouts(session, [item])
            add_answers(session, [review(item)])
            update_job(session, job, done=number + 1)
        if number == 20:
            say("going")


def main() -> None:
    """Write as the arguments say."""
    url, seed, *rest = sys.argv[1:]
    say("ready")
    sys.stdin.readline()
    engine = open_store(url)
    if rest:
        write_forever(engine)
    say(json.dumps(write_once(engine, int(seed))))
    engine.dispose()


if __name__ == "__main__":
    main()
