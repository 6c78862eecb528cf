"""Results of the verifiers library: ``results.jsonl`` with ``metadata.json`` beside it.

The example's id (``example_id``, in older files ``id``) names the group; the environment and the
model come from the metadata. Metrics are kept as named rewards.
"""

import json
from collections.abc import Mapping
from typing import cast

from dca.domain.errors import BadRecord, FormatError
from dca.domain.rollout import Sampling
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
    take_sampling,
)
from dca.formats.messages import prompt_turns
from dca.formats.plain import completion_text
from dca.formats.row import Sample
from dca.formats.source import Source

_GROUP = ("example_id", "id")


def _detect(sample: Sample) -> str:
    if not sample.all_have("prompt", "completion", "reward"):
        return ""
    if sample.all_have("example_id"):
        return "columns example_id, prompt, completion and reward"
    if sample.all_have("id") and "env_id" in read_metadata(sample.source):
        return "columns id, prompt, completion, reward and a metadata.json beside the file"
    return ""


def read_metadata(source: Source) -> Mapping[str, object]:
    """Return the ``metadata.json`` beside a source, empty when there is none.

    Raises:
        FormatError: It is no JSON object.
    """
    path = None if source.path is None else source.path.with_name("metadata.json")
    if path is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        hint = "Repair or remove it; without it model and environment are unknown."
        raise FormatError(f"{path}: not JSON: {error}", hint=hint) from error
    return cast(Mapping[str, object], found) if isinstance(found, Mapping) else {}


def _reader(sample: Sample, options: ReadOptions) -> Reader:
    metadata = read_metadata(sample.source)
    environment = optional_label("env_id", metadata.get("env_id"))
    model = optional_label("model", metadata.get("model"))
    arguments = metadata.get("sampling_args")
    drawn = Sampling()
    if isinstance(arguments, Mapping):
        drawn = take_sampling(dict(cast(Mapping[str, object], arguments)), drawn)
    averages = metadata.get("avg_metrics")
    metrics = tuple(cast(Mapping[str, object], averages)) if isinstance(averages, Mapping) else ()

    def read(fields: Fields) -> Draft:
        if fields.get("prompt") is None or fields.get("completion") is None:
            raise BadRecord("prompt or completion is missing")
        prompt = prompt_turns("prompt", fields.pop("prompt"))
        given, completion = completion_text(fields.pop("completion"), options)
        draft = Draft(
            prompt=prompt + given,
            completion=completion,
            group_prompt=prompt,
            group=optional_label("example_id", take_fact(fields, sample, "group", *_GROUP)),
            task=optional_label("task", take(fields, "task")) or environment,
            model=optional_label("model", take(fields, "model")) or model,
            step=optional_step(take(fields, "step")),
            reward=optional_number("reward", take(fields, "reward")),
            rewards=_take_metrics(fields, metrics),
            truth=optional_truth(take_fact(fields, sample, "truth", "answer")),
            sampling=drawn,
        )
        return take_common(draft, fields)

    return read


def _take_metrics(fields: Fields, known: tuple[str, ...]) -> dict[str, float]:
    """Remove metrics, from their own object or from the columns that repeat them."""
    nested = take(fields, "metrics")
    inner = cast(Mapping[str, object], nested) if isinstance(nested, Mapping) else {}
    found: dict[str, float] = {}
    for name in dict.fromkeys((*inner, *known)):
        column = fields.pop(name, None)
        value = optional_number(name, inner.get(name, column))
        if value is not None:
            found[name] = value
    return found


def _facts(sample: Sample) -> dict[str, str]:
    names = {
        "reward": ("reward",),
        "truth": ("answer",),
        "task": ("task",),
        "group": _GROUP,
    }
    return first_columns(sample, names | {fact: (fact,) for fact in sample.mapped})


VERIFIERS = Format(
    "verifiers", _detect, _reader, needs=(("prompt",), ("completion",)), facts=_facts
)
