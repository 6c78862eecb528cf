"""TRL's ``completions_*.parquet``, written by GRPOTrainer with ``log_completions``.

Columns, in this order: ``step``, ``prompt``, ``completion``, one per reward function, whatever
reward functions logged beside, ``advantage``. There is no prompt id, so a group is one prompt of
one step; prompts and completions are text or lists of messages. The outcome is the sum of the
reward functions, unless ``--map reward=COLUMN`` names the column that it is.
"""

from collections.abc import Sequence
from itertools import takewhile
from math import isnan

from dca.domain.errors import BadRecord
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
from dca.formats.messages import prompt_turns
from dca.formats.plain import ALIASES, completion_text
from dca.formats.row import Sample


def _detect(sample: Sample) -> str:
    if sample.all_have("step", "prompt", "completion", "advantage"):
        return "columns step, prompt, completion and advantage"
    return ""


def reward_columns(sample: Sample) -> tuple[str, ...]:
    """Return the columns of the reward functions.

    TRL does not mark them, but they come first, and within a group the advantage rises in
    proportion to their sum. So they are the longest run of numbers right after ``completion``
    whose sum explains the advantages. Where no run does (other weights than 1, or no differences
    to tell by), it is every number with "reward" in its name, or without one the whole run.
    """
    columns = sample.columns
    between = columns[columns.index("completion") + 1 : columns.index("advantage")]
    numeric = [name for name in between if _numeric(sample, name)]
    run = list(takewhile(numeric.__contains__, between))
    for length in range(len(run), 0, -1):
        if _explains(sample, run[:length]):
            return _with_outcome(sample, run[:length])
    return _with_outcome(sample, [name for name in numeric if "reward" in name.lower()] or run)


def _with_outcome(sample: Sample, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns with the one that ``--map`` makes the outcome, wherever that stands."""
    return tuple(dict.fromkeys((*names, *(("reward",) if "reward" in sample.mapped else ()))))


def _numeric(sample: Sample, name: str) -> bool:
    values = [row.fields.get(name) for row in sample.rows]
    found = [item for item in values if item is not None]
    return bool(found) and all(isinstance(item, float) for item in found)


def _explains(sample: Sample, names: Sequence[str]) -> bool:
    """Tell whether these columns' sum differs, and only as the advantage does, in each group."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for row in sample.rows:
        values = [row.fields.get(name) for name in (*names, "advantage")]
        numbers = [item for item in values if isinstance(item, float) and not isnan(item)]
        if len(numbers) == len(values):
            key = repr((row.fields.get("step"), row.fields.get("prompt")))
            groups.setdefault(key, []).append((sum(numbers[:-1]), numbers[-1]))
    # Two points always lie on a line: only a group of three tells anything.
    told = any(
        len(pairs) > 2 and any(abs(advantage - pairs[0][1]) > 1e-6 for _, advantage in pairs)
        for pairs in groups.values()
    )
    return told and all(_proportional(pairs) for pairs in groups.values())


def _proportional(pairs: Sequence[tuple[float, float]]) -> bool:
    reward, advantage = pairs[0]
    far_reward, far_advantage = max(pairs, key=lambda pair: abs(pair[1] - advantage))
    up, across = far_reward - reward, far_advantage - advantage
    if up * across < 0 or (abs(across) <= 1e-6 and any(abs(r - reward) > 1e-6 for r, _ in pairs)):
        return False
    return all(
        abs((r - reward) * across - (a - advantage) * up) <= 1e-3 * max(1.0, abs(up * across))
        for r, a in pairs
    )


def _reader(sample: Sample, options: ReadOptions) -> Reader:
    names, chosen = reward_columns(sample), sample.mapped.get("reward")

    def read(fields: Fields) -> Draft:
        if fields.get("prompt") is None or fields.get("completion") is None:
            raise BadRecord("prompt or completion is missing")
        prompt = prompt_turns("prompt", fields.pop("prompt"))
        given, completion = completion_text(fields.pop("completion"), options)
        found = {name: optional_number(name, fields.pop(name, None)) for name in names}
        if chosen is not None:
            # The outcome stays among the named rewards, under the source's own name.
            found[chosen] = found.pop("reward", None)
        rewards = {name: value for name, value in found.items() if value is not None}
        summed = sum(rewards.values()) if rewards else None
        draft = Draft(
            prompt=prompt + given,
            completion=completion,
            group_prompt=prompt,
            group=optional_label("group", take_fact(fields, sample, "group")),
            task=optional_label("task", take(fields, "task")),
            model=optional_label("model", take(fields, "model")),
            step=optional_step(take(fields, "step")),
            reward=summed if chosen is None else found[chosen],
            rewards=rewards,
            truth=optional_truth(take(fields, *ALIASES["truth"])),
        )
        return take_common(draft, fields)

    return read


def _facts(sample: Sample) -> dict[str, str]:
    named = first_columns(sample, {"truth": ALIASES["truth"], "task": ("task",)})
    outcome = "reward" if "reward" in sample.mapped else " + ".join(reward_columns(sample))
    group = "group" if "group" in sample.mapped else "prompt and step"
    return {"reward": outcome, "group": group, **named}


TRL = Format(
    "trl",
    _detect,
    _reader,
    "The reward is the sum of the reward columns, TRL's default weights, unless --map names the"
    " outcome, as in --map reward=accuracy_reward; special tokens were dropped when the text was"
    " decoded, so token ids made from it are approximate.",
    needs=(("step",), ("prompt",), ("completion",), ("advantage",)),
    facts=_facts,
)
