"""Outcome verification: find the final answer of a completion and compare it with the truth."""

import re
import unicodedata
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from dca.domain.errors import UsageError
from dca.formats.marks import THINK_TAGS, answer_span, answer_start
from dca.formats.math_judge import math_judge
from dca.formats.numbers import equal_numbers, read_number


class Outcome(StrEnum):
    """What a verification found."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """The completion ended without an answer: wrong, but counted apart."""
    UNFINISHED = "unfinished"
    """Cut by a length limit before an answer: no outcome."""
    NO_TRUTH = "no_truth"
    """The source has no reference answer: no outcome."""
    UNREADABLE_TRUTH = "unreadable_truth"
    """The reference answer does not fit the method: no outcome."""
    UNDECIDED = "undecided"
    """The comparison ran out of time or memory: no outcome."""


REWARDS: Mapping[Outcome, float | None] = {
    Outcome.CORRECT: 1.0,
    Outcome.WRONG: 0.0,
    Outcome.NO_ANSWER: 0.0,
    Outcome.UNFINISHED: None,
    Outcome.NO_TRUTH: None,
    Outcome.UNREADABLE_TRUTH: None,
    Outcome.UNDECIDED: None,
}
"""Outcome to reward; ``None`` where nobody can say, so that no fault of ours is punished."""


@dataclass(frozen=True, slots=True)
class Final:
    """The end of a completion, where its answer stands."""

    marked: str | None
    """The answer, when the text marks it."""
    tail: str
    """Everything after the chain of thought, stripped."""

    @property
    def last_line(self) -> str:
        """The last line that holds text."""
        return self.tail.rsplit("\n", 1)[-1].strip()


Comparison = Callable[[Final, str], Outcome]
"""From the end of a completion and the reference answer to an outcome."""


def find_final(completion: str, tags: tuple[str, str] = THINK_TAGS) -> Final | None:
    """Return the end of a completion; ``None`` when its chain of thought never ended."""
    start = answer_start(completion, tags)
    if start is None:
        return None
    span = answer_span(completion, tags)
    marked = None if span is None else span.text(completion)
    return Final(marked, completion[start:].strip())


def judge(
    compare: Comparison,
    completion: str,
    truth: str | None,
    *,
    tags: tuple[str, str] = THINK_TAGS,
    truncated: bool = False,
) -> Outcome:
    """Return the outcome of one completion.

    Args:
        compare: One of ``comparison(method)``.
        completion: The whole completion.
        truth: The reference answer, or a reference solution that ends in a marked one.
        tags: Marks around the chain of thought; answers inside it do not count.
        truncated: Whether a length limit cut the completion.
    """
    if truth is None or not truth.strip():
        return Outcome.NO_TRUTH
    final = find_final(completion, tags)
    if final is None:
        return Outcome.UNFINISHED
    span = answer_span(truth, tags)
    outcome = compare(final, truth.strip() if span is None else span.text(truth))
    return Outcome.UNFINISHED if truncated and outcome is Outcome.NO_ANSWER else outcome


@contextmanager
def comparison(method: str) -> Generator[Comparison, None, None]:
    """Give the comparison of a method: ``exact``, ``numeric``, ``choice`` or ``math``.

    Raises:
        UsageError: No such method.
        MissingExtra: ``math`` without the package math-verify.
    """
    if method == "math":
        with math_judge() as ask:
            yield lambda final, truth: Outcome(ask(final.tail, truth))
    elif method in METHODS:
        yield METHODS[method]
    else:
        known = ", ".join([*METHODS, "math"])
        raise UsageError(f"no verification named {method!r}", hint=f"Choose one of {known}.")


def exact(final: Final, truth: str) -> Outcome:
    """Compare as text, without regard to case, blanks, emphasis and closing punctuation.

    Without a mark, only a one-line ending counts as an answer.
    """
    answer = final.marked if final.marked is not None else final.tail
    if not answer or (final.marked is None and "\n" in final.tail):
        return Outcome.NO_ANSWER
    return _verdict(_plain(answer) == _plain(truth))


def numeric(final: Final, truth: str) -> Outcome:
    """Compare as numbers, relative tolerance 1e-6.

    Without a mark, the last number of the last line is the answer.
    """
    wanted = read_number(truth)
    if wanted is None:
        return Outcome.UNREADABLE_TRUTH
    if final.marked is not None:
        found = read_number(final.marked)
        return _verdict(found is not None and equal_numbers(found, wanted))
    found = read_number(final.last_line, last=True)
    return Outcome.NO_ANSWER if found is None else _verdict(equal_numbers(found, wanted))


def choice(final: Final, truth: str) -> Outcome:
    """Compare as letters of options, A to J: ``B``, ``(b)``, ``B. Paris``, ``option B``."""
    wanted = read_letter(truth)
    if wanted is None:
        return Outcome.UNREADABLE_TRUTH
    found = read_letter(final.last_line if final.marked is None else final.marked)
    return Outcome.NO_ANSWER if found is None else _verdict(found == wanted)


METHODS: Mapping[str, Comparison] = {"exact": exact, "numeric": numeric, "choice": choice}


def _verdict(same: bool) -> Outcome:
    return Outcome.CORRECT if same else Outcome.WRONG


_wrapped = re.compile(r"\\(?:text|mathrm|mathbf|textbf|textit)\{([^{}]*)\}")
_edges = " \t\n\r*_`\"'$.,;:!“”‘’"


def _plain(text: str) -> str:
    """Return the text as compared by ``exact``."""
    bare = _wrapped.sub(r"\1", unicodedata.normalize("NFKC", text)).strip(_edges)
    return " ".join(bare.split()).casefold()


_bracketed = re.compile(r"\(([A-Ja-j])\)")
_opening = re.compile(r"(?:(?:option|choice|answer)\s+)?([A-J])(?:[).:,\]]|\s*$)", re.IGNORECASE)
_named = re.compile(r"\b(?:option|choice)\s+\(?([A-J])\b", re.IGNORECASE)
_final = re.compile(r"\b(?:is|:)\s*\**\(?([A-J])\)?[\s*.]*$")


def read_letter(text: str) -> str | None:
    """Return the option that a short answer names, as a capital; ``None`` when it is not clear."""
    bare = _wrapped.sub(r"\1", text).strip(_edges + "[]")
    bracketed = {letter.upper() for letter in _bracketed.findall(bare)}
    if bracketed:
        return bracketed.pop() if len(bracketed) == 1 else None
    found = _opening.match(bare) or _final.search(bare)
    if found is None:
        named = {letter.upper() for letter in _named.findall(bare)}
        return named.pop() if len(named) == 1 else None
    return found[1].upper()
