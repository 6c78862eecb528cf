"""``dca export``: files for trainers and analysts."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.credit import counted
from dca.cli.run import Run
from dca.cli.selecting import Choice, Ids, Limit, Sample, Where
from dca.cli.stores import opened
from dca.config.sources import shown
from dca.pipeline.export import ExportOrder, ExportResult, FileFormat, Kind, export_store
from training.vocabulary import load_tokenizer


def export(
    context: typer.Context,
    *,
    kind: Annotated[
        Kind, typer.Option("--to", help="Rows for training, spans for analysis, or imitation")
    ] = "tokens",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write into")],
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="Credit that the rows carry")
    ] = "deliberative",
    file_format: Annotated[
        FileFormat | None, typer.Option("--format", help="Parquet; spans are JSON Lines")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", metavar="NAME", help="The one that the credit was made with"),
    ] = None,
    where: Where = None,
    ids: Ids = None,
    limit: Limit = None,
    sample: Sample = None,
) -> None:
    """Write tokens, spans or SFT rows for training and analysis.

    Beside the data file lies a dataset card with counts, versions and warnings.
    """
    run: Run = context.obj
    loaded = run.load({("project", "tokenizer"): ("--tokenizer", tokenizer)})
    config = loaded.config
    name = config.project.tokenizer
    with opened(loaded) as engine:
        result = export_store(
            engine,
            ExportOrder(kind, out, method, file_format),
            labels=config.label_set,
            success_at=config.project.success_at,
            selection=Choice(where, ids, limit, sample).selection(run, engine),
            tokenizer=load_tokenizer(name) if name else None,
            progress=run.listener,
        )
    for warning in result.warnings:
        run.note(f"note: {warning}")
    run.done(asdict(result), lambda console: print_result(console, result))


def print_result(console: Console, result: ExportResult) -> None:
    """Print where the files are and how much of the text carries credit."""
    lines = [f"Wrote  {shown(result.path)}  {result.rows:,} rows of {result.rollouts:,} rollouts"]
    if result.tokens:
        share = result.credited / result.tokens
        lines.append(f"       {result.tokens:,} tokens, {share:.1%} of them in the loss")
    if result.skipped:
        lines.append(f"       left out: {counted(result.skipped)}")
    for line in [*lines, f"Wrote  {shown(result.card)}"]:
        console.print(Text(line), soft_wrap=True)
