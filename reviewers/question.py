"""Put one rollout to a model: the messages, the form of the reply, the units that were shown."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dca.domain.labels import CONTRIBUTION_V1, LabelSet
from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from prompts.load import Messages, Prompt, load_prompt
from reviewers.schema import Outcome, ReplyForm, ReplyProtocol, reply_example
from reviewers.units import cut_units, number_units


def _default_prompt() -> Prompt:
    return load_prompt("segment-and-credit")


@dataclass(frozen=True, slots=True)
class Asking:
    """How a model is asked: everything that makes two questions about a rollout differ."""

    protocol: ReplyProtocol = ReplyProtocol.UNITS
    """How the reply names stretches of text."""
    blind: bool = False
    """True: the reviewer learns neither the outcome nor the reference answer."""
    success_at: float = 0.5
    """Smallest reward that is told as a right answer."""
    labels: LabelSet = CONTRIBUTION_V1
    """The labels that the reviewer may use."""
    prompt: Prompt = field(default_factory=_default_prompt)
    """The words."""

    @property
    def settings(self) -> Mapping[str, object]:
        """What belongs into the reviewer's digest; prompt and labels have their own."""
        outcome = {"blind": True} if self.blind else {"success_at": self.success_at}
        return {"protocol": self.protocol.value, **outcome}

    def outcome(self, rollout: Rollout) -> Outcome:
        """Return what the reviewer is told about the final answer of ``rollout``."""
        if self.blind or rollout.reward is None:
            return Outcome.UNKNOWN
        return Outcome.SUCCEEDED if rollout.reward >= self.success_at else Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Question:
    """One rollout, ready to be sent."""

    messages: Messages
    form: ReplyForm
    """What the reply must look like."""
    units: tuple[Span, ...]
    """The units that were shown; empty in the ``quotes`` protocol."""


def pose(rollout: Rollout, asking: Asking) -> Question:
    """Return the question about ``rollout``; the same input gives the same bytes."""
    outcome = asking.outcome(rollout)
    form = ReplyForm(asking.protocol, outcome, asking.labels)
    in_units = asking.protocol is ReplyProtocol.UNITS
    units = cut_units(rollout.completion) if in_units else ()
    material = {
        "problem": show_prompt(rollout.prompt),
        "reasoning": number_units(rollout.completion, units) if in_units else rollout.completion,
    }
    choices = [asking.protocol.value, outcome.value]
    if rollout.truth and not asking.blind:
        material["reference"] = rollout.truth
        choices.append("reference")
    slots = {
        **material,
        "key": fence_key(*material.values()),
        "labels": "\n".join(f"- `{item.key}`: {item.description}" for item in asking.labels),
        "shape": json.dumps(reply_example(form), ensure_ascii=False),
        **({"count": str(len(units))} if in_units else {}),
    }
    return Question(asking.prompt.render(choices, slots), form, units)


def show_prompt(turns: Sequence[Message]) -> str:
    """Return what the policy was given: one turn as it is, several with their roles."""
    if len(turns) == 1:
        return turns[0].content
    return "\n\n".join(f"[{turn.role}]\n{turn.content}" for turn in turns) or "(not known)"


def fence_key(*texts: str) -> str:
    """Return a key that occurs in none of ``texts``, always the same for the same texts.

    The key is a digest of the texts, so nothing that a text holds can have been written to
    match it.
    """
    body = "\x00".join(texts).encode("utf-8", "surrogatepass")
    digests = (
        hashlib.sha256(b"%d\x00%b" % (turn, body)).hexdigest() for turn in itertools.count()
    )
    return first_absent((digest[:8] for digest in digests), texts)


def first_absent(candidates: Iterable[str], texts: Sequence[str]) -> str:
    """Return the first of endless ``candidates`` that occurs in none of ``texts``."""
    return next(key for key in candidates if not any(key in text for text in texts))
