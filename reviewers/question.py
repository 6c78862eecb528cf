"""Put rollouts to a model: the messages, the form of the reply, the units that were shown."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from dca.domain.errors import ConfigError
from dca.domain.labels import CONTRIBUTION_V1, LabelSet
from dca.domain.rollout import SUCCESS_AT, Message, Rollout, content_id, succeeded
from dca.domain.spans import Span
from prompts.load import Messages, Prompt, load_prompt
from prompts.words import load_persona
from reviewers.examples import MOST_EXAMPLES, chosen_examples, example_reply
from reviewers.exchange import Question, Turn
from reviewers.schema import Outcome, ReplyForm, ReplyProtocol, reply_example
from reviewers.units import cut_units, number_units

BYTES_PER_TOKEN = 3.0
"""Of a tokenizer that is not known; most have more, so estimates are too high."""


class Style(StrEnum):
    """How thoroughly a reviewer is asked to work."""

    FULL = "full"
    """Reasons, confidences and a finding."""
    STRICT = "strict"
    """Besides, everything is to be recomputed, and doubt gives less credit."""
    CHEAP = "cheap"
    """Labels, links and verdict only, with short instructions: far fewer tokens."""


class Scope(StrEnum):
    """How much of which rollouts one question shows."""

    ALONE = "alone"
    """One rollout."""
    PART = "part"
    """One part of a long rollout."""
    TOGETHER = "together"
    """Several rollouts of one problem."""


def _default_prompt() -> Prompt:
    return load_prompt("segment-and-credit")


@dataclass(frozen=True, slots=True)
class Asking:
    """How a model is asked: everything that makes two questions about a rollout differ."""

    protocol: ReplyProtocol = ReplyProtocol.UNITS
    """How the reply names stretches of text."""
    blind: bool = False
    """True: the reviewer learns neither the outcome nor the reference answer."""
    success_at: float = SUCCESS_AT
    """Smallest reward that is told as a right answer."""
    labels: LabelSet = CONTRIBUTION_V1
    """The labels that the reviewer may use."""
    prompt: Prompt = field(default_factory=_default_prompt)
    """The words."""
    style: Style = Style.FULL
    """How thorough the reviewer is to be."""
    persona: str | None = None
    """Name of the persona in ``prompts/personas.toml`` that says what to attend to."""
    examples: int = 0
    """Worked examples that are shown, 0 to 3; they use the labels of ``contribution-v1``."""
    together: int = 1
    """Most rollouts of one problem in one question, >= 1."""
    context_tokens: int | None = None
    """Tokens that the model takes, question and reply together; ``None``: enough for all."""
    bytes_per_token: float = BYTES_PER_TOKEN
    """UTF-8 bytes to one token of the model, > 0; used only where ``context_tokens`` is set."""

    def __post_init__(self) -> None:
        """Refuse what no question can be made of."""
        if not 0 <= self.examples <= MOST_EXAMPLES or self.together < 1:
            raise ConfigError(f"examples go from 0 to {MOST_EXAMPLES}, together from 1")
        foreign = {
            step.label
            for example, _ in chosen_examples(Outcome.UNKNOWN, self.examples)
            for step in example.steps
            if step.label not in self.labels
        }
        if foreign:
            raise ConfigError(
                f"the worked examples use the label {min(foreign)!r}, which label set"
                f" {self.labels.name!r} does not have",
                hint="Set examples = 0 for label sets of your own.",
            )
        if self.persona is not None:
            load_persona(self.persona)

    @property
    def settings(self) -> Mapping[str, object]:
        """What belongs into the reviewer's digest; prompt and labels have their own."""
        outcome = {"blind": True} if self.blind else {"success_at": self.success_at}
        chosen: dict[str, object] = {
            "style": self.style.value if self.style is not Style.FULL else None,
            "persona": self.persona,
            "examples": self.examples or None,
            "together": self.together if self.together > 1 else None,
            "context_tokens": self.context_tokens,
        }
        if self.context_tokens is not None and self.bytes_per_token != BYTES_PER_TOKEN:
            chosen["bytes_per_token"] = self.bytes_per_token
        made = {name: value for name, value in chosen.items() if value is not None}
        return {"protocol": self.protocol.value, **outcome, **made}

    @property
    def prompt_digest(self) -> str:
        """Digest of all files of words that questions are made of."""
        return _words_digest(self)

    def outcome(self, rollout: Rollout) -> Outcome:
        """Return what the reviewer is told about the final answer of ``rollout``."""
        won = succeeded(rollout.reward, self.success_at)
        if self.blind or won is None:
            return Outcome.UNKNOWN
        return Outcome.SUCCEEDED if won else Outcome.FAILED

    def form(self, outcome: Outcome, *, together: bool = False) -> ReplyForm:
        """Return the form of a reply to a reviewer that is told ``outcome``."""
        terse = self.style is Style.CHEAP
        return ReplyForm(self.protocol, outcome, self.labels, terse, together)

    def units(self, text: str) -> tuple[Span, ...]:
        """Return the units in which ``text`` is shown; none in the ``quotes`` protocol."""
        return cut_units(text) if self.protocol is ReplyProtocol.UNITS else ()


@lru_cache(maxsize=256)
def _words_digest(asking: Asking) -> str:
    """Return the digest of the prompt, or of everything when there is more than the prompt."""
    if asking.persona is None and not asking.examples:
        return asking.prompt.digest
    persona = load_persona(asking.persona) if asking.persona is not None else None
    # Which outcomes are told depends on the rollout, so the examples of all of them count.
    shown = (chosen_examples(outcome, asking.examples) for outcome in Outcome)
    examples = [[example.digest for example, _ in chosen] for chosen in shown]
    return content_id("words", asking.prompt.digest, persona, examples)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """The reasoning of one rollout, or a part of it, as it is shown."""

    reasoning: str
    """The text itself, or its numbered units."""
    choices: tuple[str, ...]
    """Choices of the prompt that hold for this one."""
    slots: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further slots of the prompt's part ``rollout``."""


def pose(rollout: Rollout, asking: Asking) -> Question:
    """Return the question about ``rollout``; the same input gives the same bytes."""
    outcome = asking.outcome(rollout)
    form = asking.form(outcome)
    units = asking.units(rollout.completion)
    exhibit = exhibit_whole(rollout.completion, units, asking, outcome)
    return Question(*put(rollout, asking, form, Scope.ALONE, (exhibit,)), form, units)


def exhibit_whole(
    text: str, units: tuple[Span, ...], asking: Asking, outcome: Outcome, **more: str
) -> Exhibit:
    """Return a whole reasoning as it is shown; ``more`` are further slots."""
    if asking.protocol is ReplyProtocol.QUOTES:
        return Exhibit(text, (outcome.value,), more)
    return Exhibit(number_units(text, units), (outcome.value,), {"count": str(len(units)), **more})


def put(
    rollout: Rollout, asking: Asking, form: ReplyForm, scope: Scope, exhibits: Sequence[Exhibit]
) -> tuple[str, tuple[Turn, ...]]:
    """Return the instructions and the turns of a question.

    Args:
        rollout: Brings the problem and the reference answer, which all exhibits share.
        asking: How.
        form: Of the reply.
        scope: What ``exhibits`` are; several only together.
        exhibits: What is reviewed.
    """
    material = {"problem": show_prompt(rollout.prompt)}
    choices = [asking.protocol.value, asking.style.value, scope.value]
    if rollout.truth and not asking.blind:
        material["reference"] = rollout.truth
        choices.append("reference")
    said = [text for item in exhibits for text in (item.reasoning, *item.slots.values())]
    key = fence_key(*material.values(), *said)
    shown = [show(asking.prompt, item, scope, choices[:3], key) for item in exhibits]
    choices += ["mixed"] if scope is Scope.TOGETHER else exhibits[0].choices
    frame = _frame(asking, form, scope)
    choices += frame.keys() & {"persona", "examples"}
    slots = {**material, "key": key, "rollouts": "\n\n".join(shown), **frame}
    sent: Messages = asking.prompt.render(choices, slots)
    return sent.system, (Turn("user", sent.user),)


def show(prompt: Prompt, exhibit: Exhibit, scope: Scope, choices: Sequence[str], key: str) -> str:
    """Return one exhibit between its tags."""
    number = exhibit.slots.get("number", "")
    tag = f"reasoning-{number}-{key}" if scope is Scope.TOGETHER else f"reasoning-{key}"
    slots = {"tag": tag, "reasoning": exhibit.reasoning, **exhibit.slots}
    if "outline" in slots:
        slots["key"] = key
    return prompt.render_part("rollout", (*choices, *exhibit.choices), slots)


@lru_cache(maxsize=256)
def _frame(asking: Asking, form: ReplyForm, scope: Scope) -> Mapping[str, str]:
    """Return the slots that are the same for every rollout."""
    slots = {
        "labels": "\n".join(f"- `{item.key}`: {item.description}" for item in form.labels),
        "shape": json.dumps(reply_example(form), ensure_ascii=False),
    }
    if asking.persona is not None:
        slots["persona"] = load_persona(asking.persona)
    if asking.examples:
        slots["examples"] = _examples(asking, form, scope)
    return slots


def _examples(asking: Asking, form: ReplyForm, scope: Scope) -> str:
    """Return the worked examples in the form of a reply about one rollout."""
    choices = [asking.protocol.value, asking.style.value, Scope.ALONE.value]
    shown: list[str] = []
    for number, (example, outcome) in enumerate(chosen_examples(form.outcome, asking.examples), 1):
        # Reviewers of several rollouts are told each outcome.
        told = outcome if scope is Scope.TOGETHER else form.outcome
        key = f"example-{number}"
        units = asking.units(example.reasoning)
        exhibit = exhibit_whole(example.reasoning, units, asking, told)
        slots = {
            "number": str(number),
            "key": key,
            "problem": example.problem,
            "rollouts": show(asking.prompt, exhibit, Scope.ALONE, choices, key),
            "reply": json.dumps(example_reply(example, form, told, units), ensure_ascii=False),
        }
        shown.append(asking.prompt.render_part("example", (), slots))
    return "\n\n".join(shown)


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
    # No key holds a NUL, so one search of what is joined by it is a search of each text.
    whole = "\x00".join(texts)
    body = whole.encode("utf-8", "surrogatepass")
    keys = (
        hashlib.sha256(b"%d\x00%b" % (turn, body)).hexdigest()[:8] for turn in itertools.count()
    )
    return first_absent(keys, (whole,))


def first_absent(candidates: Iterable[str], texts: Sequence[str]) -> str:
    """Return the first of endless ``candidates`` that occurs in none of ``texts``."""
    return next(key for key in candidates if not any(key in text for text in texts))
