"""Write the review that a request asks for: pure and deterministic.

The form comes from the JSON schema of the request, or else from the example and the list of labels
in its instructions. Numbers and quotes come from the fenced reasoning in the question, so the
reply validates and every step can be placed.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

_REASONS = (
    "The product agrees with the earlier line, and the sum below rests on it",
    "This restates what the problem gives, and nothing later depends on it",
    "The total is taken up in the next step and carried into the final answer",
    "A second way of counting is tried here and dropped before it gives a result",
    "The sign is wrong in this line, and the error is carried on below",
    "The case left open above is closed here, and the argument needs it to hold",
    "This repeats what was reached before, and no later step takes it up",
    "The unknown is isolated here, which makes the next substitution possible",
)
_FINDING = (
    "The answer rests on the steps that carry the total forward, each of which was recomputed."
)
_APOLOGY = "I'm sorry, but I can't help with reviewing this text."
_PLAIN = "Yes."
_CLOSE = "</reasoning"
_LABELS = re.compile(r"(?:^- `[\w-]+`: .*\n?)+", re.MULTILINE)
_LABEL = re.compile(r"^- `([\w-]+)`: ", re.MULTILINE)
_EXAMPLE = re.compile(r'\{"(?:steps|reviews)": ')
_NUMBER = re.compile(r"\s*\[(\d+)\] ")
_MOST_STEPS = 12
_TEMPLATES = 64
_WORD = (1 << 60) - 1

Place = tuple[int, int] | tuple[str]
"""The first and the last unit, or the quote as a JSON string."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a reply must look like."""

    steps: tuple[str, ...]
    """Templates of one step, which differ in reason, label and confidence.

    ``{0}`` is the step's number, ``{1}`` its first unit or its quote, ``{2}`` its last unit.
    """
    top: tuple[tuple[str, str], ...]
    """The fields beside ``steps``, in order, and for unknown ones their JSON value."""
    kinds: tuple[str, ...]
    """Kinds of links, JSON strings."""
    verdicts: tuple[str, ...]
    """Values of ``soundness``, JSON strings."""
    quotes: bool
    """True: steps are named by quotes, else by units."""
    wrapper: str = ""
    """Name of the list that holds one reply for each fenced reasoning; empty: a single reply."""


def read_form(schema: bytes, system: str) -> Form | None:
    """Return the form of the reply, ``None`` when a request asks for no review."""
    if schema:
        return _from_schema(json.loads(schema))
    shown = _EXAMPLE.search(system)
    if shown is None:
        return None
    example, _ = json.JSONDecoder().raw_decode(system, shown.start())
    block = _LABELS.search(system)
    labels = _LABEL.findall(block[0]) if block else ["idle"]
    return _from_schema(_schema_like(example, labels))


def write_reply(form: Form | None, user: str, variety: int, *, misplaced: bool = False) -> str:
    """Return the reply to the question ``user``.

    Args:
        form: What ``read_form`` found.
        user: The question.
        variety: A number that decides labels, links and cuts.
        misplaced: Name units or words that do not exist.
    """
    if form is None:
        return _PLAIN
    fences = _fences(user)
    if not form.wrapper:
        return _review(form, fences[-1] if fences else "", variety, misplaced=misplaced)
    reviews = (
        _review(form, text, variety + number, number, misplaced=misplaced)
        for number, text in enumerate(fences, 1)
    )
    return f'{{"{form.wrapper}":[{",".join(reviews)}]}}'


def cut_json(text: str) -> str:
    """Return a reply that ends inside its JSON."""
    return text[: len(text) * 3 // 5]


def change_shape(text: str) -> str:
    """Return JSON of another shape."""
    return text.replace('"steps":', '"phases":')


def fence(text: str) -> str:
    """Return a reply in a code fence."""
    return f"```json\n{text}\n```"


def apologise(_: str) -> str:
    """Return a refusal in prose, whatever the reply."""
    return _APOLOGY


def _fences(user: str) -> list[str]:
    """Return the texts between the reasoning tags whose key the last closing tag carries."""
    last = user.rfind(_CLOSE)
    if last < 0:
        return []
    key = user[last + len(_CLOSE) : user.find(">", last)].rpartition("-")[2]
    found: list[str] = []
    at = last
    while at >= 0:
        name = user[at + 2 : user.find(">", at)]
        begin = user.rfind(f"<{name}>", 0, at)
        if begin >= 0 and name.endswith(key):
            found.append(user[begin + len(name) + 2 : at].strip("\n"))
            at = begin
        at = user.rfind(_CLOSE, 0, at)
    return found[::-1]


def _review(form: Form, text: str, variety: int, rollout: int = 1, *, misplaced: bool) -> str:
    """Return one review of one fenced text, the one numbered ``rollout``."""
    first, last = (1, 1) if form.quotes else _numbers(text)
    places = _quoted(text, variety) if form.quotes else _units(first, last, variety)
    if misplaced:
        places = [_misplace(place) for place in places]
    count = len(places)
    variety &= _WORD
    templates = form.steps
    steps = [
        templates[(variety >> 3 * n) % len(templates)].format(n, *place)
        for n, place in enumerate(places, 1)
    ]
    known: dict[str, str] = {
        "rollout": str(rollout),
        "steps": f"[{','.join(steps)}]",
        "links": f"[{','.join(_links(form.kinds, count, variety))}]",
        "covered_first": str(first),
        "covered_last": str(last),
        "covered": "true",
        "finding": f'"{_FINDING}"',
        "blame": str(variety % (count + 1)),
        "soundness": form.verdicts[variety % len(form.verdicts)],
    }
    fields = (f'"{name}":{known.get(name, value)}' for name, value in form.top)
    return f"{{{','.join(fields)}}}"


def _numbers(text: str) -> tuple[int, int]:
    """Return the numbers of the first and the last unit of a numbered text."""
    first = _NUMBER.match(text)
    last = _NUMBER.match(text, text.rfind("\n[") + 1)
    return (int(first[1]), int(last[1])) if first and last else (1, 1)


def _units(first: int, last: int, variety: int) -> list[Place]:
    """Return about ten ranges of units that cover all."""
    total = last - first + 1
    count = min(total, 8 + variety % (_MOST_STEPS - 7))
    edges = [first + at * total // count for at in range(count + 1)]
    return [(edges[at], edges[at + 1] - 1) for at in range(count)]


def _quoted(text: str, variety: int) -> list[Place]:
    """Return about ten quotes that cover all, long ones with their middle left out."""
    words = text.split(" ")
    count = min(len(words), 8 + variety % (_MOST_STEPS - 7))
    edges = [at * len(words) // count for at in range(count + 1)]
    quotes = (_quote(words[edges[at] : edges[at + 1]]) for at in range(count))
    return [(msgspec.json.encode(quote).decode(),) for quote in quotes if quote]


def _quote(words: Sequence[str]) -> str:
    if len(words) <= 40:
        return " ".join(words).strip()
    return f"{' '.join(words[:12]).strip()} [...] {' '.join(words[-12:]).strip()}"


def _misplace(place: Place) -> Place:
    """Return a place that is in no text."""
    if len(place) == 1:
        return ('"words that stand nowhere in the reasoning at all, zyx wvu tsr qpo"',)
    return place[0] + 1_000_000, place[1] + 1_000_000


def _links(kinds: Sequence[str], count: int, variety: int) -> list[str]:
    """Return up to six links, each from an earlier step to a later one."""
    made: list[str] = []
    for at in range(min(6, count - 1)):
        kind = kinds[(variety >> at) % len(kinds)]
        made.append(f'{{"from":{at + 1},"to":{at + 2},"kind":{kind}}}')
    return made


_SLOTS = {"n": "{0}", "first": "{1}", "quote": "{1}", "last": "{2}"}
_Schema = Mapping[str, Any]


def _from_schema(schema: _Schema) -> Form | None:
    """Return the form that a JSON schema describes, alone or as the items of a list."""
    fields = cast("_Schema", schema.get("properties", {}))
    if "steps" in fields:
        return _make(schema)
    for name, field in fields.items():
        inner = field.get("items", {})
        if "steps" in inner.get("properties", {}):
            return _make(inner, wrapper=name)
    return None


def _make(schema: _Schema, wrapper: str = "") -> Form:
    fields = schema["properties"]
    step = fields["steps"]["items"]["properties"]
    link = fields.get("links", {}).get("items", {}).get("properties", {})
    return Form(
        tuple(_step_template(step, at) for at in range(_TEMPLATES)),
        tuple((name, _any(field)) for name, field in fields.items()),
        _choices(link.get("kind"), "uses"),
        _choices(fields.get("soundness"), "unsure"),
        "quote" in step,
        wrapper,
    )


def _step_template(step: _Schema, at: int) -> str:
    """Return the template number ``at`` of one step."""
    labels, confidences = (
        _choices(step.get("label"), "idle"),
        _choices(step.get("confidence"), 0.9),
    )
    said = {
        "reason": json.dumps(_REASONS[at % len(_REASONS)]),
        "label": labels[at // 8 % len(labels)],
        "confidence": confidences[at % len(confidences)],
    }
    fields = (
        f'"{name}":{_SLOTS.get(name) or _braced(said.get(name) or _any(field))}'
        for name, field in step.items()
    )
    return f"{{{{{','.join(fields)}}}}}"


def _braced(value: str) -> str:
    """Return ``value`` so that ``str.format`` gives it back."""
    return value.replace("{", "{{").replace("}", "}}")


def _choices(field: _Schema | None, default: object) -> tuple[str, ...]:
    """Return the JSON values that an enumeration offers."""
    return tuple(json.dumps(value) for value in (field or {}).get("enum", [default]))


_EMPTY: Mapping[str, Callable[[_Schema], object]] = {
    "integer": lambda _: 1,
    "number": lambda _: 0.5,
    "boolean": lambda _: True,
    "string": lambda _: "...",
    "array": lambda _: cast("list[object]", []),
    "null": lambda _: None,
    "object": lambda field: {
        name: json.loads(_any(inner)) for name, inner in field.get("properties", {}).items()
    },
}


def _any(field: _Schema) -> str:
    """Return some JSON value that ``field`` allows."""
    if "enum" in field:
        return json.dumps(field["enum"][0])
    return json.dumps(_EMPTY[field.get("type", "null")](field))


def _schema_like(example: Mapping[str, Any], labels: Sequence[str]) -> _Schema:
    """Return the schema that an example of a reply suggests."""
    described = cast("dict[str, Any]", _described(example))
    review = described["properties"]
    if "reviews" in review:
        review = review["reviews"]["items"]["properties"]
    review["steps"]["items"]["properties"]["label"] = {"enum": list(labels)}
    if "soundness" in review:
        review["soundness"] = {"enum": ["sound", "unsound", "unsure"]}
    return described


def _described(value: object) -> object:
    match value:
        case dict():
            items = cast("dict[str, object]", value).items()
            fields = {name: _described(inner) for name, inner in items}
            return {"type": "object", "properties": fields}
        case list():
            return {"type": "array", "items": _described(cast("list[object]", value)[0])}
        case _:
            return {"enum": [value]}
