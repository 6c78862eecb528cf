"""From spans of text to tokens, byte-exact and vectorised.

Shapes: T = tokens of one completion, N = spans. A token belongs to a span when they share a byte;
when it meets several, to the one that holds most of its bytes, a tie going to the earlier span.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int64
from numpy.typing import NDArray

from dca.domain.spans import Span

NO_SPAN = -1
"""Token that no span holds."""


def byte_edges(text: str) -> Int64[np.ndarray, " P"]:
    """Return the byte at which each code point of ``text`` starts in UTF-8, and the end.

    P = code points + 1; ``byte_edges("a€")`` is ``[0, 1, 4]``.
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    width = 1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)
    return np.concatenate(([0], np.cumsum(width))).astype(np.int64)


def span_of_token(
    token_start_T: Int[np.ndarray, " T"],
    token_stop_T: Int[np.ndarray, " T"],
    span_start_N: Int[np.ndarray, " N"],
    span_stop_N: Int[np.ndarray, " N"],
) -> Int64[np.ndarray, " T"]:
    """Return the number of the span that each token belongs to, ``NO_SPAN`` where there is none.

    All positions in bytes. Spans are ascending and do not overlap; gaps are allowed. An empty
    token belongs to no span.
    """
    if span_start_N.size == 0:
        return np.full(token_start_T.size, NO_SPAN, dtype=np.int64)
    first_T = np.searchsorted(span_stop_N, token_start_T, side="right")
    last_T = np.searchsorted(span_start_N, token_stop_T, side="left") - 1
    filled_T = token_stop_T > token_start_T
    best_T = np.where(filled_T & (first_T <= last_T), first_T, NO_SPAN)
    # Few tokens meet more than one span; each turn of the loop looks one span further for those.
    rest_K = np.flatnonzero(filled_T & (first_T < last_T))
    held_K = _held(token_start_T, token_stop_T, span_start_N, span_stop_N, rest_K, first_T[rest_K])
    step = 1
    while rest_K.size:
        next_K = first_T[rest_K] + step
        more_K = _held(token_start_T, token_stop_T, span_start_N, span_stop_N, rest_K, next_K)
        better_K = more_K > held_K
        best_T[rest_K[better_K]] = next_K[better_K]
        held_K = np.maximum(held_K, more_K)
        going_K = next_K < last_T[rest_K]
        rest_K, held_K = rest_K[going_K], held_K[going_K]
        step += 1
    return best_T.astype(np.int64)


def _held(
    token_start_T: NDArray[np.integer],
    token_stop_T: NDArray[np.integer],
    span_start_N: NDArray[np.integer],
    span_stop_N: NDArray[np.integer],
    token_K: NDArray[np.integer],
    span_K: NDArray[np.integer],
) -> NDArray[np.integer]:
    """Return how many bytes of token k lie in span k, for K pairs."""
    start_K = np.maximum(token_start_T[token_K], span_start_N[span_K])
    stop_K = np.minimum(token_stop_T[token_K], span_stop_N[span_K])
    return np.maximum(stop_K - start_K, 0)


def map_spans(
    spans: Sequence[Span],
    edges: Int64[np.ndarray, " P"],
    token_start_T: Int[np.ndarray, " T"],
    token_stop_T: Int[np.ndarray, " T"],
) -> Int64[np.ndarray, " T"]:
    """Return the position in ``spans`` that each token belongs to.

    Args:
        spans: Ascending code point ranges that do not overlap.
        edges: ``byte_edges`` of the completion.
        token_start_T: First byte of each token in the completion.
        token_stop_T: One past its last byte.
    """
    start_N = edges[np.array([span.start for span in spans], dtype=np.int64)]
    stop_N = edges[np.array([span.stop for span in spans], dtype=np.int64)]
    return span_of_token(token_start_T, token_stop_T, start_N, stop_N)
