"""Neutral rows: the one input of training, one row per rollout.

T = tokens of the completion. P = tokens of the prompt. Offsets are code points of ``completion``.
A row says where credit goes; what a loss makes of it is said by ``training.objectives``. Reading
and writing files is in ``training.row_files``; this module holds the row and its contract.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from dca.domain.errors import FormatError, RowError
from dca.domain.labels import MAX_LABELS
from dca.domain.rollout import Sampling

SCHEMA_VERSION = "dca-rows-1"
"""Stored in the metadata of a Parquet file and in every JSONL line."""
EXPORT_HINT = "write the file with dca export"
SFT_HINT = "good for SFT only: dca train --objective sft"
NO_LABEL = -1
"""Code in ``label`` and ``span_id`` of a token that no agreed span holds."""

ARRAYS: dict[str, type[np.generic]] = {
    "prompt_ids": np.int32,
    "completion_ids": np.int32,
    "completion_mask": np.bool_,
    "offsets": np.int32,
    "logprobs": np.float32,
    "ref_logprobs": np.float32,
    "advantage": np.float32,
    "weight": np.float32,
    "credit_mask": np.bool_,
    "label": np.int8,
    "span_id": np.int32,
    "confidence": np.float32,
}
"""Array columns and their types."""
SAMPLING_FIELDS = ("temperature", "top_p", "top_k", "min_p", "seed", "truncated")
"""Columns that hold ``NeutralRow.sampling``."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a row's numbers come from."""

    consensus: str
    """Consensus version; ``""`` when the credit used none."""
    label_set: str
    """Name of the label set that ``label`` codes; ``""`` when there are no labels."""
    panel: tuple[str, ...]
    """Reviewer names, sorted."""
    tokenizer: str
    """Name of the vocabulary; ``""`` when unknown."""
    tokenizer_sha: str
    """Digest of the vocabulary as ``training.tokens`` computes it; ``""`` when unknown."""
    ids_exact: bool
    """True when the ids are the sampled ones; False when the text was tokenized again."""
    dca_version: str
    """Version that exported the row."""


@dataclass(frozen=True, slots=True, eq=False)
class NeutralRow:
    """One rollout with its credit. Arrays of length T unless said otherwise."""

    rollout_id: str
    group_id: str
    task: str
    """``""`` when unknown."""
    step: int | None
    """Training step of the policy that sampled it."""
    model: str
    """That policy; ``""`` when unknown."""
    prompt_ids: NDArray[np.int32]
    """Ids of the rendered prompt [P]; P = 0 when they are not known, which no training takes."""
    completion_ids: NDArray[np.int32]
    """T >= 1."""
    completion_mask: NDArray[np.bool_]
    """True where the policy sampled the token; False for the text of tools and environments."""
    offsets: NDArray[np.int32]
    """Code points ``[start, stop)`` of each token [T, 2], starts and stops never decreasing."""
    logprobs: NDArray[np.float32] | None
    """Behaviour log-probabilities at ``sampling.temperature``, <= 0; ``None`` when not stored."""
    ref_logprobs: NDArray[np.float32] | None
    """Log-probabilities under a reference model, <= 0; ``None`` when not scored."""
    sampling: Sampling
    """How the completion was sampled."""
    reward: float
    """Outcome reward, finite."""
    method: str
    """Name of the assigner that made the credit."""
    advantage: NDArray[np.float32]
    """Outcome advantage of each token, finite, signed."""
    weight: NDArray[np.float32]
    """What the panel makes of it: a factor >= 0 per token, 1 = as without a panel."""
    credit_mask: NDArray[np.bool_]
    """False where nothing is known: the token is left out of the loss, not read as zero."""
    label: NDArray[np.int8]
    """Code of the agreed label in the label set, ``NO_LABEL`` where there is none."""
    span_id: NDArray[np.int32]
    """Position of the agreed span in the rollout's consensus, ``NO_LABEL`` where there is none."""
    confidence: NDArray[np.float32]
    """Share behind the label, in [0, 1]; 0 where there is none."""
    completion: str
    provenance: Provenance
    persona: str | None = None
    """Persona of the panel, when the credit was made under one."""

    def __len__(self) -> int:
        """Return T."""
        return len(self.completion_ids)


def check_row(row: NeutralRow, number: int) -> None:
    """Raise ``RowError`` when ``row``, number ``number`` of its file, breaks its contract."""
    _check_types(row, number)
    _check_lengths(row, number)
    _check_numbers(row, number)
    _check_offsets(row, number)
    _check_codes(row, number)


def checked(rows: Iterable[NeutralRow]) -> Iterator[NeutralRow]:
    """Yield ``rows`` as they are once each is checked and all share one provenance.

    Raises:
        RowError: a row breaks its contract, or differs from the first one in consensus version,
            label set or tokenizer; such rows belong in files of their own.
    """
    first: Provenance | None = None
    for number, row in enumerate(rows, start=1):
        check_row(row, number)
        first = first or row.provenance
        for (name, one), (_, other) in zip(_origin(first), _origin(row.provenance), strict=True):
            if one != other:
                refuse(
                    row,
                    number,
                    f"provenance.{name}",
                    f"is {other!r}, the rows before it have {one!r}",
                    "export each consensus version, label set and tokenizer to a file of its own; "
                    "--where ids:exact and --where ids:none part sampled ids from texts",
                )
        yield row


def require_rl(
    rows: Iterable[NeutralRow], *, allow_truncated_sampling: bool = False
) -> Iterator[NeutralRow]:
    """Yield ``rows`` as long as an importance ratio can be formed for them.

    Args:
        rows: checked rows, numbered from 1.
        allow_truncated_sampling: take rows sampled with ``top_p < 1``, ``top_k > 0`` or
            ``min_p > 0``, whose stored log-probabilities are those of a cut distribution.

    Raises:
        RowError: no behaviour log-probabilities, ids that were not sampled, greedy sampling, or
            truncated sampling that is not allowed.
    """
    for number, row in enumerate(rows, start=1):
        if row.logprobs is None:
            refuse(row, number, "logprobs", "no behaviour log-probabilities", SFT_HINT)
        if not row.provenance.ids_exact:
            refuse(row, number, "ids_exact", "the ids are not the sampled ones", SFT_HINT)
        if row.sampling.temperature == 0:
            refuse(row, number, "temperature", "greedy sampling has no importance ratio", SFT_HINT)
        if row.sampling.renormalised and not allow_truncated_sampling:
            refuse(
                row,
                number,
                "sampling",
                "top_p, top_k or min_p cut candidates, so the log-probabilities are biased",
                f"sample with top_p=1, top_k=0, min_p=0, or allow it; else {SFT_HINT}",
            )
        yield row


def refuse_sft_export(where: str, columns: Collection[str]) -> None:
    """Raise ``FormatError`` when ``columns`` are those that ``dca export --to sft`` writes."""
    if all(name in columns for name in ("prompt", "completion", "token_weights")):
        raise FormatError(
            f"{where}: this is an SFT export for TRL's SFTTrainer or any other trainer; "
            "dca train reads tokens.parquet",
            hint="dca export --to tokens",
        )


def check_version(where: str, version: object) -> None:
    """Raise ``FormatError`` when a file is not of the schema version that this code reads."""
    if version != SCHEMA_VERSION:
        raise FormatError(
            f"{where}: schema version is {version}, this version reads {SCHEMA_VERSION}",
            hint=EXPORT_HINT,
        )


def refuse(row: NeutralRow, number: int, field: str, problem: str, hint: str) -> NoReturn:
    """Raise ``RowError`` that names row ``number``, the rollout and the field."""
    raise RowError(f"row {number} (rollout {row.rollout_id}): {field}: {problem}", hint=hint)


def _origin(provenance: Provenance) -> list[tuple[str, str]]:
    """Return what all rows of a file share; a digest says more than a tokenizer's name."""
    tokenizer = provenance.tokenizer_sha or provenance.tokenizer
    return [
        ("consensus", provenance.consensus),
        ("label_set", provenance.label_set),
        ("tokenizer", tokenizer),
    ]


_REPAIR = "export the rows again with dca export"
_PER_TOKEN = tuple(name for name in ARRAYS if name not in {"prompt_ids", "completion_ids"})


def _check_types(row: NeutralRow, number: int) -> None:
    for name, kind in ARRAYS.items():
        values: NDArray[np.generic] | None = getattr(row, name)
        if values is not None and values.dtype != kind:
            refuse(row, number, name, f"{values.dtype} where {kind.__name__} belongs", _REPAIR)


def _check_lengths(row: NeutralRow, number: int) -> None:
    count = len(row.completion_ids)
    if not count:
        refuse(row, number, "completion_ids", "no tokens", _REPAIR)
    for name in _PER_TOKEN:
        values: NDArray[np.generic] | None = getattr(row, name)
        if values is not None and len(values) != count:
            refuse(row, number, name, f"{len(values)} values for {count} tokens", _REPAIR)
    if row.offsets.shape != (count, 2):
        refuse(row, number, "offsets", f"shape {row.offsets.shape}, not ({count}, 2)", _REPAIR)


def _check_numbers(row: NeutralRow, number: int) -> None:
    if not np.isfinite(row.reward):
        refuse(row, number, "reward", f"{row.reward} is not finite", _REPAIR)
    for name in ("logprobs", "ref_logprobs", "advantage", "weight", "confidence"):
        values: NDArray[np.float32] | None = getattr(row, name)
        if values is None:
            continue
        _check_range(row, number, name, values)


def _check_range(row: NeutralRow, number: int, name: str, values: NDArray[np.float32]) -> None:
    low, high = _RANGES[name]
    wrong = ~(np.isfinite(values) & (values >= low) & (values <= high))
    if wrong.any():
        at = int(wrong.argmax())
        refuse(
            row, number, name, f"{values[at]} at token {at} is outside [{low}, {high}]", _REPAIR
        )


_RANGES = {
    "logprobs": (-np.inf, 0.0),
    "ref_logprobs": (-np.inf, 0.0),
    "advantage": (-np.inf, np.inf),
    "weight": (0.0, np.inf),
    "confidence": (0.0, 1.0),
}


def _check_offsets(row: NeutralRow, number: int) -> None:
    start_T, stop_T = row.offsets[:, 0], row.offsets[:, 1]
    if (start_T > stop_T).any():
        at = int((start_T > stop_T).argmax())
        refuse(row, number, "offsets", f"token {at} ends before it starts", _REPAIR)
    backwards = (np.diff(start_T) < 0) | (np.diff(stop_T) < 0)
    if backwards.any():
        at = int(backwards.argmax()) + 1
        refuse(row, number, "offsets", f"token {at} goes backwards in the text", _REPAIR)
    if start_T[0] < 0 or stop_T[-1] > len(row.completion):
        refuse(
            row,
            number,
            "offsets",
            f"outside the text of {len(row.completion)} characters",
            _REPAIR,
        )


def _check_codes(row: NeutralRow, number: int) -> None:
    for name in ("prompt_ids", "completion_ids"):
        ids: NDArray[np.int32] = getattr(row, name)
        if len(ids) and ids.min() < 0:
            refuse(row, number, name, "a token id is negative", _REPAIR)
    if row.label.min() < NO_LABEL or row.label.max() >= MAX_LABELS:
        refuse(row, number, "label", f"outside [{NO_LABEL}, {MAX_LABELS})", _REPAIR)
    if row.span_id.min() < NO_LABEL:
        refuse(row, number, "span_id", f"below {NO_LABEL}", _REPAIR)
