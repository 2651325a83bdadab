"""What the instrumentation of an engine is given: whether anybody wants to know, and whom to tell."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import ParamSpec, TypeVar

from metavox.telemetry.contribution import Contribution
from metavox.telemetry.foreign.surroundings import engine_version
from metavox.telemetry.instrument.described import Asked, Measured, Model, failed_span, finished_span
from metavox.telemetry.spans import emit, is_traced
from metavox_privacy.span import Span

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_P = ParamSpec("_P")
_within: ContextVar[str | None] = ContextVar("metavox_request_within", default=None)


class Observer:
    """The telemetry of one engine in this process. What tells is to be called by way of `quietly`.

    Args:
        engine: The engine's name in the schema.
        contribution: Another pipeline than this user's own.
    """

    def __init__(self, engine: str, contribution: Contribution | None = None) -> None:
        self.engine = engine
        self._contribution = contribution or Contribution.from_environment(os.environ)

    def wants(self) -> bool:
        """Whether a request that begins now, outside of any other of this engine, is to be measured."""
        return (self._contribution.wants() or is_traced()) and _within.get() != self.engine

    @contextmanager
    def request(self) -> Iterator[None]:
        """Calls of the engine to itself within this are parts of the request and not requests."""
        before = _within.set(self.engine)
        try:
            yield
        finally:
            _within.reset(before)

    def finished(self, model: Model | None, answers: Sequence[tuple[Asked, Measured]]) -> None:
        """Tell of the requests of one call."""
        if model is not None:
            version = engine_version(self.engine)
            told = [finished_span(self.engine, version, model, asked, measured) for asked, measured in answers]
            self._deliver(told)

    def failed(
        self, model: Model | None, asked: Sequence[Asked], error: BaseException, *, has_begun: bool = False
    ) -> None:
        """Tell of requests that an error ended.

        What only stopped them, such as Ctrl-C, is no failure, and arguments that the engine refused are no request.

        Args:
            model: What would have answered.
            asked: The requests.
            error: What was raised; only its type is told.
            has_begun: Whether a token had come.
        """
        is_refused = isinstance(error, ValueError | TypeError) and not has_begun
        if model is not None and isinstance(error, Exception) and not is_refused:
            version, now = engine_version(self.engine), time.time_ns()
            self._deliver([failed_span(self.engine, version, model, each, error, now) for each in asked])

    def _deliver(self, spans: list[Span]) -> None:
        if is_traced():
            for span in spans:
                quietly(partial(emit, span))
        self._contribution.on_spans(spans)


def quietly(do: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
    """What a function gives; None where it raises, for telemetry must never be the reason why a program fails.

    An error that the engine raised is to be an argument: in a variable that a function of ours closes over, it
    would be part of a cycle, and keep the caller's tensors and the engine's on their device.
    """
    try:
        return do(*args, **kwargs)
    except Exception as error:
        # The kind of an error alone: its words could hold anything.
        _log.debug("a request could not be described: %s", type(error).__name__)
        return None
