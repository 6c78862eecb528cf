"""One OpenTelemetry span for each request, after the conventions for generative AI.

A span says who was asked, how long it took, what it used and how it ended: no word of a prompt or
of a reply, no message of an error, no key. An ask that is tried again is one span for each try.
"""

import time
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind, StatusCode, TracerProvider, get_tracer
from opentelemetry.util.types import AttributeValue

from dca.domain.review import Usage
from reviewers.exchange import Ended, Fault, Reply
from reviewers.tracing import Seen

SCOPE = "dca.reviewers"
"""Name of the tracer."""
_FINISHES = {
    Ended.COMPLETE: "stop",
    Ended.TRUNCATED: "length",
    Ended.REFUSED: "content_filter",
    Ended.OTHER: "error",
}
"""A provider's own word may hold the words of a refusal: only its kind is shown."""

Attributes = dict[str, AttributeValue]


class SpanMaker:
    """Makes a span of every request that it is shown."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        """Take a tracer of ``provider``; ``None``: of the one that this process has set."""
        self._tracer = get_tracer(SCOPE, tracer_provider=provider)

    def __call__(self, seen: Seen) -> None:
        """Make the span of a request."""
        ended = time.time_ns()
        span = self._tracer.start_span(
            f"chat {seen.info.model}",
            kind=SpanKind.CLIENT,
            attributes=asked(seen),
            start_time=ended - round(seen.seconds * 1e9),
        )
        if span.is_recording():
            span.set_attributes(answered(seen.outcome))
            if not isinstance(seen.outcome, Reply):
                span.set_status(StatusCode.ERROR)
        span.end(ended)


def asked(seen: Seen) -> Attributes:
    """Return what is known before a request is sent."""
    place = urlsplit(seen.url)
    calling = seen.calling
    known: dict[str, AttributeValue | None] = {
        "gen_ai.operation.name": "chat",
        # The flavour of the API: a server that speaks OpenAI's is told by its address and model.
        "gen_ai.provider.name": "anthropic" if seen.info.kind == "anthropic" else "openai",
        "gen_ai.request.model": seen.info.model,
        "gen_ai.request.max_tokens": calling.max_tokens,
        "gen_ai.request.temperature": calling.temperature,
        "gen_ai.output.type": "json",
        "server.address": place.hostname,
        "server.port": place.port or {"http": 80, "https": 443}.get(place.scheme),
        "dca.reviewer.name": seen.info.name,
    }
    return _known(known)


def answered(outcome: Reply | Fault | None) -> Attributes:
    """Return what came of a request."""
    if isinstance(outcome, Reply):
        return {
            "gen_ai.response.finish_reasons": [_FINISHES[outcome.ended]],
            **_used(outcome.usage),
        }
    if outcome is None:
        return {"error.type": "cancelled"}
    status = outcome.status
    failed = status is not None and status >= 400
    known: dict[str, AttributeValue | None] = {
        "error.type": str(status) if failed else outcome.cause.value,
        "http.response.status_code": status,
    }
    return _known(known)


def _used(usage: Usage) -> Attributes:
    """Return the tokens; what the provider did not say is left out."""
    known: dict[str, AttributeValue | None] = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
    }
    return _known(known)


def _known(values: dict[str, AttributeValue | None]) -> Attributes:
    return {name: value for name, value in values.items() if value is not None}
