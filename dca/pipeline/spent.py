"""What the stored answers of each reviewer have cost."""

from dataclasses import dataclass

from sqlalchemy import Engine

from dca.config.models import Config
from dca.config.reviewers import KINDS, ModelReviewer
from dca.domain.review import ReviewerInfo
from dca.pipeline.pricing import price_of
from reviewers.prices import Price
from store.engine import transaction
from store.reviews import list_reviewers
from store.usage import UsageTotal, usage_totals


@dataclass(frozen=True, slots=True)
class ReviewerCost:
    """What the answers of one reviewer have cost."""

    name: str
    model: str
    digest: str
    """Of the reviewer: other settings are another reviewer."""
    reviews: int
    abstentions: int
    """Those that a review has followed included: they were paid for."""
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    """Part of ``output_tokens``."""
    cached_tokens: int
    """Part of ``input_tokens``."""
    dollars: float | None
    """Of the answers whose price was known when they came; ``None``: of none."""
    unknown: int
    """Answers that brought no number of tokens, or no price was known for them."""
    saved_dollars: float | None
    """Less paid for cached input than for other input, after what writing the cache has cost more;
    by the price of today, ``None`` when there is none."""
    per_thousand: float | None
    """Dollars for 1,000 reviews, abstentions paid as well; ``None`` when not all is known."""


def panel_costs(engine: Engine, config: Config) -> list[ReviewerCost]:
    """Return what each reviewer with answers in the store has cost, by name."""
    with transaction(engine) as session:
        reviewers = list_reviewers(session)
        totals = usage_totals(session)
    return [
        _cost(info, totals[info.digest], config) for info in reviewers if info.digest in totals
    ]


def _cost(info: ReviewerInfo, total: UsageTotal, config: Config) -> ReviewerCost:
    asks_model = issubclass(KINDS.get(info.kind, ModelReviewer), ModelReviewer)
    unknown = total.unknown + total.unpriced if asks_model else 0
    answers = total.reviews + total.abstentions
    dollars = None if answers and unknown == answers else total.dollars
    whole = dollars is not None and not unknown and total.reviews
    price = _price(info, config)
    return ReviewerCost(
        info.name,
        info.model,
        info.digest,
        total.reviews,
        total.abstentions,
        total.input_tokens,
        total.output_tokens,
        total.reasoning_tokens,
        total.cached_tokens,
        dollars,
        unknown,
        None if price is None else _saved(total, price),
        1000 * total.dollars / total.reviews if whole else None,
    )


def _price(info: ReviewerInfo, config: Config) -> Price | None:
    """Return what a reviewer costs by the configuration that has its name and model."""
    settings = config.reviewers.get(info.name)
    if not isinstance(settings, ModelReviewer) or settings.model != info.model:
        return None
    return price_of(settings)


def _saved(total: UsageTotal, price: Price) -> float:
    cached = price.input if price.cached_input is None else price.cached_input
    written = price.input if price.cache_write is None else price.cache_write
    read, wrote = total.cached_tokens, total.cache_write_tokens
    return (read * (price.input - cached) - wrote * (written - price.input)) / 1e6
