"""A real ``dca review`` killed again and again: what is lost, doubled, paid again.

    python benchmarks/review_kills.py [--items N] [--kills N] [--width N]

``dca review`` runs over a store with one model on the fault server, gets SIGKILL at a random
moment, of its start or of its work, and is run again; after the last kill it runs to its end. The
moments are drawn so that the kills are spread over the whole work.

Right before each kill the process is stopped (SIGSTOP) and the server's ledger is read, so that
the requests in flight at that moment are known, and the answers that had been delivered. An
answer that was delivered and is not in the store after the kill is paid again.

    lost         rollouts without a stored review at the end
    doubled      reviews beyond one for a rollout
    wrong        stored reviews that are not the valid answer
    in flight    requests that the server was answering at the kills, summed
    paid again   answers that the ledger says were paid beyond the first, summed over all items;
                 must not exceed those in flight
    abandoned    requests whose client was gone before the answer: a provider may charge for them
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import text

from benchmarks.fault_server.running import Spawned, as_process
from benchmarks.figures import Report, at_most, parser
from benchmarks.review_clients import KEY
from benchmarks.review_faults import audit, stored
from benchmarks.review_stores import fill_store
from benchmarks.review_work import KEY_ENV
from store.engine import open_store

CONFIG = """\
[project]
store = "dca.db"

[reviewers.model]
kind = "openai-compatible"
model = "tiny"
family = "tiny"
base_url = "{url}/v1"
api_key_env = "{key}"
max_output_tokens = 4000

[panels.one]
reviewers = ["model"]

[review]
panel = "one"
concurrency = {width}
"""
LOOK_S = 0.02
LONGEST_START_S = 60.0


@dataclass(slots=True)
class Killer:
    """Runs the command and kills it."""

    folder: Path
    server: Spawned
    chance: random.Random
    starts: list[float] = field(default_factory=list[float])
    """Seconds from the start of a process to its first request."""
    rates: list[float] = field(default_factory=list[float])
    """Answers a second while a process worked."""
    in_flight: list[int] = field(default_factory=list[int])
    unstored: list[int] = field(default_factory=list[int])
    """Answers that had been delivered and were not stored, at each kill."""
    idle: int = 0
    """Kills before the first request of the process."""

    def run(self, seconds: float | None) -> bool:
        """Run the command, for so long at most; tell whether it came to its end.

        Args:
            seconds: From its first request on, negative: before it; ``None``: to the end.
        """
        before = self.totals()
        begun = time.monotonic()
        with subprocess.Popen(
            _command(), cwd=self.folder, env=_environment(), stdout=subprocess.DEVNULL
        ) as process:
            if seconds is None:
                return process.wait() == 0
            start = self._awaited(process, before, seconds)
            if start is not None:
                self.starts.append(start - begun)
                time.sleep(max(0.0, seconds))
            if process.poll() is not None:
                return True
            process.send_signal(signal.SIGSTOP)
            time.sleep(LOOK_S)  # What had been sent arrives.
            after = self.totals()
            process.kill()
        self._book(before, after, start, seconds)
        return False

    def _awaited(
        self, process: "subprocess.Popen[bytes]", before: dict[str, Any], seconds: float
    ) -> float | None:
        """Wait for the first request and return its moment; ``None``: killed before it."""
        usual = median(self.starts) if self.starts else LONGEST_START_S
        end = time.monotonic() + (usual + seconds if seconds < 0 else LONGEST_START_S)
        while process.poll() is None and time.monotonic() < end:
            if self.totals()["requests"] > before["requests"]:
                return time.monotonic()
            time.sleep(LOOK_S)
        return None

    def _book(
        self, before: dict[str, Any], after: dict[str, Any], start: float | None, seconds: float
    ) -> None:
        self.in_flight.append(after["open"])
        self.unstored.append(after["paid"] - count_reviews(self.folder) - self.paid_again)
        self.paid_again += self.unstored[-1]
        self.idle += start is None
        if start is not None and seconds > 0.2:
            self.rates.append((after["paid"] - before["paid"]) / seconds)

    paid_again: int = 0
    """Answers delivered and lost so far."""

    def totals(self) -> dict[str, Any]:
        """Return the ledger's totals."""
        return self.server.read_ledger(items=False)


def main() -> None:
    """Kill, resume, and look at what is there in the end."""
    args = _options()
    report = Report("review_kills", args, [args.seed])
    folder = Path(tempfile.mkdtemp(prefix="dca-bench-"))
    options = ["--median-ms", str(args.median_ms), "--seed", str(args.seed)]
    began = time.perf_counter()
    with as_process(*options) as server:
        killer = prepare(folder, server, args)
        while len(killer.in_flight) < args.kills and count_reviews(folder) < args.items:
            killer.run(_moment(killer, args))
        ended = killer.run(None)
        ledger = server.read_ledger()
        kept, told = stored(str(folder / "dca.db"), server.url, args.items)
    checked = audit(kept, told, ledger["items"])
    reviews = count_reviews(folder)
    again = sum(max(0, item["paid"] - 1) for item in ledger["items"].values())
    report.rows = [
        {
            "items": args.items,
            "kills": len(killer.in_flight),
            "while idle": killer.idle,
            "lost": args.items - len(kept),
            "doubled": reviews - len(kept),
            "wrong": checked["wrong"],
            "in flight": sum(killer.in_flight),
            "paid again": again,
            "worst": max(
                (a - b for a, b in zip(killer.unstored, killer.in_flight, strict=True)), default=0
            ),
            "abandoned": ledger["totals"]["abandoned"],
            "requests": ledger["totals"]["requests"],
            "seconds": round(time.perf_counter() - began, 1),
            "exit 0": ended,
        }
    ]
    report.runs = [
        {"kill": at, "in flight": flying, "delivered, not stored": unstored}
        for at, (flying, unstored) in enumerate(
            zip(killer.in_flight, killer.unstored, strict=True), 1
        )
    ]
    row = report.rows[0]
    report.goals = [
        at_most(name, float(str(row[name])), 0) for name in ("lost", "doubled", "wrong")
    ]
    report.goals.append(at_most("paid again, at most in flight", again, sum(killer.in_flight)))
    shutil.rmtree(folder)
    report.show()
    report.write()


def prepare(folder: Path, server: Spawned, args: argparse.Namespace) -> Killer:
    """Fill a store, write the configuration, and return who kills."""
    fill_store(str(folder / "dca.db"), args.items)
    config = CONFIG.format(url=server.url, key=KEY_ENV, width=args.width)
    (folder / "dca.toml").write_text(config)
    return Killer(folder, server, random.Random(args.seed))


def _moment(killer: Killer, args: argparse.Namespace) -> float:
    """Return the seconds after the first request, or before it if negative, of the next kill.

    One kill in ten falls into the start. The others leave the work, on average, its share.
    """
    if killer.starts and killer.chance.random() < 0.1:
        return -killer.chance.random() * median(killer.starts)
    guess = 1000 * args.width / max(args.median_ms, 50)
    rate = median(killer.rates) if killer.rates else guess
    left = args.items - count_reviews(killer.folder)
    share = left / rate / (args.kills - len(killer.in_flight) + 1)
    return killer.chance.uniform(0.0, 2 * share)


def count_reviews(folder: Path) -> int:
    """Return the number of reviews in the store."""
    engine = open_store(str(folder / "dca.db"))
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT count(*) FROM reviews"))
    engine.dispose()
    return int(found or 0)


def _command() -> list[str]:
    return [sys.executable, "-m", "dca", "--display", "none", "--quiet", "review"]


def _environment() -> dict[str, str]:
    return {**os.environ, KEY_ENV: KEY, "DCA_STORE": "dca.db"}


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--items", type=int, default=10_000)
    made.add_argument("--kills", type=int, default=100)
    made.add_argument("--width", type=int, default=64, help="requests at once")
    made.add_argument("--median-ms", type=float, default=200.0, help="of the server's answers")
    made.add_argument("--seed", type=int, default=1)
    return made.parse_args()


if __name__ == "__main__":
    main()
