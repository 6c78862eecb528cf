"""Offsets of tokens: kept when they place every token, left out with the reason when not."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.errors import BadRecord
from dca.formats.build import MISPLACED, Builder
from dca.formats.draft import Draft
from dca.formats.places import fitted


def fit(pairs, text):
    found, fault = fitted(array("i", [edge for pair in pairs for edge in pair]), text)
    if found is None:
        return fault
    assert (found.typecode, fault) == ("i", "")
    return list(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ([(0, 2), (2, 5)], "ab cd"),
        # Trimmed offsets leave out blanks.
        ([(0, 2), (3, 5)], "ab cd"),
        ([(1, 3)], "\nab \u200b\x07"),
        # Two tokens spell one character, and one spells nothing.
        ([(0, 1), (0, 1), (1, 1), (1, 2)], "👍!"),
        ([(0, 0), (0, 2), (2, 2)], "ab"),
        # Overlaps, as byte-level vocabularies have them.
        ([(0, 2), (1, 3)], "aéb"),
    ],
)
def test_offsets_that_place_every_token_are_kept(pairs, text):
    assert fit(pairs, text) == pairs


def test_a_control_token_at_zero_stands_where_the_token_before_it_ends():
    assert fit([(0, 0), (0, 2), (0, 0), (2, 4), (0, 0)], "abcd") == [
        (0, 0),
        (0, 2),
        (2, 2),
        (2, 4),
        (4, 4),
    ]


@pytest.mark.parametrize(
    ("pairs", "text", "fault"),
    [
        ([(0, 2), (3, 2)], "abc", "token 1 ends before it starts"),
        ([(2, 4), (0, 2)], "abcd", "token 1 goes backwards in the text"),
        ([(0, 3), (1, 2), (2, 4)], "abcd", "token 1 goes backwards in the text"),
        # Bytes instead of code points.
        ([(0, 2), (2, 3)], "éa", "token 1 ends outside the text of 2 code points"),
        ([(0, 2), (3, 4)], "abcd", "no token has code point 2, 'c'"),
        ([(1, 4)], "abcd", "no token has code point 0, 'a'"),
        ([(0, 3)], "abcd", "no token has code point 3, 'd'"),
        ([(0, 0), (0, 0)], "ab", "no token has code point 0, 'a'"),
    ],
)
def test_offsets_that_do_not_are_left_out_with_the_reason(pairs, text, fault):
    assert fit(pairs, text) == fault


@given(
    st.text(min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5),
)
def test_what_is_kept_never_goes_backwards_and_leaves_no_letter_out(text, pairs):
    found = fit(pairs, text)
    if isinstance(found, str):
        return
    starts, stops = zip(*found, strict=True)
    assert list(starts) == sorted(starts)
    assert list(stops) == sorted(stops)
    assert max(stops) <= len(text)
    covered = {place for start, stop in found for place in range(start, stop)}
    assert not any(char.isalnum() for place, char in enumerate(text) if place not in covered)


def test_a_rollout_without_usable_offsets_keeps_its_ids_and_says_why():
    builder = Builder()
    columns = {"token_ids": [7, 8], "logprobs": [-1, -2], "offsets": [[2, 4], [0, 2]]}
    made = builder.build(Draft((), "abcd", columns=dict(columns)))
    good = builder.build(Draft((), "abcd", columns={**columns, "offsets": [[0, 2], [2, 4]]}))

    assert (list(made.tokens.ids), made.tokens.offsets) == ([7, 8], None)
    assert made.meta == {MISPLACED: "token 1 goes backwards in the text"}
    assert (list(good.tokens.offsets), good.meta) == ([0, 2, 2, 4], {})
    assert builder.misplaced == 1
    with pytest.raises(BadRecord, match="6 offsets for 2 tokens"):
        builder.build(Draft((), "abcd", columns={**columns, "offsets": [[0, 1]] * 3}))
