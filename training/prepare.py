"""From neutral rows to the examples that a trainer reads: prompt and completion as one sequence.

L = P + T positions of one row. Every per-token column is carried by position, zero on the prompt.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dca.domain.errors import RowError, TrainingError
from training.row_files import read_rows
from training.rows import NeutralRow, require_rl
from training.run import Prepared, TrainConfig

EXAMPLES = pa.schema(
    [
        pa.field("input_ids", pa.list_(pa.int32())),
        pa.field("in_loss", pa.list_(pa.bool_())),
        pa.field("advantage", pa.list_(pa.float32())),
        pa.field("weight", pa.list_(pa.float32())),
        pa.field("old_logp", pa.list_(pa.float32())),
        pa.field("sampled", pa.int64()),
    ]
)
"""One example per row; ``sampled`` counts the tokens that the policy sampled."""
BATCH_ROWS = 64
"""Examples written at a time."""


@dataclass(slots=True)
class _Tally:
    """What is counted while the rows go by."""

    rows: int = 0
    kept: int = 0
    truncated: int = 0
    tokens_cut: int = 0
    loss_tokens: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    temperatures: dict[float | None, tuple[int, str]] = field(
        default_factory=dict[float | None, tuple[int, str]]
    )


def prepare(config: TrainConfig, path: Path, *, tokenizer_sha: str, vocabulary: int) -> Prepared:
    """Write the examples of ``config.rows`` to ``path`` (Arrow) and say what became of the rows.

    Which tokens are in the loss: sampled ones that the credit mask keeps; for ``sft`` only those
    with a positive advantage, because imitation has no sign: it makes every token likelier, which
    is what credit asks for there alone. So the sign decides, not whether the outcome is a success
    (an export ``--to sft`` holds successes only). A row without such a token is left out, which
    changes no loss.

    Args:
        config: files, objective and limits.
        path: where to write.
        tokenizer_sha: digest of the model's tokenizer; rows that name another are refused.
        vocabulary: number of ids that the model knows.

    Raises:
        RowError: a row that this objective or this model cannot be trained on.
        TrainingError: no row is left to train on.
    """
    tally = _Tally()
    examples = _examples(config, tally, tokenizer_sha, vocabulary)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, EXAMPLES) as writer:
        for batch in _batches(examples):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=EXAMPLES))
    if not tally.kept:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in tally.dropped.items())
        raise TrainingError(
            f"none of {tally.rows} rows can be trained on ({reasons or 'the files are empty'})",
            hint="look at the credit with dca show, or give other rows",
        )
    temperature, assumed = _temperature(config, tally)
    return Prepared(
        rows=tally.rows,
        kept=tally.kept,
        dropped=dict(tally.dropped),
        truncated=tally.truncated,
        tokens_cut=tally.tokens_cut,
        loss_tokens=tally.loss_tokens,
        temperature=temperature,
        temperature_assumed=assumed,
    )


def _rows(config: TrainConfig) -> Iterator[tuple[int, NeutralRow]]:
    """Yield the rows of all files with their numbers in their files."""
    for file in config.rows:
        yield from enumerate(read_for(config, file), start=1)


def read_for(config: TrainConfig, file: Path) -> Iterator[NeutralRow]:
    """Yield the rows of one file as long as the objective can use them.

    Raises:
        FormatError: not a file of neutral rows.
        RowError: a row breaks its contract, or is not good for the objective.
    """
    rows = read_rows(file)
    if config.objective == "clipped":
        return require_rl(rows, allow_truncated_sampling=config.allow_truncated_sampling)
    return rows


def _examples(
    config: TrainConfig, tally: _Tally, tokenizer_sha: str, vocabulary: int
) -> Iterator[dict[str, Any]]:
    for number, row in _rows(config):
        tally.rows += 1
        check_tokenizer(row, number, tokenizer_sha, config.model)
        _check_ids(row, number, vocabulary)
        tally.temperatures.setdefault(row.sampling.temperature, (number, row.rollout_id))
        kept = _kept_tokens(row, config.max_length)
        if kept < 1:
            tally.dropped["prompt fills max_length"] += 1
            continue
        in_loss_T = (row.completion_mask & row.credit_mask)[:kept]
        if config.objective == "sft":
            in_loss_T = in_loss_T & (row.advantage[:kept] > 0)
        if not in_loss_T.any():
            tally.dropped["no token with credit"] += 1
            continue
        tally.kept += 1
        tally.truncated += kept < len(row)
        tally.tokens_cut += len(row) - kept
        tally.loss_tokens += int(in_loss_T.sum())
        yield _example(row, kept, in_loss_T)


def check_tokenizer(row: NeutralRow, number: int, tokenizer_sha: str, model: Path) -> None:
    """Raise ``RowError`` unless row ``number`` has a prompt and ids of the model's tokenizer."""
    where = f"row {number} (rollout {row.rollout_id})"
    named = row.provenance.tokenizer_sha
    if named and named != tokenizer_sha:
        raise RowError(
            f"{where}: its ids are of tokenizer {row.provenance.tokenizer} ({named}), "
            f"the model has {tokenizer_sha}",
            hint=f"dca credit --tokenizer {model}, then dca export --tokenizer {model}; "
            "or train the model that sampled the rows",
        )
    if not len(row.prompt_ids):
        raise RowError(
            f"{where}: prompt_ids: the prompt's tokens are not known",
            hint=f"dca export --tokenizer {model}, which renders the prompts",
        )


def _check_ids(row: NeutralRow, number: int, vocabulary: int) -> None:
    largest = max(int(row.prompt_ids.max()), int(row.completion_ids.max()))
    if largest >= vocabulary:
        raise RowError(
            f"row {number} (rollout {row.rollout_id}): "
            f"token id {largest} is beyond the model's {vocabulary} ids",
            hint="train the model that sampled the rows",
        )


def _kept_tokens(row: NeutralRow, max_length: int | None) -> int:
    """Return how many completion tokens fit; below 1 when the prompt leaves no room."""
    room = len(row) if max_length is None else max_length - len(row.prompt_ids)
    return min(len(row), room)


def _example(row: NeutralRow, kept: int, in_loss_T: NDArray[np.bool_]) -> dict[str, Any]:
    def placed(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([np.zeros(len(row.prompt_ids), values.dtype), values[:kept]])

    old = row.logprobs if row.logprobs is not None else np.zeros(kept, np.float32)
    return {
        "input_ids": np.concatenate([row.prompt_ids, row.completion_ids[:kept]]),
        "in_loss": placed(in_loss_T),
        "advantage": placed(row.advantage),
        "weight": placed(row.weight),
        "old_logp": placed(old),
        "sampled": int(row.completion_mask[:kept].sum()),
    }


def _batches(examples: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for example in examples:
        batch.append(example)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _temperature(config: TrainConfig, tally: _Tally) -> tuple[float, bool]:
    """Return the temperature of the log-probabilities, and whether it was assumed.

    Imitation is of the model as it is, at temperature 1.
    """
    if config.objective == "sft":
        return 1.0, False
    if config.temperature is not None:
        return config.temperature, False
    if len(tally.temperatures) > 1:
        number, rollout = list(tally.temperatures.values())[1]
        raise RowError(
            f"row {number} (rollout {rollout}): sampled at another temperature than the rows "
            f"before it: {', '.join(str(t) for t in tally.temperatures)}",
            hint="train on one temperature at a time, or set --temperature",
        )
    (found,) = tally.temperatures
    return (1.0, True) if found is None else (found, False)
