"""How closely clients follow a provider's rate limit, and how often they run into it.

    python benchmarks/review_limits.py [--limits requests,tokens] [--items N] [--clients a,b]

The fault server allows 10 requests, or 24,000 input tokens, a second and no more than one
second's worth at once, tells both in its headers, and answers in 2 s (median). Clients have 64
requests at once. The server's totals are read while they run:

    share         what was let through, over what was allowed from the first request to the last,
                  with the second's worth that a full bucket holds; ``later``: after the first
                  minute, which the goal is about
    429           refusals, in the first minute and after it; ``share 429``: of the requests after
    early         requests that came before the Retry-After of their item was over
"""

import argparse
import tempfile
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fault_server.running import Spawned, as_process
from benchmarks.figures import Report, Row, at_least, at_most, parser
from benchmarks.review_clients import Work, run_client
from benchmarks.review_stores import Stores
from benchmarks.review_work import write_bodies

CLIENTS = ("ours", "ours-anthropic", "openai")
LEAST_SHARE = 0.97
MOST_REFUSED = 0.01
LEARNING_S = 60.0
LOOK_S = 0.25


@dataclass(slots=True)
class Looks:
    """The server's totals, read now and then."""

    seen: list[tuple[float, dict[str, Any]]] = field(
        default_factory=list[tuple[float, dict[str, Any]]]
    )
    """Seconds since the first request, and the totals; only after the first request."""

    def look(self, server: Spawned) -> None:
        """Read the totals."""
        totals = server.read_ledger(items=False)
        if totals["requests"]:
            self.seen.append((totals["seconds"], totals))

    def at(self, seconds: float) -> tuple[float, dict[str, Any]]:
        """Return the first look that is not earlier; the last one if all are."""
        return next((look for look in self.seen if look[0] >= seconds), self.seen[-1])


@contextmanager
def looking(server: Spawned) -> Generator[Looks]:
    """Read the totals on a thread until the end."""
    looks, ended = Looks(), threading.Event()

    def work() -> None:
        while not ended.wait(LOOK_S):
            looks.look(server)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield looks
    finally:
        ended.set()
        thread.join()


def measure(
    client: str, limit: str, args: argparse.Namespace, stores: Stores
) -> dict[str, object]:
    """Run one client against one limit and return the figures."""
    options = [
        "--burst-s",
        str(args.burst_s),
        "--median-ms",
        str(args.median_ms),
        "--sigma",
        "0.3",
    ]
    options += ["--charge", "input"]
    per_second = args.rps if limit == "requests" else args.tps
    options += ["--rpm" if limit == "requests" else "--tpm", str(round(60 * per_second))]
    with ExitStack() as stack:
        server = stack.enter_context(as_process(*options))
        store = stack.enter_context(stores.sqlite())
        looks = stack.enter_context(looking(server))
        folder = str(stores.folder)
        work = Work(client, server.url, args.items, args.width, folder=folder, store=store)
        outcome = run_client(work)
        looks.look(server)
    return {
        "client": client,
        "limit": limit,
        "cpu s/1,000": outcome.cpu_s / args.items * 1000,
        **_judge(looks, Charge(limit, "anthropic" in client), per_second, args.burst_s),
        "lost": outcome.lost,
        "seconds": outcome.seconds,
    }


@dataclass(frozen=True, slots=True)
class Charge:
    """What a limit counts."""

    limit: str
    anthropic: bool
    """Input that the cache gives is not counted."""

    def let_through(self, totals: dict[str, Any]) -> float:
        """Return the requests, or the input tokens, that were let through."""
        let = totals["requests"] - totals["limited"]
        if self.limit == "requests":
            return let
        # Tokens are booked with the answer: those in progress count with the mean.
        tokens = totals["input_tokens"] - self.anthropic * totals["cached_tokens"]
        return let * tokens / max(1, totals["paid"])


def _judge(looks: Looks, charge: Charge, per_second: float, burst_s: float) -> dict[str, object]:
    """Return how well the limit was followed."""
    learnt_at, learnt = looks.at(LEARNING_S)
    seconds, totals = looks.seen[-1]
    let = charge.let_through(totals)
    later = totals["requests"] - learnt["requests"]
    refused = totals["limited"] - learnt["limited"]
    tail = seconds - learnt_at
    return {
        "share": let / (per_second * (seconds + burst_s)),
        "share later": (let - charge.let_through(learnt)) / (per_second * tail)
        if tail > 1
        else None,
        "429 first": learnt["limited"],
        "429 later": refused,
        "share 429": refused / later if later else 0.0,
        "early": totals["early"],
        "requests": totals["requests"],
    }


def main() -> None:
    """Run the clients against the limits."""
    args = _options()
    report = Report("review_limits", args, [1])
    with tempfile.TemporaryDirectory(prefix="dca-bench-") as name:
        stores = Stores(Path(name), args.items)
        write_bodies(Path(name), args.items)
        for limit in args.limits.split(","):
            for client in args.clients.split(","):
                report.add_run(measure(client, limit, args, stores))
    report.rows = report.runs
    for row in report.rows:
        name = f"{row['client']}, {row['limit']}"
        if str(row["client"]).startswith("ours"):
            report.goals += [
                at_least(f"{name}, share of the allowed rate", _share(row), LEAST_SHARE),
                at_most(f"{name}, 429s after a minute", _number(row["share 429"]), MOST_REFUSED),
                at_most(f"{name}, requests before Retry-After", _number(row["early"]), 0),
                at_most(f"{name}, lost", _number(row["lost"]), 0),
            ]
    report.show()
    report.write()


def _share(row: Row) -> float:
    """Return the share after the first minute; of all where a run was over before."""
    later = row["share later"]
    return _number(row["share"] if later is None else later)


def _number(value: object) -> float:
    return float(str(value))


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--items", type=int, default=1500)
    made.add_argument("--width", type=int, default=64, help="requests at once")
    made.add_argument("--limits", default="requests,tokens", help="with commas")
    made.add_argument("--rps", type=float, default=10.0, help="requests allowed a second")
    made.add_argument("--tps", type=float, default=24_000.0, help="input tokens allowed a second")
    made.add_argument("--burst-s", type=float, default=1.0, help="seconds' worth at once")
    made.add_argument("--median-ms", type=float, default=2000.0, help="of the server's answers")
    made.add_argument("--clients", default=",".join(CLIENTS), help="with commas")
    return made.parse_args()


if __name__ == "__main__":
    main()
