"""``dca review --dry-run`` and ``--pilot``: what a review will cost."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.text import Text
from sqlalchemy import Engine

from dca.cli.amounts import compact, duration, money
from dca.cli.interrupt import draining
from dca.cli.review_budget import confirm_cost
from dca.cli.run import BUDGET, INTERRUPTED, Run
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.pipeline.estimate import Range
from dca.pipeline.forecast import Forecast, ReviewerForecast, forecast
from dca.pipeline.pilot import Pilot, pilot_selection, run_pilot
from reviewers.budget import Caps
from reviewers.model_reviewer import ModelReviewer
from reviewers.protocol import Reviewer
from store.selection import Selection

HEADS = ("reviewer", "pending", "calls", "tokens in", "tokens out", "dollars", "time")
UNKNOWN = "price unknown"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be estimated."""

    panel: str
    """Name."""
    reviewers: Sequence[Reviewer]
    selection: Selection
    concurrency: int
    retry_failed: bool


def estimate(run: Run, engine: Engine, order: Order, count: int | None, caps: Caps) -> None:
    """Print what a review will cost, after a pilot of ``count`` rollouts where one is wanted.

    Raises:
        UsageError: The pilot alone is likely to cost too much to begin it without a word.
    """
    pilot = None if count is None else _ask(run, engine, order, count, caps)
    found = forecast(
        engine,
        order.reviewers,
        order.selection,
        concurrency=order.concurrency,
        retry_failed=order.retry_failed,
        seed=run.flags.seed,
    )
    fields = {
        "panel": order.panel,
        "concurrency": order.concurrency,
        **asdict(found),
        "pilot": None if pilot is None else asdict(pilot),
    }
    run.verb = "review estimate"
    run.done(
        fields, lambda console: _print(console, order, found, pilot), exit_code=pilot_code(pilot)
    )


def _ask(run: Run, engine: Engine, order: Order, count: int, caps: Caps) -> Pilot | None:
    """Ask the models about a few rollouts; ``None`` when there is nobody or nothing to ask."""
    models = [item for item in order.reviewers if isinstance(item, ModelReviewer)]
    again, seed = order.retry_failed, run.flags.seed
    chosen = pilot_selection(engine, models, order.selection, count, retry_failed=again, seed=seed)
    if not chosen.ids:
        return None
    confirm_cost(run, engine, models, chosen, caps, retry_failed=again)
    with draining(run) as stop:
        return run_pilot(
            engine,
            models,
            chosen,
            concurrency=order.concurrency,
            retry_failed=again,
            caps=caps,
            progress=run.listener,
            stop=stop,
        )


def pilot_code(pilot: Pilot | None) -> int:
    """Return the exit code of an estimate after a pilot, if there was one."""
    if pilot is None:
        return 0
    if pilot.stopped:
        return INTERRUPTED
    return BUDGET if pilot.over else 0


def _print(console: Console, order: Order, found: Forecast, pilot: Pilot | None) -> None:
    rows = [_cells(row) for row in found.reviewers]
    print_table(console, HEADS, rows, right=(1, 2, 3, 4, 5, 6))
    for line in grounds(found):
        console.print(Text(line), soft_wrap=True)
    known = [] if _all_unknown(found) else [_dollars(found.dollars)]
    unknown = [f"what {', '.join(map(one_line, found.unpriced))} costs"] * bool(found.unpriced)
    console.print(
        Text(
            f"{found.selected:,} rollouts, panel {one_line(order.panel)}, {order.concurrency} at"
            f" once: {' and '.join([*known, *unknown])}, {_time(found.minutes)}"
        ),
        soft_wrap=True,
    )
    line = "nothing was asked"
    if pilot is not None:
        spent = f"{money(pilot.spent_dollars)} and {compact(pilot.spent_tokens)} tokens"
        line = f"asked for the pilot: {pilot.asked:,} reviews, {spent}"
        line += f"; stopped at the cap on {pilot.over}" if pilot.over else ""
    console.print(line, soft_wrap=True)


def _all_unknown(found: Forecast) -> bool:
    """Tell whether no model that is to be asked has a price."""
    return bool(found.unpriced) and not any(
        row.calls and row.dollars is not None for row in found.reviewers
    )


def _cells(row: ReviewerForecast) -> tuple[str, ...]:
    name = one_line(row.name)
    if not row.model:
        return (name, f"{row.pending:,}", "0", "0", "0", "$0", "-")
    return (
        name,
        f"{row.pending:,}",
        f"{row.calls:,}",
        _count(row.input_tokens),
        _count(row.output_tokens),
        UNKNOWN if row.dollars is None else _dollars(row.dollars),
        _time(row.minutes),
    )


def grounds(found: Forecast) -> Iterator[str]:
    """Yield what the figures of each model rest on."""
    for row in found.reviewers:
        if not row.calls:
            continue
        prompts = f"the prompts of {row.prompts:,} of {row.pending:,} rollouts"
        if row.prompts == row.pending:
            prompts = "all real prompts"
        answers = (
            f"{row.answers:,} stored answers, 95 % interval"
            if row.answers
            else "guesses of token and reply lengths; --pilot 20 measures them"
        )
        yield f"{one_line(row.name)}: from {prompts} and {answers}"


def _count(figure: Range) -> str:
    return f"{compact(round(figure.middle))} ({_between(figure, lambda x: compact(round(x)))})"


def _dollars(figure: Range) -> str:
    if not figure.high:
        return "$0"
    return f"{money(figure.middle)} ({_between(figure, money)})"


def _time(figure: Range) -> str:
    return f"{duration(60 * figure.middle)} ({_between(figure, lambda x: duration(60 * x))})"


def _between(figure: Range, shown: Callable[[float], str]) -> str:
    return f"{shown(figure.low)} to {shown(figure.high)}"
