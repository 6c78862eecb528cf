"""The price table: published prices of models as data, each with the date of its source."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from reviewers.prices import Price

STALE_DAYS = 180
"""Age in days from which a price is not to be relied upon without another look."""
_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})")
"""What a dated snapshot of a model has behind the model's name."""

Provider = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of the table."""

    provider: Provider
    models: tuple[str, ...]
    """Exact names; dated snapshots of them cost the same."""
    price: Price
    read: date
    """Date of the source."""
    sources: tuple[str, ...]
    """Addresses of what was read."""

    def is_stale(self, today: date) -> bool:
        """Tell whether the price was read too long ago."""
        return (today - self.read).days > STALE_DAYS


@lru_cache(maxsize=1)
def load_prices() -> tuple[Listed, ...]:
    """Return the whole table."""
    text = files("reviewers").joinpath("prices.toml").read_text("utf-8")
    return tuple(_listed(entry) for entry in tomllib.loads(text)["prices"])


def find_price(provider: Provider, model: str) -> Listed | None:
    """Return the entry of a model at the provider's own address; ``None``: not in the table."""
    for entry in load_prices():
        if entry.provider == provider and any(_is(model, name) for name in entry.models):
            return entry
    return None


def _is(model: str, name: str) -> bool:
    """Tell whether ``model`` is ``name`` or a dated snapshot of it."""
    rest = model.removeprefix(name)
    return model.startswith(name) and (not rest or _SNAPSHOT.fullmatch(rest) is not None)


def _listed(entry: Mapping[str, Any]) -> Listed:
    long: Mapping[str, Any] | None = entry.get("long")
    price = _price(entry, entry.get("batch", 1.0), long)
    return Listed(
        entry["provider"], tuple(entry["models"]), price, entry["read"], tuple(entry["sources"])
    )


def _price(entry: Mapping[str, Any], batch: float, long: Mapping[str, Any] | None) -> Price:
    return Price(
        entry["input"],
        entry["output"],
        entry.get("cached_input"),
        entry.get("cache_write"),
        batch,
        None if long is None else long["above"],
        None if long is None else _price(long, batch, None),
    )
