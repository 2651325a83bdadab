"""A request as OTLP writes it in JSON: protobuf's own mapping, but with ids in hexadecimal."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def in_json(body: bytes) -> dict[str, Any]:
    """A request that :func:`metavox_privacy.wire.encode` wrote, as a document."""
    document: dict[str, Any] = MessageToDict(ExportTraceServiceRequest.FromString(body))
    for resource in document["resourceSpans"]:
        for span in resource["scopeSpans"][0]["spans"]:
            for name in ("traceId", "spanId"):
                span[name] = base64.b64decode(span[name]).hex()
    return document
