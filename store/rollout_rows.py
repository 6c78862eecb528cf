"""Rollouts as rows and back."""

import hashlib
import math
from array import array
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dca.domain.rollout import ID_DIGITS, Message, Rollout, Sampling, Tokens
from dca.domain.spans import Span
from store.codecs import from_blob, storable, to_blob, to_json
from store.tables import RolloutRow
from store.writing import Row

_UNKNOWN = Sampling()


def to_row(rollout: Rollout, created: str) -> Row:
    """Return the columns of one rollout.

    Raises:
        ValueError: A reward is not finite: databases differ in what they make of it.
    """
    rewards = [rollout.reward, *rollout.rewards.values()]
    if not all(math.isfinite(reward) for reward in rewards if reward is not None):
        raise ValueError(f"rollout {rollout.id}: a reward is not finite")
    turns = [(message.role, storable(message.content)) for message in rollout.prompt]
    row: Row = {
        "id": rollout.id,
        "group_id": rollout.group_id,
        "task": rollout.task,
        "model": rollout.model,
        "step": rollout.step,
        "reward": rollout.reward,
        "truth": rollout.truth,
        "prompt_text": "".join(f"{content}\n" for _, content in turns),
        "prompt_turns": [[role, len(content)] for role, content in turns],
        "completion": rollout.completion,
        "chars": len(rollout.completion),
        **span_columns("think", rollout.think),
        **span_columns("answer", rollout.answer),
        "rewards": dict(rollout.rewards) or None,
        "sampling": None if rollout.sampling == _UNKNOWN else asdict(rollout.sampling),
        "meta": dict(rollout.meta) or None,
        **_token_columns(rollout.tokens),
    }
    key = rollout.source_key
    return {**row, "digest": _digest(row), "source_key": key, "created": created}


def _token_columns(tokens: Tokens | None) -> Row:
    if tokens is None:
        return dict.fromkeys(
            (
                "token_count",
                "token_ids",
                "ids_exact",
                "tokenizer",
                "prompt_ids",
                "offsets",
                "logprobs",
            )
        )
    return {
        "token_count": len(tokens),
        "token_ids": to_blob(tokens.ids, "i"),
        "ids_exact": tokens.exact,
        "tokenizer": tokens.tokenizer,
        "prompt_ids": to_blob(tokens.prompt_ids, "i"),
        "offsets": to_blob(tokens.offsets, "i"),
        "logprobs": to_blob(tokens.logprobs, "f"),
    }


def _digest(row: Mapping[str, Any]) -> str:
    """Return the content hash of a row; the same on every machine."""
    plain = [None if isinstance(value, bytes) else value for value in row.values()]
    found = hashlib.sha256(to_json(plain).encode())
    for value in row.values():
        if isinstance(value, bytes):
            found.update(len(value).to_bytes(8, "little"))
            found.update(value)
    return found.hexdigest()[:ID_DIGITS]


def to_rollout(row: RolloutRow, *, arrays: bool) -> Rollout:
    """Return the rollout of a row; its tokens only when ``arrays`` were read."""
    return Rollout(
        id=row.id,
        group_id=row.group_id,
        task=row.task,
        prompt=_messages(row),
        completion=row.completion,
        reward=row.reward,
        rewards=row.rewards or {},
        truth=row.truth,
        think=to_span(row.think_start, row.think_stop),
        answer=to_span(row.answer_start, row.answer_stop),
        model=row.model,
        step=row.step,
        sampling=Sampling(**row.sampling) if row.sampling else _UNKNOWN,
        tokens=_tokens(row) if arrays else None,
        meta=row.meta or {},
    )


def _messages(row: RolloutRow) -> tuple[Message, ...]:
    messages: list[Message] = []
    start = 0
    for role, length in row.prompt_turns:
        messages.append(Message(role, row.prompt_text[start : start + length]))
        start += length + 1
    return tuple(messages)


def _tokens(row: RolloutRow) -> Tokens | None:
    if row.token_ids is None:
        return None
    return Tokens(
        ids=from_blob(row.token_ids, "i") or array("i"),
        exact=bool(row.ids_exact),
        tokenizer=row.tokenizer or "",
        prompt_ids=from_blob(row.prompt_ids, "i"),
        offsets=from_blob(row.offsets, "i"),
        logprobs=from_blob(row.logprobs, "f"),
    )


def span_columns(name: str, span: Span | None) -> Row:
    """Return the two columns of a span that may be missing; an empty span is not missing."""
    return {
        f"{name}_start": None if span is None else span.start,
        f"{name}_stop": None if span is None else span.stop,
    }


def to_span(start: int | None, stop: int | None) -> Span | None:
    """Return the span of two columns, ``None`` when they are empty."""
    return None if start is None or stop is None else Span(start, stop)
