import json
from array import array

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.codecs import from_blob, from_json, from_raw, storable, to_blob, to_json, to_raw

any_text = st.text(st.characters(), max_size=50)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_json_comes_back_whatever_the_text(value):
    text = to_json(value)

    assert from_json(text) == value
    assert json.loads(text) == value
    assert "\x00" not in text
    text.encode()


def test_json_is_compact_and_sorted_and_the_same_with_lone_surrogates():
    assert to_json({"b": [1, None], "a": "é"}) == '{"a":"é","b":[1,null]}'
    assert to_json({"b": "\ud800", "a": 1}) == '{"a":1,"b":"\\ud800"}'


def test_json_that_is_broken_is_an_error():
    with pytest.raises(json.JSONDecodeError):
        from_json('{"a":')
    with pytest.raises(TypeError):
        to_json(object())
    assert issubclass(msgspec.DecodeError, Exception)


@given(any_text)
def test_raw_text_comes_back_whatever_it_holds(text):
    assert from_raw(to_raw(text)) == text


@given(any_text)
def test_storable_text_is_utf_8_without_nul_and_leaves_all_other_text_alone(text):
    kept = storable(text)

    assert "\x00" not in kept
    kept.encode()
    harmless = "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
    assert (kept == text) is harmless


def test_what_no_database_holds_becomes_a_visible_escape():
    assert storable("a\x00b") == r"a\x00b"
    assert storable("é\udcff\x00") == r"é\udcff\x00"


def test_arrays_are_little_endian_blobs():
    assert to_blob(array("i", [1, -2]), "i") == b"\x01\0\0\0\xfe\xff\xff\xff"
    assert to_blob(array("f", [0.5]), "f") == b"\0\0\0\x3f"
    assert to_blob(array("h", [1]), "i") == b"\x01\0\0\0"
    assert to_blob(array("i"), "i") == b""
    assert to_blob(None, "i") is None


def test_blobs_come_back_as_arrays():
    assert from_blob(b"\x01\0\0\0\xfe\xff\xff\xff", "i") == array("i", [1, -2])
    assert from_blob(b"", "f") == array("f")
    assert from_blob(None, "f") is None
