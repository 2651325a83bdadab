"""What ``LLM`` calls: finished and failed requests -> the user's provider, and the contribution."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from functools import cached_property

from metavox.config import EngineInfo
from metavox.outputs import RequestOutput
from metavox.params import SamplingParams
from metavox.telemetry.contribution import Contribution
from metavox.telemetry.hardware import Hardware, detect, undescribed
from metavox.telemetry.spans import emit, failed_span, request_span
from metavox_privacy.span import Span

_log = logging.getLogger(__name__)


class Recorder:
    """The telemetry of one loaded engine. Its methods never raise.

    Args:
        info: The engine.
        contribution: Another pipeline than this user's own.
    """

    def __init__(self, info: EngineInfo, contribution: Contribution | None = None) -> None:
        self._info = info
        self._contribution = contribution or Contribution.from_environment(os.environ)

    @cached_property
    def hardware(self) -> Hardware:
        """What the engine runs on, looked up once; what cannot be looked up is not told."""
        try:
            return detect(self._info.device)
        except Exception:  # a driver that does not answer must not cost the user their spans
            _log.debug("the device could not be described", exc_info=True)
            return undescribed()

    def finished(self, batch: Iterable[tuple[RequestOutput, SamplingParams]]) -> list[Span]:
        """Take the finished requests of one call, and give back their spans."""
        try:
            spans = [request_span(output, self._info, params, self.hardware) for output, params in batch]
        except Exception:  # telemetry must never be the reason why somebody's program fails
            _log.debug("requests could not be described", exc_info=True)
            return []
        return self._deliver(spans)

    def failed(
        self,
        error: BaseException,
        requests: Sequence[tuple[int | None, SamplingParams]],
        *,
        start_time: int,
        is_streamed: bool = False,
    ) -> list[Span]:
        """Take requests that an error ended, and give back their spans.

        Args:
            error: What was raised; only its type is told.
            requests: For each, the prompt's length in tokens (None when not known) and its parameters.
            start_time: When they arrived, Unix time in nanoseconds.
            is_streamed: Whether their output was told as it came.
        """
        try:
            spans = [
                failed_span(
                    error,
                    self._info,
                    params,
                    self.hardware,
                    start_time=start_time,
                    end_time=time.time_ns(),
                    input_tokens=length,
                    is_streamed=is_streamed,
                )
                for length, params in requests
            ]
        except Exception:  # as above
            _log.debug("failed requests could not be described", exc_info=True)
            return []
        return self._deliver(spans)

    def _deliver(self, spans: list[Span]) -> list[Span]:
        for span in spans:
            _offer(span)
        self._contribution.on_spans(spans)
        return spans


def _offer(span: Span) -> None:
    try:
        emit(span)
    except Exception:  # a broken exporter of the user's is no broken request, and costs no other span
        _log.debug("a span could not be given to the tracer provider", exc_info=True)
