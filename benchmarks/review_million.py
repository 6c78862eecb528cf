"""One run of a million reviews: rules and one model, with its time and memory.

    python benchmarks/review_million.py [--scale 1.0] [--width 64]

At full scale 200,000 rollouts are stored and then reviewed by the four rules and one model on
the fault server, which answers at once: 1,000,000 answers in one process.
"""

import tempfile
import time
from pathlib import Path

from benchmarks.fault_server.running import as_process
from benchmarks.figures import Report, at_most, parser
from benchmarks.review_clients import Work, run_client
from benchmarks.review_stores import Stores

ROLLOUTS = 200_000
REVIEWERS = 5
MOST_MB = 500.0


def main() -> None:
    """Run once and print the figures."""
    made = parser(__doc__)
    made.add_argument("--scale", type=float, default=1.0, help="1: a million reviews")
    made.add_argument("--width", type=int, default=64, help="requests at once")
    made.add_argument("--median-ms", type=float, default=0.0, help="of the server's answers")
    made.add_argument("--sentences", type=int, default=30, help="of each reasoning")
    args = made.parse_args()
    report = Report("review_million", args, [1])
    rollouts = max(1, round(ROLLOUTS * args.scale))
    with tempfile.TemporaryDirectory(prefix="dca-bench-") as name:
        begun = time.perf_counter()
        stores = Stores(Path(name), rollouts, sentences=args.sentences)
        filled = time.perf_counter() - begun
        with as_process("--median-ms", str(args.median_ms)) as server:
            work = Work("ours-rules", server.url, rollouts, args.width, store=str(stores.file))
            outcome = run_client(work)
            totals = server.read_ledger(items=False)
        size = stores.file.stat().st_size
    reviews = REVIEWERS * rollouts
    row = {
        "reviews": reviews,
        "cpu s/1,000": outcome.cpu_s / reviews * 1000,
        "peak MB": outcome.peak_mb,
        "seconds": outcome.seconds,
        "rate": reviews / outcome.seconds,
        "missing": reviews - outcome.done,
        "requests": totals["requests"],
        "paid twice": totals["doubled"],
        "store MB": round(size / 1e6, 1),
        "fill s": round(filled, 1),
    }
    report.add_run(row)
    report.rows = report.runs
    report.goals = [
        at_most("reviews missing", reviews - outcome.done, 0),
        at_most("peak MB", outcome.peak_mb, MOST_MB),
    ]
    report.show()
    report.write()


if __name__ == "__main__":
    main()
