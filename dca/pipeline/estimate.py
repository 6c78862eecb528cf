"""What a review will cost: pure arithmetic on the sizes of real prompts and of stored answers.

Without answers of a reviewer the figures rest on stated guesses and the range is wide. With at
least ``ENOUGH`` answers they rest on the measured tokens for each byte of prompt and on the
measured output of an answer, and the range is an interval of 95 %: it holds the error of the
means, the chance of what the remaining answers will be like, and the error of sampled prompts. It
takes means as normal, so with few answers and a heavy tail it is too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, variance

from dca.domain.review import Usage
from reviewers.prices import Price, cost_of

ENOUGH = 5
"""Answers from which on they count more than the guesses."""
BYTES_PER_TOKEN = (4.5, 3.5, 2.5)
"""Guess: UTF-8 bytes of a request for each input token; low, middle and high cost."""
REPLY_TOKENS, UNIT_TOKENS = 200, 25
"""Guess: tokens of a written reply, and more of them for each unit of the text that is shown."""
REPLY_FACTORS = (0.5, 2.0, 8.0)
"""Guess: output over the written reply, hidden reasoning included; low, middle and high."""
SPEED = (100.0, 50.0, 25.0)
"""Guess: output tokens a second of one request; low, middle and high time."""
LATENCY = 1.0
"""Guess: seconds until the first token."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Range:
    """A figure that is not known exactly; all >= 0."""

    low: float
    middle: float
    high: float

    def times(self, factor: float) -> "Range":
        """Return the range scaled by a number >= 0."""
        return Range(self.low * factor, self.middle * factor, self.high * factor)


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Prompted:
    """What is sent about some rollouts together."""

    rollouts: int
    bodies: tuple[int, ...]
    """Bytes of each request."""
    units: int
    """Units of the texts."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Prompts of a sample of what is pending."""

    pending: int
    """Rollouts."""
    prompts: tuple[Prompted, ...]
    whole: bool
    """True when it is everything that is pending."""

    @property
    def scale(self) -> float:
        """Rollouts pending for each in the sample."""
        sampled = sum(item.rollouts for item in self.prompts)
        return self.pending / sampled if sampled else 0.0

    @property
    def bytes_each(self) -> float:
        """Mean bytes of the requests about one rollout."""
        sampled = sum(item.rollouts for item in self.prompts)
        return sum(sum(item.bodies) for item in self.prompts) / sampled if sampled else 0.0

    @property
    def calls(self) -> float:
        """Requests that are pending, without repairs and retries."""
        return self.scale * sum(len(item.bodies) for item in self.prompts)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one stored answer took."""

    bytes: float
    """Of its requests, for one rollout."""
    calls: float
    """Requests for one rollout."""
    usage: Usage
    """With both numbers of tokens."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one reviewer will use."""

    calls: int
    """Requests, without repairs and retries."""
    input_tokens: Range
    output_tokens: Range
    dollars: Range | None
    """``None``: the price is not known."""
    seconds: Range
    """Of all requests one after another."""


def guess(sampled: Sampled, max_tokens: int, price: Price | None) -> Estimate:
    """Return what the prompts of a sample say without any answer."""
    cases = [_guessed(sampled, max_tokens, price, case) for case in range(3)]
    taken, given, dollars, seconds = (Range(*figures) for figures in zip(*cases, strict=True))
    known = None if price is None else dollars
    return Estimate(round(sampled.calls), taken, given, known, seconds)


def _guessed(
    sampled: Sampled, max_tokens: int, price: Price | None, case: int
) -> tuple[float, float, float, float]:
    """Return tokens in and out, dollars and seconds in one case: low, middle or high."""
    totals = [0.0] * 4
    for item in sampled.prompts:
        written = REPLY_TOKENS + UNIT_TOKENS * item.units / max(1, len(item.bodies))
        given = min(float(max_tokens), written * REPLY_FACTORS[case])
        for body in item.bodies:
            taken = body / BYTES_PER_TOKEN[case]
            cost = cost_of(Usage(round(taken), round(given)), price)
            spent = cost.dollars if cost else 0.0
            for place, figure in enumerate((taken, given, spent, LATENCY + given / SPEED[case])):
                totals[place] += figure
    taken, given, spent, seconds = (sampled.scale * total for total in totals)
    return taken, given, spent, seconds


def project(sampled: Sampled, answers: Sequence[Measured], price: Price | None) -> Estimate:
    """Return what the prompts of a sample say after some answers, at least two."""
    spending = [_costs(answer, price) for answer in answers]
    taken = [float(answer.usage.input_tokens or 0) for answer in answers]
    given = [float(answer.usage.output_tokens or 0) for answer in answers]
    waits = [answer.usage.seconds or 0.0 for answer in answers]
    none = [0.0] * len(answers)

    def total(by_bytes: Sequence[float], by_answer: Sequence[float]) -> Range:
        return _total(sampled, answers, by_bytes, by_answer)

    dollars = total([cost[0] for cost in spending], [cost[1] for cost in spending])
    return Estimate(
        round(sampled.calls),
        total(taken, none),
        total(none, given),
        None if price is None else dollars,
        total(none, waits),
    )


def _costs(answer: Measured, price: Price | None) -> tuple[float, float]:
    """Return the dollars of an answer's input and of its output."""
    # Which price holds is decided by the length of each request, not of all of them.
    calls = max(1.0, answer.calls)
    each = _divided(answer.usage, calls)
    whole, without = cost_of(each, price), cost_of(replace(each, output_tokens=0), price)
    read = without.dollars if without else 0.0
    return read * calls, (whole.dollars - read if whole else 0.0) * calls


def _divided(usage: Usage, parts: float) -> Usage:
    """Return the tokens of one of equal parts."""
    names = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
    return Usage(**{name: round((getattr(usage, name) or 0) / parts) for name in names})


def _total(
    sampled: Sampled,
    answers: Sequence[Measured],
    by_bytes: Sequence[float],
    by_answer: Sequence[float],
) -> Range:
    """Return the sum over all that is pending of two parts of a figure.

    Args:
        sampled: Prompts of what is pending.
        answers: Whose figures these are.
        by_bytes: The part that grows with the bytes of the prompt, for each answer.
        by_answer: The part that does not.
    """
    sizes = [sum(item.bodies) / item.rollouts for item in sampled.prompts]
    count, size = sampled.pending, sampled.bytes_each
    known = fmean(answer.bytes for answer in answers) or 1.0
    rate, part = fmean(by_bytes) / known, fmean(by_answer)
    middle = count * (size * rate + part)
    # Errors of one answer, as if its prompt were as long as those that are pending.
    errors = [
        (one - rate * answer.bytes) * size / known + other - part
        for one, other, answer in zip(by_bytes, by_answer, answers, strict=True)
    ]
    spread = _variance(errors)
    doubt = count * count * spread / len(answers) + count * spread
    if not sampled.whole:
        doubt += (count * rate) ** 2 * _variance(sizes) / len(sizes)
    reach = _student(len(answers) - 1) * math.sqrt(doubt)
    return Range(max(0.0, middle - reach), middle, middle + reach)


def _variance(values: Sequence[float]) -> float:
    return variance(values) if len(values) > 1 else 0.0


def _student(freedom: int) -> float:
    """Return the quantile of Student's t for an interval of ``CONFIDENCE``; freedom >= 1.

    The expansion in 1 / freedom is right to 1 % from four degrees on.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))
