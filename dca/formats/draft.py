"""Drafts: a record as its format understood it, not yet checked as a rollout."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dca.domain.rollout import Message, Sampling
from dca.formats.fields import label, number, truth, truth_value, whole
from dca.formats.marks import THINK_TAGS
from dca.formats.row import Sample

Fields = dict[str, object]
"""Columns of one record that no reader has taken yet; readers take what they know by ``pop``."""


@dataclass(slots=True)
class Draft:
    """What a format read from one record. Mutable: formats fill it in steps."""

    prompt: tuple[Message, ...]
    completion: str
    group_prompt: tuple[Message, ...] | None = None
    """What the group shares, when turns were added to ``prompt`` during the rollout."""
    source_id: str = ""
    group: str = ""
    """The source's own name of the group, ``""`` when it has none."""
    task: str = ""
    model: str = ""
    step: int | None = None
    reward: float | None = None
    rewards: dict[str, float] = field(default_factory=dict[str, float])
    truth: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    columns: dict[str, object] = field(default_factory=dict[str, object])
    """Token columns as they came: ``token_ids``, ``prompt_ids``, ``logprobs``, ``offsets``."""
    meta: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reader may be told by the user."""

    think_tags: tuple[str, str] = THINK_TAGS


Reader = Callable[[Fields], Draft]
"""From the fields of one record to a draft; raises ``BadRecord``."""


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write rollouts to a file."""

    name: str
    detect: Callable[[Sample], str]
    """The reason why a sample has this format, ``""`` when it has not."""
    reader: Callable[[Sample, ReadOptions], Reader]
    note: str = ""
    """What the user must know about this source, one sentence."""
    needs: tuple[tuple[str, ...], ...] = ()
    """Columns without which no row can be read; one name of each tuple is enough."""
    facts: Callable[[Sample], Mapping[str, str]] = lambda _: {}
    """Which columns of a sample hold reward, truth, task and group."""


def lacking(format_: Format, sample: Sample) -> tuple[str, ...]:
    """Return the needed columns that a sample has not, each by its first name."""
    present = set(sample.columns)
    return tuple(names[0] for names in format_.needs if not present.intersection(names))


def first_columns(sample: Sample, names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return fact to the first of its columns that a sample has; other facts are left out."""
    columns = sample.columns
    found = {fact: [name for name in known if name in columns] for fact, known in names.items()}
    return {fact: present[0] for fact, present in found.items() if present}


TOKEN_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "token_ids": ("token_ids", "completion_ids", "completion_token_ids", "response_ids"),
    "prompt_ids": ("prompt_ids", "prompt_token_ids"),
    "logprobs": ("logprobs", "completion_logprobs", "sampling_logprobs", "old_logprobs"),
    "offsets": ("offsets", "token_offsets"),
    "ids_exact": ("ids_exact",),
    "tokenizer": ("tokenizer",),
}
"""Token columns by the names that sources use."""


def take(fields: Fields, *names: str) -> object:
    """Remove and return the first of these columns that is there and not null."""
    for name in names:
        value = fields.get(name)
        if value is not None:
            del fields[name]
            return value
    return None


def take_fact(fields: Fields, sample: Sample, fact: str, *names: str) -> object:
    """Remove and return a fact: the column that the user mapped to it, else as ``take``."""
    return take(fields, *((fact,) if fact in sample.mapped else names))


def take_common(draft: Draft, fields: Fields) -> Draft:
    """Fill in the columns that mean the same in every format; the rest becomes ``meta``."""
    draft.sampling = take_sampling(fields, draft.sampling)
    for column, names in TOKEN_COLUMNS.items():
        value = take(fields, *names)
        if value is not None:
            draft.columns[column] = value
    if "token_ids" not in draft.columns:
        # Without ids these say nothing about the completion's tokens, but they are not lost.
        fields.update(draft.columns)
        draft.columns = {}
    draft.meta.update({key: value for key, value in fields.items() if value is not None})
    return draft


def take_sampling(fields: Fields, known: Sampling) -> Sampling:
    """Return the sampling parameters, from columns or from an object ``sampling``."""
    nested = fields.get("sampling")
    inner: Fields = dict(nested) if isinstance(nested, dict) else fields  # pyright: ignore[reportUnknownArgumentType] - a decoded JSON object
    cut = take(inner, "truncated", "is_truncated")
    if cut is None and fields.get("finish_reason") == "length":
        cut = True
    found = Sampling(
        temperature=_optional_number("temperature", inner, known.temperature),
        top_p=_optional_number("top_p", inner, known.top_p),
        top_k=_optional_whole("top_k", inner, known.top_k),
        min_p=_optional_number("min_p", inner, known.min_p),
        seed=_optional_whole("seed", inner, known.seed),
        truncated=known.truncated if cut is None else truth_value("truncated", cut),
    )
    if inner is not fields:
        fields["sampling"] = inner or None
    return found


def _optional_number(name: str, fields: Fields, default: float | None) -> float | None:
    value = take(fields, name)
    return default if value is None else number(name, value)


def _optional_whole(name: str, fields: Fields, default: int | None = None) -> int | None:
    value = take(fields, name)
    return default if value is None else whole(name, value)


def optional_label(name: str, value: object) -> str:
    """Return a name, ``""`` when it is missing."""
    return "" if value is None else label(name, value)


def optional_number(name: str, value: object) -> float | None:
    """Return a number, ``None`` when it is missing or NaN."""
    return None if value is None else number(name, value)


def optional_step(value: object) -> int | None:
    """Return a training step, ``None`` when it is missing."""
    return None if value is None else whole("step", value)


def optional_truth(value: object) -> str | None:
    """Return a reference answer, ``None`` when it is missing."""
    return None if value is None else truth(value)
