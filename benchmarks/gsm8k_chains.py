"""The offline panel on real chains of thought: how long it takes and what it says.

    python benchmarks/gsm8k_chains.py example_model_solutions.jsonl.gz [--out figures.json]

The file is OpenAI's grade-school-math ``example_model_solutions.jsonl``: 1,319 problems with four
solutions each by models of 2021, every one with ``is_correct``. The four solutions are the group,
``is_correct`` the reward. Goals: import, review, consensus, credit and export of all 5,276 in 90
seconds together, under 1 GB. Intervals are 95 % bootstrap intervals over problems.
"""

import argparse
import gzip
import json
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from dca.consensus.agreement import bootstrap
from dca.domain.consensus import Figure
from dca.domain.labels import CONTRIBUTION_V1
from dca.pipeline.consensus import settle_store
from dca.pipeline.credit import assign_store
from dca.pipeline.export import ExportOrder, export_store
from dca.pipeline.importing import ImportOptions, import_rollouts
from dca.pipeline.review import review_store
from reviewers.rules import offline_panel
from store.engine import open_store, transaction
from store.reviews import reviews_of
from store.rollouts import iter_groups
from store.selection import Selection
from training.credit.assigners import ASSIGNERS

GOAL_SECONDS, GOAL_BYTES = 90.0, 1e9
ALL = Selection()


def to_plain(source: Path, target: Path) -> None:
    """Write one line per solution."""
    with gzip.open(source, "rt", encoding="utf-8") as lines, target.open("w") as out:
        for number, line in enumerate(lines):
            record = json.loads(line)
            truth = record["ground_truth"].rsplit("A:", 1)[-1].strip()
            for model, solution in record.items():
                if isinstance(solution, dict):
                    row = {
                        "id": f"{number}-{model}",
                        "group": str(number),
                        "task": "gsm8k",
                        "prompt": record["question"],
                        "completion": solution["solution"],
                        "reward": float(solution["is_correct"]),
                        "truth": truth,
                        "solver": model,
                    }
                    out.write(json.dumps(row) + "\n")


class Clock:
    """Wall and CPU seconds by stage."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Generator[None]:
        """Measure one stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[stage] = round(time.perf_counter() - wall, 2)
        self.cpu[stage] = round(time.process_time() - cpu, 2)


def run(source: Path, folder: Path, store: str) -> dict[str, object]:
    """Do the job and return its figures."""
    clock, panel = Clock(), offline_panel()
    plain = folder / "chains.jsonl"
    to_plain(source, plain)
    engine = open_store(store)
    with clock.of("import"):
        imported = import_rollouts(
            engine, [str(plain)], ImportOptions(rejects=folder / "rejects.jsonl")
        )
    with clock.of("review"):
        reviewed = review_store(engine, panel, ALL)
    with clock.of("consensus"):
        settled = settle_store(engine, panel, ALL)
    with clock.of("credit"):
        credited = assign_store(engine, tuple(ASSIGNERS), ALL, labels=CONTRIBUTION_V1)
    with clock.of("export"):
        exported = export_store(engine, ExportOrder("tokens", folder), labels=CONTRIBUTION_V1)
    total = sum(clock.wall.values())
    # Linux counts in kilobytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    version = settled.version
    return {
        "chains": imported.new,
        "groups": credited.groups,
        "reviews": sum(row.reviews for row in reviewed.reviewers),
        "wall_seconds": {**clock.wall, "together": round(total, 2)},
        "cpu_seconds": {**clock.cpu, "together": round(sum(clock.cpu.values()), 2)},
        "peak_bytes": peak,
        "goal_seconds": GOAL_SECONDS,
        "goal_bytes": GOAL_BYTES,
        "met": total <= GOAL_SECONDS and peak <= GOAL_BYTES,
        "agreement": {name: shown(figure) for name, figure in version.agreement.items()},
        "n_eff": version.n_eff,
        "credit_events": {row.method: dict(row.events) for row in credited.methods},
        "tokens": exported.tokens,
        "tokens_in_loss": exported.credited,
        "tokens_by_label": dict(exported.labels),
        **verdicts(engine),
    }


def verdicts(engine: Engine) -> dict[str, object]:
    """Return how often each rule flags right and wrong chains, with intervals over problems."""
    infos = {reviewer.info.digest: reviewer.info.name for reviewer in offline_panel()}
    # Rule and outcome to one row per problem: chains, chains with a flag.
    flags: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with transaction(engine) as session:
        for page in iter_groups(session, ALL):
            ids = [rollout.id for group in page for rollout in group]
            found = reviews_of(session, ids, label_set=CONTRIBUTION_V1.name, raw=False)
            for group in page:
                for outcome, reward in (("right", 1.0), ("wrong", 0.0)):
                    chains = [r for r in group if r.reward == reward]
                    for name in infos.values():
                        hits = sum(
                            any(
                                infos[review.key.reviewer] == name
                                and any(step.label == "harmful" for step in review.steps)
                                for review in found.get(chain.id, ())
                            )
                            for chain in chains
                        )
                        flags[f"{name}:{outcome}"].append((len(chains), hits))
    return {
        "chains_flagged_harmful": {
            key: shown(
                bootstrap(
                    np.array(rows, dtype=float),
                    lambda sums: sums[:, 1] / sums[:, 0],
                    undefined="no chain",
                )
            )
            for key, rows in flags.items()
        }
    }


def shown(figure: Figure) -> list[float | None]:
    """Return value and interval, rounded."""
    ends = (figure.value, figure.low, figure.high)
    return [None if end is None else round(end, 4) for end in ends]


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--store", help="URL; a SQLite file in a temporary folder by default")
    parser.add_argument("--out", type=Path, help="also write the figures here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = run(args.file, Path(name), args.store or f"{name}/dca.db")
    text = json.dumps(figures, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
