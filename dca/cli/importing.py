"""``dca import``: rollouts into the store."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.run import PARTIAL, Run
from dca.cli.stores import opened
from dca.cli.terminal import one_line
from dca.config.sources import shown
from dca.domain.errors import UsageError
from dca.formats.marks import THINK_TAGS
from dca.pipeline.importing import (
    ImportOptions,
    ImportProgress,
    ImportResult,
    SourcePreview,
    import_rollouts,
    prepare_import,
    preview,
)
from dca.pipeline.progress import Progress
from training.vocabulary import load_tokenizer

EXCERPT = 200
"""Characters of a sample's texts that are shown."""
MISPLACED = "{:,} without their offsets, which do not fit the text: give --tokenizer to dca credit"
SHOWN_REJECTS = 3
"""Reasons of rejects that a preview shows."""


def import_(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SRC...", help="Files, folders, globs; - is standard input"),
    ],
    *,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="trl, verl, verifiers, chat or plain; else detected"
        ),
    ] = None,
    mapping: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="FACT=COLUMN,...",
            help="prompt=question,reward=score; in a TRL file with several reward functions"
            " reward=accuracy_reward names the outcome, which else is their sum",
        ),
    ] = "",
    verify: Annotated[
        str | None,
        typer.Option(
            "--verify", metavar="HOW", help="Reward from the truth: exact, numeric, choice, math"
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", metavar="NAME", help="Approximate ids where there are none"),
    ] = None,
    think_tags: Annotated[
        str | None,
        typer.Option("--think-tags", metavar="OPEN,CLOSE", help="Else <think>,</think>"),
    ] = None,
    rejects: Annotated[
        Path, typer.Option("--rejects", metavar="FILE", help="What cannot be imported, and why")
    ] = Path("import-rejects.jsonl"),
    task: Annotated[
        str, typer.Option("--task", metavar="NAME", help="Where the source names none")
    ] = "",
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="Where the source names none")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done")] = False,
) -> None:
    """Bring rollouts into the store; the format is detected.

    Plain JSONL, JSON arrays, CSV and Parquet, chat JSONL, TRL completions, verl dumps and
    verifiers results, also compressed with gz or zst. Importing twice changes nothing. What cannot
    be imported goes to the rejects file with line and reason, and the exit code is 3; a rejects
    file that is there already stays, and the new one gets a number.

    An id column names one record within its group and model: the same id with another text is
    rejected, also when it was imported earlier. Without ids, a text that comes twice in one file
    was sampled twice; a copy of it in another file is unchanged.
    """
    run: Run = context.obj
    loaded = run.load({("project", "tokenizer"): ("--tokenizer", tokenizer)})
    name = loaded.config.project.tokenizer
    options = ImportOptions(
        format=format_,
        mapping=read_mapping(mapping),
        verify=verify,
        think_tags=read_tags(think_tags) if think_tags else THINK_TAGS,
        rejects=rejects,
        tokenizer=load_tokenizer(name) if name else None,
        task=task,
        model=model,
    )
    if dry_run:
        finish_dry(run, preview(sources, options))
        return
    prepared = prepare_import(sources, options)  # before a store is made
    with opened(loaded, must_exist=False) as engine:
        progress = run.listener
        progress.start(None, "import")
        follow, announce = listener(progress), announcer(progress)
        result = import_rollouts(engine, prepared, options, on_progress=follow, on_source=announce)
        progress.finish()
    finish(run, result)


def read_mapping(text: str) -> dict[str, str]:
    """Read ``prompt=question,reward=score``.

    Raises:
        UsageError: A part has no ``=``.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [
        fact for fact, sign, column in pairs if not (sign and fact.strip() and column.strip())
    ]
    if wrong:
        raise UsageError(f"--map {text}: {wrong[0]!r} is not FACT=COLUMN")
    return {fact.strip(): column.strip() for fact, _, column in pairs}


def read_tags(text: str) -> tuple[str, str]:
    """Read ``<think>,</think>``.

    Raises:
        UsageError: There are not two.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise UsageError(f"--think-tags {text}: give both marks, as in '<think>,</think>'")
    return parts[0], parts[1]


def listener(progress: Progress) -> Callable[[ImportProgress], None]:
    """Return what turns running totals into steps of progress."""
    last = ImportProgress("", 0, 0, 0, 0)

    def follow(now: ImportProgress) -> None:
        nonlocal last
        counts = {
            name: getattr(now, name) - getattr(last, name)
            for name in ("new", "unchanged", "rejected")
        }
        progress.advance(now.rows - last.rows, **{name: n for name, n in counts.items() if n})
        last = now

    return follow


def announcer(progress: Progress) -> Callable[[SourcePreview], None]:
    """Return what says how each source is read, before it is stored."""

    def announce(item: SourcePreview) -> None:
        for line in preview_lines(item, sample=sys.stderr.isatty()):
            progress.note(line)

    return announce


def preview_lines(item: SourcePreview, *, sample: bool) -> list[str]:
    """Return the format, the columns, one rollout and the rejects of a source's head."""
    source = one_line(item.source)
    if not item.format:
        return [f"{source}: no usable row", *_reject_lines(item)]
    lines = [f"{source}: {item.format} ({one_line(item.reason)})"]
    if item.note:
        lines.append(f"  note: {item.note}")
    lines.append(f"  columns: {', '.join(one_line(name) for name in item.columns)}")
    lines += [f"  {fact} from {one_line(column)}" for fact, column in item.facts.items()]
    if sample and item.sample is not None:
        first = item.sample
        reward = "not known" if first.reward is None else f"{first.reward:g}"
        lines += [
            f"  prompt: {excerpt(first.problem)}",
            f"  completion: {excerpt(first.completion)}",
            f"  reward: {reward}",
        ]
    lines += [f"  verified {name.value}: {count:,}" for name, count in item.verified.items()]
    return lines + _reject_lines(item)


def _reject_lines(item: SourcePreview) -> list[str]:
    """Return how many of the first rows are not usable, and the first reasons."""
    if not item.rejected:
        return []
    return [
        f"  {len(item.rejected)} of the first {item.sampled} rows are not usable:",
        *(
            f"    line {reject.line}: {one_line(reject.reason)}"
            for reject in item.rejected[:SHOWN_REJECTS]
        ),
    ]


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line, with a count of what is left out."""
    cut = len(text) - EXCERPT
    return one_line(text[:EXCERPT]) + (f" ... ({cut:,} more characters)" if cut > 0 else "")


def finish_dry(run: Run, found: Sequence[SourcePreview]) -> None:
    """Print what an import would do; a source without a usable row makes it partial."""

    def text(console: Console) -> None:
        for item in found:
            for line in preview_lines(item, sample=True):
                console.print(Text(line), soft_wrap=True)

    sources = [
        {
            "source": item.source,
            "format": item.format or None,
            "reason": item.reason,
            "note": item.note or None,
            "columns": list(item.columns),
            "facts": dict(item.facts),
            "verified": {name.value: count for name, count in item.verified.items()},
            "sampled": item.sampled,
            "rejected": [{"line": one.line, "reason": one.reason} for one in item.rejected],
        }
        for item in found
    ]
    code = PARTIAL if any(item.unusable for item in found) else 0
    run.done({"dry_run": True, "sources": sources}, text, exit_code=code)


def finish(run: Run, result: ImportResult) -> None:
    """Print what was imported; anything rejected makes it partial."""

    def text(console: Console) -> None:
        counts = f"new {result.new:,} · unchanged {result.unchanged:,}"
        rejected = f" · rejected {result.rejected:,}"
        if result.rejects_path is not None:
            rejected += f" (why: {shown(result.rejects_path)})"
        console.print(Text(counts + rejected), soft_wrap=True)
        for outcome, count in result.verified.items():
            console.print(Text(f"verified {outcome.value}: {count:,}"))
        if result.approximate:
            console.print(Text(f"{result.approximate:,} with approximate token ids"))
        if result.misplaced:
            console.print(Text(MISPLACED.format(result.misplaced)), soft_wrap=True)

    code = PARTIAL if result.rejected else 0
    run.done({"dry_run": False, **asdict(result)}, text, exit_code=code)
