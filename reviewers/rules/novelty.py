"""The rule ``novelty``: what each clause adds to the problem and to the text before it.

Segmentation: clauses. New numbers or relations are contributing; a clause that says again what the
problem says is setup; one that says again what the completion said, and idle talk, are idle. The
first statement of the answer is contributing, a later one repeats what is known and is idle.

The whole completion is covered. Confidence is the estimated chance that a careful reader gives the
same label: high for new numbers and for fixed phrases of idle talk, low where only words are new.
Novelty cannot tell right from wrong: it never says decisive or harmful and gives no verdict.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

from dca.domain.review import Step
from dca.domain.rollout import Rollout
from dca.domain.spans import Span
from reviewers.rules.answer import Answer, find_answer
from reviewers.rules.equations import read_page
from reviewers.rules.numbers import TENS, UNITS
from reviewers.rules.reading import Reading, RuleReviewer
from reviewers.rules.sentences import clauses, sentences

_WORD = re.compile(r"[0-9]+(?:[.,][0-9]+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")


def _unified(word: str) -> str:
    """Return a number without thousands marks, a number word as digits, a plural as singular."""
    if word[0].isdigit():
        word = word.replace(",", "")
        return word.rstrip("0").rstrip(".") if "." in word else word
    value = UNITS.get(word, TENS.get(word))
    if value is not None:
        return str(value)
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word


def _words(text: str) -> frozenset[str]:
    return frozenset(_unified(word) for word in text.split())


_FILLER = _words(
    """okay ok so well alright right hmm hm um uh wait now let me think lets let's us see i need to
    first of all about this the problem question carefully step by again look at it is a solve here
    we go sure start starting begin by with then and yes no yeah great good thanks thank you that's
    that i'll i'm start break down just how approach find out answer my thoughts thinking do what
    try work through going can hope helps know if any questions have luck interesting tricky easy
    simple enough for figure read reread double check everything seems fine done solution
    reasoning given information understand asked asking asks am in"""
)
_SMALL = _words(
    """the a an of to in on for and or is are was were be it its his her he she they their them
    that this these those with by at as from so then there has have had will would can each per
    every if we you i do does did not no how many much what which who when than more less"""
)
_SIGN_OFF = re.compile(
    r"\s*(?:i hope (?:this|that)|let me know if|hope this|feel free to|good luck|thank(?:s| you))",
    re.IGNORECASE,
)
_ITEM = re.compile(r"[\s*#-]{0,8}(?:step\s)?[0-9]{1,3}[.):]\s", re.IGNORECASE)


class Novelty(RuleReviewer):
    """Tells new content from restatement, repetition and idle talk."""

    __slots__ = ()
    name: ClassVar[str] = "novelty"
    needs: ClassVar[tuple[str, ...]] = ("contributing", "setup", "idle")

    def read(self, rollout: Rollout) -> Reading:
        """Return what the rule finds."""
        return read_novelty(rollout)


class _Said:
    """What has been said: words, word pairs and numbers."""

    def __init__(self) -> None:
        self.words: set[str] = set()
        self.pairs: set[tuple[str, str]] = set()
        self.numbers: set[str] = set()

    def add(self, words: list[str]) -> None:
        self.words.update(words)
        self.pairs.update(pairwise(words))
        self.numbers.update(word for word in words if word[0].isdigit())

    def share(self, words: list[str]) -> float:
        """Return the share of word pairs, or of a lone word, said before, in [0, 1]."""
        pairs = list(pairwise(words))
        if not pairs:
            return float(all(word in self.words for word in words))
        return sum(pair in self.pairs for pair in pairs) / len(pairs)


def read_novelty(rollout: Rollout) -> Reading:
    """Label every clause by what it adds."""
    text = rollout.completion
    problem, before = _Said(), _Said()
    problem.add(_tokens(rollout.problem))
    relations = [equation.span.start for equation in read_page(text).equations]
    answer = find_answer(rollout)
    steps: list[Step] = []
    for clause in _clauses(text):
        item = _ITEM.match(text, clause.start, clause.stop)
        words = _tokens(text[item.end() if item else clause.start : clause.stop])
        if not words:
            continue
        place = bisect_left(relations, clause.start)
        relation = place < len(relations) and relations[place] < clause.stop
        idle = _idle_talk(text, clause, words)
        label = idle or _stated(clause, answer, before, relation)
        steps.append(Step(clause, *(label or _novel(words, problem, before, relation))))
        before.add(words)
    return Reading(tuple(steps), covered=Span(0, len(text)))


def _clauses(text: str) -> Iterator[Span]:
    for sentence in sentences(text):
        yield from clauses(text, sentence)


def _tokens(text: str) -> list[str]:
    """Return lower-case words and numbers; number words and thousands marks are unified."""
    words = _WORD.findall(text.lower())
    return [_unified(word) for word in words]


def _idle_talk(text: str, clause: Span, words: list[str]) -> tuple[str, float, str] | None:
    if all(word in _FILLER for word in words):
        return "idle", 0.85, "idle talk"
    if _SIGN_OFF.match(text, clause.start, clause.stop):
        return "idle", 0.85, "a sign-off"
    return None


def _stated(
    clause: Span, answer: Answer | None, before: _Said, relation: bool
) -> tuple[str, float, str] | None:
    """Label the clause that states the final answer and calculates nothing."""
    if answer is None or relation or not clause.start <= answer.span.start < clause.stop:
        return None
    value = answer.value
    if value is None:
        return "contributing", 0.5, "states the answer"
    if value.denominator == 1:
        written = str(abs(value.numerator)) if value.numerator.bit_length() < 400 else ""
    else:
        written = str(abs(float(value)))
    if written in before.numbers:
        return "idle", 0.65, "states an answer that is already there"
    return "contributing", 0.5, "first states the answer"


def _novel(
    words: list[str], problem: _Said, before: _Said, relation: bool
) -> tuple[str, float, str]:
    """Label a clause by its numbers and relations first, then by its words."""
    numbers = {word for word in words if word[0].isdigit()}
    fresh = numbers - problem.numbers - before.numbers
    repeated = before.share(words)
    if relation and repeated >= 0.9:
        return "idle", 0.7, "repeats an earlier calculation"
    if relation:
        return "contributing", 0.8 if fresh else 0.7, "a new calculation"
    if fresh:
        return "contributing", 0.65, "brings a new number"
    restated = problem.share(words)
    if restated >= 0.5 and restated >= repeated:
        return "setup", 0.55 + 0.3 * restated, "says again what the problem says"
    if repeated >= 0.6:
        return "idle", 0.45 + 0.35 * repeated, "repeats what is already said"
    return _worded(words, numbers, problem, before)


def _worded(
    words: list[str], numbers: set[str], problem: _Said, before: _Said
) -> tuple[str, float, str]:
    """Label a clause that brings no number and says nothing over again in order."""
    content = {word for word in words if word not in _SMALL and word not in _FILLER} - numbers
    unseen = sum(word not in problem.words and word not in before.words for word in content)
    if unseen >= 2 and 2 * unseen >= len(content):
        return "contributing", 0.4, "new words, no new number"
    if numbers <= problem.numbers and content <= problem.words:
        return "setup", 0.4, "only words and numbers of the problem"
    return "idle", 0.4, "only words and numbers that were there before"
