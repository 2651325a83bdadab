"""ContributionProcessor: lets any other GenAI instrumentation contribute, once its user has said yes."""

from __future__ import annotations

import logging
import os
import weakref

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import SpanContext, StatusCode

from metavox.errors import InvalidArgument
from metavox.telemetry.contribution import Contribution
from metavox.telemetry.foreign.aliases import CHOICES, END_TO_END, MODEL, Told, first, in_schema_words, is_request
from metavox.telemetry.foreign.instrumented import instrumented
from metavox.telemetry.foreign.locality import ENGINE, ENGINES, Engine, engine_here
from metavox.telemetry.foreign.nesting import Nesting
from metavox.telemetry.foreign.surroundings import surroundings
from metavox.telemetry.spans import SCOPE
from metavox_privacy.span import Span

_log = logging.getLogger(__name__)


class ContributionProcessor(SpanProcessor):
    """Give it to your ``TracerProvider`` to contribute the requests of other instrumentations.

    ``provider.add_span_processor(ContributionProcessor())``. While consent is off it does nothing. Of a span it
    reads only the attributes of the alias table. It skips MetaVox's own spans, which are contributed already, what
    runs elsewhere or does not say where, and a request that another span has told. It never raises.

    Args:
        contribution: Another pipeline than this user's own.
        engine: The engine of the schema's list behind a local server that speaks OpenAI's protocol, which does not
            say itself. Whoever gives it knows that this program's requests go to that server.

    Raises:
        InvalidArgument: The schema knows no such engine.
    """

    def __init__(self, contribution: Contribution | None = None, *, engine: str | None = None) -> None:
        if engine is not None and engine not in ENGINES:
            raise InvalidArgument(f"engine must be one of {', '.join(sorted(ENGINES))}, and is {engine!r}.")
        self._contribution = contribution or Contribution.from_environment(os.environ)
        self._behind = engine
        self._begin()
        if hasattr(os, "register_at_fork"):
            begin = weakref.WeakMethod(self._begin)
            os.register_at_fork(after_in_child=lambda: (again := begin()) and again())

    def _begin(self) -> None:
        """Knowing no span; a forked child begins again, with a lock that nobody holds."""
        self._nesting = Nesting()

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Remember within which span it began."""
        try:
            if self._contribution.wants():
                self._nesting.began(*_ids(span))
        except Exception as error:  # contributing must never be the reason why somebody's program fails
            _log.debug("a span's place was not remembered: %s", type(error).__name__)

    def on_end(self, span: ReadableSpan) -> None:
        """Take a finished span."""
        try:
            if self._contribution.wants() and (request := self._request(span)) is not None:
                self._contribution.on_span(request)
        except Exception as error:  # as above; its words could hold anything
            _log.debug("a span was dropped: %s", type(error).__name__)

    def _request(self, span: ReadableSpan) -> Span | None:
        scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
        if scope == SCOPE:
            self._nesting.counted_elsewhere(*_ids(span))
            return None
        found = to_span(span, scope, self._behind)
        if found is None or found[0].name in instrumented():
            return None
        engine, request = found
        return request if self._nesting.claim(*_ids(span), engine.name, scope) else None

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Write what waits; always True."""
        self._contribution.flush()
        return True

    def shutdown(self) -> None:
        """Write what waits."""
        self._contribution.flush()


def to_span(span: ReadableSpan, scope: str, behind: str | None = None) -> tuple[Engine, Span] | None:
    """The request that an SDK span describes, with the schema's attributes alone; None for anything else.

    Args:
        span: As the provider gives it.
        scope: The name of its tracer.
        behind: See `ContributionProcessor`.
    """
    attributes = span.attributes
    if attributes is None or span.start_time is None or span.end_time is None:
        return None
    engine = engine_here(attributes, scope, behind=behind)
    if engine is None or not _is_one_request(span, engine):
        return None
    told = Told(
        attributes,
        [(event.name, event.timestamp) for event in span.events],
        span.start_time,
        span.end_time,
        has_failed=span.status.status_code is StatusCode.ERROR,
        # Whoever names the engine in our words writes what our own spans say.
        seen_by="engine" if engine.tells_itself or ENGINE in attributes else "client",
    )
    # vLLM names no model in its spans; the schema has a word for what is not told.
    read = {MODEL: "", **surroundings(engine), **in_schema_words(told), ENGINE: engine.name}
    return engine, Span("chat", span.start_time, span.end_time, read)


def _is_one_request(span: ReadableSpan, engine: Engine) -> bool:
    attributes = span.attributes or {}
    if engine.tells_itself:
        # One span for each answer: with several answers to a prompt, none is the request.
        return END_TO_END in attributes and first(attributes, CHOICES) in (None, 1)
    return bool(is_request(attributes))


def _ids(span: ReadableSpan) -> tuple[int, int | None]:
    own, parent = span.get_span_context(), span.parent
    return (own.span_id if isinstance(own, SpanContext) else 0), (parent.span_id if parent else None)
