"""Alignment of token ids to the text that they spell."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dca.domain.errors import TokenError
from dca.domain.rollout import Message
from tests.tokenizer_examples import CORPUS, FAST, MODELS
from training.tokens import Pieces, TokenMap, Utf8Bytes, align, identity, split_identity

HARD = [
    "plain",
    " leading and trailing ",
    "😀👩‍👩‍👧🇩🇪",
    "世界、三加四等于七",
    "e\u0301\u0323 combining",
    "שלום and مرحبا",
    "nul \x00 inside",
    "\ufffd real replacement \ufffd",
    "tabs\t\tand\r\nlines\n\n",
    "a" * 300,
]


def check(token_map: TokenMap, completion: str, count: int) -> None:
    """What every map must fulfil."""
    starts, stops, offsets = token_map.byte_starts, token_map.byte_stops, token_map.offsets
    assert len(starts) == len(stops) == len(offsets) == count
    assert offsets.dtype == np.int32
    assert starts[0] == 0
    assert stops[-1] == len(completion.encode())
    np.testing.assert_array_equal(starts[1:], stops[:-1])
    assert (starts <= stops).all()
    assert (np.diff(offsets, axis=0) >= 0).all()
    first_byte = [len(completion[:at].encode()) for at in range(len(completion) + 1)]
    for (first, last), start, stop in zip(offsets, starts, stops, strict=True):
        assert first_byte[first] <= start
        assert stop <= first_byte[last]
        if start < stop:  # the first and the last character are really touched
            assert first_byte[first + 1] > start
            assert first_byte[last - 1] < stop


def test_a_character_that_several_tokens_spell_belongs_to_all_of_them() -> None:
    # é = C3 A9, 😀 = F0 9F 98 80
    token_map = align("é😀b", Pieces.of([b"\xc3", b"\xa9\xf0\x9f", b"\x98\x80b"]))

    assert token_map.byte_starts.tolist() == [0, 1, 4]
    assert token_map.byte_stops.tolist() == [1, 4, 7]
    assert token_map.offsets.tolist() == [[0, 1], [0, 2], [1, 3]]


def test_bytes_that_were_replaced_share_the_bytes_of_their_replacement() -> None:
    # E2 82 is one cut character, so one U+FFFD of three bytes; FF is one more
    token_map = align("a\ufffdb\ufffd", Pieces.of([b"a\xe2", b"\x82", b"b\xff"]))

    assert token_map.offsets.tolist() == [[0, 2], [1, 2], [2, 4]]
    assert token_map.byte_starts.tolist() == [0, 2, 4]
    assert token_map.byte_stops.tolist() == [2, 4, 8]


def test_a_replacement_character_that_was_really_written_aligns_too() -> None:
    token_map = align("\ufffd\ufffd", Pieces.of(["\ufffd".encode(), b"\xff"]))

    assert token_map.offsets.tolist() == [[0, 1], [1, 2]]


def test_a_character_cut_by_the_end_may_be_missing_in_the_text() -> None:
    token_map = align("ab", Pieces.of([b"a", b"b\xe2", b"\x82"]))

    assert token_map.offsets.tolist() == [[0, 1], [1, 2], [2, 2]]
    assert token_map.byte_stops.tolist() == [1, 2, 2]


def test_no_tokens_spell_the_empty_text() -> None:
    assert align("", Pieces.of([])).offsets.shape == (0, 2)


def test_ids_that_do_not_spell_the_text_are_refused_with_the_place() -> None:
    with pytest.raises(TokenError, match=r"part at character 2, token 1, near 'abXd'"):
        align("abXd", Pieces.of([b"ab", b"cd"]))
    with pytest.raises(TokenError, match="character 2"):
        align("abcd", Pieces.of([b"ab"]))
    with pytest.raises(TokenError, match="character 2"):
        align("ab", Pieces.of([b"ab", b"cd"]))
    with pytest.raises(TokenError, match="character 1"):
        align("a\udc01", Pieces.of([b"a", b"\xff"]))


@pytest.mark.parametrize("text", HARD)
def test_utf8_bytes_spell_any_text(text) -> None:
    tokenizer = Utf8Bytes()
    ids = tokenizer.encode(text)

    assert ids.tolist() == list(text.encode())
    check(align(text, tokenizer.pieces(ids)), text, len(ids))


def test_utf8_bytes_refuse_an_id_that_is_no_byte() -> None:
    with pytest.raises(TokenError, match="token 1: id 256 is no byte"):
        Utf8Bytes().pieces([65, 256])


def test_utf8_bytes_render_prompts_plainly() -> None:
    ids = Utf8Bytes().encode_prompt([Message("user", "2+2?")])

    assert bytes(ids.tolist()) == b"user: 2+2?\n\nassistant: "


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("text", HARD)
def test_encoded_texts_align_where_the_vocabulary_can_spell_them(name, text) -> None:
    tokenizer = FAST[name]
    ids = tokenizer.encode(text)
    shown = MODELS[name].decode(ids.tolist(), skip_special_tokens=False)
    if name == "byte-level":
        assert shown == text

    if "<unk>" not in shown:
        check(align(shown, tokenizer.pieces(ids)), shown, len(ids))


@settings(max_examples=150, deadline=None)
@given(text=st.text(min_size=1, max_size=60))
def test_byte_level_ids_spell_any_text(text) -> None:
    tokenizer = FAST["byte-level"]
    ids = tokenizer.encode(text)

    check(align(text, tokenizer.pieces(ids)), text, len(ids))


@pytest.mark.parametrize("name", ["byte-level", "spaced"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_random_ids_align_to_what_the_tokenizer_decodes_them_to(name, data) -> None:
    size = MODELS[name].get_vocab_size()
    ids = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=40))
    skip = data.draw(st.booleans())
    text = MODELS[name].decode(ids, skip_special_tokens=skip)

    token_map = align(text, FAST[name].pieces(ids))

    if text:
        check(token_map, text, len(ids))


def test_control_tokens_may_be_spelled_silent_or_both() -> None:
    special = np.array([False, True, False, True])
    plain = Pieces.of([b"ab", b"<e>", b"cd", b"<e>"])
    pieces = Pieces(plain.data, plain.lengths, special, plain.fallback)

    spelled = align("ab<e>cd<e>", pieces)
    silent = align("abcd", pieces)
    mixed = align("ab<e>cd", pieces)

    assert spelled.offsets.tolist() == [[0, 2], [2, 5], [5, 7], [7, 10]]
    assert silent.offsets.tolist() == [[0, 2], [2, 2], [2, 4], [4, 4]]
    assert mixed.offsets.tolist() == [[0, 2], [2, 5], [5, 7], [7, 7]]


def test_an_added_token_that_is_not_special_is_always_spelled() -> None:
    tokenizer = FAST["byte-level"]
    ids = tokenizer.encode("<think>42")
    end = MODELS["byte-level"].token_to_id("<|end|>")

    token_map = align("<think>42", tokenizer.pieces([*ids, end]))

    assert token_map.offsets[0].tolist() == [0, 7]
    assert token_map.offsets[-1].tolist() == [9, 9]


def test_an_identity_is_name_and_digest() -> None:
    tokenizer = Utf8Bytes()

    assert split_identity(identity(tokenizer)) == ("utf8-bytes", tokenizer.digest)
    assert split_identity("org/Model@v2@abc") == ("org/Model@v2", "abc")
    assert split_identity("bare") == ("bare", "")


def test_the_codec_handler_is_for_decoding_only() -> None:
    with pytest.raises(UnicodeEncodeError):
        "é".encode("ascii", "dca-mark")


def test_32_000_tokens_align_in_milliseconds() -> None:
    tokenizer = FAST["byte-level"]
    rng = np.random.default_rng(0)
    ids = tokenizer.encode(" ".join(rng.choice(CORPUS, 1500)))[:32_000]
    text = MODELS["byte-level"].decode(ids.tolist())
    assert len(ids) == 32_000
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        align(text, tokenizer.pieces(ids))
        times.append(time.perf_counter() - begin)

    assert min(times) < 0.1
