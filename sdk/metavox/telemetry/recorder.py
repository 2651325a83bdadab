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
from metavox.telemetry.hardware.energy import EnergyReader, share_out
from metavox.telemetry.spans import emit, failed_span, is_traced, request_span
from metavox_privacy.span import Span

_log = logging.getLogger(__name__)


class Recorder:
    """The telemetry of one loaded engine. Its methods never raise.

    A request is described only if somebody will read it: the user's own tracer provider, or the contribution.

    Args:
        info: The engine.
        contribution: The pipeline of what may be contributed.
    """

    def __init__(self, info: EngineInfo, contribution: Contribution) -> None:
        self._info = info
        self._contribution = contribution
        self._energy = EnergyReader([info.device], os.environ) if info.device.startswith("cuda") else None

    @cached_property
    def hardware(self) -> Hardware:
        """What the engine runs on, looked up once; what cannot be looked up is not told."""
        try:
            return detect(self._info.device)
        except Exception as error:  # a driver that does not answer must not cost the user their spans
            _log.debug("the device could not be described: %s", type(error).__name__)
            return undescribed()

    def started(self) -> None:
        """The requests of one call are about to run in this thread, whose next ``finished`` is theirs."""
        if self._energy is not None and is_traced():
            self._energy.start()

    def finished(self, batch: Iterable[tuple[RequestOutput, SamplingParams]]) -> list[Span]:
        """Take the finished requests of one call; gives their spans, or [] at once where nobody reads them."""
        if not (self._contribution.wants() or is_traced()):
            return []
        try:
            spans = [request_span(output, self._info, params, self.hardware) for output, params in batch]
            if self._energy is not None:
                spans = share_out(spans, self._energy.used())
        except Exception as error:  # telemetry must never be the reason why somebody's program fails
            _log.debug("requests could not be described: %s", type(error).__name__)
            return []
        return self._deliver(spans)

    def failed(
        self,
        error: BaseException,
        requests: Sequence[tuple[int | None, SamplingParams]],
        *,
        start_time: int,
        is_streamed: bool = False,
        is_chat: bool = False,
    ) -> list[Span]:
        """Take requests that an error ended; gives their spans, or [] at once where nobody reads them.

        Args:
            error: What was raised; only its type is told.
            requests: For each, the prompt's length in tokens (None when not known) and its parameters.
            start_time: When they arrived, Unix time in nanoseconds.
            is_streamed: Whether their output was told as it came.
            is_chat: Whether their prompts were conversations.
        """
        if not (self._contribution.wants() or is_traced()):
            return []
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
                    is_chat=is_chat,
                )
                for length, params in requests
            ]
        except Exception as problem:  # as above
            _log.debug("failed requests could not be described: %s", type(problem).__name__)
            return []
        return self._deliver(spans)

    def _deliver(self, spans: list[Span]) -> list[Span]:
        if is_traced():
            for span in spans:
                _offer(span)
        self._contribution.on_spans(spans)
        return spans


def _offer(span: Span) -> None:
    try:
        emit(span)
    except Exception as error:  # a broken exporter of the user's is no broken request, and costs no other span
        _log.debug("a span could not be given to the tracer provider: %s", type(error).__name__)
