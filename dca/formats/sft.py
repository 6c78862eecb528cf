"""``sft``: successful rollouts as conversational prompt-completion rows with weights.

The columns ``prompt`` and ``completion`` are what TRL's SFTTrainer reads; both formats load with
``datasets``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dca.domain.errors import FormatError
from dca.domain.rollout import SUCCESS_AT, Rollout, succeeded

_turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        ("rollout_id", pa.string()),
        ("group_id", pa.string()),
        ("prompt", _turns),
        ("completion", _turns),
        ("reward", pa.float32()),
        ("weight", pa.float32()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("completion_ids", pa.list_(pa.int32())),
        ("token_weights", pa.list_(pa.float32())),
    ]
)
"""Columns of the Parquet form; the JSON Lines form has the same names."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class SftRow:
    """One successful rollout to imitate. T = completion tokens."""

    rollout_id: str
    group_id: str
    prompt: list[Turn]
    completion: list[Turn]
    """One assistant turn."""
    reward: float
    weight: float
    """Weight of the whole rollout, > 0."""
    prompt_ids: list[int] | None
    """Stored ids of the rendered prompt; ``None`` when there are none."""
    completion_ids: list[int] | None
    """The stored ids that ``token_weights`` belongs to, length T."""
    token_weights: list[float] | None
    """Weight per token, each >= 0, length T; ``None``: every token counts the same."""


def sft_row(
    rollout: Rollout,
    *,
    weight: float = 1.0,
    token_weights: Sequence[float] | None = None,
    success_at: float = SUCCESS_AT,
) -> SftRow | None:
    """Return the row of a rollout; ``None`` for failures and for weight 0 (a veto).

    Args:
        rollout: What was sampled.
        weight: Weight of the whole rollout, >= 0.
        token_weights: Weight per stored completion token, each >= 0, length T.
        success_at: Smallest reward of a success.

    Raises:
        FormatError: A weight is negative, or the lengths of ids and weights differ.
    """
    if rollout.reward is None or not succeeded(rollout.reward, success_at) or weight == 0:
        return None
    if weight < 0 or (token_weights is not None and min(token_weights, default=0.0) < 0):
        raise FormatError(f"rollout {rollout.id}: imitation takes no negative weights")
    tokens = rollout.tokens
    if token_weights is not None and (tokens is None or len(tokens) != len(token_weights)):
        count = 0 if tokens is None else len(tokens)
        raise FormatError(
            f"rollout {rollout.id}: {len(token_weights)} token weights for {count} stored tokens"
        )
    return SftRow(
        rollout_id=rollout.id,
        group_id=rollout.group_id,
        prompt=[Turn(message.role, message.content) for message in rollout.prompt],
        completion=[Turn("assistant", rollout.completion)],
        reward=rollout.reward,
        weight=weight,
        prompt_ids=None if tokens is None or not tokens.prompt_ids else list(tokens.prompt_ids),
        completion_ids=None if tokens is None else list(tokens.ids),
        token_weights=None if token_weights is None else [float(item) for item in token_weights],
    )


def write_sft(path: Path, rows: Iterable[SftRow]) -> int:
    """Write rows to a ``.parquet`` or ``.jsonl`` file and return how many.

    Raises:
        FormatError: The file cannot be written, or its suffix is neither.
    """
    if path.suffix not in (".parquet", ".jsonl"):
        raise FormatError(
            f"{path}: imitation rows are written as .parquet or .jsonl",
            hint="Choose one of the two suffixes.",
        )
    write = _write_parquet if path.suffix == ".parquet" else _write_jsonl
    try:
        return write(path, rows)
    except OSError as error:
        raise FormatError(f"{path}: cannot be written: {error}") from error


def _write_jsonl(path: Path, rows: Iterable[SftRow]) -> int:
    count = 0
    encoder = msgspec.json.Encoder()
    with path.open("wb") as stream:
        for row in rows:
            stream.write(encoder.encode(row) + b"\n")
            count += 1
    return count


def _write_parquet(path: Path, rows: Iterable[SftRow], batch: int = 500) -> int:
    count = 0
    held: list[dict[str, object]] = []
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for row in rows:
            held.append(asdict(row))
            count += 1
            if len(held) == batch:
                writer.write_table(pa.Table.from_pylist(held, SCHEMA))
                held.clear()
        writer.write_table(pa.Table.from_pylist(held, SCHEMA))
    return count
