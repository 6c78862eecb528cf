"""What the characters of a corpus are, as flat arrays.

All documents lie one after the other in one coordinate, each followed by one gap position, so that
nothing below has to know where a document ends. Shapes: D = documents, P = positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dca.domain.spans import Span


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts laid out in one coordinate."""

    start_D: NDArray[np.int64]
    """First position of each document."""
    stop_D: NDArray[np.int64]
    """One past its last character; the gap position itself."""
    words_before_P: NDArray[np.int64]
    """Letters and digits before each position, length P + 1."""
    ink_K: NDArray[np.int64]
    """Positions of the characters that are not white space, ascending."""


def lay_out(texts: Sequence[str]) -> Corpus:
    """Return the corpus of ``texts``."""
    length_D = np.array([len(text) for text in texts], dtype=np.int64)
    start_D = np.concatenate(([0], np.cumsum(length_D + 1)))[:-1].astype(np.int64)
    joined = "".join(text + "\n" for text in texts)
    # surrogatepass: a text with a lone surrogate is another layer's mistake, not a crash here.
    points_P = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    known_U, index_P = np.unique(points_P, return_inverse=True)
    word_U = np.array([chr(int(point)).isalnum() for point in known_U], dtype=bool)
    space_U = np.array([chr(int(point)).isspace() for point in known_U], dtype=bool)
    words = np.concatenate(([0], np.cumsum(word_U[index_P]))).astype(np.int64)
    ink_K = np.flatnonzero(~space_U[index_P]).astype(np.int64)
    return Corpus(start_D, start_D + length_D, words, ink_K)


def trim(
    corpus: Corpus, start_S: NDArray[np.int64], stop_S: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ranges without white space at their ends; one of white space alone is empty."""
    first_S = np.searchsorted(corpus.ink_K, start_S, side="left")
    last_S = np.searchsorted(corpus.ink_K, stop_S, side="left")
    filled_S = first_S < last_S
    ink_K = corpus.ink_K if corpus.ink_K.size else np.zeros(1, dtype=np.int64)
    top = len(ink_K) - 1
    trimmed_start_S = np.where(filled_S, ink_K[np.minimum(first_S, top)], start_S)
    trimmed_stop_S = np.where(filled_S, ink_K[np.maximum(last_S - 1, 0)] + 1, start_S)
    return trimmed_start_S, trimmed_stop_S


def local_span(corpus: Corpus, document: int, start: int, stop: int) -> Span:
    """Return a range of the corpus as a span of its document."""
    origin = int(corpus.start_D[document])
    return Span(start - origin, stop - origin)
