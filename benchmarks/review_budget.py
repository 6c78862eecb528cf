"""Hard caps under random concurrent runs with heavy-tailed answers: does any run overrun its cap?

    python -m benchmarks.review_budget [--runs 200] [--items 200] [--seed 1] [--out FILE.json]

Each run reviews the same rollouts over the fault server with another seed: 4 to 64 requests in
flight, hidden reasoning whose length is lognormal (spread of the logarithm 0.5 to 2), faults in
half of the runs, and a random cap on dollars or on tokens. The bill is what the server says it has
delivered, by its own ledger, not what the client believes. The goal: 0 overruns. A request is only
sent when its worst case fits, so a run ends a little under its cap; how near is printed, as the
share of the cap that is billed and as the room left in worst cases of one request.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.fault_server.ledger import Totals
from benchmarks.fault_server.plan import Fault, Plan, Rates
from benchmarks.fault_server.running import on_thread
from benchmarks.fault_server.settings import Settings
from benchmarks.figures import Report, at_most, parser
from benchmarks.review_clients import KEY
from benchmarks.review_stores import Stores
from benchmarks.review_work import KEY_ENV
from dca.pipeline.review import review_store
from reviewers.budget import NANO, Caps
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint
from reviewers.models import openai_reviewer
from reviewers.prices import Price, worst_case
from store.engine import open_store
from store.selection import Selection

PRICE = Price(2.0, 10.0, cached_input=0.2)
MAX_TOKENS = 4_000
_FAULTS = (Fault.SERVER_ERROR, Fault.RESET, Fault.CUT_BODY, Fault.CUT_JSON, Fault.BAD_SCHEMA)
_BODY = 9_000
"""Bytes of a request, about; for the room left only."""
_LEAST, _MOST = {"dollars": 0.05, "tokens": 12_000}, {"dollars": 4.0, "tokens": 900_000}
"""The range of the caps: from about one request to more than everything costs."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One run, decided by its seed."""

    seed: int
    cap: str
    """``dollars`` or ``tokens``."""
    limit: float
    width: int
    tail: float
    faults: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run."""

    seed: int
    cap: str
    limit: float
    width: int
    tail: float
    faults: bool
    billed: float
    """Dollars or tokens by the server's ledger."""
    counted: float
    """What the run says that it has spent."""
    ended: bool
    """Whether the cap ended it."""
    share: float
    """Billed, of the cap."""
    room: float
    """What was left of the cap, in worst cases of one request."""
    answers: int
    seconds: float


def draw_run(seed: int) -> Draw:
    """Return the run of a seed."""
    source = random.Random(seed)
    cap = source.choice(("dollars", "tokens"))
    # The same number of small and of large caps in each decade.
    limit = _LEAST[cap] * (_MOST[cap] / _LEAST[cap]) ** source.random()
    return Draw(
        seed,
        cap,
        round(limit, 4) if cap == "dollars" else int(limit),
        source.choice((4, 16, 64)),
        source.uniform(0.5, 2.0),
        source.random() < 0.5,
    )


def run_once(draw: Draw, stores: Stores) -> Outcome:
    """Review a new store under one cap."""
    os.environ[KEY_ENV] = KEY
    rates = Rates(dict.fromkeys(_FAULTS, 0.03) if draw.faults else {})
    plan = Plan(draw.seed, rates, median_s=0.005, tail=draw.tail)
    dollars = draw.limit if draw.cap == "dollars" else None
    caps = Caps(dollars, int(draw.limit) if draw.cap == "tokens" else None)
    began = time.monotonic()
    with on_thread(Settings(plan)) as server, stores.sqlite() as url:
        reviewer = openai_reviewer(
            "model",
            Endpoint("tiny", f"{server.url}/v1", KEY_ENV),
            calling=Calling(MAX_TOKENS, timeout=30.0, backoff=0.01),
            price=PRICE,
        )
        engine = open_store(url)
        result = review_store(engine, [reviewer], Selection(), concurrency=draw.width, caps=caps)
        engine.dispose()
        billed = bill(server.ledger.totals, draw.cap)
    counted = result.spent_dollars if draw.cap == "dollars" else float(result.spent_tokens)
    worst = worst_case(_BODY, MAX_TOKENS, PRICE)
    one = worst.dollars if draw.cap == "dollars" else worst.tokens
    return Outcome(
        **asdict(draw),
        billed=billed,
        counted=counted,
        ended=bool(result.over),
        share=billed / draw.limit,
        room=(draw.limit - counted) / one,
        answers=sum(row.asked for row in result.reviewers),
        seconds=time.monotonic() - began,
    )


def bill(totals: Totals, cap: str) -> float:
    """Return what the server has delivered, in dollars or in tokens."""
    if cap == "tokens":
        return float(totals.input_tokens + totals.output_tokens)
    plain = totals.input_tokens - totals.cached_tokens
    cached = totals.cached_tokens * (PRICE.cached_input or 0.0)
    return (plain * PRICE.input + cached + totals.output_tokens * PRICE.output) / 1e6


def overruns(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the runs whose bill, or whose own count, is more than their cap."""
    # The bill is a sum of floats; the books are kept in whole nanodollars.
    slack = 1 / NANO
    return [
        item
        for item in outcomes
        if item.billed > item.limit + slack or item.counted > item.limit + slack
    ]


def main() -> None:
    """Run and print."""
    options = _options()
    report = Report(
        "review_budget", options, seeds=range(options.seed, options.seed + options.runs)
    )
    with tempfile.TemporaryDirectory() as folder:
        stores = Stores(Path(folder), options.items, sentences=24)
        outcomes = [run_once(draw_run(seed), stores) for seed in report.seeds]
    report.runs = [asdict(item) for item in outcomes]
    for name, some in _kinds(outcomes):
        ended = [item for item in some if item.ended]
        report.rows.append(
            {
                "runs": name,
                "number": len(some),
                "ended by the cap": len(ended),
                "overruns": len(overruns(some)),
                "billed, median": median(item.share for item in ended) if ended else None,
                "billed, least": min((item.share for item in ended), default=None),
                "room left, median": median(item.room for item in ended) if ended else None,
                "room left, most": max((item.room for item in ended), default=None),
                "answers": sum(item.answers for item in some),
            }
        )
    seconds = sum(item.seconds for item in outcomes)
    report.notes.append(f"{seconds:.0f} s; billed is of the cap, room left is in worst cases")
    report.goals.append(at_most("runs over their cap", len(overruns(outcomes)), 0))
    report.show()
    report.write()


def _kinds(outcomes: Sequence[Outcome]) -> list[tuple[str, list[Outcome]]]:
    """Return the runs by cap and by faults, and all of them."""
    kinds = [
        (f"{cap}, {'faults' if faults else 'clean'}", cap, faults)
        for cap in ("dollars", "tokens")
        for faults in (False, True)
    ]
    found = [
        (name, [item for item in outcomes if (item.cap, item.faults) == (cap, faults)])
        for name, cap, faults in kinds
    ]
    return [*found, ("all", list(outcomes))]


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--runs", type=int, default=200)
    made.add_argument("--items", type=int, default=200, help="rollouts in each run")
    made.add_argument("--seed", type=int, default=1, help="of the first run")
    return made.parse_args()


if __name__ == "__main__":
    main()
