"""Replies to one question about one text: shared by two test files."""

import json
from typing import Any

from dca.domain.labels import CONTRIBUTION_V1, LabelSet
from reviewers.parse import Parsed, parse_reply
from reviewers.schema import Outcome, ReplyForm, ReplyProtocol

TEXT = "Tom has 3 apples. He buys 2 more.\nSo he has 6 apples. Wait, 3 + 2 = 5.\nThe answer is 5."
# Units: 1 "Tom has 3 apples."  [0, 17)   2 "He buys 2 more." [18, 33)  3 "So he has 6 apples."
# [34, 53)  4 "Wait, 3 + 2 = 5." [54, 70)  5 "The answer is 5." [71, 87)


def form(
    protocol: ReplyProtocol = ReplyProtocol.UNITS,
    outcome: Outcome = Outcome.UNKNOWN,
    labels: LabelSet = CONTRIBUTION_V1,
) -> ReplyForm:
    return ReplyForm(protocol, outcome, labels)


QUOTES = form(ReplyProtocol.QUOTES)


def step(
    n: int, first: Any, last: Any, label: Any = "contributing", **more: Any
) -> dict[str, Any]:
    return {"n": n, "first": first, "last": last, "reason": "why", "label": label} | more


def quoted(n: int, quote: Any, label: str = "contributing") -> dict[str, Any]:
    return {"n": n, "quote": quote, "reason": "why", "label": label, "confidence": 0.9}


def reply(*steps: Any, **more: Any) -> str:
    whole_text = {"covered_first": 1, "covered_last": 5, "covered": True}
    return json.dumps({"steps": list(steps), "links": [], **whole_text, "finding": "f"} | more)


def read(raw: str, asked: ReplyForm | None = None, text: str = TEXT) -> Parsed:
    return parse_reply(raw, text, asked or form())


def stretches(parsed: Parsed, text: str = TEXT) -> list[str]:
    return [item.span.text(text) for item in parsed.steps]


def refusals(parsed: Parsed) -> list[str]:
    return [item.reason for item in parsed.unplaced]
