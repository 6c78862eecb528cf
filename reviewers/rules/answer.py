"""The final answer of a completion: where it is stated and what number it is."""

import re
from dataclasses import dataclass
from fractions import Fraction

from dca.domain.rollout import Rollout
from dca.domain.spans import Span
from reviewers.rules.expressions import PercentRule, evaluate, postfix
from reviewers.rules.scanner import tokenise
from reviewers.rules.widths import plain_widths

_STATED = re.compile(
    r"\\boxed[ ]?\{(?P<boxed>(?:[^{}\n]|\{[^{}\n]{0,60}\}){1,120})\}"
    r"|<answer>[ \n]{0,4}(?P<tag>[^<>]{1,200})"
    r"|^[ \t]{0,8}\#{2,4}[ ]{0,3}(?P<hashes>[^\n]{1,120})"
    r"|^[ \t]{0,8}[*_]{0,3}(?:A|Ans|Answer|Final[ ]answer|Result)[*_]{0,3}[ ]?[:=][*_ ]{0,4}"
    r"(?P<line>[^\n]{1,120})"
    r"|\b(?:answer|result|solution)(?:[ ](?:to|for)[^\n.:]{1,60})?[ ]?"
    r"(?:is|:|=|would[ ]be|should[ ]be|must[ ]be|comes[ ]to)[:*_ ]{0,4}(?P<prose>[^\n]{1,120})",
    re.IGNORECASE | re.MULTILINE,
)
_LEAD = re.compile(
    r"(?:[\s$€£¥₹*:=~≈(]|\\\(|\\\[|about|approximately|is|therefore|just)*", re.IGNORECASE
)

_STRETCH = re.compile(r"[^bW]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer."""

    span: Span
    """The stated answer, without its announcement."""
    value: Fraction | None
    """Its number; ``None`` when the answer is no number."""
    decimals: int
    """Decimals as written."""


def find_answer(rollout: Rollout) -> Answer | None:
    r"""Return the last stated answer of the completion; ``None`` when none is announced.

    Looks inside the rollout's ``answer`` span when the source marked one. Announcements are
    ``\\boxed{}``, ``####``, ``<answer>``, "A:", "Answer:" and "the answer is".
    """
    text = plain_widths(rollout.completion)
    where = rollout.answer or Span(0, len(text))
    last = None
    for match in _STATED.finditer(text, where.start, where.stop):
        last = match
    if last is not None and last.lastgroup is not None:
        return _answer(text, *last.span(last.lastgroup))
    if rollout.answer is not None and len(rollout.answer) > 0:
        return _answer(text, where.start, min(where.stop, where.start + 200))
    return None


def _answer(text: str, start: int, stop: int) -> Answer:
    """Read the stated answer in ``text[start:stop]``."""
    lead = _LEAD.match(text, start, stop)
    start = lead.end() if lead is not None and lead.end() < stop else start
    tokens = tokenise(text, start, stop)
    kinds = "".join([token.kind for token in tokens])
    stretch = _STRETCH.search(kinds)
    first = max(stretch.start(), kinds.rfind("=", 0, stretch.end()) + 1) if stretch else 0
    body = tokens[first : stretch.end()] if stretch else []
    rpn = postfix(body)
    if rpn is None:
        body = [token for token in body if token.kind == "n"][:1]
        rpn = postfix(body)
    value = evaluate(rpn, PercentRule.BARE) if rpn else None
    decimals = max((token.decimals for token in body), default=0)
    span = Span(start, max(start + 1, body[-1].stop if body and value is not None else stop))
    return Answer(span, value, decimals)
