"""What tokens cost: exact arithmetic in whole nanodollars."""

import math
from dataclasses import dataclass

from dca.domain.review import Usage
from reviewers.budget import Cost

_PER_TOKEN = 1_000
"""Nanodollars a token, for each dollar a million tokens."""
ENVELOPE_TOKENS = 256
"""Tokens that a provider may add to what is sent: roles, the schema's frame, a preamble."""


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens."""

    input: float
    output: float
    """Hidden reasoning is charged as output."""
    cached_input: float | None = None
    """Input read from the provider's cache; ``None``: as other input."""
    cache_write: float | None = None
    """Input written to the provider's cache; ``None``: as other input."""
    batch: float = 1.0
    """Factor on all of these in the provider's batch API, in (0, 1]."""
    long_above: int | None = None
    """A request with more input tokens than this is charged by ``long`` as a whole."""
    long: "Price | None" = None


FREE = Price(0.0, 0.0)
"""A server of one's own."""


def cost_of(usage: Usage, price: Price | None, *, batch: bool = False) -> Cost | None:
    """Return what a call cost; ``None`` when the provider did not say how many tokens it took.

    Without a price the money is 0 and only tokens count.
    """
    taken, given = usage.input_tokens, usage.output_tokens
    if taken is None or given is None:
        return None
    if price is None:
        return Cost(0, taken + given)
    if price.long is not None and price.long_above is not None and taken > price.long_above:
        return cost_of(usage, price.long, batch=batch)
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    plain = max(0, taken - cached - written)
    dollars = (
        plain * price.input
        + cached * _or(price.cached_input, price.input)
        + written * _or(price.cache_write, price.input)
        + given * price.output
    )
    return Cost(_nanodollars(dollars, price, batch=batch), taken + given)


def worst_case(
    body_bytes: int, max_tokens: int, price: Price | None, *, batch: bool = False
) -> Cost:
    """Return the most that a request can cost.

    A token of a byte-level vocabulary holds one byte at least, so a body of n bytes is never
    more than n tokens and what the provider adds. The reply ends at ``max_tokens``.
    """
    taken = body_bytes + ENVELOPE_TOKENS
    if price is None:
        return Cost(0, taken + max_tokens)
    prices = [price]
    if price.long is not None and price.long_above is not None and taken > price.long_above:
        prices.append(price.long)
    dearest = max(_dearest(item, taken, max_tokens, batch=batch) for item in prices)
    return Cost(dearest, taken + max_tokens)


def _dearest(price: Price, taken: int, given: int, *, batch: bool) -> int:
    """Return what ``taken`` tokens cost where each is charged as the dearest kind of input."""
    kinds = (price.input, _or(price.cached_input, 0.0), _or(price.cache_write, 0.0))
    return _nanodollars(taken * max(kinds) + given * price.output, price, batch=batch)


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _nanodollars(dollars: float, price: Price, *, batch: bool) -> int:
    """Return the money of token counts times dollars a million, rounded up."""
    factor = price.batch if batch else 1.0
    # Rounded first: 0.1 + 0.2 must not become one more nanodollar.
    return math.ceil(round(dollars * _PER_TOKEN * factor, 6))
