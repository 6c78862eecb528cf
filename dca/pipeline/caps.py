"""What a run may spend, and whether a cap in dollars can be kept."""

from collections.abc import Sequence

from dca.config.duration import seconds_in
from dca.config.models import ReviewSettings
from dca.domain.errors import ConfigError
from reviewers.budget import Caps
from reviewers.model_reviewer import ModelReviewer
from reviewers.protocol import Reviewer


def caps_of(settings: ReviewSettings) -> Caps:
    """Return the caps that are configured."""
    seconds = None if settings.max_time is None else seconds_in(settings.max_time)
    return Caps(settings.max_cost, settings.max_tokens, seconds)


def unpriced(panel: Sequence[Reviewer]) -> tuple[str, ...]:
    """Return the names of the models of which nobody knows what they cost."""
    models = (reviewer for reviewer in panel if isinstance(reviewer, ModelReviewer))
    return tuple(reviewer.info.name for reviewer in models if reviewer.price is None)


def refuse_unpriced(panel: Sequence[Reviewer]) -> None:
    """Refuse a cap in dollars that nobody could keep.

    Raises:
        ConfigError: The price of a model is not known.
    """
    names = unpriced(panel)
    if names:
        tables = " and ".join(f"[reviewers.{name}]" for name in names)
        raise ConfigError(
            f"reviewer {', '.join(map(repr, names))}: the price is not known, so a cap in dollars"
            " cannot be kept",
            hint=f"add price = {{ input = ..., output = ... }} to {tables}, dollars a million"
            ' tokens, or price = "free" for a server of your own; or cap tokens: --max-tokens N',
        )
