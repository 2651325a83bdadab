"""What the peers are sent: traces of language models' requests, 50 spans with 14 attributes each in a request."""

from __future__ import annotations

import gzip
import secrets
import time
from collections.abc import Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from metavox_collector.load.bodies import Request

SPANS = 50

_ATTRIBUTES = [
    KeyValue(key=key, value=value)
    for key, value in {
        "openinference.span.kind": AnyValue(string_value="LLM"),
        "gen_ai.operation.name": AnyValue(string_value="chat"),
        "gen_ai.system": AnyValue(string_value="vllm"),
        "gen_ai.request.model": AnyValue(string_value="Qwen/Qwen3-8B"),
        "gen_ai.response.model": AnyValue(string_value="Qwen/Qwen3-8B"),
        "gen_ai.request.temperature": AnyValue(double_value=0.7),
        "gen_ai.request.top_p": AnyValue(double_value=0.95),
        "gen_ai.request.max_tokens": AnyValue(int_value=512),
        "gen_ai.usage.input_tokens": AnyValue(int_value=180),
        "gen_ai.usage.output_tokens": AnyValue(int_value=210),
        "gen_ai.server.time_to_first_token": AnyValue(double_value=0.045),
        "gen_ai.server.time_per_output_token": AnyValue(double_value=0.0185),
        "hw.model": AnyValue(string_value="NVIDIA GeForce RTX 4090"),
        "metavox.engine.version": AnyValue(string_value="0.11.0"),
    }.items()
]


def traces(number: int, spans_of_a_trace: int) -> Iterator[Request]:
    """So many requests; MLflow works for each trace of one, and not for each span alone."""
    for _ in range(number):
        yield Request(gzip.compress(_request(spans_of_a_trace), 1, mtime=0), (), SPANS)


def _request(spans_of_a_trace: int) -> bytes:
    left = range(SPANS, 0, -spans_of_a_trace)
    spans = [span for most in left for span in _trace(min(spans_of_a_trace, most))]
    resource = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="bench")))
    return ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()


def _trace(number: int) -> list[Span]:
    """A root with children."""
    trace_id, root = secrets.token_bytes(16), secrets.token_bytes(8)
    end = time.time_ns()
    return [
        Span(
            trace_id=trace_id,
            span_id=secrets.token_bytes(8) if position else root,
            parent_span_id=root if position else b"",
            name="chat Qwen/Qwen3-8B",
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=end - 4 * 10**9,
            end_time_unix_nano=end,
            attributes=_ATTRIBUTES,
        )
        for position in range(number)
    ]
