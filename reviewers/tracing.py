"""What a request looks like from outside, for whoever traces; nothing is done where nobody does.

Loads no tracing package: spans are made by ``reviewers.genai_spans``, and only in a process that
has set a tracer provider, as ``opentelemetry-instrument`` or ``[review] trace`` does.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from dca.domain.review import ReviewerInfo
from reviewers.calling import Calling
from reviewers.exchange import Fault, Reply


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that has ended."""

    info: ReviewerInfo
    """Who was asked."""
    calling: Calling
    url: str
    """Where, as it was sent; may hold more than is to be shown."""
    outcome: Reply | Fault | None
    """``None``: it was cancelled."""
    seconds: float
    """How long it took; it ended just now."""


Observer = Callable[[Seen], None]


def span_maker() -> Observer | None:
    """Return what makes a span of each request; ``None`` where this process traces nothing."""
    api = sys.modules.get("opentelemetry.trace")
    # Whoever has set a provider has loaded the package.
    if api is None or isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
        return None
    from reviewers.genai_spans import SpanMaker  # noqa: PLC0415 - only where somebody traces

    return SpanMaker()
