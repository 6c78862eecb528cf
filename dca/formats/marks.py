"""Marks in a completion: where the chain of thought is, and where the final answer."""

import re
from collections import deque

from dca.domain.spans import Span

THINK_TAGS = ("<think>", "</think>")
"""Default marks around the chain of thought."""

# Repetitions are bounded: an unbounded one makes a hostile completion take minutes.
_box = re.compile(r"\\f?box(?:ed)?[ ]{0,3}\{")
_stated = re.compile(
    r"^[ \t>*_#-]{0,12}(?P<word>(?:the[ ])?(?:final[ ])?answer|ans|A)[ \t*_]{0,8}[:：]",
    re.MULTILINE | re.IGNORECASE,
)
_said = re.compile(r"\b(?:answer|result)[ ]is\b[ \t:*_]{0,8}", re.IGNORECASE)
_sentence_end = re.compile(r"[.!?](?=\s|\Z)")
_dress = " \t\r*_"
"""Blanks and Markdown emphasis around an answer."""


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
    r"""Return the final answer where the text marks it clearly, else ``None``.

    Looked for after the chain of thought, in this order, the last of each kind: ``\boxed{x}``,
    ``#### x`` on the last line, ``<answer>x</answer>``, a line ``Answer: x`` (``A: x`` only on
    the last line), "the answer is x".
    """
    start = answer_start(completion, tags)
    if start is None:
        return None
    tail = completion[start:].rstrip()
    for find in (_boxed, _hashed, _tagged, _last_stated, _last_said):
        span = find(tail)
        if span is not None and len(span):
            return Span(start + span.start, start + span.stop)
    return None


def _last(pattern: re.Pattern[str], tail: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(tail), maxlen=1)), None)


def _stripped(tail: str, start: int, stop: int, dress: str = _dress) -> Span:
    inner = tail[start:stop]
    left = len(inner) - len(inner.lstrip(dress))
    return Span(start + left, start + max(left, len(inner.rstrip(dress))))


def _line_end(tail: str, start: int) -> int:
    stop = tail.find("\n", start)
    return len(tail) if stop < 0 else stop


def _boxed(tail: str) -> Span | None:
    found = _last(_box, tail) if "\\" in tail else None
    if found is None:
        return None
    depth = 1
    for place in range(found.end(), len(tail)):
        depth += {"{": 1, "}": -1}.get(tail[place], 0)
        if depth == 0:
            return _stripped(tail, found.end(), place, " \t\n")
    return None


def _hashed(tail: str) -> Span | None:
    # Elsewhere than on the last line, four hashes open a heading.
    start = tail.rfind("\n") + 1
    return _stripped(tail, start + 4, len(tail)) if tail.startswith("####", start) else None


def _tagged(tail: str) -> Span | None:
    stop = tail.rfind("</answer>")
    start = tail.rfind("<answer>", 0, stop) if stop >= 0 else -1
    return _stripped(tail, start + len("<answer>"), stop, " \t\n") if start >= 0 else None


def _last_stated(tail: str) -> Span | None:
    found = _last(_stated, tail) if ":" in tail or "：" in tail else None
    if found is None:
        return None
    stop = _line_end(tail, found.end())
    # "A:" also opens a line of a dialogue; only as the last line is it an answer.
    if found["word"] in "Aa" and stop < len(tail):
        return None
    if not tail[found.end() : stop].strip(_dress):
        stop = _line_end(tail, stop + 1)
    return _stripped(tail, found.end(), stop, _dress + "\n")


def _last_said(tail: str) -> Span | None:
    found = _last(_said, tail) if " is" in tail else None
    if found is None:
        return None
    stop = _line_end(tail, found.end())
    ended = _sentence_end.search(tail, found.end(), stop)
    return _stripped(tail, found.end(), ended.start() if ended else stop)
