"""``dca review``: ask the panel."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.interrupt import draining
from dca.cli.review_budget import (
    DryRun,
    MaxCost,
    MaxTime,
    MaxTokens,
    Pilot,
    caps_to_keep,
    confirm_cost,
    ended_by_cap,
    spending,
)
from dca.cli.review_estimate import Order, estimate
from dca.cli.review_modes import (
    Batch,
    Cancel,
    Emit,
    Every,
    Final,
    Ingest,
    Mode,
    NoWait,
    Rejects,
    review_otherwise,
)
from dca.cli.run import BUDGET, INTERRUPTED, PARTIAL, Run
from dca.cli.selecting import Choice, Ids, Limit, Sample, Where
from dca.cli.stores import opened
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.cli.tracing import tracing
from dca.pipeline.panels import build_panel, shortage
from dca.pipeline.review import ReviewerResult, ReviewResult, review_store
from reviewers.budget import Caps

HEADS = ("reviewer", "reviewed", "stored before", "pending", "tokens in", "out", "abstained")


def review(
    context: typer.Context,
    *,
    panel: Annotated[
        str | None, typer.Option("--panel", metavar="NAME", help="Instead of [review] panel")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", metavar="N", help="Most reviews in flight", min=1),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again where a reviewer abstained")
    ] = False,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
    pilot: Pilot = None,
    batch: Batch = False,
    no_wait: NoWait = False,
    cancel: Cancel = False,
    every: Every = None,
    emit: Emit = None,
    ingest: Ingest = None,
    final: Final = False,
    rejects: Rejects = None,
    where: Where = None,
    ids: Ids = None,
    limit: Limit = None,
    sample: Sample = None,
) -> None:
    """Ask the panel; running again resumes.

    Only what is not answered yet is asked. Every answer is stored at once. Ctrl-C lets what is in
    flight finish; a second one aborts. Exit code 3 when a reviewer abstained anywhere, 4 when a
    cap ended the run.
    """
    run: Run = context.obj
    mode = Mode(batch, no_wait, cancel, every, emit, ingest, final, rejects)
    loaded = run.load(
        {
            ("review", "panel"): ("--panel", panel),
            ("review", "concurrency"): ("--concurrency", concurrency),
            ("review", "max_cost"): ("--max-cost", max_cost),
            ("review", "max_tokens"): ("--max-tokens", max_tokens),
            ("review", "max_time"): ("--max-time", max_time),
        }
    )
    settings = loaded.config.review
    reviewers = build_panel(loaded.config, settings.panel)
    lacks = shortage(reviewers, loaded.config.consensus.params())
    if lacks is not None:
        # Reviews are kept and other reviewers may join them, so this is no reason to refuse.
        run.note(f"warning: {lacks.reason}; {lacks.hint}")
    caps = caps_to_keep(run, loaded.config, reviewers)
    with opened(loaded) as engine:
        chosen = Choice(where, ids, limit, sample).selection(run, engine)
        order = Order(
            settings.panel, reviewers, chosen, settings.concurrency, retry_failed=retry_failed
        )
        if dry_run or pilot is not None:
            estimate(run, engine, order, pilot, caps)
            return
        if not mode.chosen:
            confirm_cost(run, engine, reviewers, chosen, caps, retry_failed=retry_failed)
        with draining(run) as stop, tracing(run, loaded):
            if mode.chosen:
                review_otherwise(run, engine, order, mode, caps, stop)
                return
            result = review_store(
                engine,
                reviewers,
                chosen,
                concurrency=settings.concurrency,
                retry_failed=retry_failed,
                caps=caps,
                progress=run.listener,
                stop=stop,
            )
    finish(run, settings.panel, result, caps)


def finish(run: Run, panel: str, result: ReviewResult, caps: Caps) -> None:
    """Print what each reviewer did."""
    code = 0 if result.complete else PARTIAL
    if ended_by_cap(result):
        code = BUDGET
    run.done(
        {"panel": panel, "caps": asdict(caps), **asdict(result)},
        lambda console: print_result(console, panel, result, caps),
        exit_code=INTERRUPTED if result.stopped else code,
    )


def print_result(console: Console, panel: str, result: ReviewResult, caps: Caps) -> None:
    """Print one line per reviewer."""
    rows = [
        (
            one_line(row.name),
            f"{row.reviews:,}",
            f"{row.cached:,}",
            f"{row.pending:,}",
            f"{row.input_tokens:,}",
            f"{row.output_tokens:,}",
            abstained(row),
        )
        for row in result.reviewers
    ]
    print_table(console, HEADS, rows, right=(1, 2, 3, 4, 5))
    for line in (*failures(result.reviewers), *spending(result, caps)):
        console.print(Text(line), soft_wrap=True)
    done = "stopped" if result.stopped else "done"
    console.print(
        f"{result.selected:,} rollouts, panel {panel}: {done} in {result.seconds:.1f} s",
        soft_wrap=True,
    )


def abstained(row: ReviewerResult) -> str:
    """Return how often a reviewer abstained, in this run by kind and before it."""
    counts = [f"{kind} {count:,}" for kind, count in row.abstentions.items()]
    if row.cached_abstentions:
        counts.append(f"before {row.cached_abstentions:,}")
    return ", ".join(counts) or "-"


def failures(rows: Sequence[ReviewerResult]) -> Iterator[str]:
    """Yield why reviewers abstained or were asked no more, and how to ask again."""
    for row in rows:
        name = one_line(row.name)
        if row.stopped:
            yield f"{name}: {one_line(row.stopped)}"
        for reason, count in row.reasons.items():
            plain = one_line(reason.removeprefix(f"{row.name}: "))
            yield f"{name}: abstained on {count:,}: {plain}"
    if any(row.reasons for row in rows):
        yield "dca review --retry-failed asks again where a reviewer abstained"
