"""Where the tokens of a rollout stand in its text, whatever the source told about them.

Shapes: T = completion tokens, P = prompt tokens.
"""

from dataclasses import dataclass

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


def view_tokens(rollout: Rollout, tokenizer: Tokenizer | None) -> TokenView:
    """Return the placed tokens of a rollout.

    Stored ids are placed by their offsets, else by the bytes that ``tokenizer`` gives them. A
    rollout without ids is tokenized here, with UTF-8 bytes when no tokenizer is given; its view is
    not exact.

    Raises:
        MissingInput: Stored ids have no offsets and no tokenizer is given, or another one.
        TokenError: The stored ids do not spell the completion.
    """
    if rollout.tokens is not None:
        return _stored(rollout, rollout.tokens, tokenizer)
    chosen = tokenizer or Utf8Bytes()
    ids = chosen.encode(rollout.completion)
    placed = align(rollout.completion, chosen.pieces(ids))
    return TokenView(
        ids,
        chosen.encode_prompt(rollout.prompt),
        placed.byte_starts,
        placed.byte_stops,
        placed.offsets,
        None,
        exact=False,
        tokenizer=identity(chosen),
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
    with the given tokenizer, and refused where they do not spell the text.
    """
    digest = split_identity(tokens.tokenizer)[1]
    if given is not None and (not digest or digest == given.digest):
        return given
    return Utf8Bytes() if digest == Utf8Bytes.digest else None


def _place(
    rollout: Rollout, tokens: Tokens, ids: Int32[np.ndarray, " T"], known: Tokenizer | None
) -> tuple[Int64[np.ndarray, " T"], Int64[np.ndarray, " T"], Int32[np.ndarray, "T 2"]]:
    """Return start bytes, stop bytes and code points of stored ids."""
    if tokens.offsets is not None:
        offsets = np.frombuffer(tokens.offsets, dtype=np.int32).reshape(-1, 2)
        edges = byte_edges(rollout.completion)
        return edges[offsets[:, 0]], edges[offsets[:, 1]], offsets
    if known is None:
        name = tokens.tokenizer or "the one that they were sampled with"
        raise MissingInput(
            "needs a tokenizer", hint=f"stored ids have no offsets: give --tokenizer ({name})"
        )
    placed = align(rollout.completion, known.pieces(ids))
    return placed.byte_starts, placed.byte_stops, placed.offsets
