"""Models that are plain functions, and what carries their dialogues: shared by test files."""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dca.domain.labels import CONTRIBUTION_V1, LabelSet
from dca.domain.review import Answer, Review, ReviewerInfo, Usage
from dca.domain.rollout import Message, Rollout
from reviewers.calling import Calling
from reviewers.dialogue import Dialogue
from reviewers.exchange import Ended, Question, Reply
from reviewers.question import Asking

PROBLEM = (Message("user", "What is 2 + 3?"),)
COST = Usage(input_tokens=101, output_tokens=13, seconds=0.5, dollars=0.25)
KEY = re.compile(r"\AThe key of this message is (\w{8})\.\n")


@dataclass(frozen=True)
class Scripted:
    """A reviewer without a model behind it."""

    asking: Asking = field(default_factory=Asking)
    calling: Calling = field(default_factory=lambda: Calling(max_tokens=1_000))

    @property
    def info(self) -> ReviewerInfo:
        return ReviewerInfo("s", "openai", "f", "m", self.asking.settings)

    @property
    def prompt_digest(self) -> str:
        return self.asking.prompt_digest

    @property
    def labels(self) -> LabelSet:
        return CONTRIBUTION_V1


def rollout(text: str, reward: float | None = 0.0, name: str = "r1", **more: Any) -> Rollout:
    return Rollout(name, "g1", "sum", PROBLEM, text, reward, **more)


def said(text: str, ended: Ended = Ended.COMPLETE, usage: Usage = COST) -> Reply:
    return Reply(text, ended, ended.value, usage)


def carry(
    dialogue: Dialogue, model: Callable[[Question], str | Reply | Exception]
) -> tuple[tuple[Answer, ...], list[Question]]:
    """Return the answers of a dialogue with ``model``, and what it was asked."""
    asked: list[Question] = []
    try:
        question = next(dialogue)
        while True:
            asked.append(question)
            reply = model(question)
            if isinstance(reply, Exception):
                question = dialogue.throw(reply)
            else:
                question = dialogue.send(said(reply) if isinstance(reply, str) else reply)
    except StopIteration as end:
        return end.value, asked


def key_of(question: Question) -> str:
    found = KEY.match(question.turns[0].text)
    assert found is not None
    return found[1]


def fenced(question: Question, name: str = "reasoning") -> str:
    """Return what stands between the tags ``name`` of a question, ``""`` without them."""
    tag = f"{name}-{key_of(question)}"
    user = question.turns[0].text
    assert user.count(f"<{tag}>\n") == user.count(f"\n</{tag}>") <= 1
    _, _, rest = user.partition(f"<{tag}>\n")
    return rest.partition(f"\n</{tag}>")[0]


@dataclass(frozen=True)
class Range:
    """What a scripted model marks: units from 1, both inclusive."""

    first: int
    last: int
    label: str


@dataclass(frozen=True)
class Marker:
    """A model that marks fixed ranges of units, as far as it is shown them.

    It knows what the steps of an outline are by their places, links each range to the next but
    one, and blames one.
    """

    ranges: Sequence[Range]
    """In the order of the text, apart."""
    blame: int = 0
    """Position in ``ranges``, from 1; 0 blames none."""

    def __call__(self, question: Question) -> str:
        shown = [int(found) for found in re.findall(r"(?m)^\[(\d+)\] ", fenced(question))]
        low, high = shown[0], shown[-1]
        numbers: dict[int, int] = {}
        for number, first, last in re.findall(
            r"(?m)^(\d+): units? (\d+)(?: to (\d+))?, ", fenced(question, "outline")
        ):
            at = bisect_right(self.ranges, int(first), key=lambda item: item.first) - 1
            assert self.ranges[at].first <= int(first) <= int(last or first)
            assert int(last or first) <= self.ranges[at].last, "no window has said this"
            numbers[at] = int(number)
        steps: list[dict[str, Any]] = []
        for at, item in enumerate(self.ranges):
            if item.first <= high and item.last >= low:
                numbers[at] = len(steps) + 1
                steps.append(
                    {
                        "n": numbers[at],
                        "first": max(low, item.first),
                        "last": min(high, item.last),
                        "reason": f"range {at}",
                        "label": item.label,
                        "confidence": 0.9,
                    }
                )
        links = [
            {"from": numbers[at], "to": numbers[at + 2], "kind": "uses"}
            for at in range(len(self.ranges) - 2)
            if at in numbers and at + 2 in numbers
        ]
        return json.dumps(
            {
                "steps": steps,
                "links": links,
                "covered_first": low,
                "covered_last": high,
                "finding": "f",
                "blame": numbers.get(self.blame - 1, 0),
            }
        )


def review_of(answers: Sequence[Answer]) -> Review:
    (answer,) = answers
    assert isinstance(answer, Review), answer
    return answer
