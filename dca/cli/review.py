"""``dca review``: ask the panel."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.interrupt import draining
from dca.cli.run import INTERRUPTED, PARTIAL, Run
from dca.cli.selecting import Choice, Ids, Limit, Sample, Where
from dca.cli.stores import opened
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.pipeline.panels import build_panel, shortage
from dca.pipeline.review import ReviewerResult, ReviewResult, review_store

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
    where: Where = None,
    ids: Ids = None,
    limit: Limit = None,
    sample: Sample = None,
) -> None:
    """Ask the panel; running again resumes.

    Only what is not answered yet is asked. Every answer is stored at once. Ctrl-C lets what is in
    flight finish; a second one aborts. Exit code 3 when a reviewer abstained anywhere.
    """
    run: Run = context.obj
    loaded = run.load(
        {
            ("review", "panel"): ("--panel", panel),
            ("review", "concurrency"): ("--concurrency", concurrency),
        }
    )
    settings = loaded.config.review
    reviewers = build_panel(loaded.config, settings.panel)
    lacks = shortage(reviewers, loaded.config.consensus.params())
    if lacks is not None:
        # Reviews are kept and other reviewers may join them, so this is no reason to refuse.
        run.note(f"warning: {lacks.reason}; {lacks.hint}")
    with opened(loaded) as engine, draining(run) as stop:
        result = review_store(
            engine,
            reviewers,
            Choice(where, ids, limit, sample).selection(run, engine),
            concurrency=settings.concurrency,
            retry_failed=retry_failed,
            progress=run.listener,
            stop=stop,
        )
    finish(run, settings.panel, result)


def finish(run: Run, panel: str, result: ReviewResult) -> None:
    """Print what each reviewer did."""
    stopped = INTERRUPTED if result.stopped else 0
    code = stopped or (0 if result.complete else PARTIAL)
    run.done(
        {"panel": panel, **asdict(result)},
        lambda console: print_result(console, panel, result),
        exit_code=code,
    )


def print_result(console: Console, panel: str, result: ReviewResult) -> None:
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
    for line in failures(result):
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


def failures(result: ReviewResult) -> Iterator[str]:
    """Yield why reviewers abstained or were asked no more, and how to ask again."""
    for row in result.reviewers:
        name = one_line(row.name)
        if row.stopped:
            yield f"{name}: {one_line(row.stopped)}"
        for reason, count in row.reasons.items():
            plain = one_line(reason.removeprefix(f"{row.name}: "))
            yield f"{name}: abstained on {count:,}: {plain}"
    if any(row.reasons for row in result.reviewers):
        yield "dca review --retry-failed asks again where a reviewer abstained"
