"""Where the tokens of a rollout stand in its text, whatever the source told about them.

Shapes: T = completion tokens, P = prompt tokens.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Int32, Int64

from dca.domain.errors import MissingInput
from dca.domain.rollout import Rollout, Tokens
from training.spans import byte_edges
from training.tokens import Tokenizer, Utf8Bytes, align, identity, split_identity


@dataclass(frozen=True, slots=True, eq=False)
class TokenView:
    """The tokens of one completion, placed."""

    ids: Int32[np.ndarray, " T"]
    prompt_ids: Int32[np.ndarray, " P"]
    """P = 0 when neither the source nor a tokenizer gives them."""
    start_T: Int64[np.ndarray, " T"]
    """First byte of each token in the completion."""
    stop_T: Int64[np.ndarray, " T"]
    offsets: Int32[np.ndarray, "T 2"]
    """Code points of each token."""
    logprobs: Float32[np.ndarray, " T"] | None
    """Behaviour log-probabilities."""
    exact: bool
    """True when the ids are the sampled ones."""
    tokenizer: str
    """``name@digest`` of the vocabulary, ``""`` when unknown."""


@dataclass(frozen=True, slots=True)
class Retokenized:
    """Read every rollout as text: stored ids and log-probabilities are set aside."""

    tokenizer: Tokenizer = field(default_factory=Utf8Bytes)
    """Makes the ids."""


Reading: TypeAlias = Tokenizer | Retokenized | None
"""How the tokens of rollouts are found: by their stored ids, with a tokenizer for those that lack
ids or offsets, or from the text alone."""


def choose_reading(tokenizer: Tokenizer | None, *, retokenize: bool) -> Reading:
    """Return the reading with a tokenizer, UTF-8 bytes when the text is read and none is given."""
    return Retokenized(tokenizer or Utf8Bytes()) if retokenize else tokenizer


def spelled(reading: Reading) -> str:
    """Return ``name@digest`` of a reading's tokenizer, ``""`` when it has none."""
    tokenizer = reading.tokenizer if isinstance(reading, Retokenized) else reading
    return identity(tokenizer) if tokenizer else ""


def view_tokens(rollout: Rollout, reading: Reading) -> TokenView:
    """Return the placed tokens of a rollout.

    Stored ids are placed by their offsets, else by the bytes that their tokenizer gives them. A
    rollout without ids is tokenized here, with UTF-8 bytes when no tokenizer is given; its view is
    not exact.

    Raises:
        MissingInput: Stored ids have no offsets and their tokenizer is not given.
        TokenError: The stored ids do not spell the completion.
    """
    if isinstance(reading, Retokenized):
        return _from_text(rollout, reading.tokenizer)
    if rollout.tokens is None:
        return _from_text(rollout, reading or Utf8Bytes())
    return _stored(rollout, rollout.tokens, reading)


def _from_text(rollout: Rollout, tokenizer: Tokenizer) -> TokenView:
    """Return the view of ids that are made here."""
    ids = tokenizer.encode(rollout.completion)
    placed = align(rollout.completion, tokenizer.pieces(ids))
    return TokenView(
        ids,
        tokenizer.encode_prompt(rollout.prompt),
        placed.byte_starts,
        placed.byte_stops,
        placed.offsets,
        None,
        exact=False,
        tokenizer=identity(tokenizer),
    )


def _stored(rollout: Rollout, tokens: Tokens, tokenizer: Tokenizer | None) -> TokenView:
    """Return the view of stored ids."""
    ids = np.frombuffer(tokens.ids, dtype=np.int32)
    known = _speller(tokens, tokenizer)
    start_T, stop_T, offsets = _place(rollout, tokens, ids, known)
    if tokens.prompt_ids is not None:
        prompt_ids = np.frombuffer(tokens.prompt_ids, dtype=np.int32)
    else:
        prompt_ids = known.encode_prompt(rollout.prompt) if known else np.zeros(0, dtype=np.int32)
    logprobs = tokens.logprobs
    return TokenView(
        ids,
        prompt_ids,
        start_T,
        stop_T,
        offsets,
        None if logprobs is None else np.frombuffer(logprobs, dtype=np.float32),
        tokens.exact,
        tokens.tokenizer or (identity(known) if known else ""),
    )


def _speller(tokens: Tokens, given: Tokenizer | None) -> Tokenizer | None:
    """Return the tokenizer that spells the stored ids, if there is one at hand.

    Digests count, not names: a model folder may have been renamed. Ids of unknown origin are tried
    with the given tokenizer, and refused where they do not spell the text. They are never tried
    as bytes: what a model sampled is not bytes unless the source says so.
    """
    name, digest = split_identity(tokens.tokenizer)
    if digest == Utf8Bytes.digest or (name, digest) == (Utf8Bytes.name, ""):
        return Utf8Bytes()
    if given is None or given.digest == Utf8Bytes.digest or digest not in {"", given.digest}:
        return None
    return given


def _place(
    rollout: Rollout, tokens: Tokens, ids: Int32[np.ndarray, " T"], known: Tokenizer | None
) -> tuple[Int64[np.ndarray, " T"], Int64[np.ndarray, " T"], Int32[np.ndarray, "T 2"]]:
    """Return start bytes, stop bytes and code points of stored ids.

    Offsets need no tokenizer; one that the source does not name still has to spell the ids, or
    they would be stored under a wrong name.
    """
    told = bool(split_identity(tokens.tokenizer)[1])
    if known is not None and (tokens.offsets is None or not told):
        placed = align(rollout.completion, known.pieces(ids))
        if tokens.offsets is None:
            return placed.byte_starts, placed.byte_stops, placed.offsets
    if tokens.offsets is None:
        name = tokens.tokenizer or "the one that they were sampled with"
        raise MissingInput(
            "needs a tokenizer",
            hint=f"stored ids have no offsets: give --tokenizer ({name}), or --retokenize to "
            "credit the text instead",
        )
    offsets = np.frombuffer(tokens.offsets, dtype=np.int32).reshape(-1, 2)
    edges = byte_edges(rollout.completion)
    return edges[offsets[:, 0]], edges[offsets[:, 1]], offsets
