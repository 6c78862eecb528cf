"""Spans onto tokens: by hand, against a character-by-character oracle, and over hard text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.spans import Span
from training.spans import NO_SPAN, byte_edges, map_spans, span_of_token


def tokens(*widths: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of the given numbers of bytes, one after the other."""
    stop_T = np.cumsum(widths)
    return stop_T - np.array(widths), stop_T


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("a€", [0, 1, 4]),
        ("é🙂z", [0, 2, 6, 7]),
        ("", [0]),
        ("e\u0301", [0, 1, 3]),  # combining accent: two code points
        ("\ud800", [0, 3]),  # a lone surrogate counts as its three bytes
    ],
)
def test_byte_edges_count_utf8(text: str, edges: list[int]) -> None:
    assert byte_edges(text).tolist() == edges


def test_a_token_goes_to_the_span_that_holds_most_of_its_bytes() -> None:
    #        bytes: 0-4        4-10        10-12   12-20
    start_T, stop_T = tokens(4, 6, 2, 8)
    # Spans: [0, 5), [5, 11), gap, [13, 15), [15, 20).
    start_N, stop_N = np.array([0, 5, 13, 15]), np.array([5, 11, 15, 20])

    found = span_of_token(start_T, stop_T, start_N, stop_N)

    # Token 1: 1 byte of span 0, 5 of span 1. Token 2: 1 byte of span 1. Token 3: 2 and 5.
    assert found.tolist() == [0, 1, 1, 3]


def test_a_tie_goes_to_the_earlier_span_and_an_empty_token_to_none() -> None:
    start_T, stop_T = np.array([0, 4, 4, 9]), np.array([4, 4, 8, 9])

    found = span_of_token(start_T, stop_T, np.array([0, 2, 6]), np.array([2, 6, 10]))

    assert found.tolist() == [0, NO_SPAN, 1, NO_SPAN]


def test_a_token_over_many_spans_goes_to_the_largest() -> None:
    start_T, stop_T = tokens(20)

    found = span_of_token(start_T, stop_T, np.array([0, 3, 7, 15]), np.array([3, 7, 15, 20]))

    assert found.tolist() == [2]


def test_without_spans_or_tokens_there_is_nothing_to_hold() -> None:
    none = np.array([], dtype=np.int64)
    start_T, stop_T = tokens(1, 2)

    assert span_of_token(start_T, stop_T, none, none).tolist() == [NO_SPAN, NO_SPAN]
    assert span_of_token(none, none, np.array([0]), np.array([3])).tolist() == []


def test_every_token_of_a_split_character_belongs_to_its_span() -> None:
    text = "a🙂b"  # bytes: a 0, smile 1-4, b 5
    start_T, stop_T = tokens(1, 1, 3, 1)  # the smile is cut in two tokens
    spans = [Span(0, 1), Span(1, 2), Span(2, 3)]

    assert map_spans(spans, byte_edges(text), start_T, stop_T).tolist() == [0, 1, 1, 2]


@given(
    st.lists(st.integers(0, 6), max_size=12),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 7)), max_size=8),
)
def test_the_vectorised_map_equals_counting_bytes_one_by_one(widths, parts) -> None:
    start_T, stop_T = tokens(*widths) if widths else (np.zeros(0, int), np.zeros(0, int))
    edges, position = [], 0
    for gap, length in parts:
        edges.append((position + gap, position + gap + length))
        position += gap + length
    owner = {byte: n for n, (a, b) in enumerate(edges) for byte in range(a, b)}

    expected = []
    for a, b in zip(start_T, stop_T, strict=True):
        counts = [sum(owner.get(byte) == n for byte in range(a, b)) for n in range(len(edges))]
        expected.append(int(np.argmax(counts)) if any(counts) else NO_SPAN)

    found = span_of_token(
        start_T,
        stop_T,
        np.array([a for a, _ in edges], dtype=np.int64),
        np.array([b for _, b in edges], dtype=np.int64),
    )
    assert found.tolist() == expected
