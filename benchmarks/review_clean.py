"""What a review costs where nothing goes wrong: processor seconds, rate, memory, beside peers.

    python benchmarks/review_clean.py [--items N] [--widths 64,256] [--repeat N] [--clients a,b]

The fault server runs in a process of its own and answers in 50 ms (median). Every client asks
the same questions in a fresh process; clients take turns, and medians are shown. The clients:

    bare                     aiohttp on uvloop, prebuilt bodies, answers thrown away
    ours                     dca's review_store into SQLite: questions, claims, requests, parsing,
                             anchoring, validation, writes; ours-postgres: into PostgreSQL;
                             ours-anthropic: over messages, into SQLite
    openai, anthropic        the official SDK in plain use, its answer decoded
    *-lean, *-lean-aiohttp   the SDK with prebuilt bodies and raw responses, and over aiohttp
    curator                  bespokelabs-curator in .venv-peers, batch=False:
                             python -m venv .venv-peers
                             .venv-peers/bin/pip install bespokelabs-curator

Processor seconds are counted from after the imports to the end; those of the whole process stand
beside. ``x bare`` is their ratio to the bare client's, ``rate`` is reviews a second.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fault_server.running import as_process
from benchmarks.figures import Report, at_least, at_most, medians, parser
from benchmarks.review_clients import CLIENT_PYTHONS, Work, run_client
from benchmarks.review_stores import Stores
from benchmarks.review_work import write_bodies

CLIENTS = (
    "bare",
    "ours",
    "ours-postgres",
    "ours-anthropic",
    "openai",
    "openai-lean",
    "openai-lean-aiohttp",
    "anthropic",
    "anthropic-lean",
    "anthropic-lean-aiohttp",
    "curator",
)
MOST_TIMES_BARE = 2.0
LEAST_TIMES_PEERS = 5.0
LEAST_RATE = 0.9
PEERS = ("openai", "anthropic", "curator")


def measure(
    client: str, width: int, seed: int, args: argparse.Namespace, stores: Stores
) -> dict[str, object]:
    """Run one client once and return its figures."""
    with ExitStack() as stack:
        server = stack.enter_context(
            as_process("--median-ms", str(args.median_ms), "--seed", str(seed))
        )
        store = ""
        if client.startswith("ours"):
            new = stores.postgres if client.endswith("postgres") else stores.sqlite
            store = stack.enter_context(new())
        work = Work(
            client.removesuffix("-postgres"),
            server.url,
            args.items,
            width,
            folder=str(stores.folder),
            store=store,
        )
        outcome = run_client(work)
        totals = server.read_ledger(items=False)
    thousands = args.items / 1000
    return {
        "client": client,
        "at once": width,
        "cpu s/1,000": outcome.cpu_s / thousands,
        "process cpu s/1,000": outcome.process_cpu_s / thousands,
        "x bare": None,
        "rate": args.items / outcome.seconds,
        "of bare": None,
        "peak MB": outcome.peak_mb,
        "lost": outcome.lost,
        "requests": totals["requests"],
        "server cpu s": totals["cpu_s"],
    }


def main() -> None:
    """Run all clients in turns and print their medians."""
    args = _options()
    report = Report("review_clean", args, range(1, args.repeat + 1))
    clients = [name for name in args.clients.split(",") if is_there(name, report)]
    widths = [int(width) for width in args.widths.split(",")]
    with tempfile.TemporaryDirectory(prefix="dca-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        stores = Stores(folder, args.items)
        write_bodies(folder, args.items)
        if "ours-postgres" in clients:
            stack.enter_context(stores.serving(Path(tempfile.mkdtemp(prefix="dca-pg-"))))
        for seed in report.seeds:
            for width in widths:
                for client in clients:
                    report.add_run(measure(client, width, seed, args, stores))
    for width in widths:
        _add(report, clients, width)
    report.show()
    report.write()


def _add(report: Report, clients: list[str], width: int) -> None:
    """Add the medians of one width, and judge them."""
    rows = {
        client: medians(
            run for run in report.runs if (run["client"], run["at once"]) == (client, width)
        )
        for client in clients
    }
    bare = rows.get("bare")
    for row in rows.values():
        if bare is not None:
            row["x bare"] = round(_ratio(row, bare, "cpu s/1,000"), 2)
            row["of bare"] = round(_ratio(row, bare, "rate"), 3)
        report.rows.append(row)
    for client in clients:
        if client.startswith("ours") and bare is not None:
            times = _ratio(rows[client], bare, "cpu s/1,000")
            report.goals += [
                at_most(f"{client}, {width} at once, cpu of bare's", times, MOST_TIMES_BARE),
                at_least(
                    f"{client}, {width} at once, rate of bare's",
                    _ratio(rows[client], bare, "rate"),
                    LEAST_RATE,
                ),
            ]
    for peer in set(PEERS) & set(clients) if "ours" in clients else ():
        times = _ratio(rows[peer], rows["ours"], "cpu s/1,000")
        text = f"{peer}, {width} at once, cpu of ours"
        report.goals.append(at_least(text, times, LEAST_TIMES_PEERS))


def _ratio(row: dict[str, object], other: dict[str, object], name: str) -> float:
    value, base = row[name], other[name]
    return value / base if isinstance(value, float) and isinstance(base, float) else 0.0


def is_there(client: str, report: Report) -> bool:
    """Tell whether a client can run; the report says why not."""
    python = CLIENT_PYTHONS.get(client)
    if python is None or python.exists():
        return True
    report.notes.append(f"{client}: not measured, there is no {python}; see --help")
    return False


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--items", type=int, default=2000)
    made.add_argument("--widths", default="64,256", help="requests at once, with commas")
    made.add_argument("--repeat", type=int, default=3, help="turns, each with a seed of its own")
    made.add_argument("--median-ms", type=float, default=50.0, help="of the server's answers")
    made.add_argument("--clients", default=",".join(CLIENTS), help="with commas")
    return made.parse_args()


if __name__ == "__main__":
    main()
