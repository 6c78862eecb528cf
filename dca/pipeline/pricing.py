"""What each reviewer's tokens cost.

A price in ``dca.toml`` goes before the price table. The table holds for a provider's own address
only, because a gateway has prices of its own. A server without a price is of unknown price even
on this machine: it may be a proxy to a provider that charges. ``price = "free"`` says that it is
not.
"""

import os
from collections.abc import Iterable
from datetime import date
from urllib.parse import urlsplit

from dca.config.models import Config
from dca.config.reviewers import (
    FREE_OF_CHARGE,
    AnthropicReviewer,
    ModelReviewer,
    OpenAIReviewer,
)
from reviewers.price_table import STALE_DAYS, Listed, Provider, find_price
from reviewers.prices import FREE, Price

_HOMES: dict[type[ModelReviewer], tuple[Provider, str, str]] = {
    OpenAIReviewer: ("openai", "api.openai.com", "OPENAI_BASE_URL"),
    AnthropicReviewer: ("anthropic", "api.anthropic.com", "ANTHROPIC_BASE_URL"),
}
"""Kind of settings to the provider, its host, and the variable by which the SDK leaves it."""


def price_of(settings: ModelReviewer) -> Price | None:
    """Return what a reviewer's tokens cost; ``None``: not known."""
    own = settings.price
    if own is None:
        entry = listed_price(settings)
        return None if entry is None else entry.price
    if own == FREE_OF_CHARGE:
        return FREE
    return Price(own.input, own.output, own.cached_input, own.cache_write, own.batch)


def listed_price(settings: ModelReviewer) -> Listed | None:
    """Return the entry of the price table that holds for a reviewer; ``None``: there is none."""
    if type(settings) not in _HOMES:
        return None
    provider, host, variable = _HOMES[type(settings)]
    address = getattr(settings, "base_url", None) or os.environ.get(variable)
    if address and urlsplit(address).hostname != host:
        return None
    return find_price(provider, settings.model)


def stale_prices(config: Config, names: Iterable[str], today: date) -> str:
    """Return one sentence about the prices in use that were read long ago; ``""``: none were."""
    settings = [config.reviewers[name] for name in names]
    entries = [
        (item.model, entry)
        for item in settings
        if isinstance(item, ModelReviewer)
        and item.price is None
        and (entry := listed_price(item)) is not None
        and entry.is_stale(today)
    ]
    if not entries:
        return ""
    models = ", ".join(dict.fromkeys(f"{model} ({entry.read})" for model, entry in entries))
    return (
        f"prices older than {STALE_DAYS} days: {models}; set price in dca.toml where they have"
        " changed"
    )
