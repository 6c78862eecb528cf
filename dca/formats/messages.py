"""Conversations: turns of a prompt, the completion among them, reasoning kept apart from it."""

import json
from collections.abc import Mapping
from typing import cast

from dca.domain.errors import BadRecord
from dca.domain.rollout import Message
from dca.formats.fields import json_value, text
from dca.formats.marks import THINK_TAGS


def prompt_turns(name: str, value: object) -> tuple[Message, ...]:
    """Return a prompt as turns; a plain text is one user turn."""
    if isinstance(value, str):
        return (Message("user", value),)
    return tuple(_turn(name, item) for item in _turns(name, value))


def split_turns(
    name: str, value: object, tags: tuple[str, str] = THINK_TAGS
) -> tuple[tuple[Message, ...], str, int]:
    """Return what the policy was given, what it wrote last, and how many turns came after.

    The last assistant turn is the completion; the turns before it belong to the prompt, also
    those that the policy wrote in earlier steps of a conversation with tools. Turns after it
    are no part of the rollout and only counted.
    """
    turns = _turns(name, value)
    spoken = [place for place, item in enumerate(turns) if item.get("role") == "assistant"]
    if not spoken:
        raise BadRecord(f"{name} holds no assistant turn")
    last = spoken[-1]
    given = tuple(_turn(name, item) for item in turns[:last])
    return given, written(turns[last], tags), len(turns) - last - 1


def written(turn: Mapping[str, object], tags: tuple[str, str] = THINK_TAGS) -> str:
    r"""Return an assistant turn as one text: the reasoning between think tags, then the answer.

    Servers that keep the reasoning apart (``reasoning_content``, ``reasoning``) have cut the tags
    away; they are put back as ``<think>\nreasoning\n</think>\n\nanswer``. Without an answer
    the closing tag is left out, because the thought never ended.
    """
    content = _content("content", turn.get("content"))
    reasoning = turn.get("reasoning_content") or turn.get("reasoning")
    if not isinstance(reasoning, str) or not reasoning or tags[1] in content:
        return content
    opened = f"{tags[0]}\n{reasoning}"
    return f"{opened}\n{tags[1]}\n\n{content}" if content else opened


def _turns(name: str, value: object) -> list[Mapping[str, object]]:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise BadRecord(f"{name} is a text that is no JSON list") from None
    if not isinstance(value, list) or not value:
        raise BadRecord(f"{name} must be a list of messages")
    turns = cast(list[object], value)
    if not all(isinstance(item, Mapping) and "role" in item for item in turns):
        raise BadRecord(f"{name} must hold objects with role and content")
    return cast(list[Mapping[str, object]], turns)


def _turn(name: str, turn: Mapping[str, object]) -> Message:
    role = text(f"role in {name}", turn.get("role"))
    words = written(turn) if role == "assistant" else _content(name, turn.get("content"))
    calls = turn.get("tool_calls")
    if calls:
        words += ("\n" if words else "") + json.dumps(json_value(calls), ensure_ascii=False)
    return Message(role, words)


def _content(name: str, content: object) -> str:
    """Return content as text; a part that is no text becomes its type in brackets."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRecord(f"content in {name} must be text or a list of parts")
    return "".join(_part(name, part) for part in cast(list[object], content))


def _part(name: str, part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise BadRecord(f"content in {name} holds a part that is no object")
    found = cast(Mapping[str, object], part)
    words = found.get("text")
    return words if isinstance(words, str) else f"[{found.get('type', 'part')}]"
