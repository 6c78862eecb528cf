"""Values of one record, checked for type: a wrong one makes the record a reject, never a guess."""

import json
import math
from array import array
from collections.abc import Mapping
from typing import cast

from dca.domain.errors import BadRecord

MAX_INT = 2**31 - 1
"""Largest token id and training step."""

_names: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def _wrong(name: str, wanted: str, value: object) -> BadRecord:
    found = _names.get(type(value), type(value).__name__)
    return BadRecord(f"{name} must be {wanted}, is {found}")


def text(name: str, value: object) -> str:
    """Return a text; anything else is a fault."""
    if isinstance(value, str):
        return value
    raise _wrong(name, "text", value)


def label(name: str, value: object) -> str:
    """Return a name (id, group, task, model): text, or a whole number written out."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _wrong(name, "text or a whole number", value)


def truth(value: object) -> str:
    """Return a reference answer as text: numbers as written, lists and objects as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(name: str, value: object) -> float | None:
    """Return a finite number; true is 1, NaN is unknown; text counts only if it is a number."""
    if isinstance(value, str):
        value = _number_from_text(name, value)
    if not isinstance(value, (int, float)):
        raise _wrong(name, "a number", value)
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        raise BadRecord(f"{name} is not finite")
    return None if math.isnan(value) else value


def _number_from_text(name: str, value: str) -> float:
    truths = {"true": 1.0, "false": 0.0}
    word = value.strip().lower()
    try:
        return truths[word] if word in truths else float(word)
    except ValueError:
        raise BadRecord(f"{name} must be a number, is the text {value[:40]!r}") from None


def whole(name: str, value: object) -> int:
    """Return a whole number."""
    found = number(name, value)
    if found is None or found != int(found):
        raise BadRecord(f"{name} must be a whole number, is {value!r}")
    return int(found)


def truth_value(name: str, value: object) -> bool:
    """Return true or false; 1 and 0 count."""
    found = number(name, value)
    if found not in (0.0, 1.0):
        raise BadRecord(f"{name} must be true or false, is {value!r}")
    return found == 1.0


def items(name: str, value: object) -> list[object]:
    """Return a list; the text of a JSON list counts, because CSV knows no lists."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise BadRecord(f"{name} is a text that is no JSON list") from None
    if not isinstance(value, list):
        raise _wrong(name, "a list", value)
    return cast(list[object], value)


def token_ids(name: str, value: object) -> "array[int]":
    """Return token ids, typecode ``i``, each in [0, 2^31)."""
    try:
        ids = array("i", cast(list[int], items(name, value)))
    except (TypeError, OverflowError):
        raise BadRecord(f"{name} must hold whole numbers below 2^31") from None
    if ids and min(ids) < 0:
        raise BadRecord(f"{name} holds the negative id {min(ids)}")
    return ids


def log_probabilities(name: str, value: object) -> "array[float]":
    """Return natural logarithms of probabilities, typecode ``f``, each finite and <= 0.

    Rounding leaves some a little above 0; those are set to 0.
    """
    try:
        values = array("f", cast(list[float], items(name, value)))
    except TypeError:
        raise BadRecord(f"{name} must hold numbers") from None
    if not all(map(math.isfinite, values)):
        raise BadRecord(f"{name} holds a value that is not finite")
    if values and max(values) > 0:
        if max(values) > 1e-3:
            raise BadRecord(f"{name} holds {max(values):.4g}; a log-probability is at most 0")
        return array("f", (min(item, 0.0) for item in values))
    return values


def offsets(name: str, value: object) -> "array[int]":
    """Return code point ranges of tokens as flat pairs, typecode ``i``.

    Accepts pairs, objects with ``start`` and ``end`` (or ``stop``), and flat lists. Whether they
    fit the text is for ``dca.formats.places`` to tell.
    """
    flat: list[object] = []
    for item in items(name, value):
        if isinstance(item, Mapping):
            pair = cast(Mapping[str, object], item)
            flat += [pair.get("start"), pair.get("end", pair.get("stop"))]
        elif isinstance(item, list):
            flat += cast(list[object], item)
        else:
            flat.append(item)
    found = token_ids(name, flat)
    if len(found) % 2:
        raise BadRecord(f"{name} must be pairs, are {len(found)} numbers")
    return found


def json_value(value: object) -> object:
    """Return a value as JSON can hold it: NaN and infinity as null, other types as text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        pairs = cast(Mapping[object, object], value).items()
        return {str(key): json_value(item) for key, item in pairs}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in cast(list[object], value)]
    return str(value)


def check_text(name: str, value: object) -> None:
    """Refuse NUL and lone surrogates anywhere in a JSON value: no database holds them."""
    if isinstance(value, str):
        if "\0" in value:
            raise BadRecord(f"{name} holds a NUL character")
        if not value.isascii():
            _check_surrogates(name, value)
    elif isinstance(value, Mapping):
        for key, item in cast(Mapping[str, object], value).items():
            check_text(name, key)
            check_text(name, item)
    elif isinstance(value, list):
        for item in cast(list[object], value):
            check_text(name, item)


def _check_surrogates(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        place = error.start
        raise BadRecord(f"{name} holds a lone surrogate at code point {place}") from None
