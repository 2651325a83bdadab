"""Traces of the service itself, for an operator who asks for them.

They say how long a request and a commit took and how many reports were in them. No attribute and no identifier
comes from a sender: a ``traceparent`` is not read. Errors are not recorded: nobody knows their words beforehand.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.metadata import version

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, Tracer

from metavox_collector.errors import NotAllowed

_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_NOTHING: AbstractContextManager[None] = nullcontext()


class Tracing:
    """Makes spans, or nothing at no cost.

    Args:
        exporter: Where spans go; None makes none.
    """

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        if exporter is not None:
            resource = Resource.create({"service.name": "metavox-collector", "service.version": version("metavox")})
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
            self._tracer = self._provider.get_tracer("metavox_collector")

    def span(self, name: str, **numbers: int) -> AbstractContextManager[Span | None]:
        """A span as long as the block.

        Args:
            name: What is done in it; a word of ours.
            numbers: Its attributes, under ``metavox.``.
        """
        if self._tracer is None:
            return _NOTHING
        return self._tracer.start_as_current_span(
            name,
            attributes={f"metavox.{key}": value for key, value in numbers.items()},
            record_exception=False,
            set_status_on_exception=False,
        )

    def end(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def tracing(*, wanted: bool) -> Tracing:
    """What the operator asked for; OpenTelemetry's own variables say where spans go.

    Raises:
        NotAllowed: if they cannot be sent because OpenTelemetry's exporter is not installed.
    """
    if not wanted:
        return Tracing()
    try:
        exporter = import_module(_EXPORTER)
    except ImportError:
        raise NotAllowed(
            "own_traces needs OpenTelemetry's exporter: pip install opentelemetry-exporter-otlp-proto-http"
        ) from None
    return Tracing(exporter.OTLPSpanExporter())
