"""``dca review --emit`` and ``--ingest``: requests and answers as files."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text
from sqlalchemy import Engine

from dca.cli.review_estimate import Order
from dca.cli.run import PARTIAL, Run
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.domain.errors import FormatError
from dca.formats.source import Source
from dca.pipeline.emit import EmitResult, emit
from dca.pipeline.ingest import Ingested, IngestResult, ingest

EMIT_HEADS = ("reviewer", "model", "requests", "MB", "file")
INGEST_HEADS = ("reviewer", "reviewed", "abstained", "to go on", "tokens in", "out")


def write_requests(run: Run, engine: Engine, order: Order, path: Path) -> None:
    """Write the requests of a panel and say which files they are in."""
    result = emit(
        engine,
        order.reviewers,
        order.selection,
        path,
        retry_failed=order.retry_failed,
        progress=run.listener,
    )
    run.verb = "review emit"
    fields = {"panel": order.panel, **asdict(result)}
    run.done(fields, lambda console: _print_emitted(console, order.panel, result))


def _print_emitted(console: Console, panel: str, result: EmitResult) -> None:
    rows = [
        (
            one_line(row.name),
            one_line(row.model),
            f"{row.requests:,}",
            f"{row.bytes / 1e6:.1f}",
            one_line(row.path or "-"),
        )
        for row in result.reviewers
    ]
    print_table(console, EMIT_HEADS, rows, right=(2, 3))
    for line in _remarks(result):
        console.print(Text(line), soft_wrap=True)
    total = sum(row.requests for row in result.reviewers)
    console.print(
        Text(
            f"{result.selected:,} rollouts, panel {one_line(panel)}: {total:,} requests,"
            " nothing was asked or stored"
        ),
        soft_wrap=True,
    )


def _remarks(result: EmitResult) -> Iterator[str]:
    """Yield what was left out, and what to do with the files."""
    for row in result.reviewers:
        name = one_line(row.name)
        if row.further:
            yield f"{name}: {row.further:,} of them go on with an earlier answer"
        if row.held:
            yield f"{name}: left out {row.held:,} that another run or a batch is asking for"
        if row.empty:
            yield f"{name}: left out {row.empty:,} without a question; dca review settles them"
    if result.others:
        names = ", ".join(map(one_line, result.others))
        yield f"no requests for {names}: dca review asks them without a network"
    if any(row.requests for row in result.reviewers):
        yield "answer them with any server, then: dca review --ingest ANSWERS.jsonl"


def take_answers(
    run: Run, engine: Engine, order: Order, name: str, rejects: Path, *, final: bool
) -> None:
    """Take a file of answers and say what they became.

    Raises:
        FormatError: There is no such file.
    """
    path = None if name == "-" else Path(name)
    if path is not None and not path.is_file():
        raise FormatError(f"{name}: no such file", hint="Check the folder you run in.")
    result = ingest(
        engine,
        order.reviewers,
        Source(name, path, "jsonl"),
        rejects,
        final=final,
        retry_failed=order.retry_failed,
        progress=run.listener,
    )
    run.verb = "review ingest"
    run.done(
        {"panel": order.panel, **asdict(result)},
        lambda console: _print_ingested(console, result),
        exit_code=0 if result.complete else PARTIAL,
    )


def _print_ingested(console: Console, result: IngestResult) -> None:
    rows = [
        (
            one_line(row.name),
            f"{row.reviews:,}",
            _abstained(row),
            f"{row.further:,}",
            f"{row.input_tokens:,}",
            f"{row.output_tokens:,}",
        )
        for row in result.reviewers
    ]
    print_table(console, INGEST_HEADS, rows, right=(1, 3, 4, 5))
    if result.rejected:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in result.rejected.items())
        where = one_line(result.rejects_path or "")
        console.print(Text(f"not used: {kinds} (why: {where})"), soft_wrap=True)
    if result.before:
        console.print(f"taken before: {result.before:,}", soft_wrap=True)
    if any(row.further for row in result.reviewers):
        console.print(
            "dca review --emit FILE writes the next questions of those that go on",
            soft_wrap=True,
        )
    console.print(f"{result.answers:,} answers in {result.seconds:.1f} s", soft_wrap=True)


def _abstained(row: Ingested) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in row.abstentions.items()) or "-"
