"""Export: stored credit and consensus as files that trainers and analysts read."""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.errors import NothingSelected, UsageError
from dca.domain.labels import LabelSet
from dca.domain.rollout import SUCCESS_AT, Tokens, succeeded
from dca.formats.card import CardFacts, dataset_card
from dca.formats.sft import SftRow, sft_row, write_sft
from dca.formats.spans import SpanRow, span_rows, write_spans
from dca.pipeline.progress import Progress, Silent
from dca.pipeline.rows import PAGE, Recipe, RowCounts, neutral_rows, recipe, settled_rollouts
from store.engine import transaction
from store.reviews import reviews_of
from store.rollouts import count_rollouts, iter_rollouts
from store.selection import Selection
from training.row_files import write_rows
from training.rows import NeutralRow
from training.tokens import Tokenizer

Kind = Literal["tokens", "spans", "sft"]
FileFormat = Literal["parquet", "jsonl"]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What ``dca export`` wrote."""

    kind: Kind
    method: str
    path: Path
    """The data file."""
    card: Path
    """The dataset card beside it, of the same name and ``.card.md``."""
    rows: int
    rollouts: int
    """Rollouts selected."""
    consensus: int | None
    tokens: int = 0
    """Completion tokens of the rows."""
    credited: int = 0
    """Those of them that take part in the loss."""
    digest: str = ""
    """SHA-256 of a tokens file."""
    labels: Mapping[str, int] = field(default_factory=dict[str, int])
    """Tokens by agreed label; ``""`` where nothing is agreed."""
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rollouts without a row, by reason."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What to write."""

    kind: Kind
    """``tokens`` (neutral rows), ``spans`` (one line per span of the consensus) or ``sft``."""
    out: Path
    """Folder, made when missing."""
    method: str = "deliberative"
    """The credit that tokens and sft carry."""
    file_format: FileFormat | None = None
    """By default Parquet, and JSON Lines for spans, which have no other form."""


def export_store(
    engine: Engine,
    order: ExportOrder,
    *,
    labels: LabelSet,
    selection: Selection | None = None,
    success_at: float = SUCCESS_AT,
    tokenizer: Tokenizer | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Write one kind of file and its card.

    Args:
        engine: The store.
        order: What to write, and where.
        labels: The label set.
        selection: Which rollouts; all when ``None``.
        success_at: Smallest reward of a success; only successes are imitated.
        tokenizer: The one that the credit was made with.
        progress: Listener.

    Raises:
        NothingSelected: No rollout is selected, or there is nothing to export for it.
        ConfigError: The credit was made with another tokenizer or with other labels.
        UsageError: Spans were asked for in Parquet.
    """
    selection, progress = selection or Selection(), progress or Silent()
    path = order.out / f"{order.kind}.{_suffix(order)}"
    with transaction(engine) as session:
        total = count_rollouts(session, selection)
        if not total:
            raise NothingSelected("no rollout is selected", hint="see dca ls")
        chosen = recipe(
            session, None if order.kind == "spans" else order.method, labels, tokenizer
        )
        chosen = replace(chosen, success_at=success_at)
        order.out.mkdir(parents=True, exist_ok=True)
        progress.start(total, "export")
        counts = RowCounts()
        # A name of its own until it is whole: an export that fails leaves the earlier file alone.
        part = path.with_name(f".part-{path.name}")
        result = _write(session, order.kind, part, chosen, selection, counts, progress)
        result = replace(result, rollouts=total, warnings=_warnings(order.kind, counts))
        if not result.rows:
            part.unlink()
            raise NothingSelected(
                f"none of the {total} selected rollouts has anything to export as {order.kind}",
                hint="see dca ls: has it been reviewed, settled and credited? "
                "dca credit says what it left out, and why",
            )
        part.replace(path)
        result = replace(result, path=path, card=path.with_name(f"{path.name}.card.md"))
        result.card.write_text(_card(session, result, chosen, selection, counts), "utf-8")
        progress.finish()
    return result


def _suffix(order: ExportOrder) -> FileFormat:
    """Return the suffix of the data file."""
    if order.kind != "spans":
        return order.file_format or "parquet"
    if order.file_format == "parquet":
        raise UsageError("spans are written as JSON Lines", hint="leave out --format parquet")
    return "jsonl"


def _write(
    session: Session,
    kind: Kind,
    path: Path,
    chosen: Recipe,
    selection: Selection,
    counts: RowCounts,
    progress: Progress,
) -> ExportResult:
    """Write the data file."""
    number = chosen.version.id if chosen.version else None
    bare = ExportResult(kind, chosen.method, path, path, 0, 0, number)
    if kind == "spans":
        return replace(bare, rows=write_spans(path, _spans(session, chosen, selection, progress)))
    rows = _watched(neutral_rows(session, chosen, selection, counts), progress)
    if kind == "tokens":
        written = write_rows(path, rows)
        return replace(
            bare,
            rows=written.rows,
            tokens=written.tokens,
            credited=written.credited,
            digest=written.digest,
            labels=dict(counts.labels),
            skipped=dict(counts.skipped),
        )
    written = write_sft(path, _imitations(session, rows, selection, chosen.success_at))
    return replace(bare, rows=written, skipped=dict(counts.skipped))


def _watched(rows: Iterator[NeutralRow], progress: Progress) -> Iterator[NeutralRow]:
    """Yield the rows and tell about each."""
    for row in rows:
        progress.advance()
        yield row


def _spans(
    session: Session, chosen: Recipe, selection: Selection, progress: Progress
) -> Iterator[SpanRow]:
    """Yield the spans of every settled rollout, with the reasons of its reviews."""
    version_ = chosen.version
    if version_ is None:
        return
    for page in settled_rollouts(session, chosen, selection):
        reviews = reviews_of(
            session,
            [rollout.id for rollout, _ in page],
            label_set=version_.label_set,
            reviewers=list(version_.reviewers.values()),
            raw=False,
        )
        for rollout, consensus in page:
            progress.advance()
            yield from span_rows(rollout, consensus, version_, reviews.get(rollout.id, ()))


def _imitations(
    session: Session, rows: Iterator[NeutralRow], selection: Selection, success_at: float
) -> Iterator[SftRow]:
    """Yield the successes with their token weights; a vetoed one weighs nothing and is left out.

    Rollouts and rows come in one order, so both are read page by page side by side.
    """
    rollouts = (r for page in iter_rollouts(session, selection, page=PAGE) for r in page)
    for row in rows:
        rollout = next(r for r in rollouts if r.id == row.rollout_id)
        weight_T = np.where(row.credit_mask, row.weight, 0.0)
        tokens = Tokens(
            array("i", row.completion_ids.tobytes()),
            exact=row.provenance.ids_exact,
            prompt_ids=array("i", row.prompt_ids.tobytes()),
        )
        made = sft_row(
            replace(rollout, tokens=tokens),
            weight=1.0 if weight_T.any() else 0.0,
            token_weights=weight_T.tolist(),
            success_at=success_at,
        )
        if made is not None:
            yield made


def _warnings(kind: Kind, counts: RowCounts) -> tuple[str, ...]:
    """Return what a user of the file must know."""
    if kind == "spans":
        return ()
    facts = (
        (counts.inexact, "rows have ids made by tokenizing the text again (ids_exact = false)"),
        (counts.no_logprobs, "rows have no behaviour log-probabilities: good for SFT only"),
        (counts.no_prompt, "rows have no prompt ids: give --tokenizer before training"),
    )
    return tuple(f"{count} of {counts.rows} {text}" for count, text in facts if count)


def _card(
    session: Session,
    result: ExportResult,
    chosen: Recipe,
    selection: Selection,
    counts: RowCounts,
) -> str:
    """Return the dataset card."""
    groups: set[str] = set()
    successes = 0
    for page in iter_rollouts(session, selection, page=PAGE):
        groups.update(rollout.group_id for rollout in page)
        successes += sum(succeeded(r.reward, chosen.success_at) is True for r in page)
    return dataset_card(
        CardFacts(
            title=f"{result.kind} {result.method}".strip(),
            files={result.path.name: result.rows},
            rollouts=result.rollouts,
            groups=len(groups),
            successes=successes,
            labels=chosen.labels,
            version=chosen.version,
            method=result.method,
            tokens=result.tokens,
            credited=result.credited,
            exact_ids=counts.rows - counts.inexact,
            tokenizer=chosen.spelled,
            counts={f"left out: {reason}": n for reason, n in result.skipped.items()},
            warnings=result.warnings,
            dca_version=version("deliberative-credit-assignment"),
        )
    )
