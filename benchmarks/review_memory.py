"""Peak memory of a review of 2,000, 20,000 and 200,000 rollouts.

    python benchmarks/review_memory.py [--items 2000,20000,200000] [--width 64]

The rollouts are stored first. One process reviews each store with one model on the fault server,
which answers at once; its peak memory must not grow with the number of rollouts.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.fault_server.running import as_process
from benchmarks.figures import Report, at_most, parser
from benchmarks.review_clients import Work, run_client
from benchmarks.review_stores import Stores

MOST_MB = 250.0
MOST_GROWTH = 1.1
"""Largest ratio of the largest peak to the smallest."""


def measure(items: int, args: argparse.Namespace) -> dict[str, object]:
    """Fill a store, review it in a new process and return the figures."""
    with tempfile.TemporaryDirectory(prefix="dca-bench-") as name:
        begun = time.perf_counter()
        stores = Stores(Path(name), items, sentences=args.sentences)
        filled = time.perf_counter() - begun
        with as_process("--median-ms", str(args.median_ms)) as server:
            outcome = run_client(
                Work("ours", server.url, items, args.width, store=str(stores.file))
            )
    return {
        "items": items,
        "cpu s/1,000": outcome.cpu_s / items * 1000,
        "peak MB": outcome.peak_mb,
        "rate": items / outcome.seconds,
        "lost": outcome.lost,
        "fill s": round(filled, 1),
    }


def main() -> None:
    """Review stores of several sizes and print the peaks."""
    made = parser(__doc__)
    made.add_argument("--items", default="2000,20000,200000", help="with commas")
    made.add_argument("--width", type=int, default=64, help="requests at once")
    made.add_argument("--median-ms", type=float, default=0.0, help="of the server's answers")
    made.add_argument("--sentences", type=int, default=30, help="of each reasoning")
    args = made.parse_args()
    report = Report("review_memory", args, [1])
    for items in args.items.split(","):
        report.add_run(measure(int(items), args))
    report.rows = report.runs
    peaks = [float(str(row["peak MB"])) for row in report.rows]
    report.goals = [
        at_most("peak MB", max(peaks), MOST_MB),
        at_most(
            "peak MB of the most rollouts to that of the fewest", peaks[-1] / peaks[0], MOST_GROWTH
        ),
    ]
    report.show()
    report.write()


if __name__ == "__main__":
    main()
