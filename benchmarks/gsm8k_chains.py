"""The offline panel on real chains of thought: how long it takes and what it says.

    python benchmarks/gsm8k_chains.py example_model_solutions.jsonl.gz [--out figures.json]

The file is OpenAI's grade-school-math ``example_model_solutions.jsonl``: 1,319 problems with four
solutions each by models of 2021, every one with ``is_correct``. The four solutions are the group,
``is_correct`` the reward. Goals: import, review, consensus, credit and export of all 5,276 in 90
seconds together, under 1 GB.

Every figure is ``{value, low, high, problems}``, with ``count`` and ``of`` where it is a share;
the interval is the 95 % bootstrap interval over problems, because the four solutions of a problem
are not independent. ``read_by_eye`` names the chains drawn at random for docs/offline-panel.md.

Shapes: P = problems, K = labels, X = (count, of).
"""

import argparse
import gzip
import json
import random
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from dca.consensus.agreement import alpha, bootstrap, pairwise
from dca.consensus.settle import Document, seat, settle
from dca.domain.consensus import Consensus, ConsensusVersion, Figure, PanelBlame, Status
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Review, Soundness
from dca.domain.rollout import Rollout
from dca.pipeline.consensus import settle_store
from dca.pipeline.credit import assign_store
from dca.pipeline.export import ExportOrder, export_store
from dca.pipeline.importing import ImportOptions, import_rollouts
from dca.pipeline.review import review_store
from reviewers.rules import offline_panel
from store.consensus import consensus_of
from store.engine import open_store, transaction
from store.reviews import reviews_of
from store.rollouts import iter_groups
from store.selection import Selection
from training.credit.assigners import ASSIGNERS

GOAL_SECONDS, GOAL_BYTES = 90.0, 1e9
ALL = Selection()
OUTCOMES = {0.0: "wrong", 1.0: "right"}
SEED, TEN = 20, {"right": 5, "wrong": 5}
"""Seed and outcomes of the chains that docs/offline-panel.md reads by eye."""
PATTERNS = 6
"""The commonest ways to disagree that are listed."""


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
                        "line": number + 1,
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
    chains = list(read_chains(engine, settled.version))
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
        "n_eff": settled.version.n_eff,
        "credit_events": {row.method: dict(row.events) for row in credited.methods},
        "tokens": exported.tokens,
        "tokens_in_loss": exported.credited,
        "tokens_by_label": dict(exported.labels),
        "agreement": agreement(chains, settled.version),
        **verdicts(chains).figures(),
        "groups_with_both_outcomes": mixed(chains),
        "read_by_eye": {"seed": SEED, "chains": read_by_eye(chains), "blamed": blamed(chains)},
    }


@dataclass(frozen=True, slots=True)
class Chain:
    """One solution with what the panel said of it."""

    problem: int
    outcome: str
    rollout: Rollout
    reviews: Mapping[str, Review]
    """Rule to review."""
    consensus: Consensus


def read_chains(engine: Engine, version: ConsensusVersion) -> Iterator[Chain]:
    """Yield every stored chain, problem by problem."""
    names = {digest: name for name, digest in version.reviewers.items()}
    problem = -1
    with transaction(engine) as session:
        for page in iter_groups(session, ALL):
            ids = [rollout.id for group in page for rollout in group]
            reviews = reviews_of(session, ids, label_set=version.label_set, raw=False)
            settled = consensus_of(session, version.id, ids)
            for group in page:
                problem += 1
                for rollout in group:
                    said = {names[review.key.reviewer]: review for review in reviews[rollout.id]}
                    outcome = OUTCOMES[rollout.reward or 0.0]
                    yield Chain(problem, outcome, rollout, said, settled[rollout.id])


def agreement(chains: Sequence[Chain], version: ConsensusVersion) -> dict[str, object]:
    """Return alpha and the agreement of every pair of rules, resampling problems.

    ``alpha:values`` counts labels of equal value (decisive and contributing; setup and idle) as
    one, because credit cannot tell them apart.
    """
    bench = seat([rule.info for rule in offline_panel()], version.params)
    documents = [Document(c.rollout.id, c.rollout.completion, c.reviews) for c in chains]
    settled = settle(documents, bench, CONTRIBUTION_V1, version.params)
    problem_D = np.array([chain.problem for chain in chains])
    right_D = np.array([chain.outcome == "right" for chain in chains])
    every_D = np.ones_like(right_D)
    values = [label.value for label in CONTRIBUTION_V1]
    same_KV = np.array([[value == other for other in sorted(set(values))] for value in values])
    by_value_DVV = same_KV.T @ settled.coincidence_DKK @ same_KV
    found = {
        "alpha": alpha(by_problem(settled.coincidence_DKK, problem_D, every_D)),
        "alpha:right": alpha(by_problem(settled.coincidence_DKK, problem_D, right_D)),
        "alpha:wrong": alpha(by_problem(settled.coincidence_DKK, problem_D, ~right_D)),
        "alpha:values": alpha(by_problem(by_value_DVV, problem_D, every_D)),
    }
    pairs_PRX = by_problem(settled.pair_counts_DPX, problem_D, every_D)
    shown_pairs = {
        f"pair:{pair}": shown(figure) | count_of(pairs_PRX[:, number, ::-1])
        for number, (pair, figure) in enumerate(pairwise(pairs_PRX, bench.names).items())
    }
    return {**{name: shown(figure) for name, figure in found.items()}, **shown_pairs}


def by_problem(
    part_DXX: NDArray[np.float64], problem_D: NDArray[np.int64], chosen_D: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the sum over the chosen chains of each problem."""
    sum_PXX = np.zeros((problem_D.max() + 1, *part_DXX.shape[1:]))
    np.add.at(sum_PXX, problem_D[chosen_D], part_DXX[chosen_D])
    return sum_PXX


class Shares:
    """Shares of chains, steps or characters: their parts by problem."""

    def __init__(self, problems: int) -> None:
        self.parts_PX: dict[tuple[str, str], NDArray[np.float64]] = defaultdict(
            lambda: np.zeros((problems, 2))
        )

    def add(self, table: str, name: str, problem: int, count: float, of: float = 1) -> None:
        """Count one problem's part of the share ``name`` of ``table``."""
        self.parts_PX[table, name][problem] += count, of

    def figures(self) -> dict[str, dict[str, object]]:
        """Return the figures by table, by name."""
        tables: dict[str, dict[str, object]] = {}
        for (table, name), parts_PX in sorted(self.parts_PX.items()):
            used_PX = parts_PX[parts_PX[:, 1] > 0]
            figure = bootstrap(used_PX, share, undefined="nothing counted")
            tables.setdefault(table, {})[name] = shown(figure) | count_of(parts_PX)
        return tables


def verdicts(chains: Sequence[Chain]) -> Shares:
    """Return how often the rules and the panel say what, in right and in wrong chains."""
    shares = Shares(chains[-1].problem + 1)
    disputes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for chain in chains:
        _count_flags(shares, chain)
        _count_panel(shares, chain)
        _count_characters(shares, chain)
        for item in chain.consensus.spans:
            if item.status is Status.DISPUTED:
                votes = " ".join(f"{name}={label}" for name, label in sorted(item.votes.items()))
                disputes[votes].append((chain.problem, len(item.span)))
    _count_disputes(shares, disputes)
    return shares


def _count_flags(shares: Shares, chain: Chain) -> None:
    """Count chains with a harmful step, how many of them are wrong, and the harmful equations."""
    for name, review in chain.reviews.items():
        flags = sum(step.label == "harmful" for step in review.steps)
        shares.add("chains_flagged_harmful", f"{name}:{chain.outcome}", chain.problem, flags > 0)
        if flags:
            wrong = chain.outcome == "wrong"
            shares.add("flagged_chains_that_are_wrong", name, chain.problem, wrong)
        if name == "arithmetic":
            judged = len(review.steps)
            shares.add("equations_flagged_harmful", chain.outcome, chain.problem, flags, judged)
            shares.add("chains_with_an_equation", chain.outcome, chain.problem, judged > 0)


def _count_panel(shares: Shares, chain: Chain) -> None:
    """Count what the panel settled on blame and soundness."""
    blame, soundness = _blame(chain.consensus.blame), chain.consensus.soundness
    for name in ("step", "none wrong", "disputed", "thin", "no verdict"):
        shares.add("panel_blame", f"{name}:{chain.outcome}", chain.problem, name == blame)
    settled = "not settled" if soundness is None else soundness.verdict or "not settled"
    for name in (Soundness.SOUND, Soundness.UNSOUND, "not settled"):
        shares.add("panel_soundness", f"{name}:{chain.outcome}", chain.problem, name == settled)
    for rule, review in chain.reviews.items():
        for name in (Soundness.SOUND, Soundness.UNSOUND):
            said = review.soundness is name
            key = f"{rule}:{name}:{chain.outcome}"
            shares.add("rule_soundness", key, chain.problem, said)


def _blame(blame: PanelBlame | None) -> str:
    """Return what became of the blame."""
    if blame is None:
        return "no verdict"
    if blame.status is not Status.AGREED:
        return str(blame.status)
    return "none wrong" if blame.span is None else "step"


def _count_characters(shares: Shares, chain: Chain) -> None:
    """Count characters by status, and the agreed ones by label."""
    status: dict[str, int] = dict.fromkeys(Status, 0)
    label: dict[str, int] = dict.fromkeys(CONTRIBUTION_V1.keys, 0)
    for item in chain.consensus.spans:
        status[item.status] += len(item.span)
        if item.status is Status.AGREED and item.label is not None:
            label[item.label] += len(item.span)
    for outcome in ("all", chain.outcome):
        for counts, table in ((status, "characters_by_status"), (label, "agreed_by_label")):
            total = sum(counts.values())
            for name, count in counts.items():
                shares.add(table, f"{name}:{outcome}", chain.problem, count, total)


def _count_disputes(shares: Shares, disputes: Mapping[str, Sequence[tuple[int, int]]]) -> None:
    """Count the commonest ways to disagree, in characters of all that is disputed."""
    size = {votes: sum(count for _, count in places) for votes, places in disputes.items()}
    for votes in sorted(size, key=size.__getitem__, reverse=True)[:PATTERNS]:
        for other, places in disputes.items():
            for problem, count in places:
                shares.add("disputed_by_votes", votes, problem, count * (other == votes), count)


def read_by_eye(chains: Sequence[Chain]) -> list[dict[str, object]]:
    """Draw chains at random: every outcome from all solvers in turn, no problem twice."""
    source, drawn, problems = random.Random(SEED), list[Chain](), set[int]()
    for outcome, wanted in TEN.items():
        solvers = sorted({str(chain.rollout.meta["solver"]) for chain in chains})
        source.shuffle(solvers)
        for turn in range(wanted):
            solver = solvers[turn % len(solvers)]
            fit = [
                chain
                for chain in sorted(chains, key=lambda chain: chain.rollout.id)
                if chain.outcome == outcome
                and chain.rollout.meta["solver"] == solver
                and chain.problem not in problems
            ]
            drawn.append(source.choice(fit))
            problems.add(drawn[-1].problem)
    return [named(chain) for chain in drawn]


def blamed(chains: Sequence[Chain]) -> list[dict[str, object]]:
    """Draw ten of the chains in which the panel agreed on a blamed step."""
    fit = [chain for chain in chains if _blame(chain.consensus.blame) == "step"]
    fit.sort(key=lambda chain: chain.rollout.id)
    return [named(chain) for chain in random.Random(SEED).sample(fit, min(10, len(fit)))]


def named(chain: Chain) -> dict[str, object]:
    """Return where a chain stands in the store and in the file."""
    meta = chain.rollout.meta
    where = {"id": chain.rollout.id, "line": meta["line"], "solver": meta["solver"]}
    return {**where, "outcome": chain.outcome}


def mixed(chains: Sequence[Chain]) -> dict[str, int]:
    """Return the problems with right and wrong chains: the others have no advantage."""
    outcomes: dict[int, list[str]] = defaultdict(list)
    for chain in chains:
        outcomes[chain.problem].append(chain.outcome)
    both = [found for found in outcomes.values() if len(set(found)) == 2]
    counts = {name: sum(found.count(name) for found in both) for name in OUTCOMES.values()}
    return {"groups": len(both), **counts}


def share(sums_NX: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return count over of."""
    return sums_NX[:, 0] / sums_NX[:, 1]


def count_of(parts_PX: NDArray[np.float64]) -> dict[str, object]:
    """Return both totals."""
    count, of = parts_PX.sum(axis=0)
    return {"count": int(count), "of": int(of)}


def shown(figure: Figure) -> dict[str, object]:
    """Return value and interval, rounded, and how many problems it rests on."""
    ends = {"value": figure.value, "low": figure.low, "high": figure.high}
    rounded = {name: None if end is None else round(end, 4) for name, end in ends.items()}
    return {
        **rounded,
        "problems": figure.n,
        **({"reason": figure.reason} if figure.reason else {}),
    }


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
