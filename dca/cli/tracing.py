"""Spans of ``dca review`` sent to an OpenTelemetry collector, where that is asked for.

``[review] trace`` decides; where it is not set, OpenTelemetry's own variables do. Where spans go
is told by these variables alone: ``OTEL_EXPORTER_OTLP_ENDPOINT`` and its relatives.
"""

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from dca.cli.run import Run
from dca.config import Loaded
from dca.domain.errors import MissingExtra

EXPORTER = "opentelemetry.exporter.otlp.proto.http"
FLUSH_SECONDS = 5.0
"""Longest wait at the end for a collector that does not answer."""
HINT = "pip install '.[otel]' in the project's folder"


@contextmanager
def tracing(run: Run, loaded: Loaded) -> Generator[None]:
    """Make a span of each request sent inside, where that is asked for.

    Raises:
        MissingExtra: ``[review] trace`` asks for spans, and the packages are not installed.
    """
    wanted = loaded.config.review.trace
    if not (wanted_by(loaded.environment) if wanted is None else wanted):
        yield
        return
    if not _installed():
        if wanted:
            raise MissingExtra("[review] trace needs the extra otel", hint=HINT)
        run.note(f"no spans are sent: the extra otel is not installed; {HINT}")
        yield
        return
    with _sending(run, loaded.environment):
        yield


def wanted_by(environment: Mapping[str, str]) -> bool:
    """Tell whether OpenTelemetry's own variables ask for spans in OTLP."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter == "otlp"
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return any(environment.get(name, "").strip() for name in endpoints)


def _installed() -> bool:
    try:
        return find_spec(EXPORTER) is not None and find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:
        return False


@contextmanager
def _sending(run: Run, environment: Mapping[str, str]) -> Generator[None]:
    """Set up this process's tracer provider, unless it has one; send what is left at the end."""
    from opentelemetry import trace  # noqa: PLC0415 - only where spans are asked for
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - with it
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - with it
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - with it
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - with it

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield
        return
    named = "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    resource = Resource.create({} if named else {"service.name": "dca"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    hurried = False
    try:
        yield
    except KeyboardInterrupt:
        hurried = True  # The second Ctrl-C waits for no collector.
        raise
    finally:
        if not hurried:
            _flush(run, provider.shutdown)


def _flush(run: Run, shutdown: Callable[[], None]) -> None:
    """Send what is left, for ``FLUSH_SECONDS`` at most."""
    sender = threading.Thread(target=shutdown, daemon=True)
    sender.start()
    sender.join(FLUSH_SECONDS)
    if sender.is_alive():
        run.note("the collector does not answer: not all spans are sent")
