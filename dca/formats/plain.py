"""Plain tables: one column per fact, under the names that people use.

Which column is which is told by the table ``ALIASES``, or by ``--map``, which renames columns
before any format sees them.
"""

from collections.abc import Mapping

from dca.domain.errors import BadRecord
from dca.domain.rollout import Message
from dca.formats.draft import (
    Draft,
    Fields,
    Format,
    Reader,
    ReadOptions,
    first_columns,
    optional_label,
    optional_number,
    optional_step,
    optional_truth,
    take_common,
)
from dca.formats.fields import text
from dca.formats.messages import prompt_turns, split_turns, written
from dca.formats.row import Sample

ALIASES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "problem", "instruction", "input"),
    "completion": ("completion", "response", "output", "generation", "text", "solution"),
    "reasoning": ("reasoning_content",),
    "reward": ("reward", "score", "is_correct", "correct"),
    "rewards": ("rewards",),
    "group": ("group", "group_id", "prompt_id", "question_id", "qid"),
    "task": ("task", "dataset", "data_source"),
    "model": ("model", "policy"),
    "step": ("step", "global_step"),
    "truth": ("truth", "ground_truth", "gold", "reference", "target", "answer"),
    "id": ("id", "rollout_id", "sample_id", "uid"),
}
"""Fact to column names, the first that is there counts."""


def resolve(columns: tuple[str, ...]) -> dict[str, str]:
    """Return fact to column for the columns of a record."""
    found = {
        fact: next((name for name in names if name in columns), None)
        for fact, names in ALIASES.items()
    }
    return {fact: column for fact, column in found.items() if column is not None}


def _detect(sample: Sample) -> str:
    found = [resolve(tuple(row.fields)) for row in sample.rows]
    if not any("prompt" in facts and "completion" in facts for facts in found):
        return ""
    facts = resolve(sample.columns)
    return f"columns {facts['prompt']!r} and {facts['completion']!r}"


def _reader(sample: Sample, options: ReadOptions) -> Reader:
    known: dict[tuple[str, ...], dict[str, str]] = {}

    def read(fields: Fields) -> Draft:
        columns = tuple(fields)
        if columns not in known:
            known[columns] = resolve(columns)
        taken = {fact: fields.pop(column) for fact, column in known[columns].items()}
        return _draft(taken, fields, options)

    return read


def _draft(taken: Mapping[str, object], fields: Fields, options: ReadOptions) -> Draft:
    for fact in ("prompt", "completion"):
        if taken.get(fact) is None:
            raise BadRecord(f"{fact} is missing")
    prompt = prompt_turns("prompt", taken["prompt"])
    given, completion = completion_text(taken["completion"], options)
    if taken.get("reasoning") is not None:
        turn = {"content": completion, "reasoning": text("reasoning", taken["reasoning"])}
        completion = written(turn, options.think_tags)
    draft = Draft(prompt + given, completion, group_prompt=prompt)
    return take_common(with_facts(draft, taken), fields)


def with_facts(draft: Draft, facts: Mapping[str, object]) -> Draft:
    """Fill in everything of ``ALIASES`` but the texts."""
    draft.source_id = optional_label("id", facts.get("id"))
    draft.group = optional_label("group", facts.get("group"))
    draft.task = optional_label("task", facts.get("task"))
    draft.model = optional_label("model", facts.get("model"))
    draft.step = optional_step(facts.get("step"))
    draft.reward = optional_number("reward", facts.get("reward"))
    draft.rewards = named_rewards(facts.get("rewards"))
    draft.truth = optional_truth(facts.get("truth"))
    return draft


def completion_text(value: object, options: ReadOptions) -> tuple[tuple[Message, ...], str]:
    """Return the turns that a completion of several turns adds to the prompt, and its last text.

    Turns after the last assistant turn (a closing user or tool turn) are not kept.
    """
    if isinstance(value, str):
        return (), value
    given, completion, _ = split_turns("completion", value, options.think_tags)
    return given, completion


def named_rewards(value: object) -> dict[str, float]:
    """Return the rewards of an object; those that are null or NaN are left out."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadRecord("rewards must be an object of numbers")
    found = {str(key): optional_number(f"rewards.{key}", item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType] - a decoded JSON object
    return {key: item for key, item in found.items() if item is not None}


def _facts(sample: Sample) -> dict[str, str]:
    return first_columns(sample, ALIASES)


PLAIN = Format(
    "plain",
    _detect,
    _reader,
    needs=(ALIASES["prompt"], ALIASES["completion"]),
    facts=_facts,
)
