"""ContributionProcessor: lets any other GenAI instrumentation contribute, once its user has said yes."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan

from metavox.telemetry.contribution import Contribution
from metavox.telemetry.spans import SCOPE
from metavox_privacy.fields import OTHER, UNKNOWN
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import Span

_log = logging.getLogger(__name__)
_BATCH = 64
_LONGEST_WAIT = 10.0
_OPERATIONS = ("chat", "text_completion", "generate_content")
_ENGINE = "metavox.engine.name"
_LOCAL_ENGINES = frozenset(SCHEMA.dimension["engine"].vocabulary) - {OTHER, UNKNOWN}
_SOURCES = (*(d.source for d in SCHEMA.dimensions), *(m.source for m in SCHEMA.metrics))


class ContributionProcessor(SpanProcessor):
    """Give it to your ``TracerProvider`` to contribute the requests of other instrumentations.

    ``provider.add_span_processor(ContributionProcessor())``. While consent is off it keeps nothing. Of a span
    it reads only the attributes that the schema names. It skips MetaVox's own spans, which are contributed
    already, and requests to a remote service, which say nothing of this machine.

    It never raises and starts no thread; up to 64 requests wait in memory, until one ends 10 s after the
    last write, or until ``force_flush`` or ``shutdown``.

    Args:
        contribution: Another pipeline than this user's own.
    """

    def __init__(self, contribution: Contribution | None = None) -> None:
        self._contribution = contribution or Contribution.from_environment(os.environ)
        self._begin()
        if hasattr(os, "register_at_fork"):
            begin = weakref.WeakMethod(self._begin)
            os.register_at_fork(after_in_child=lambda: (again := begin()) and again())

    def _begin(self) -> None:
        """Empty and unlocked; a forked child begins again, since what waits is the parent's to count."""
        self._lock = threading.Lock()
        self._waiting: list[Span] = []
        self._flushed = time.monotonic()

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Nothing: a request counts when it has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a finished span."""
        try:
            request = to_span(span)
            if request is not None:
                with self._lock:
                    self._waiting.append(request)
            if len(self._waiting) >= _BATCH or time.monotonic() - self._flushed > _LONGEST_WAIT:
                self.force_flush()
        except Exception:  # contributing must never be the reason why somebody's program fails
            _log.debug("a span was dropped", exc_info=True)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Write what waits; always True."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._flushed = time.monotonic()
        if waiting:
            self._contribution.on_spans(waiting)
        return True

    def shutdown(self) -> None:
        """Write what waits."""
        self.force_flush()


def to_span(span: ReadableSpan) -> Span | None:
    """The request that an SDK span describes, with the schema's attributes alone; None for other spans and ours."""
    scope, attributes = span.instrumentation_scope, span.attributes
    if attributes is None or span.start_time is None or span.end_time is None:
        return None
    engine = _local_engine(attributes)
    if engine is None or not _is_inference(attributes) or (scope is not None and scope.name == SCOPE):
        return None
    read: dict[str, Any] = {name: attributes[name] for name in _SOURCES if name in attributes}
    read[_ENGINE] = engine
    return Span(_OPERATIONS[0], span.start_time, span.end_time, read)


def _is_inference(attributes: Mapping[str, Any]) -> bool:
    """Whether a model answered; embeddings, tools and agents are other things than the schema measures."""
    operation = attributes.get("gen_ai.operation.name", _OPERATIONS[0])
    return "gen_ai.request.model" in attributes and operation in _OPERATIONS


def _local_engine(attributes: Mapping[str, Any]) -> str | None:
    """The engine that ran the request here; None when it was a remote service, or is not told."""
    named = attributes.get(_ENGINE, attributes.get("gen_ai.provider.name"))
    return named if named in _LOCAL_ENGINES else None
