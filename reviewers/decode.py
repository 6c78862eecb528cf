"""Find the one JSON object in a reply: pure.

Repaired is only what has one reading: a code fence or prose around the object, a leading block
of ``<think>`` text, raw control characters inside strings, and a comma before a closing bracket.
Everything else that is no single JSON object makes the whole reply invalid.
"""

import json
import re
from collections.abc import Iterator
from typing import NoReturn, cast

from dca.domain.errors import ReplyInvalid, ReplyTruncated, ReviewerRefused, ReviewError

_THINKING = re.compile(r"\A\s*<(think|thinking)>.*?</\1>", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|"|[{}\[\]]', re.DOTALL)
_LAST_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_REFUSAL = re.compile(
    r"\W*(?:i(?: am|['’]m) (?:very |so |really )?sorry|sorry|i apologi[sz]e"
    r"|i (?:cannot|can['’]?t|won['’]?t)"
    r"|i(?: am|['’]m) (?:unable|not able)|i must decline)\b",
    re.IGNORECASE,
)
_REFUSAL_LENGTH = 800
"""Longer prose than this is no mere refusal."""

_OBJECTS = 200
"""Opening braces that are tried as the beginning of the object."""


def decode_object(raw: str) -> dict[str, object]:
    """Return the JSON object with ``steps`` that ``raw`` holds.

    Raises:
        ReplyInvalid: No such object, several different ones, or a key given twice.
        ReplyTruncated: The text ends inside the object.
        ReviewerRefused: Nothing but a short apology.
    """
    text = _THINKING.sub("", raw).strip()
    for attempt in (text, _LAST_COMMA.sub(lambda match: match[1] or "", text)):
        found = [item for item in _objects(attempt) if "steps" in item]
        if found and all(item == found[0] for item in found[1:]):
            return found[0]
        if found:
            raise ReplyInvalid(f"the reply holds {len(found)} different answers")
    raise _nothing(text)


def _nothing(text: str) -> ReviewError:
    """Return the error for a reply without an answer."""
    if not text:
        return ReplyInvalid("the reply is empty")
    begin = text.find("{")
    if begin < 0 and len(text) <= _REFUSAL_LENGTH and _REFUSAL.match(text):
        return ReviewerRefused("the model declined in prose")
    if begin >= 0 and _unclosed(text[begin:]):
        return ReplyTruncated("the reply ends inside its JSON object")
    return ReplyInvalid("the reply holds no JSON object with steps")


def _unclosed(text: str) -> bool:
    """Tell whether brackets or a string are still open at the end of ``text``."""
    depth = 0
    for piece in _TOKEN.findall(text):
        if piece == '"':
            return True
        depth += (piece in "{[") - (piece in "}]")
    return depth > 0


def _objects(text: str) -> Iterator[dict[str, object]]:
    """Yield every JSON object that stands on its own in ``text``, outermost ones only."""
    decoder = json.JSONDecoder(
        strict=False, object_pairs_hook=_unique, parse_constant=_refuse_constant
    )
    at = text.find("{")
    for _ in range(_OBJECTS):
        if at < 0:
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        yield cast("dict[str, object]", value)
        at = text.find("{", at)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build an object; a key given twice has no single reading."""
    item = dict(pairs)
    if len(item) < len(pairs):
        raise ValueError("a key is given twice")
    return item


def _refuse_constant(name: str) -> NoReturn:
    """Refuse ``NaN`` and the infinities, which are no JSON."""
    raise ValueError(name)
