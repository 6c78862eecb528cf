"""Marks in a completion: where the chain of thought is, and where the final answer."""

import re
from collections import deque

from dca.domain.spans import Span

THINK_TAGS = ("<think>", "</think>")
"""Default marks around the chain of thought."""

_hashes = re.compile(r"^####[ \t]*(\S[^\n]*?)[ \t]*$", re.MULTILINE)
_tagged = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
_stated = re.compile(
    r"^[ \t>*_#-]*(?P<word>(?:the[ ]+)?(?:final[ ]+)?answer|ans|A)[ \t]*[*_]*[ \t]*[:：]"
    r"[ \t*_]*\n?[ \t]*(?P<answer>\S[^\n]*?)[ \t]*[*_]*$",
    re.MULTILINE | re.IGNORECASE,
)
_said = re.compile(
    r"\b(?:answer|result)[ ]+is[ ]*:?[ \t]*\**[ \t]*(\S[^\n]*?)[*_]*[.!]?[*_]*"
    r"(?=[ \t]*(?:$|\n)|[.!][ ])",
    re.IGNORECASE,
)
_box = re.compile(r"\\f?box(?:ed)?\s*\{")


def think_span(completion: str, tags: tuple[str, str] = THINK_TAGS) -> Span | None:
    """Return the text between the tags, ``None`` when there is none.

    A closing tag alone ends a thought that began in the prompt; an opening tag alone begins one
    that was cut by a length limit.
    """
    opening, closing = tags
    opened = completion.find(opening)
    start = 0 if opened < 0 else opened + len(opening)
    closed = completion.find(closing, start)
    if opened < 0 and closed < 0:
        return None
    stop = len(completion) if closed < 0 else closed
    return Span(start, stop) if completion[start:stop].strip() else None


def answer_start(completion: str, tags: tuple[str, str] = THINK_TAGS) -> int | None:
    """Return where the text after the chain of thought begins; ``None`` when it never ended."""
    opening, closing = tags
    closed = completion.rfind(closing)
    if closed >= 0:
        return closed + len(closing)
    return None if opening in completion else 0


def answer_span(completion: str, tags: tuple[str, str] = THINK_TAGS) -> Span | None:
    """Return the final answer where the text marks it clearly, else ``None``.

    Looked for after the chain of thought, in this order, the last of each kind: ``\\boxed{x}``,
    ``#### x``, ``<answer>x</answer>``, a line ``Answer: x`` (``A: x`` only on the last line),
    "the answer is x".
    """
    start = answer_start(completion, tags)
    if start is None:
        return None
    tail = completion[start:]
    for find in (_last_box, _last_hashes, _last_tagged, _last_stated, _last_said):
        span = find(tail)
        if span is not None and len(span):
            return Span(start + span.start, start + span.stop)
    return None


def _last(pattern: re.Pattern[str], tail: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(tail), maxlen=1)), None)


def _last_box(tail: str) -> Span | None:
    found = _last(_box, tail) if "\\" in tail else None
    if found is None:
        return None
    depth = 1
    for place in range(found.end(), len(tail)):
        depth += {"{": 1, "}": -1}.get(tail[place], 0)
        if depth == 0:
            return _trimmed(tail, found.end(), place)
    return None


def _trimmed(tail: str, start: int, stop: int) -> Span:
    inner = tail[start:stop]
    left = len(inner) - len(inner.lstrip())
    return Span(start + left, start + max(left, len(inner.rstrip())))


def _last_hashes(tail: str) -> Span | None:
    found = _last(_hashes, tail) if "####" in tail else None
    return None if found is None else Span(*found.span(1))


def _last_tagged(tail: str) -> Span | None:
    found = _last(_tagged, tail) if "</answer>" in tail else None
    return None if found is None else Span(*found.span(1))


def _last_stated(tail: str) -> Span | None:
    found = _last(_stated, tail) if ":" in tail or "：" in tail else None
    # "A:" also opens a line of a dialogue; only as the last line is it an answer.
    if found is None or (found["word"] in "Aa" and tail[found.end() :].strip(" \t\n*_")):
        return None
    return Span(*found.span("answer"))


def _last_said(tail: str) -> Span | None:
    found = _last(_said, tail) if " is" in tail else None
    return None if found is None else Span(*found.span(1))
