"""The exact bytes of a report, for people: every field that is in them, and a hash to compare."""

from __future__ import annotations

import base64
import hashlib
import json
import textwrap
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def as_document(body: bytes) -> list[dict[str, Any]]:
    """What a report's bytes say: for each resource its attributes, and its spans whole."""
    request = ExportTraceServiceRequest.FromString(body)
    return [
        {
            "resource": _attributes(resource.resource.attributes),
            "spans": [_span(span, scope.scope.name) for scope in resource.scope_spans for span in scope.spans],
        }
        for resource in request.resource_spans
    ]


def as_text(body: bytes, columns: int = 80) -> str:
    """The same as JSON, with the size and the hash of the bytes."""
    return f"{_pretty(as_document(body))}\n{_sized(body, columns)}"


def as_base64(body: bytes, columns: int = 80) -> str:
    """The bytes themselves, in letters that a terminal can show."""
    return "\n".join(textwrap.wrap(base64.b64encode(body).decode(), max(columns - 1, 20)))


def sha256(body: bytes) -> str:
    """Hex SHA-256 of the bytes."""
    return hashlib.sha256(body).hexdigest()


def _sized(body: bytes, columns: int) -> str:
    separator = "\n" if columns < 90 else ", "
    return f"{len(body)} bytes{separator}SHA-256 {sha256(body)}"


def _span(span: Span, scope: str) -> dict[str, Any]:
    return {
        "scope": scope,
        "name": span.name,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "start_time_unix_nano": span.start_time_unix_nano,
        "end_time_unix_nano": span.end_time_unix_nano,
        "attributes": _attributes(span.attributes),
    }


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def _pretty(value: Any, indent: str = "") -> str:
    """JSON with a list of numbers on one line."""
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        inner = ",\n".join(f"{deeper}{json.dumps(key)}: {_pretty(item, deeper)}" for key, item in value.items())
        return f"{{\n{inner}\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        inner = ",\n".join(deeper + _pretty(item, deeper) for item in value)
        return f"[\n{inner}\n{indent}]"
    return json.dumps(value)
