"""``dca review --batch``: ask in the batches of the providers that have them."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text
from sqlalchemy import Engine

from dca.cli.amounts import compact, money
from dca.cli.review import abstained, failures
from dca.cli.review_budget import confirm_cost
from dca.cli.review_estimate import Order
from dca.cli.review_modes import Mode
from dca.cli.run import BUDGET, INTERRUPTED, PARTIAL, Run
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.pipeline.batch_office import parted
from dca.pipeline.batch_review import FIRST_LOOK, LONGEST_LOOK, BatchResult, Rounds, batch_review
from dca.pipeline.review import ReviewerResult, ReviewResult, review_store
from reviewers.budget import NANO, Caps, Cost

HEADS = ("reviewer", "reviewed", "stored before", "pending", "dollars", "abstained")


def ask_in_batches(
    run: Run, engine: Engine, order: Order, mode: Mode, caps: Caps, stop: threading.Event
) -> None:
    """Ask the panel in batches, its other members at once, and say what came of it.

    Raises:
        ConfigError: No reviewer of the panel can be asked in batches.
    """
    models, others = parted(order.reviewers)
    again, progress = order.retry_failed, run.listener
    at_once: list[ReviewResult] = []

    def ask_others(left: Caps) -> Cost:
        result = review_store(
            engine,
            others,
            order.selection,
            concurrency=order.concurrency,
            retry_failed=again,
            caps=left,
            progress=progress,
            stop=stop,
        )
        at_once.append(result)
        return Cost(round(result.spent_dollars * NANO), result.spent_tokens)

    longest = mode.every or LONGEST_LOOK
    rounds = Rounds(
        wait=not mode.no_wait,
        cancel=mode.cancel,
        first=min(FIRST_LOOK, longest),
        longest=longest,
        meanwhile=ask_others if others and not mode.cancel else None,
    )
    if not mode.cancel:
        confirm_cost(run, engine, order.reviewers, order.selection, caps, retry_failed=again)
    result = batch_review(
        engine,
        models,
        order.selection,
        rounds=rounds,
        retry_failed=again,
        caps=caps,
        progress=progress,
        stop=stop,
    )
    run.verb = "review batch"
    fields = {"panel": order.panel, "caps": asdict(caps), **asdict(result)}
    run.done(
        {**fields, "at_once": [asdict(each) for each in at_once]},
        lambda console: _print(console, order.panel, result, at_once, cancelled=mode.cancel),
        exit_code=_code(result, at_once, cancelled=mode.cancel),
    )


def _code(result: BatchResult, at_once: Sequence[ReviewResult], *, cancelled: bool) -> int:
    """Return 0 when nothing is left to do, or when what is left is what was asked for."""
    if result.stopped:
        return INTERRUPTED
    if result.over and any(row.pending > row.held for row in result.reviewers):
        return BUDGET
    complete = result.complete and all(each.complete for each in at_once)
    return 0 if complete or cancelled else PARTIAL


def _print(
    console: Console,
    panel: str,
    result: BatchResult,
    at_once: Sequence[ReviewResult],
    *,
    cancelled: bool,
) -> None:
    """Print one line per reviewer."""
    rows = [_cells(row) for each in (result, *at_once) for row in each.reviewers]
    print_table(console, HEADS, rows, right=(1, 2, 3, 4))
    for line in _remarks(result, at_once, cancelled=cancelled):
        console.print(Text(line), soft_wrap=True)
    console.print(
        Text(
            f"{result.selected:,} rollouts, panel {one_line(panel)}: {result.submitted:,} requests"
            f" submitted, {result.open:,} at a provider, {result.seconds:.1f} s"
        ),
        soft_wrap=True,
    )


def _cells(row: ReviewerResult) -> tuple[str, ...]:
    return (
        one_line(row.name),
        f"{row.reviews:,}",
        f"{row.cached:,}",
        f"{row.pending:,}",
        "-" if row.dollars is None else money(row.dollars),
        abstained(row),
    )


def _remarks(
    result: BatchResult, at_once: Sequence[ReviewResult], *, cancelled: bool
) -> Iterator[str]:
    """Yield why reviewers abstained, what was spent, and what is left to do."""
    yield from failures((*result.reviewers, *(row for each in at_once for row in each.reviewers)))
    if result.unknown:
        yield f"{result.unknown:,} results belong to no request of these batches: not used"
    if result.spent_tokens:
        priced = any(row.dollars is not None for row in result.reviewers)
        dollars = f"{money(result.spent_dollars)} and " if priced else ""
        line = f"spent {dollars}{compact(result.spent_tokens)} tokens"
        if result.doubtful_dollars:
            line += f", of which {money(result.doubtful_dollars)} are a worst case"
        yield line
    if result.over:
        yield f"the cap in {result.over} ended submitting: raise it to go on"
    if result.open:
        most = f", at most {money(result.reserved_dollars)}" if result.reserved_dollars else ""
        verb = "stopping" if cancelled else "worked on"
        yield f"{result.open:,} requests are {verb}{most}; dca review --batch collects them"
