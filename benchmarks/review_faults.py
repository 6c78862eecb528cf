"""What clients keep and lose where one attempt in eight goes wrong.

    python benchmarks/review_faults.py [--items N] [--repeat N] [--clients a,b]

The fault server draws 500, 529/503, 429, resets, cut bodies, cut JSON, invalid schemas, fenced
JSON, hangs and drips; 0.3 % of the items are poisoned and never get a valid answer. Its ledger
says which text was the valid answer to each item, so what a client has kept can be checked.

    loop        asks again what fails, four times, and believes whatever comes with status 200
    openai      the SDK with its own retries; a reply that is no review is lost
    ours        dca's review_store; then again with --retry-failed (``ours +retry``)

    lost        answerable items without an answer that nobody reports: for ours, no stored
                abstention either; ``given up``: those that are reported
    wrong       kept texts that are not the valid answer of their item; ``poison``: kept answers
                to poisoned items, which are wrong too
    doubled     valid answers delivered for items that had one: paid twice
    over least  attempts at the answerable items, over the fewest that the plan allows
"""

import argparse
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.fault_server.ledger import digest
from benchmarks.fault_server.running import as_process
from benchmarks.figures import Report, at_most, medians, parser
from benchmarks.review_clients import Work, plain, run_client
from benchmarks.review_stores import Stores
from benchmarks.review_work import make_reviewer, rollout_keys, write_bodies
from dca.domain.labels import CONTRIBUTION_V1
from reviewers.dialogue import NEXT_REPLY
from store.engine import open_store, transaction
from store.reviews import abstentions_of, reviews_of

CLIENTS = ("loop", "openai", "anthropic", "ours", "ours +retry")
MOST_OVER = 1.03
PATIENCE = 10
"""Timeouts after which an item of an SDK is lost: its own timeout never ends a slow drip."""
Items = Mapping[str, Mapping[str, Any]]
"""Ledger key to what the ledger says of the item."""


def measure(client: str, seed: int, args: argparse.Namespace, stores: Stores) -> dict[str, object]:
    """Run one client and check what it has kept."""
    name = client.partition(" ")[0]
    with ExitStack() as stack:
        options = ["--faults", args.faults, "--seed", str(seed)]
        options += ["--median-ms", str(args.median_ms), "--retry-after-s", "0.5"]
        server = stack.enter_context(as_process(*options))
        store = stack.enter_context(stores.sqlite())
        work = Work(
            name,
            server.url,
            args.items,
            args.width,
            folder=str(stores.folder),
            store=store if name == "ours" else "",
            timeout=args.timeout,
            patience=PATIENCE * args.timeout,
            again=client.endswith("+retry"),
            keep=True,
        )
        outcome = run_client(work)
        ledger = server.read_ledger()
        told: set[str] = set()
        kept = outcome.kept
        if name == "ours":
            kept, told = stored(store, server.url, args.items)
    return {
        "client": client,
        "cpu s/1,000": outcome.cpu_s / args.items * 1000,
        **audit(kept, told, ledger["items"]),
        "doubled": ledger["totals"]["doubled"],
        "paid each": ledger["totals"]["paid"] / args.items,
        "early": ledger["totals"]["early"],
        "seconds": outcome.seconds,
        "items": len(ledger["items"]),
    }


def stored(store: str, url: str, items: int) -> tuple[dict[str, str], set[str]]:
    """Return what a store has kept: ledger key to digest, and the keys of the abstentions."""
    keys = rollout_keys(make_reviewer(url), items)
    engine = open_store(store)
    with transaction(engine) as session:
        ids = list(keys.values())
        reviews = reviews_of(session, ids, label_set=CONTRIBUTION_V1.name)
        failed = abstentions_of(session, ids, label_set=CONTRIBUTION_V1.name)
    engine.dispose()
    kept: dict[str, str] = {}
    for key, rollout in keys.items():
        for review in reviews.get(rollout, ()):
            # The last reply is the one that was read, after a repair turn for example.
            kept[key] = digest(plain(review.raw.rpartition(NEXT_REPLY)[2]))
    return kept, {key for key, rollout in keys.items() if rollout in failed}


def audit(kept: Mapping[str, str], told: set[str], items: Items) -> dict[str, object]:
    """Return how well the kept texts agree with the ledger.

    Args:
        kept: Ledger key to digest of the kept text.
        told: Ledger keys of items that the client reports as not answered.
        items: The ledger.
    """
    good = {key for key, item in items.items() if item["minimum_attempts"] is not None}
    wrong = {key for key, text in kept.items() if text != items[key]["digest"]}
    attempts = sum(items[key]["attempts"] for key in good)
    least = sum(items[key]["minimum_attempts"] for key in good)
    return {
        "lost": len(good - kept.keys() - told),
        "given up": len(good & told - kept.keys()),
        "wrong": len(wrong & good),
        "poison": len(wrong - good),
        "poisoned": len(items) - len(good),
        "attempts each": attempts / max(1, len(good)),
        "over least": attempts / max(1, least),
    }


def main() -> None:
    """Run all clients in turns and print their medians."""
    args = _options()
    report = Report("review_faults", args, range(1, args.repeat + 1))
    clients = args.clients.split(",")
    with tempfile.TemporaryDirectory(prefix="dca-bench-") as name:
        stores = Stores(Path(name), args.items)
        write_bodies(Path(name), args.items)
        for seed in report.seeds:
            for client in clients:
                report.add_run(measure(client, seed, args, stores))
    for client in clients:
        runs = [run for run in report.runs if run["client"] == client]
        report.rows.append(medians(runs))
        if client.startswith("ours"):
            # Nothing may go wrong in any run, so these are no medians.
            for name in ("lost", "wrong", "poison", "doubled", "early"):
                worst = max(float(str(run[name])) for run in runs)
                report.goals.append(at_most(f"{client}, {name}, worst run", worst, 0))
            over = float(str(report.rows[-1]["over least"]))
            report.goals.append(at_most(f"{client}, attempts over least", over, MOST_OVER))
    report.show()
    report.write()


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--items", type=int, default=2000)
    made.add_argument("--width", type=int, default=64, help="requests at once")
    made.add_argument("--repeat", type=int, default=3, help="turns, each with a seed of its own")
    made.add_argument("--timeout", type=float, default=2.0, help="seconds for one attempt")
    made.add_argument("--median-ms", type=float, default=50.0, help="of the server's answers")
    made.add_argument("--faults", default="mixed", help="as the fault server takes them")
    made.add_argument("--clients", default=",".join(CLIENTS), help="with commas")
    return made.parse_args()


if __name__ == "__main__":
    main()
