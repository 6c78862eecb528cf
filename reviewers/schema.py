"""What a reply must look like: two protocols, one JSON schema each.

The schemas stay inside the subset that strict structured output accepts everywhere: every
field required, no additional properties, no numeric bounds, no array bounds, and enumerations
instead of ranges. They do not depend on the rollout, so a provider compiles each one once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dca.domain.labels import LabelSet
from dca.domain.review import LinkKind, Soundness

CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""The confidences that a schema offers: an enumeration cannot run on to the length limit."""

REASON_LIMIT = 300
"""Code points of a reason in the schema; ``FINDING_LIMIT`` those of the finding."""

FINDING_LIMIT = 400

_REPEAT = 100
"""Both limits are multiples of it: xgrammar cannot compile a repetition of more than 128."""


class ReplyProtocol(StrEnum):
    """How a reply names a stretch of text."""

    UNITS = "units"
    """By the numbers of small units shown in the question: nothing can be misquoted."""
    QUOTES = "quotes"
    """By quoting: any stretch can be named, and the quote must be found again."""


class Outcome(StrEnum):
    """What the reviewer is told about the final answer."""

    FAILED = "failed"
    """Asks for blame."""
    SUCCEEDED = "succeeded"
    """Asks for soundness."""
    UNKNOWN = "unknown"
    """Not known, or not told; asks for both."""

    @property
    def asks_blame(self) -> bool:
        """True when the reply holds ``blame``."""
        return self is not Outcome.SUCCEEDED

    @property
    def asks_soundness(self) -> bool:
        """True when the reply holds ``soundness``."""
        return self is not Outcome.FAILED


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """Everything that decides what a reply may hold."""

    protocol: ReplyProtocol
    outcome: Outcome
    labels: LabelSet
    terse: bool = False
    """True: labels only, without reasons, confidences and finding."""
    together: bool = False
    """True: several reviews in one reply, each with the number of its rollout."""


def reply_schema(form: ReplyForm, *, bounded: bool) -> dict[str, object]:
    """Return the JSON schema of a reply.

    Args:
        form: Protocol, outcome and labels.
        bounded: Bound free strings by ``pattern``. Grammar-constrained servers need it, because
            a weak model can run on inside a string to the length limit, and because one common
            engine lets raw control characters through where ``maxLength`` is set. Providers
            that know no ``pattern`` take the schema without.
    """
    review = _review(form, bounded=bounded)
    if not form.together:
        return _object(review)
    return _object({"reviews": _array(_object({"rollout": _INTEGER, **review}))})


def reply_example(form: ReplyForm) -> dict[str, object]:
    """Return one reply of the form, with invented values, to show in the question."""
    if not form.together:
        return _example(form)
    return {"reviews": [{"rollout": number, **_example(form)} for number in (1, 2)]}


def _example(form: ReplyForm) -> dict[str, object]:
    """Return one review."""
    in_units = form.protocol is ReplyProtocol.UNITS
    places: tuple[dict[str, object], ...] = (
        ({"first": 1, "last": 2}, {"first": 3, "last": 3})
        if in_units
        else ({"quote": "first words [...] last words"}, {"quote": "a short step"})
    )
    keys = form.labels.keys
    reason, sure = ({}, {}) if form.terse else ({"reason": "..."}, {"confidence": 0.9})
    steps = [
        {"n": n, **place, **reason, "label": label, **sure}
        for n, place, label in zip((1, 2), places, (keys[0], keys[-1]), strict=True)
    ]
    return {
        "steps": steps,
        "links": [{"from": 1, "to": 2, "kind": LinkKind.USES.value}],
        **({"covered_first": 1, "covered_last": 9} if in_units else {"covered": True}),
        **({} if form.terse else {"finding": "..."}),
        **({"blame": 0} if form.outcome.asks_blame else {}),
        **({"soundness": Soundness.UNSURE.value} if form.outcome.asks_soundness else {}),
    }


_INTEGER: Mapping[str, object] = {"type": "integer"}


def _review(form: ReplyForm, *, bounded: bool) -> dict[str, object]:
    """Return the fields of one review."""
    finding = {} if form.terse else {"finding": _text(FINDING_LIMIT, bounded=bounded)}
    return {
        "steps": _array(_step(form, bounded=bounded)),
        "links": _array(_link()),
        **_covered(form.protocol),
        **finding,
        **({"blame": _INTEGER} if form.outcome.asks_blame else {}),
        **({"soundness": _choice(Soundness)} if form.outcome.asks_soundness else {}),
    }


def _step(form: ReplyForm, *, bounded: bool) -> dict[str, object]:
    place: dict[str, object] = (
        {"first": _INTEGER, "last": _INTEGER}
        if form.protocol is ReplyProtocol.UNITS
        # No pattern: a quote must be able to hold quotation marks and backslashes, and engines
        # differ on whether a pattern speaks of the string or of its escaped form.
        else {"quote": {"type": "string"}}
    )
    label: dict[str, object] = {"label": {"type": "string", "enum": list(form.labels.keys)}}
    if form.terse:
        return _object({"n": _INTEGER, **place, **label})
    return _object(
        {
            "n": _INTEGER,
            **place,
            "reason": _text(REASON_LIMIT, bounded=bounded),
            **label,
            "confidence": {"type": "number", "enum": list(CONFIDENCES)},
        }
    )


def _link() -> dict[str, object]:
    return _object({"from": _INTEGER, "to": _INTEGER, "kind": _choice(LinkKind)})


def _covered(protocol: ReplyProtocol) -> dict[str, object]:
    if protocol is ReplyProtocol.UNITS:
        return {"covered_first": _INTEGER, "covered_last": _INTEGER}
    return {"covered": {"type": "boolean"}}


def _object(properties: Mapping[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(items: object) -> dict[str, object]:
    return {"type": "array", "items": items}


def _choice(values: type[StrEnum]) -> dict[str, object]:
    return {"type": "string", "enum": [value.value for value in values]}


def _text(limit: int, *, bounded: bool) -> dict[str, object]:
    """Return the schema of a free string; the pattern allows nothing that JSON must escape."""
    if not bounded:
        return {"type": "string"}
    plain = r'[^"\\\x00-\x1f]'
    more = limit // _REPEAT - 1
    pattern = f"^({plain}{{{_REPEAT}}}){{0,{more}}}{plain}{{0,{_REPEAT}}}$"
    return {"type": "string", "pattern": pattern}
