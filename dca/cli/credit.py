"""``dca credit``: put each outcome's reward where the panel says it was earned."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.run import PARTIAL, Run
from dca.cli.selecting import Choice, Ids, Limit, Sample, Where
from dca.cli.stores import opened
from dca.cli.tables import print_table
from dca.domain.errors import NothingSelected
from dca.pipeline.credit import CreditOptions, CreditResult, MethodResult, assign_store
from dca.pipeline.group_credit import NOT_SPELLED
from training.vocabulary import load_tokenizer

PANEL = "Parts of deliberative"
NO_REWARD = "no reward"
OTHER_IDS = (
    "give the --tokenizer MODEL_DIR that they were sampled with, or --retokenize to set stored "
    "ids aside and credit the text"
)
HINTS = {
    "needs a tokenizer": f"its ids have no offsets: {OTHER_IDS}",
    NOT_SPELLED: OTHER_IDS,
    "needs consensus": "run `dca consensus`",
    NO_REWARD: "import again with --map reward=COLUMN, or with --verify and a truth column",
}
"""Reason why a method could not run to what to do about it."""


def credit(
    context: typer.Context,
    *,
    methods: Annotated[
        str | None,
        typer.Option("--methods", metavar="A,B", help="uniform, grpo, deliberative"),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option("--consensus", metavar="N", help="This version, not the newest"),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", metavar="NAME", help="For rollouts without ids or offsets"),
    ] = None,
    retokenize: Annotated[
        bool,
        typer.Option("--retokenize", help="Set stored ids aside: ids_exact = false, SFT only"),
    ] = False,
    success: Annotated[
        Literal["conserve", "mask", "uniform"] | None,
        typer.Option("--success", help="Where its advantage goes", rich_help_panel=PANEL),
    ] = None,
    failure: Annotated[
        Literal["blame", "uniform", "drop"] | None,
        typer.Option("--failure", help="Where its advantage goes", rich_help_panel=PANEL),
    ] = None,
    veto: Annotated[
        bool | None,
        typer.Option("--veto/--no-veto", help="Unsound successes", rich_help_panel=PANEL),
    ] = None,
    confidence: Annotated[
        bool | None,
        typer.Option(
            "--confidence/--no-confidence", help="Weight by agreement", rich_help_panel=PANEL
        ),
    ] = None,
    cap: Annotated[
        float | None,
        typer.Option("--cap", metavar="X", help="Largest factor", rich_help_panel=PANEL),
    ] = None,
    unagreed: Annotated[
        Literal["mask", "uniform"] | None,
        typer.Option("--unagreed", help="Text without agreement", rich_help_panel=PANEL),
    ] = None,
    where: Where = None,
    ids: Ids = None,
    limit: Limit = None,
    sample: Sample = None,
) -> None:
    """Put each outcome's reward where the panel says it was earned.

    Writes one advantage and one weight per token and method. A group is credited whole when any
    of its rollouts is selected. A method that lacks an input is listed as n/a with what it needs;
    when that is every method, the exit code is 3.
    """
    run: Run = context.obj
    parts = {
        "success": success,
        "failure": failure,
        "veto": veto,
        "confidence": confidence,
        "cap": cap,
        "unagreed": unagreed,
    }
    loaded = run.load(
        {
            ("project", "tokenizer"): ("--tokenizer", tokenizer),
            ("credit", "methods"): ("--methods", split_names(methods)),
            **{("credit", name): (f"--{name}", value) for name, value in parts.items()},
        }
    )
    config = loaded.config
    options = CreditOptions(
        config.credit.model_dump(exclude={"methods"}),
        version,
        config.project.success_at,
        retokenize,
    )
    name = config.project.tokenizer
    with opened(loaded) as engine:
        result = assign_store(
            engine,
            config.credit.methods,
            Choice(where, ids, limit, sample).selection(run, engine),
            labels=config.label_set,
            options=options,
            tokenizer=load_tokenizer(name) if name else None,
            progress=run.listener,
        )
    finish(run, result)


def finish(run: Run, result: CreditResult) -> None:
    """Print the result; it is partial when no method could run.

    Raises:
        NothingSelected: No selected rollout has a reward.
    """
    none_ran = all(item.missing for item in result.methods)
    if none_ran and all(set(item.skipped) == {NO_REWARD} for item in result.methods):
        raise NothingSelected("no rollout has a reward", hint=HINTS[NO_REWARD])
    fields = {**asdict(result), "hints": hints(result)}
    run.done(
        fields,
        lambda console: print_result(console, result),
        exit_code=PARTIAL if none_ran else 0,
    )


def hints(result: CreditResult) -> dict[str, str]:
    """Return what to do about each reason for which a method could not run at all."""
    reasons = {reason for item in result.methods if item.missing for reason in item.skipped}
    return {reason: hint for reason, hint in HINTS.items() if reason in reasons}


def split_names(text: str | None) -> list[str] | None:
    """Read ``a,b``."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def print_result(console: Console, result: CreditResult) -> None:
    """Print one line per method, then what it did not do and why."""
    source = f"consensus {result.consensus}" if result.consensus else "no consensus"
    console.print(Text(f"{result.groups:,} groups, {source}"))
    rows = [_cells(item) for item in result.methods]
    heads = ("method", "rollouts", "tokens", "in the loss", "rollouts by event")
    print_table(console, heads, rows, right=(1, 2, 3))
    for item in result.methods:
        if item.skipped:
            console.print(Text(f"{item.method} left out: {counted(item.skipped)}"), soft_wrap=True)
    for reason, hint in hints(result).items():
        console.print(Text(f"{reason}: {hint}"), soft_wrap=True)


def counted(counts: Mapping[str, int]) -> str:
    """Return named counts as a list."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _cells(item: MethodResult) -> tuple[str, ...]:
    if item.missing:
        return item.method, "-", "-", "-", item.missing
    share = item.in_loss / item.tokens if item.tokens else 0.0
    return (
        item.method,
        f"{item.rollouts:,}",
        f"{item.tokens:,}",
        f"{share:.1%}",
        counted(item.events) or "-",
    )
