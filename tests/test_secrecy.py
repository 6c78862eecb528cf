"""A key in every form in which a server could send it back."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewers.responses import LONGEST_MESSAGE, LONGEST_READ, redact
from reviewers.secrecy import forms, hide

KEY = 'sk-li+ve/01 "23=Ab~é'


SENT = (
    KEY,
    json.dumps({"key": KEY}),
    json.dumps({"key": KEY}, ensure_ascii=False),
    json.dumps({"key": KEY}).replace("/", "\\/"),
    quote(KEY),
    quote(KEY, safe=""),
    quote_plus(KEY),
    "sk-li%2bve%2f01%20%2223%3dAb~%c3%a9",
    base64.b64encode(KEY.encode()).decode(),
    base64.urlsafe_b64encode(KEY.encode()).decode(),
    base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    base64.b64encode(f":{KEY}".encode()).decode(),
    base64.b64encode(f"user:{KEY} and more".encode()).decode(),
)
"""What servers, gateways and logs make of a key."""


@pytest.mark.parametrize("sent", dict.fromkeys(SENT))
def test_no_form_of_the_key_is_left(sent: str):
    shown = hide(f"before {sent} after", KEY)

    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "***" in shown
    # What stood beside the key is left, and of the key too little to matter.
    kept = shown.removeprefix("before ").removesuffix(" after").replace("***", "")
    assert kept in {"", '{"key": ""}'} or len(kept) < len(sent) // 2


@given(st.binary(max_size=20), st.binary(max_size=20), st.text(min_size=8, max_size=60))
def test_base64_around_a_key_gives_nothing_of_it_away(before: bytes, after: bytes, key: str):
    raw = key.encode("utf-8", "surrogatepass")
    shown = hide(base64.b64encode(before + raw + after).decode(), key)

    assert "***" in shown


def test_a_placeholder_is_no_secret():
    assert forms("") == forms("EMPTY") == ()
    assert hide('{"a": "EMPTY"}', "EMPTY") == '{"a": "EMPTY"}'


def test_a_key_that_is_cut_at_the_end_of_a_long_error_is_never_shown():
    key = "sk-0123456789abcdef"
    for length in range(1, LONGEST_READ // len(key) + 2, 97):
        shown = redact((key * length).encode(), key)
        assert "0123" not in shown
        assert len(shown) <= LONGEST_MESSAGE
    assert "0123" not in redact("x" * (LONGEST_READ - 5) + key, key)
