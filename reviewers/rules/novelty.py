"""The rule ``novelty``: what each clause adds to the problem and to the text before it.

Segmentation: clauses. New numbers or relations are contributing, and decisive where they first
bring the value of the final answer and the outcome is no failure. A clause that says again what
the problem says is setup; one that says again what the completion said, and idle talk, are idle.
A lone statement of the answer is contributing; one that comes later repeats what is known and is
idle. The clause that is repeated is linked to the one that repeats it.

The whole completion is covered. Confidence is the estimated chance that a careful reader gives the
same label: high for new numbers and for fixed phrases of idle talk, low where only words are new.
Novelty cannot tell right from wrong: it never says harmful and gives no verdict.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

from dca.domain.review import Link, LinkKind, Step
from dca.domain.rollout import SUCCESS_AT, Rollout, succeeded
from dca.domain.spans import Span
from reviewers.rules.answer import Answer, find_answer
from reviewers.rules.equations import Page, read_page
from reviewers.rules.numbers import TENS, UNITS, Verdict, compare
from reviewers.rules.reading import Reading, RuleReviewer
from reviewers.rules.sentences import clauses, sentences
from reviewers.rules.widths import plain_widths

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
_MAX_BITS = 400
_ANSWERED = "states an answer that is already there"
_CALCULATED = "repeats an earlier calculation"
_REPEATS = "repeats what is already said"
_REPEATED = frozenset([_ANSWERED, _CALCULATED, _REPEATS])
"""Reasons of the steps that say again what an earlier step said."""


class Novelty(RuleReviewer):
    """Tells new content from restatement, repetition and idle talk."""

    __slots__ = ()
    name: ClassVar[str] = "novelty"
    needs: ClassVar[tuple[str, ...]] = ("decisive", "contributing", "setup", "idle")

    def read(self, rollout: Rollout) -> Reading:
        """Return what the rule finds."""
        return read_novelty(rollout, self.success_at)


class _Said:
    """What has been said, and at which step first: words, word pairs and numbers."""

    def __init__(self) -> None:
        self.words: dict[str, int] = {}
        self.pairs: dict[tuple[str, str], int] = {}
        self.numbers: set[str] = set()
        self.of_step: list[set[str]] = []
        """The numbers of every step."""

    def add(self, words: list[str]) -> None:
        """Note the words of the next step."""
        step = len(self.of_step)
        for word in words:
            self.words.setdefault(word, step)
        for pair in pairwise(words):
            self.pairs.setdefault(pair, step)
        self.of_step.append({word for word in words if word[0].isdigit()})
        self.numbers |= self.of_step[-1]

    def share(self, words: list[str]) -> float:
        """Return the share of word pairs, or of a lone word, said before, in [0, 1]."""
        pairs = list(pairwise(words))
        if not pairs:
            return float(all(word in self.words for word in words))
        return sum(pair in self.pairs for pair in pairs) / len(pairs)

    def origin(self, words: list[str]) -> int | None:
        """Return the step that first said at least half of the word pairs and has all numbers."""
        pairs = list(pairwise(words))
        first = [self.pairs[pair] for pair in pairs if pair in self.pairs]
        if not pairs:
            first = [self.words[word] for word in words if word in self.words]
        if not first:
            return None
        step, count = Counter(first).most_common(1)[0]
        known = all(word in self.of_step[step] for word in words if word[0].isdigit())
        return step if known and 2 * count >= len(pairs) else None


class _Goal:
    """The value of the final answer, and the step that first brings it as new content."""

    def __init__(self, page: Page, answer: Answer | None) -> None:
        self.page = page
        self.answer = answer
        self.numerals = [numeral.span.start for numeral in page.numerals]
        self.relations = [equation.span.start for equation in page.equations]
        self.step: int | None = None

    def equations(self, clause: Span) -> range:
        """Return the positions of the equations that begin in a clause."""
        first = bisect_left(self.relations, clause.start)
        return range(first, bisect_left(self.relations, clause.stop, first))

    def reached(self, clause: Span, fresh: set[str], step: int) -> bool:
        """Tell whether a clause is the first to bring the value, and note its step.

        It brings it as the result of an equation or, where it calculates nothing, as one of the
        ``fresh`` numbers, which nobody stated before.
        """
        if self.step is not None or self.answer is None or self.answer.value is None:
            return False
        mine = self.equations(clause)
        values = [self.page.equations[i].result for i in mine]
        if not mine:
            first = bisect_left(self.numerals, clause.start)
            last = bisect_left(self.numerals, clause.stop, first)
            values = [
                n.value for n in self.page.numerals[first:last] if _written(n.value) in fresh
            ]
        value, decimals = self.answer.value, self.answer.decimals
        if any(compare(v, value, decimals) is Verdict.RIGHT for v in values):
            self.step = step
        return self.step is not None


def read_novelty(rollout: Rollout, success_at: float = SUCCESS_AT) -> Reading:
    """Label every clause by what it adds."""
    text, lost = rollout.completion, succeeded(rollout.reward, success_at) is False
    problem, before = _Said(), _Said()
    problem.add(_tokens(rollout.problem))
    goal = _Goal(read_page(text), find_answer(rollout))
    steps: list[Step] = []
    links: list[Link] = []
    for clause in _clauses(text):
        words = _said_in(text, clause)
        if not words:
            continue
        relation = len(goal.equations(clause)) > 0
        label = _idle_talk(text, clause, words) or _stated(clause, goal.answer, before, relation)
        known = goal.step
        if label is None:
            label = _novel(words, problem, before, relation)
            known = before.origin(words)
            fresh = set(words) - problem.numbers - before.numbers
            new = label[0] == "contributing"
            if new and goal.reached(clause, fresh, len(steps)) and not lost:
                label = ("decisive", label[1], f"{label[2]}, which is the answer")
        if known is not None and label[2] in _REPEATED:
            links.append(Link(known, len(steps), LinkKind.USES))
        before.add(words)
        steps.append(Step(clause, *label))
    return Reading(tuple(steps), tuple(links), covered=Span(0, len(text)))


def _said_in(text: str, clause: Span) -> list[str]:
    """Return the words of a clause without the number of a list item."""
    item = _ITEM.match(text, clause.start, clause.stop)
    return _tokens(text[item.end() if item else clause.start : clause.stop])


def _clauses(text: str) -> Iterator[Span]:
    for sentence in sentences(text):
        yield from clauses(text, sentence)


def _tokens(text: str) -> list[str]:
    """Return lower-case words and numbers; number words and thousands marks are unified."""
    words = _WORD.findall(plain_widths(text).lower())
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
    if answer.value is None:
        return "contributing", 0.5, "states the answer"
    if _written(answer.value) in before.numbers:
        return "idle", 0.65, _ANSWERED
    return "contributing", 0.5, "first states the answer"


def _written(value: Fraction) -> str:
    """Return a number as ``_unified`` writes it, without its sign; ``""`` for a huge one."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        return ""
    return str(abs(value.numerator) if value.denominator == 1 else abs(float(value)))


def _novel(
    words: list[str], problem: _Said, before: _Said, relation: bool
) -> tuple[str, float, str]:
    """Label a clause by its numbers and relations first, then by its words."""
    numbers = {word for word in words if word[0].isdigit()}
    fresh = numbers - problem.numbers - before.numbers
    repeated = before.share(words)
    if relation and repeated >= 0.9:
        return "idle", 0.7, _CALCULATED
    if relation:
        return "contributing", 0.8 if fresh else 0.7, "a new calculation"
    if fresh:
        return "contributing", 0.65, "brings a new number"
    restated = problem.share(words)
    if restated >= 0.5 and restated >= repeated:
        return "setup", 0.55 + 0.3 * restated, "says again what the problem says"
    if repeated >= 0.6:
        return "idle", 0.45 + 0.35 * repeated, _REPEATS
    return _worded(words, numbers, problem, before)


def _worded(
    words: list[str], numbers: set[str], problem: _Said, before: _Said
) -> tuple[str, float, str]:
    """Label a clause that brings no number and says nothing over again in order."""
    content = {word for word in words if word not in _SMALL and word not in _FILLER} - numbers
    unseen = sum(word not in problem.words and word not in before.words for word in content)
    if unseen >= 2 and 2 * unseen >= len(content):
        return "contributing", 0.4, "new words, no new number"
    if numbers <= problem.numbers and content <= problem.words.keys():
        return "setup", 0.4, "only words and numbers of the problem"
    return "idle", 0.4, "only words and numbers that were there before"
