"""``dca doctor``: what is installed, which keys are set, what answers."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.run import MISSING, Run
from dca.cli.stores import sqlite_file
from dca.cli.terminal import one_line
from dca.config import Loaded, ModelReviewer, Panel
from dca.config.sources import shown
from dca.domain.errors import DcaError
from dca.pipeline.panels import build_panel
from dca.pipeline.probe import Probe, probe
from store.engine import open_store, safe_url, transaction
from store.stats import stats

DISTRIBUTION = "deliberative-credit-assignment"
CORE = ("openai", "anthropic", "sqlalchemy", "pyarrow", "numpy", "pydantic", "typer")
EXTRAS = {
    "train": ("torch", "transformers", "trl", "datasets", "accelerate", "peft", "tokenizers"),
    "postgres": ("psycopg",),
    "verify": ("math-verify",),
    "otel": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
}
"""Extra to the packages that it brings."""
PROBED = "probed by doctor"
"""Panel of everyone who is asked; no panel of a configuration can have this name."""
MARKS = {"ok": ("✓", "green"), "absent": ("-", "dim"), "missing": ("✗", "red")}

State = Literal["ok", "absent", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    part: str
    """``installed``, ``configuration``, ``keys``, ``store`` or ``endpoints``."""
    name: str
    state: State
    """``absent`` is not needed as things are configured; ``missing`` is."""
    detail: str


def doctor(
    context: typer.Context,
    *,
    live: Annotated[
        bool,
        typer.Option("--live", help="Ask every configured reviewer about one tiny rollout"),
    ] = False,
) -> None:
    """What is installed, which keys are set, what answers.

    Without --live no endpoint is contacted. Exit code 7 when something that is configured is
    missing.
    """
    run: Run = context.obj
    loaded = run.load()
    findings = [*installed(), *configured(loaded), *keys(loaded), store_state(loaded)]
    findings += ask_all(loaded) if live else unasked(loaded)
    exit_code = MISSING if any(item.state == "missing" for item in findings) else 0
    fields = {"findings": [asdict(item) for item in findings]}
    run.done(fields, lambda console: print_report(console, findings), exit_code=exit_code)


def installed() -> list[Finding]:
    """Return the versions of Python, DCA, the core and the extras; imports none of them."""
    part = "installed"
    own = _version(DISTRIBUTION) or "run from its source folder"
    system = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    found = [Finding(part, "dca", "ok", own), Finding(part, "python", "ok", system)]
    core = {name: _version(name) for name in CORE}
    found += [
        Finding(part, name, "ok" if has else "missing", has or "not installed")
        for name, has in core.items()
    ]
    for extra, names in EXTRAS.items():
        versions = {name: _version(name) for name in names}
        lacking = [name for name, has in versions.items() if has is None]
        detail = ", ".join(f"{name} {has}" for name, has in versions.items() if has)
        hint = f"pip install '.[{extra}]' in the project's folder brings {', '.join(lacking)}"
        state: State = "absent" if lacking else "ok"
        found.append(Finding(part, f"extra {extra}", state, hint if lacking else detail))
    return found


def configured(loaded: Loaded) -> list[Finding]:
    """Return which files are read and which panel is asked."""
    part, config = "configuration", loaded.config
    files = {"dca.toml": loaded.file, "user's dca.toml": loaded.user_file, ".env": loaded.dotenv}
    found = [
        Finding(part, name, "ok" if path else "absent", shown(path) if path else "none")
        for name, path in files.items()
    ]
    for name, panel in config.panels.items():
        used = " (asked by dca review)" if name == config.review.panel else ""
        found.append(Finding(part, f"panel {name}", "ok", ", ".join(panel.reviewers) + used))
    return found


def keys(loaded: Loaded) -> list[Finding]:
    """Return which keys are set; shows nothing of them."""
    found: list[Finding] = []
    for name, variable in loaded.key_variables.items():
        is_set = bool(loaded.environment.get(variable, "").strip())
        state: State = "ok" if is_set else "missing"
        detail = f"{variable} is {'set' if is_set else 'not set'}"
        found.append(Finding("keys", name, state, detail))
    return found or [Finding("keys", "none", "absent", "no reviewer needs one")]


def store_state(loaded: Loaded) -> Finding:
    """Return whether the store opens, with its schema; makes no store."""
    url = loaded.config.project.store
    name, file = safe_url(url), sqlite_file(url)
    if file is not None:
        name = shown(file)
        if not file.exists():
            return Finding("store", name, "absent", "not there yet; dca import makes it")
    try:
        engine = open_store(url, migrate=False)
        with transaction(engine) as session:
            found = stats(session)
        engine.dispose()
    except DcaError as error:
        return Finding("store", name, "missing", _failure(error))
    rollouts = found.rows.get("rollouts", 0)
    detail = f"schema {found.revision}, {rollouts:,} rollouts, {found.bytes:,} bytes"
    return Finding("store", name, "ok", detail)


def unasked(loaded: Loaded) -> list[Finding]:
    """Return that the endpoints were not contacted, where there are some."""
    reviewers = loaded.config.reviewers.values()
    if not any(isinstance(reviewer, ModelReviewer) for reviewer in reviewers):
        return []
    detail = "`dca doctor --live` contacts the endpoints"
    return [Finding("endpoints", "not asked", "absent", detail)]


def ask_all(loaded: Loaded) -> list[Finding]:
    """Ask every configured model reviewer whose key is set about one tiny rollout."""
    config, variables = loaded.config, loaded.key_variables
    names = tuple(
        name
        for name, reviewer in config.reviewers.items()
        if isinstance(reviewer, ModelReviewer)
        and (name not in variables or loaded.environment.get(variables[name], "").strip())
    )
    if not names:
        return [Finding("endpoints", "none", "absent", "no reviewer has an endpoint and a key")]
    panels = {**config.panels, PROBED: Panel(reviewers=names)}
    panel = build_panel(config.model_copy(update={"panels": panels}), PROBED)
    return [answered(item) for item in probe(panel)]


def answered(item: Probe) -> Finding:
    """Return what came of asking one reviewer."""
    if item.fault:
        return Finding("endpoints", item.reviewer, "missing", one_line(item.fault))
    spent = item.usage
    tokens = f"{_number(spent.input_tokens)} tokens in, {_number(spent.output_tokens)} out"
    return Finding("endpoints", item.reviewer, "ok", f"answered: {tokens}")


def print_report(console: Console, findings: Sequence[Finding]) -> None:
    """Print the findings under their parts; marks are letters too, not only colours."""
    width = max(len(item.name) for item in findings)
    part = ""
    for item in findings:
        if item.part != part:
            console.print(Text(item.part.capitalize(), style="bold"))
            part = item.part
        mark, colour = MARKS[item.state]
        line = Text(f"  {mark} ", style=colour)
        line.append(f"{item.name:{width}}  ", style="default")
        line.append(item.detail, style="default")
        console.print(line, soft_wrap=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _failure(error: DcaError) -> str:
    return one_line(f"{error}; {error.hint}" if error.hint else str(error))


def _number(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
