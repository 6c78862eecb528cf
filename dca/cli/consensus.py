"""``dca consensus``: settle what the panel agrees on."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.run import Run
from dca.cli.selecting import Choice, Ids, Limit, Sample, Where
from dca.cli.stores import opened
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.domain.consensus import ConsensusParams, ConsensusVersion, Figure, Status
from dca.pipeline.consensus import ConsensusResult, settle_store
from dca.pipeline.panels import build_panel, check_panel

MOSTLY = 0.5
"""Share of thin text above which it is said what makes text thin."""


def consensus(
    context: typer.Context,
    *,
    panel: Annotated[
        str | None, typer.Option("--panel", metavar="NAME", help="Instead of [review] panel")
    ] = None,
    quorum: Annotated[
        float | None,
        typer.Option("--quorum", metavar="X", help="Smallest share of the winning label"),
    ] = None,
    margin: Annotated[
        float | None, typer.Option("--margin", metavar="X", help="Smallest lead over the second")
    ] = None,
    min_reviewers: Annotated[
        int | None, typer.Option("--min-reviewers", metavar="N", help="Fewer votes are thin")
    ] = None,
    min_families: Annotated[
        int | None, typer.Option("--min-families", metavar="N", help="Fewer families are thin")
    ] = None,
    where: Where = None,
    ids: Ids = None,
    limit: Limit = None,
    sample: Sample = None,
) -> None:
    """Settle what the panel agrees on; calls no model.

    Makes a new immutable version, or names the stored one that has the same reviews and settings.
    The other settings of the vote are in [consensus].
    """
    run: Run = context.obj
    loaded = run.load(
        {
            ("review", "panel"): ("--panel", panel),
            ("consensus", "quorum"): ("--quorum", quorum),
            ("consensus", "margin"): ("--margin", margin),
            ("consensus", "min_reviewers"): ("--min-reviewers", min_reviewers),
            ("consensus", "min_families"): ("--min-families", min_families),
        }
    )
    config = loaded.config
    reviewers = build_panel(config, config.review.panel)
    check_panel(reviewers, config.consensus.params())
    with opened(loaded) as engine:
        result = settle_store(
            engine,
            reviewers,
            Choice(where, ids, limit, sample).selection(run, engine),
            params=config.consensus.params(),
            progress=run.listener,
            seed=run.flags.seed,
        )
    run.done(asdict(result), lambda console: print_result(console, result))


def print_result(console: Console, result: ConsensusResult) -> None:
    """Print the version, its shares beside those of the version before, and the agreement."""
    version = result.version
    state = "is stored already" if result.reused else "stored"
    console.print(
        Text(f"Consensus {version.id} {state}: {version.rollouts:,} rollouts, {version.label_set}")
    )
    panel = ", ".join(one_line(name) for name in version.panel)
    console.print(Text(f"Panel {panel}; as good as {version.n_eff:.2g} independent reviewers"))
    console.print()
    print_shares(console, version, None if result.reused else result.previous)
    if version.shares.get(Status.THIN, 0.0) > MOSTLY:
        console.print(Text(why_thin(version.params)), soft_wrap=True)
    console.print()
    for name, figure in version.agreement.items():
        if not name.startswith("share:"):
            console.print(Text(f"{one_line(name)} {figure_text(figure)}"), soft_wrap=True)
    abstained = {name: count for name, count in result.abstentions.items() if count}
    if abstained:
        counts = ", ".join(f"{one_line(name)} {count:,}" for name, count in abstained.items())
        console.print(Text(f"Abstentions: {counts}"), soft_wrap=True)


def why_thin(params: ConsensusParams) -> str:
    """Return in one sentence what makes text thin."""
    return (
        f"thin: fewer than {params.min_reviewers} reviewers (min_reviewers) or"
        f" {params.min_families} families (min_families) voted there, or less than"
        f" {params.min_weight:.0%} of the panel's weight (min_weight)"
    )


def print_shares(
    console: Console, version: ConsensusVersion, previous: ConsensusVersion | None
) -> None:
    """Print the share of the text in each status."""
    rows = [
        (
            status.value,
            f"{version.shares.get(status, 0.0):.1%}",
            "-" if previous is None else f"{previous.shares.get(status, 0.0):.1%}",
        )
        for status in Status
    ]
    before = "before" if previous is None else f"version {previous.id}"
    print_table(console, ("text", "share", before), rows, right=(1, 2))


def figure_text(figure: Figure) -> str:
    """Return a number with its interval, or the reason why there is none."""
    if figure.value is None:
        return f"not known: {figure.reason}"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"
