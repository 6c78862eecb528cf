"""Sentences and clauses: ranges of text that never overlap and hold no outer white space."""

import itertools
import re
from collections.abc import Iterable, Iterator

from dca.domain.spans import Span

MAX_LENGTH = 2_000
"""A longer sentence, in code points, is cut at a space, or where there is none, in the middle."""

_END = re.compile(
    r"\n|(?<![.!?…])(?:[.?…]|(?<![0-9)])!)[.!?…]*+[\"'”’)\]*_$]{0,4}+(?=\s)|[。！？]"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|vs|etc|approx|No|Prof|Jr|Sr|e\.g|i\.e)|(?:^|\n|\s)[0-9]{1,3}"
    r"|(?:^|[\s.])[A-Z])$"
)
_CLAUSE = re.compile(
    r"(?:,\s|\s)(?=(?:so|but|because|therefore|thus|hence|since|which means)\b)"
    r"|,\s(?=(?:and|then)\b)|;\s|\s[–—]\s(?![$€£]?[0-9(])",
    re.IGNORECASE,
)
_LONE_WORD = re.compile(r"\W{0,8}+[^\W\d]{0,40}+(?:['’][^\W\d]{1,9}+)?\W{0,8}+")


def sentences(text: str) -> list[Span]:
    """Return the sentences of ``text``; every line end also ends one."""
    return list(_trimmed(text, _ranges(text)))


def clauses(text: str, sentence: Span) -> list[Span]:
    """Return the clauses of one sentence, cut before "so", "but", "because" and the like.

    A cut before "then" needs a comma: "she then had" is one clause. A dash before a number is a
    minus, and no cut leaves a single word.
    """
    cuts = [sentence.start]
    for match in _CLAUSE.finditer(text, sentence.start, sentence.stop):
        if not _LONE_WORD.fullmatch(text, cuts[-1], match.end()):
            cuts.append(match.end())
    if len(cuts) > 1 and _LONE_WORD.fullmatch(text, cuts[-1], sentence.stop):
        cuts.pop()
    cuts.append(sentence.stop)
    return list(_trimmed(text, itertools.pairwise(cuts)))


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _END.finditer(text):
        if match.group()[0] == "." and _abbreviated(text, start, match.start()):
            continue
        yield start, match.end()
        start = match.end()
    yield start, len(text)


def _abbreviated(text: str, start: int, dot: int) -> bool:
    """Tell whether the dot ends an abbreviation, an initial or the number of a list item."""
    tail = text[max(start, dot - 8) : dot]
    match = _ABBREVIATION.search(tail)
    if match is None:
        return False
    return not tail[-1].isdigit() or not text[start : dot - len(match.group().strip())].strip()


def _trimmed(text: str, ranges: Iterable[tuple[int, int]]) -> Iterator[Span]:
    for start, stop in ranges:
        for left, right in _short(text, start, stop):
            span = trim(text, left, right)
            if len(span) > 0:
                yield span


def trim(text: str, start: int, stop: int) -> Span:
    """Return ``[start, stop)`` without the white space at both ends; empty when it holds none."""
    piece = text[start:stop]
    start += len(piece) - len(piece.lstrip())
    return Span(start, max(start, stop - len(piece) + len(piece.rstrip())))


def _short(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    while stop - start > MAX_LENGTH:
        cut = text.rfind(" ", start + 1, start + MAX_LENGTH)
        cut = cut if cut > start else start + MAX_LENGTH
        yield start, cut
        start = cut
    yield start, stop
