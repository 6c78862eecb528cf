"""What ``dca review`` may spend: its flags, the question before it, what is said at the end."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import Engine

from dca.cli.amounts import compact, duration, money
from dca.cli.run import Run
from dca.config import Config
from dca.domain.errors import UsageError
from dca.pipeline.caps import caps_of, refuse_unpriced, unpriced
from dca.pipeline.forecast import forecast
from dca.pipeline.pricing import stale_prices
from dca.pipeline.review import ReviewResult
from reviewers.budget import Caps
from reviewers.model_reviewer import ModelReviewer
from reviewers.protocol import Reviewer
from store.selection import Selection

PANEL = "Budget"
CONFIRM_ABOVE = 1.0
"""Dollars from which nothing is asked without a word."""
PROMPTS = 200
"""Rollouts whose prompts are made before that question."""

MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", metavar="USD", help="Most dollars", rich_help_panel=PANEL),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", metavar="N", help="Most tokens, in and out", rich_help_panel=PANEL
    ),
]
MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time",
        metavar="TIME",
        help="How long to ask anything new: 90s 45m 2h30m",
        rich_help_panel=PANEL,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Estimate calls, tokens, dollars and time", rich_help_panel=PANEL
    ),
]
Pilot = Annotated[
    int | None,
    typer.Option(
        "--pilot",
        metavar="N",
        help="Ask N rollouts for real, then estimate the rest",
        min=1,
        rich_help_panel=PANEL,
    ),
]
_FLAGS = {"dollars": "--max-cost", "tokens": "--max-tokens", "seconds": "--max-time"}


def caps_to_keep(run: Run, config: Config, panel: Sequence[Reviewer]) -> Caps:
    """Return the caps of this run, and say what is doubtful about the prices.

    Raises:
        ConfigError: Dollars are capped and the price of a model is not known.
    """
    caps = caps_of(config.review)
    if caps.dollars is not None:
        refuse_unpriced(panel)
    stale = stale_prices(
        config, config.panels[config.review.panel].reviewers, datetime.now(tz=UTC).date()
    )
    if stale:
        run.note(f"warning: {stale}")
    return caps


def confirm_cost(
    run: Run,
    engine: Engine,
    panel: Sequence[Reviewer],
    selection: Selection,
    caps: Caps,
    *,
    retry_failed: bool,
) -> None:
    """Ask before more than ``CONFIRM_ABOVE`` dollars are likely to be spent without a cap.

    Raises:
        UsageError: Nobody is there to answer.
        typer.Abort: The answer is no.
    """
    models = [reviewer for reviewer in panel if isinstance(reviewer, ModelReviewer)]
    charged = [item for item in models if item.price is not None and item.price.output]
    if run.flags.yes or caps.dollars is not None or not charged:
        _tell_unpriced(run, models, caps)
        return
    expected = forecast(
        engine,
        charged,
        selection,
        retry_failed=retry_failed,
        most=PROMPTS,
        seed=run.flags.seed,
    )
    _tell_unpriced(run, models, caps)
    if expected.dollars.middle <= CONFIRM_ABOVE:
        return
    span = f"{money(expected.dollars.low)} to {money(expected.dollars.high)}"
    told = f"this will cost about {money(expected.dollars.middle)} ({span})"
    try:
        run.confirm(f"{told}; go on?")
    except UsageError as error:
        hint = "set --max-cost USD, or add --yes; dca review --dry-run says what it rests on"
        raise UsageError(f"{told}, and nobody is there to agree", hint=hint) from error


def _tell_unpriced(run: Run, models: Sequence[ModelReviewer], caps: Caps) -> None:
    """Say which models are paid by key at a price that is not known, when nothing caps them."""
    names = [
        name
        for model in models
        if (name := model.info.name) in unpriced(models) and model.endpoint.api_key_env
    ]
    if names and caps.tokens is None:
        run.note(
            f"the price of {', '.join(names)} is not known: no dollars are counted"
            ' (price = {...} or price = "free" in dca.toml)'
        )


def ended_by_cap(result: ReviewResult) -> bool:
    """Tell whether a cap kept the run from asking all that it was to ask."""
    return bool(result.over) and any(row.pending for row in result.reviewers)


def spending(result: ReviewResult, caps: Caps) -> Iterator[str]:
    """Yield what was spent, and after a cap what is left to do and how to go on."""
    if result.spent_tokens:
        priced = any(row.dollars is not None for row in result.reviewers)
        spent = f"{money(result.spent_dollars)} and " if priced else ""
        line = f"spent {spent}{compact(result.spent_tokens)} tokens"
        if result.doubtful_dollars:
            line += f", of which {money(result.doubtful_dollars)} may not have been charged"
        yield line
    if not ended_by_cap(result):
        return
    left = sum(row.pending for row in result.reviewers)
    flag = _FLAGS[result.over]
    yield f"stopped at {flag} {_cap(result.over, caps)}: {left:,} reviews left to do"
    asked = any(row.requests for row in result.reviewers)
    if not asked and result.over != "seconds":
        yield (
            "the worst case of one request is more than the cap: raise it, or lower"
            " max_output_tokens"
        )
    else:
        yield f"go on: dca review {flag} MORE (a cap is for one run; no review is paid for twice)"


def _cap(over: str, caps: Caps) -> str:
    """Return a cap as it is given."""
    return {
        "dollars": money(caps.dollars or 0.0),
        "tokens": f"{caps.tokens or 0:,}",
        "seconds": duration(caps.seconds or 0.0),
    }[over]
