"""Find the one JSON object in a reply: pure.

Repaired is only what has one reading: a code fence or prose around the object, a leading block
of ``<think>`` text, raw control characters inside strings, and a comma before a closing bracket.
Everything else that is no single JSON object makes the whole reply invalid. It is truncated when
its last object is sound JSON as far as it goes and the reply ends inside it: an opening brace
that nothing closes is not enough.
"""

import json
import re
from collections.abc import Iterator
from typing import NoReturn, cast

import msgspec

from dca.domain.errors import ReplyInvalid, ReplyTruncated, ReviewerRefused, ReviewError

_THINKING = re.compile(r"\A\s*<(think|thinking)>.*?</\1>", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|"|[{}\[\]]', re.DOTALL)
_BEGUN = re.compile(r"|-|\.|[.0-9]*[eE][-+]?|t|tr|tru|f|fa|fal|fals|n|nu|nul|\\?u[0-9a-fA-F]{0,4}")
"""What a cut leaves of a number, a word or an escape from the point where a decoder stops."""
_LAST_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_KEY = re.compile(r'"\s*:')
"""After every key; a quote inside a string may make it match once too often, never too seldom."""
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


def decode_object(raw: str, key: str = "steps") -> dict[str, object]:
    """Return the JSON object with ``key`` that ``raw`` holds.

    Raises:
        ReplyInvalid: No such object, several different ones, or a key given twice.
        ReplyTruncated: The text ends inside the object.
        ReviewerRefused: Nothing but a short apology.
    """
    text = _THINKING.sub("", raw).strip()
    plain = _plain(text, key)
    if plain is not None:
        return plain
    attempts = (text, _LAST_COMMA.sub(lambda match: match[1] or "", text))
    for attempt in attempts:
        found = [item for item in _objects(attempt) if key in item]
        if found and all(item == found[0] for item in found[1:]):
            return found[0]
        if found:
            raise ReplyInvalid(f"the reply holds {len(found)} different answers")
    if any(_is_cut(attempt) for attempt in attempts):
        raise ReplyTruncated("the reply ends inside its JSON object")
    raise _nothing(text, key)


def _plain(text: str, key: str) -> dict[str, object] | None:
    """Return the answer of a reply that is nothing but one object without any defect.

    Nearly every reply is. A compiled decoder reads it several times as fast as the search for
    what is damaged; it cannot see a key that is given twice, so the keys are counted.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    if not isinstance(value, dict) or key not in value:
        return None
    answer = cast("dict[str, object]", value)
    keys = _count_keys(answer)
    # Every key has its colon, so as many colons as keys leave none for a key given twice. Only
    # where strings hold colons too must the keys be looked for.
    once = text.count(":") == keys or len(_KEY.findall(text)) == keys
    return answer if once else None


def _count_keys(answer: dict[str, object]) -> int:
    """Return the number of keys of ``answer`` and of the objects in its lists.

    A key deeper down is found in the text and not counted here: such a reply goes the slow way.
    """
    keys = len(answer)
    for values in answer.values():
        if isinstance(values, list):
            for item in cast("list[object]", values):
                if isinstance(item, dict):
                    keys += len(cast("dict[str, object]", item))
    return keys


def _nothing(text: str, key: str) -> ReviewError:
    """Return the error for a whole reply without an answer."""
    if not text:
        return ReplyInvalid("the reply is empty")
    if "{" not in text and len(text) <= _REFUSAL_LENGTH and _REFUSAL.match(text):
        return ReviewerRefused("the model declined in prose")
    return ReplyInvalid(f"the reply holds no JSON object with {key}")


def _is_cut(text: str) -> bool:
    """Tell whether ``text`` ends inside a JSON object that is sound as far as it goes."""
    begin = _left_open(text)
    if begin < 0:
        return False
    try:
        json.JSONDecoder(strict=False).raw_decode(text, begin)
    except json.JSONDecodeError as error:
        in_string = error.msg.startswith("Unterminated string")
        return in_string or _BEGUN.fullmatch(text, error.pos) is not None
    except (ValueError, RecursionError):
        pass  # a number or a nesting that no decoder takes is damage, not a cut
    return False


def _left_open(text: str) -> int:
    """Return where the outermost object that nothing closes begins; -1 when all are closed."""
    opened: list[int] = []
    for piece in _TOKEN.finditer(text, max(text.find("{"), 0)):
        if piece[0] == '"':
            break  # what follows is inside a string that does not end
        if piece[0] in "{[":
            opened.append(piece.start())
        elif piece[0] in "}]" and opened:
            opened.pop()
    return opened[0] if opened and text[opened[0]] == "{" else -1


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
