"""Chat JSONL: a list ``messages`` whose last assistant turn is the completion.

A turn's ``reasoning_content`` or ``reasoning`` is written before its answer, between think tags,
see ``dca.formats.messages.written``; the rollout's think span covers it.
"""

from collections.abc import Mapping

from dca.domain.errors import BadRecord
from dca.formats.draft import (
    Draft,
    Fields,
    Format,
    Reader,
    ReadOptions,
    first_columns,
    take,
    take_common,
)
from dca.formats.messages import split_turns
from dca.formats.plain import ALIASES, with_facts
from dca.formats.row import Sample


def _detect(sample: Sample) -> str:
    if not any(isinstance(row.fields.get("messages"), list) for row in sample.rows):
        return ""
    return "a column 'messages' that holds lists"


def _reader(sample: Sample, options: ReadOptions) -> Reader:
    def read(fields: Fields) -> Draft:
        if fields.get("messages") is None:
            raise BadRecord("messages is missing")
        given, completion, later = split_turns(
            "messages", fields.pop("messages"), options.think_tags
        )
        facts: Mapping[str, object] = {
            fact: take(fields, *names)
            for fact, names in ALIASES.items()
            if fact not in ("prompt", "completion", "reasoning")
        }
        draft = with_facts(Draft(given, completion), facts)
        if later:
            draft.meta["later_turns"] = later
        return take_common(draft, fields)

    return read


def _facts(sample: Sample) -> dict[str, str]:
    return first_columns(sample, ALIASES)


CHAT = Format("chat", _detect, _reader, needs=(("messages",),), facts=_facts)
