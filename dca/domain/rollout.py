"""Rollouts: what the policy wrote, and what came of it."""

import hashlib
import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from dca.domain.spans import Span

ID_DIGITS = 20
"""Hexadecimal digits of an id: 80 bits, one collision expected beyond 10^11 rollouts."""
SUCCESS_AT = 0.5
"""Smallest reward of a success, unless a project sets another."""
_CANONICAL = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the prompt."""

    role: str
    """``system``, ``user``, ``assistant`` or ``tool``."""
    content: str
    """The turn's text."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the completion was sampled; ``None`` where the source did not say."""

    temperature: float | None = None
    """Softmax temperature, >= 0."""
    top_p: float | None = None
    """Nucleus mass in (0, 1]; below 1 the stored log-probabilities are biased."""
    top_k: int | None = None
    """Number of candidates; 0 or -1 means all."""
    min_p: float | None = None
    """Smallest probability relative to the top token, in [0, 1]."""
    seed: int | None = None
    """Seed of the sampler."""
    truncated: bool | None = None
    """True when the completion was cut by a length limit."""

    @property
    def renormalised(self) -> bool:
        """True when the sampler cut candidates, which biases behaviour log-probabilities."""
        cut_p = self.top_p is not None and self.top_p < 1
        cut_k = self.top_k is not None and self.top_k > 0
        return cut_p or cut_k or bool(self.min_p)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token ids of one completion. T = completion tokens."""

    ids: "array[int]"
    """Token ids, typecode ``i``, length T."""
    exact: bool
    """True when these are the sampled ids; False when the text was tokenized again."""
    tokenizer: str = ""
    """Name and digest of the vocabulary, ``""`` when unknown."""
    prompt_ids: "array[int] | None" = None
    """Token ids of the rendered prompt, typecode ``i``."""
    offsets: "array[int] | None" = None
    """Code points of each token, typecode ``i``, flat pairs (start, stop), length 2 T."""
    logprobs: "array[float] | None" = None
    """Behaviour log-probabilities, typecode ``f``, length T, each <= 0."""

    def __post_init__(self) -> None:
        """Refuse arrays whose lengths disagree."""
        count = len(self.ids)
        if self.offsets is not None and len(self.offsets) != 2 * count:
            raise ValueError(f"{len(self.offsets)} offsets for {count} tokens, wanted {2 * count}")
        if self.logprobs is not None and len(self.logprobs) != count:
            raise ValueError(f"{len(self.logprobs)} log-probabilities for {count} tokens")

    def __len__(self) -> int:
        """Return T."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion of a prompt. Offsets are code points into ``completion``."""

    id: str
    """Content hash, see ``rollout_id``."""
    group_id: str
    """Shared by the rollouts of one prompt."""
    task: str
    """Family of problems; ``""`` when unknown."""
    prompt: tuple[Message, ...]
    """What the policy was given."""
    completion: str
    """What it wrote: never empty, no NUL, no lone surrogate."""
    reward: float | None = None
    """Outcome reward; ``None`` when not known."""
    rewards: Mapping[str, float] = field(default_factory=dict[str, float])
    """Every named reward of the source."""
    truth: str | None = None
    """The reference answer."""
    think: Span | None = None
    """The chain of thought, when it is marked in the text."""
    answer: Span | None = None
    """The final answer, when it is marked in the text."""
    model: str = ""
    """The policy that sampled it."""
    step: int | None = None
    """Training step of that policy."""
    sampling: Sampling = Sampling()
    """How it was sampled."""
    tokens: Tokens | None = None
    """Token ids and behaviour log-probabilities, when the source had them."""
    meta: Mapping[str, object] = field(default_factory=dict[str, object])
    """Every other column of the source, JSON values only; ``source_id`` and ``source_group`` are
    the source's own names of the rollout and its group."""

    def __post_init__(self) -> None:
        """Refuse an empty completion and marks outside it."""
        if not self.completion:
            raise ValueError("a rollout needs a completion")
        for name, span in (("think", self.think), ("answer", self.answer)):
            if span is not None and span.stop > len(self.completion):
                raise ValueError(
                    f"{name} span ends at {span.stop}, the text at {len(self.completion)}"
                )

    @property
    def problem(self) -> str:
        """The text of the last user turn, else of the last turn, else ``""``."""
        users = [message.content for message in self.prompt if message.role == "user"]
        return (users or [message.content for message in self.prompt] or [""])[-1]

    @property
    def source_key(self) -> str | None:
        """Content hash of the source's own id; ``None`` for a rollout without one.

        The id counts within its group and model: dumps that number their records anew have the
        same ids for other records.
        """
        source_id = self.meta.get("source_id")
        if not isinstance(source_id, str):
            return None
        return content_id("source", source_id, self.group_id, self.model)


def succeeded(reward: float | None, at: float = SUCCESS_AT) -> bool | None:
    """Tell whether an outcome is a success: a reward of at least ``at``; ``None``: not known.

    The only definition: reviewers are asked by it, rules read by it, the veto, the export for
    imitation and every count of successes use it. It says nothing of the sign of an advantage.
    """
    return None if reward is None else reward >= at


def content_id(*parts: object) -> str:
    """Return a stable 20-digit id of JSON values, the same on every machine and Python."""
    return hashlib.sha256(_CANONICAL.encode(parts).encode("ascii")).hexdigest()[:ID_DIGITS]


def group_id(task: str, prompt: tuple[Message, ...], model: str, step: int | None) -> str:
    """Return the id of the group for sources that name none: same prompt, model and step."""
    return content_id("group", task, [[m.role, m.content] for m in prompt], model, step)


def rollout_id(
    *,
    source_id: str,
    group: str,
    prompt: tuple[Message, ...],
    completion: str,
    model: str,
    step: int | None,
    occurrence: int,
) -> str:
    """Return the content hash of a rollout.

    ``occurrence`` numbers equal completions of one group within one import, from 0: two samples
    that happen to read the same are two rollouts, and importing a file twice changes nothing.
    The reward is left out: a source whose reward changed is a conflict, not a new rollout.
    """
    turns = [[message.role, message.content] for message in prompt]
    return content_id("rollout", source_id, group, turns, completion, model, step, occurrence)
