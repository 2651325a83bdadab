"""A finished request -> Span, in OpenTelemetry's GenAI conventions; and the span on the user's own provider.

Prompts and answers are never put into a span. What the span does say is the user's own data in the
user's own backend; what may be contributed of it, the schema decides.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metavox.config import EngineInfo
from metavox.outputs import RequestOutput
from metavox.params import SamplingParams
from metavox.telemetry.hardware import Hardware
from metavox_privacy.span import AttributeValue, Span

if TYPE_CHECKING:
    from metavox.outputs import RequestMetrics

SCOPE = "metavox"
"""The name of our tracer, by which our own spans are told from others'."""

_PROVIDER_VARIABLE = "OTEL_PYTHON_TRACER_PROVIDER"
_LOOKS_AGAIN = 1.0  # seconds; asking the environment takes as long as all the rest of a request that nobody traces
_named = (False, 0.0)  # whether the environment names a provider, and until when that is taken as known


def request_span(
    output: RequestOutput, info: EngineInfo, sampling_params: SamplingParams, hardware: Hardware
) -> Span:
    """Describe one finished request.

    Args:
        output: The request's result, of which only lengths, finish reasons and times are read.
        info: The engine that ran it.
        sampling_params: What it asked for.
        hardware: What it ran on.
    """
    start = output.metrics.arrival_time_ns
    end = start + round(output.metrics.request_duration * 1e9)
    reasons = [completion.finish_reason for completion in output.outputs]
    metrics = output.metrics
    engine = _described(info, hardware)
    operation = _operation(metrics.is_chat)
    attributes = {
        **_request(operation, sampling_params, metrics.is_streamed),
        "gen_ai.response.finish_reasons": tuple(reason for reason in reasons if reason),
        "gen_ai.usage.input_tokens": len(output.prompt_token_ids),
        "gen_ai.usage.output_tokens": sum(len(completion.token_ids) for completion in output.outputs),
        **_measured(metrics),
    }
    whole = {**engine.attributes, "gen_ai.response.model": engine.model, **known(attributes)}
    return Span(f"{operation} {engine.model}", start, end, whole)


def failed_span(
    error: BaseException,
    info: EngineInfo,
    sampling_params: SamplingParams,
    hardware: Hardware,
    *,
    start_time: int,
    end_time: int,
    input_tokens: int | None = None,
    is_streamed: bool = False,
    is_chat: bool = False,
) -> Span:
    """Describe one request that raised; of the error only its type is told, its message may hold anything.

    Args:
        error: What was raised.
        info: The engine that ran the request.
        sampling_params: What it asked for.
        hardware: What it ran on.
        start_time: When the request arrived, Unix time in nanoseconds.
        end_time: When it failed, Unix time in nanoseconds.
        input_tokens: How long the prompt was, None when that is not known.
        is_streamed: Whether the output was told as it came.
        is_chat: Whether the prompt was a conversation.
    """
    engine, operation = _described(info, hardware), _operation(is_chat)
    attributes = {
        **_request(operation, sampling_params, is_streamed),
        "gen_ai.usage.input_tokens": input_tokens,
        "error.type": type(error).__qualname__,
    }
    return Span(f"{operation} {engine.model}", start_time, end_time, {**engine.attributes, **known(attributes)})


@dataclass(frozen=True, slots=True)
class _Described:
    """What is the same of every request to one engine on one device."""

    info: EngineInfo
    hardware: Hardware
    model: str
    attributes: Mapping[str, AttributeValue]


_latest: _Described | None = None


def _described(info: EngineInfo, hardware: Hardware) -> _Described:
    """Kept from one request to the next, which mostly go to the same engine."""
    global _latest
    described = _latest
    if described is None or described.info is not info or described.hardware is not hardware:
        name = model_name(info)
        model: dict[str, AttributeValue | None] = {"gen_ai.provider.name": "metavox", "gen_ai.request.model": name}
        attributes = known({**model, **_engine(info), **hardware_attributes(hardware)})
        described = _latest = _Described(info, hardware, name, attributes)
    return described


def model_name(info: EngineInfo) -> str:
    """The hub id or bundled name; for a local folder its path, written so that no hub id looks like it."""
    if info.model_id is not None:
        return info.model_id
    path = info.requested_model
    return path if os.path.isabs(path) or path.startswith((".", "~")) else os.path.join(".", path)


def is_traced() -> bool:
    """Whether the user's program has a tracer provider, or names one; loads nothing to find out."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or getattr(trace, "_TRACER_PROVIDER", trace) is None:  # asking for it takes a microsecond
        return _environment_names_one()
    return type(trace.get_tracer_provider()) not in (trace.NoOpTracerProvider, trace.ProxyTracerProvider)


def _environment_names_one() -> bool:
    global _named  # one environment, one clock
    named, until = _named
    now = time.monotonic()
    if now >= until:
        named = _PROVIDER_VARIABLE in os.environ
        _named = (named, now + _LOOKS_AGAIN)
    return named


def emit(span: Span) -> None:
    """Give a span to the user's tracer provider, as a child of the current span; without a provider, nothing."""
    from opentelemetry import trace

    tracer = trace.get_tracer(SCOPE, str(span.attributes.get("metavox.engine.version", "")))
    # The conventions say INTERNAL where the model runs in the same process.
    emitted = tracer.start_span(
        span.name, kind=trace.SpanKind.INTERNAL, attributes=span.attributes, start_time=span.start_time
    )
    if "error.type" in span.attributes:
        emitted.set_status(trace.StatusCode.ERROR)
    emitted.end(span.end_time)


def _operation(is_chat: bool) -> str:
    return "chat" if is_chat else "text_completion"


def _request(operation: str, params: SamplingParams, is_streamed: bool) -> dict[str, AttributeValue | None]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.request.max_tokens": params.max_tokens,
        "gen_ai.request.temperature": float(params.temperature),
        "gen_ai.request.top_p": float(params.top_p),
        "gen_ai.request.top_k": params.top_k if params.top_k > 0 else None,
        "gen_ai.request.seed": params.seed,
        "gen_ai.request.stop_sequences": params.stop_strings or None,
        "gen_ai.request.stream": is_streamed,
    }


def _measured(metrics: RequestMetrics) -> dict[str, AttributeValue | None]:
    """Times in seconds, under the names of the conventions' metrics; memory in bytes."""
    each = metrics.time_per_output_token  # once: it walks over the times of all tokens
    return {
        "gen_ai.server.time_to_first_token": metrics.time_to_first_token,
        "gen_ai.server.time_per_output_token": each,
        "gen_ai.server.request.duration": metrics.request_duration,
        "metavox.output_tokens_per_second": 1 / each if each else None,
        "metavox.device.memory.peak": metrics.device_memory_bytes,
        "metavox.request.concurrency": metrics.max_concurrency,
    }


def _engine(info: EngineInfo) -> dict[str, AttributeValue | None]:
    return {
        "metavox.engine.name": info.engine,
        "metavox.engine.version": info.engine_version,
        "metavox.model.architecture": info.architecture,
        "metavox.model.parameters": info.num_parameters,
        "metavox.model.quantization": info.quantization or info.dtype,
    }


def hardware_attributes(hardware: Hardware) -> dict[str, AttributeValue | None]:
    """What a request ran on; None for what is not known."""
    return {
        "hw.model": hardware.model,
        "hw.vendor": hardware.vendor,
        "metavox.hw.count": hardware.count,
        "metavox.hw.memory.size": hardware.memory_bytes,
        "hw.driver_version": hardware.driver_version,
        "os.type": hardware.os_type,
        "host.arch": hardware.arch,
    }


def known(attributes: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    """The attributes that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}
