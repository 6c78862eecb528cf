"""Conversations: reasoning joined to its answer, broken messages refused."""

import json

import pytest

from dca.domain.errors import BadRecord
from dca.domain.rollout import Message
from dca.formats.messages import prompt_turns, split_turns, written

USER = {"role": "user", "content": "What is 1+1?"}
ASSISTANT = {"role": "assistant", "content": "It is 2."}


def test_reasoning_is_joined_once_and_left_open_without_an_answer():
    assert written({"content": "<think>a</think>b", "reasoning": "a"}) == "<think>a</think>b"
    assert written({"content": None, "reasoning_content": "cut"}) == "<think>\ncut"
    assert written({"content": "b", "reasoning": {"not": "text"}}) == "b"
    assert written({"content": "b", "reasoning": "a"}, ("[T]", "[/T]")) == "[T]\na\n[/T]\n\nb"


def test_messages_may_be_json_text_and_broken_ones_are_refused():
    text = json.dumps([USER, ASSISTANT])
    assert split_turns("m", text) == ((Message("user", "What is 1+1?"),), "It is 2.", 0)
    assert prompt_turns("p", "plain") == (Message("user", "plain"),)
    for value, message in [
        ("[oops", "no JSON list"),
        ([], "list of messages"),
        (7, "list of messages"),
        ([{"content": "x"}], "role and content"),
        ([{"role": 1, "content": "x"}, ASSISTANT], "role in p must be text"),
        ([{"role": "user", "content": 5}, ASSISTANT], "text or a list of parts"),
        ([{"role": "user", "content": [5]}, ASSISTANT], "no object"),
    ]:
        with pytest.raises(BadRecord, match=message):
            split_turns("p", value)
