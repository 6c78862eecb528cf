"""``dca panel cost``: what stored reviews have cost."""

from dataclasses import asdict

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.amounts import compact, money
from dca.cli.run import Run
from dca.cli.stores import opened
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.pipeline.spent import ReviewerCost, panel_costs

HEADS = (
    "reviewer",
    "model",
    "reviews",
    "abstained",
    "tokens in",
    "cached",
    "tokens out",
    "dollars",
    "saved",
    "per 1,000",
)
UNKNOWN = "unknown"


def cost(context: typer.Context) -> None:
    """Print what stored reviews have cost, by reviewer.

    Dollars are those of the price that was known when each answer came. What the provider's cache
    has saved is by today's price.
    """
    run: Run = context.obj
    loaded = run.load()
    with opened(loaded) as engine:
        costs = panel_costs(engine, loaded.config)
    known = sum(item.dollars or 0.0 for item in costs)
    fields = {"reviewers": [asdict(item) for item in costs], "dollars": known}
    run.done(fields, lambda console: print_costs(console, costs))


def print_costs(console: Console, costs: list[ReviewerCost]) -> None:
    """Print one line per reviewer and the sum."""
    if not costs:
        console.print("no reviews are stored", soft_wrap=True)
        return
    print_table(console, HEADS, [_cells(item) for item in costs], right=range(2, 10))
    for item in costs:
        if item.unknown:
            console.print(
                Text(
                    f"{one_line(item.name)}: of {item.unknown:,} answers the price or the tokens"
                    " are not known"
                ),
                soft_wrap=True,
            )
    known = sum(item.dollars or 0.0 for item in costs)
    console.print(f"{money(known)} in all, as far as prices are known", soft_wrap=True)


def _cells(item: ReviewerCost) -> tuple[str, ...]:
    share = item.cached_tokens / item.input_tokens if item.input_tokens else 0.0
    return (
        one_line(item.name),
        one_line(item.model),
        f"{item.reviews:,}",
        f"{item.abstentions:,}",
        compact(item.input_tokens),
        f"{share:.0%}",
        compact(item.output_tokens),
        UNKNOWN if item.dollars is None else money(item.dollars),
        _saved(item.saved_dollars),
        UNKNOWN if item.per_thousand is None else money(item.per_thousand),
    )


def _saved(dollars: float | None) -> str:
    if dollars is None:
        return "-"
    return f"-{money(-dollars)}" if dollars < 0 else money(dollars)
