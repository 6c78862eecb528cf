"""Cues: the words with which a writer takes something back, tries again, or checks."""

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import chain

from dca.domain.spans import Span


class Cue(StrEnum):
    """What a cue announces."""

    RETRACT = "retract"
    """Says that something before is wrong."""
    DOUBT = "doubt"
    """May take something back, or only pauses: "wait", "hmm", "actually"."""
    TURN = "turn"
    """Drops an approach for another."""
    CHECK = "check"
    """Announces a verification."""


_CUES = {
    Cue.RETRACT: r"""
        (?:no|nope|oops|whoops|scratch[ ]that|strike[ ]that|my[ ]mistake|correction|sorry)[,.:!—-]
      | (?:(?:wait|hmm+|hold[ ]on|oh|ah|but|no|actually|so)[,.!…—-]{0,3}[ ]){0,3}
        (?:(?:that|this|it|which)(?:[ ]is|['’]s|[ ]was|[ ]must[ ]be|[ ]seems|[ ]looks)[ ]
             (?:(?:clearly|obviously|definitely|actually|also)[ ])?
             (?:wrong|incorrect|not[ ](?:right|correct|true|possible)|a[ ]mistake|an[ ]error)
         | (?:that|this|which)(?:[ ]is|['’]s|[ ]was|[ ]must[ ]be|[ ]seems|[ ]looks)[ ]
             (?:(?:clearly|obviously|definitely|actually|also|way)[ ])?off(?=[.!]|\s{0,2}\Z)
         | (?:that|this|it)[ ](?:isn['’]t|wasn['’]t)[ ](?:right|correct|possible)
         | (?:that|this|it)[ ](?:can['’]t|cannot|can[ ]not|couldn['’]t)[ ]be
         | (?:that|this|it)[ ]do(?:es)?(?:n['’]t|[ ]not)[ ]
             (?:make[ ]sense|seem[ ]right|look[ ]right)
         | i[ ](?:made|must[ ]have[ ]made|have[ ]made|think[ ]i[ ]made)[ ](?:a|an)[ ]
             (?:mistake|error|miscalculation)
         | i[ ](?:was[ ]wrong|miscalculated|misread|miscounted|misunderstood|forgot|messed[ ]up)
         | (?:let[ ]me|i[ ](?:need|have)[ ]to|i['’]ll|i[ ]should|let['’]s)[ ]
             (?:redo|recalculate|recompute|start[ ]over|try[ ]again|recount|
              (?:correct|fix)[ ](?:that|this|it|my)))""",
    Cue.TURN: r"""
        (?:(?:this|that)[ ](?:approach[ ])?(?:does(?:n['’]t|[ ]not)[ ](?:work|help|lead)|
            leads[ ]nowhere|(?:is|seems)[ ](?:a[ ]dead[ ]end|too[ ]complicated|getting)))
      | (?:(?:maybe|perhaps|instead|so|okay|ok|hmm+)[,.]?[ ])?
            (?:let[ ]me|let['’]s|i['’]ll|i[ ]will|
            i[ ]can|we[ ]can)[ ](?:try|use|think[ ]of)[ ](?:a[ ]different|another|some[ ]other|
            a[ ]new)[ ]""",
    Cue.CHECK: r"""
        (?:(?:to|let[ ]me|let['’]s|i['’]ll|we[ ]can|i[ ]should)[ ](?:just[ ]|also[ ]|quickly[ ])?
            (?:double[- ]check|check|verify|confirm|sanity[- ]check))
      | (?:check|verification|verify|checking|double[- ]check(?:ing)?|sanity[ ]check)[:,]""",
    Cue.DOUBT: r"(?:wait|hold[ ]on|hmm+|actually|on[ ]second[ ]thought|or[ ]rather)\b",
}
_ANY = re.compile(
    r"\s{0,3}[\"'“*_(-]{0,3}(?:(?:but|and|so|oh|ah|well|okay|ok)[,]?[ ])?(?:"
    + "|".join(rf"(?P<{cue.value}>{pattern})" for cue, pattern in _CUES.items())
    + r")",
    re.IGNORECASE | re.VERBOSE,
)
_BOUNDARY = re.compile(r"\n|[.!?,;:…)][ ]?|[ ][-–—][ ]|—")
_CLAUSE_END = re.compile(r"(?:[^.!?,;:\n—]|[.,:](?=[0-9])){0,90}[.!?,;:—]{0,3}")
_VERIFIES = re.compile(r"\b(?:verif|check|confirm|make sure)", re.IGNORECASE)
_MARKS = re.compile(r"[,.!…:—-]{0,3}")
_SETTLED = re.compile(
    r"\b(?:is|seems|looks|was|that['’]s|it['’]s|are)[ ](?:all[ ])?"
    r"(?:right|correct|fine|consistent|good)\b"
    r"|\bchecks[ ]out\b|\bmatches\b|✓|\bconfirmed\b",
    re.IGNORECASE,
)


def cues_in(text: str, start: int, stop: int) -> Iterator[tuple[Cue, Span]]:
    """Yield the cues of ``text[start:stop]`` in text order, each with its clause.

    A cue stands at the beginning of a sentence or a line, or after a comma, a colon or a dash. Its
    clause reaches to the next mark of punctuation, at most 90 code points; that of a bare "no," or
    "wait" is the word itself, because what follows it is the repair.
    """
    last = start
    boundaries = (boundary.end() for boundary in _BOUNDARY.finditer(text, start, stop))
    for place in chain([start], boundaries):
        match = _ANY.match(text, place, stop)
        if match is None or match.lastgroup is None or match.start() < last:
            continue
        cue = Cue(match.lastgroup)
        short = cue is Cue.DOUBT or match.group()[-1] in ",.:!—-"
        end = (_MARKS if short else _CLAUSE_END).match(text, match.end(), stop)
        last = end.end() if end is not None else match.end()
        if cue is Cue.TURN and _VERIFIES.search(text, match.start(), last) is not None:
            cue = Cue.CHECK
        begin = match.start() + len(match.group()) - len(match.group().lstrip())
        yield cue, Span(begin, last)


def settles(text: str, clause: Span) -> bool:
    """Tell whether a clause says that what was checked is right."""
    return _SETTLED.search(text, clause.start, clause.stop) is not None
