"""What a benchmark reports: a table for people, a JSON file for everything else."""

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

Row = Mapping[str, object]
_VERSIONS = (
    "aiohttp",
    "anthropic",
    "httpx2",
    "msgspec",
    "openai",
    "psycopg",
    "sqlalchemy",
    "uvloop",
)


@dataclass(frozen=True, slots=True)
class Goal:
    """One promise and what was measured."""

    text: str
    """What was promised, with its bound."""
    measured: float
    met: bool


def at_most(text: str, measured: float, bound: float) -> Goal:
    """Return the goal that ``measured`` is at most ``bound``."""
    return Goal(f"{text}: at most {bound:g}", measured, measured <= bound)


def at_least(text: str, measured: float, bound: float) -> Goal:
    """Return the goal that ``measured`` is at least ``bound``."""
    return Goal(f"{text}: at least {bound:g}", measured, measured >= bound)


@dataclass(slots=True)
class Report:
    """The figures of one benchmark."""

    benchmark: str
    options: argparse.Namespace
    seeds: Sequence[int] = ()
    rows: list[Row] = field(default_factory=list[Row])
    """One for each line of the table."""
    goals: list[Goal] = field(default_factory=list[Goal])
    runs: list[Row] = field(default_factory=list[Row])
    """Every repetition behind the medians."""
    notes: list[str] = field(default_factory=list[str])

    def add_run(self, run: Row) -> None:
        """Keep one repetition, and say on standard error how it went."""
        self.runs.append(run)
        said = (f"{name} {_cell(value)}" for name, value in run.items() if value is not None)
        print(", ".join(said), file=sys.stderr, flush=True)

    def show(self) -> None:
        """Print the table, the notes and the goals."""
        print(table(self.rows))
        for note in self.notes:
            print(note)
        for goal in self.goals:
            print(f"{'met   ' if goal.met else 'MISSED'}  {goal.measured:.4g}  {goal.text}")

    def write(self) -> None:
        """Write the file that ``--out`` names, if it does."""
        path: Path | None = self.options.out
        if path is not None:
            path.write_text(json.dumps(self._document(), indent=1, default=str) + "\n")

    def _document(self) -> dict[str, object]:
        return {
            "benchmark": self.benchmark,
            "command": shlex.join(["python", *sys.argv]),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": versions(),
            "seeds": list(self.seeds),
            "options": dict(vars(self.options)),
            "rows": self.rows,
            "goals": [asdict(goal) for goal in self.goals],
            "notes": self.notes,
            "runs": self.runs,
        }


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, metavar="FILE.json", help="write all figures here")
    return made


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    found = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "processor": found[0].partition(":")[2].strip() if found else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory[0]) / 1e6, 1) if memory else None,
        "system": platform.platform(),
        "load": [round(part, 2) for part in os.getloadavg()],
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that was measured."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_mb() -> float:
    """Return the most memory that this process has held, in megabytes (10^6 bytes).

    Not ``ru_maxrss``: that of a child begins with what its parent held.
    """
    found = [line.split()[1] for line in _lines("/proc/self/status") if line.startswith("VmHWM")]
    return round(int(found[0]) * 1024 / 1e6, 1)


def medians(runs: Iterable[Row]) -> dict[str, object]:
    """Return the medians of the numbers of several runs; other values are the first run's."""
    every = list(runs)
    merged: dict[str, object] = {}
    for name, value in every[0].items():
        numbers = [x for run in every if isinstance(x := run.get(name), int | float)]
        whole = all(isinstance(number, int) for number in numbers)
        if len(numbers) < len(every):
            merged[name] = value
        else:
            merged[name] = round(median(numbers)) if whole else round(median(numbers), 4)
    return merged


def table(rows: Sequence[Row]) -> str:
    """Return rows as a table; the columns are those of the first row."""
    if not rows:
        return ""
    heads = list(rows[0])
    lines = [heads, *([_cell(row.get(head)) for head in heads] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    first, *rest = widths
    return "\n".join(
        "  ".join(
            [
                line[0].ljust(first),
                *(cell.rjust(w) for cell, w in zip(line[1:], rest, strict=True)),
            ]
        )
        for line in lines
    )


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def _lines(path: str) -> list[str]:
    """Return the lines of a file of the system; none where there is no such file."""
    place = Path(path)
    return place.read_text().splitlines() if place.exists() else []
