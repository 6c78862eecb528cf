"""verl's rollout dump ``<step>.jsonl``: ``input``, ``output``, ``gts``, ``score``, ``step``.

The texts were decoded with special tokens dropped, so the prompt is one text and token ids made
from the completion are approximate. A group is one input of one step. Numbers in further columns
come from the reward function and are kept as named rewards.
"""

from functools import partial

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
    take,
    take_common,
    take_fact,
)
from dca.formats.fields import text
from dca.formats.row import Sample

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed", "truncated")


def _detect(sample: Sample) -> str:
    if sample.all_have("input", "output", "score", "step"):
        return "columns input, output, score and step"
    return ""


def _reader(sample: Sample, options: ReadOptions) -> Reader:
    return partial(_read, sample)


def _read(sample: Sample, fields: Fields) -> Draft:
    if fields.get("input") is None or fields.get("output") is None:
        raise BadRecord("input or output is missing")
    prompt = text("input", fields.pop("input"))
    completion = text("output", fields.pop("output"))
    draft = Draft(
        prompt=(Message("user", prompt),),
        completion=completion,
        group=optional_label("group", take_fact(fields, sample, "group")),
        task=optional_label("data_source", take_fact(fields, sample, "task", "data_source")),
        model=optional_label("model", take(fields, "model")),
        step=optional_step(take(fields, "step")),
        reward=optional_number("score", take_fact(fields, sample, "reward", "score")),
        truth=optional_truth(take_fact(fields, sample, "truth", "gts")),
    )
    for name in [name for name, value in fields.items() if _is_reward(name, value)]:
        found = optional_number(name, fields.pop(name))
        if found is not None:
            draft.rewards[name] = found
    return take_common(draft, fields)


def _is_reward(name: str, value: object) -> bool:
    return isinstance(value, (int, float)) and name not in _SAMPLING


def _facts(sample: Sample) -> dict[str, str]:
    names = {"reward": ("score",), "truth": ("gts",), "task": ("data_source",)}
    mapped = {fact: (fact,) for fact in sample.mapped}
    return {"group": "input and step", **first_columns(sample, names | mapped)}


VERL = Format(
    "verl",
    _detect,
    _reader,
    "Special tokens were dropped when these texts were decoded, so token ids made from them are"
    " approximate.",
    needs=(("input",), ("output",)),
    facts=_facts,
)
