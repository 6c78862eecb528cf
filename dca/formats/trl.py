"""TRL's ``completions_*.parquet``, written by GRPOTrainer with ``log_completions``.

Columns, in this order: ``step``, ``prompt``, ``completion``, one per reward function, whatever
reward functions logged beside, ``advantage``. There is no prompt id, so a group is one prompt of
one step; prompts and completions are text or lists of messages.
"""

from dca.domain.errors import BadRecord
from dca.formats.draft import (
    Draft,
    Fields,
    Format,
    Reader,
    ReadOptions,
    optional_label,
    optional_number,
    optional_step,
    optional_truth,
    take,
    take_common,
)
from dca.formats.messages import prompt_turns
from dca.formats.plain import ALIASES, completion_text
from dca.formats.row import Sample


def _detect(sample: Sample) -> str:
    if sample.all_have("step", "prompt", "completion", "advantage"):
        return "columns step, prompt, completion and advantage"
    return ""


def reward_columns(sample: Sample) -> tuple[str, ...]:
    """Return the columns of the reward functions.

    TRL does not mark them. Those between ``completion`` and ``advantage`` that hold numbers and
    are named like a reward count; when none is named so, the unbroken run of numbers right after
    ``completion``.
    """
    columns = sample.columns
    between = columns[columns.index("completion") + 1 : columns.index("advantage")]
    numeric = [name for name in between if _numeric(sample, name)]
    named = tuple(name for name in numeric if "reward" in name.lower())
    if named:
        return named
    run = 0
    while run < len(between) and between[run] in numeric:
        run += 1
    return between[:run]


def _numeric(sample: Sample, name: str) -> bool:
    values = [row.fields.get(name) for row in sample.rows]
    found = [item for item in values if item is not None]
    return bool(found) and all(isinstance(item, float) for item in found)


def _reader(sample: Sample, options: ReadOptions) -> Reader:
    names = reward_columns(sample)

    def read(fields: Fields) -> Draft:
        if fields.get("prompt") is None or fields.get("completion") is None:
            raise BadRecord("prompt or completion is missing")
        prompt = prompt_turns("prompt", fields.pop("prompt"))
        given, completion = completion_text(fields.pop("completion"), options)
        found = {name: optional_number(name, fields.pop(name, None)) for name in names}
        rewards = {name: value for name, value in found.items() if value is not None}
        draft = Draft(
            prompt=prompt + given,
            completion=completion,
            group_prompt=prompt,
            task=optional_label("task", take(fields, "task")),
            model=optional_label("model", take(fields, "model")),
            step=optional_step(fields.pop("step")),
            reward=sum(rewards.values()) if rewards else None,
            rewards=rewards,
            truth=optional_truth(take(fields, *ALIASES["truth"])),
        )
        return take_common(draft, fields)

    return read


TRL = Format(
    "trl",
    _detect,
    _reader,
    "The reward is the sum of the reward columns, TRL's default weights; special tokens were"
    " dropped when the text was decoded, so token ids made from it are approximate.",
)
