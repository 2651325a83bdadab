"""OTLP in JSON -> the same message as from protobuf.

It is protobuf's own JSON mapping but for ids, which are hexadecimal
(https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding). Unknown keys are ignored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, NoReturn

from google.protobuf.json_format import ParseDict, ParseError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_collector.receive.refused import Code, Refused

MOST = 2**20
"""Bytes of a JSON body after inflation. A cell costs 1 ms, 50 times what it costs in protobuf, and is 6 KB long."""

_NOT_OTLP = "the body is not an OTLP ExportTraceServiceRequest in JSON"


def parse(data: bytes) -> ExportTraceServiceRequest:
    """Read a body.

    Raises:
        Refused: if it is too large, no JSON, or no OTLP.
    """
    if len(data) > MOST:
        raise Refused(Code.TOO_LARGE, f"a JSON body is larger than {MOST} bytes; send fewer reports, or protobuf")
    # A report's shortest object, a bucket, has 15 bytes; a million empty ones would take seconds.
    if data.count(b"{") + data.count(b"[") > 64 + len(data) // 12:
        raise Refused(Code.INVALID, _NOT_OTLP)
    try:
        text = data.decode()
        document = json.loads(text, parse_constant=_no_number)
        if "\\u" in text:  # half of a surrogate pair makes protobuf raise a SystemError
            json.dumps(document, ensure_ascii=False).encode()
        for span in _spans(document):
            _ids_to_base64(span)
        request = ExportTraceServiceRequest()
        ParseDict(document, request, ignore_unknown_fields=True)
    except (ValueError, ParseError, RecursionError):
        raise Refused(Code.INVALID, _NOT_OTLP) from None
    return request


def _spans(document: Any) -> Iterator[dict[str, Any]]:
    """The spans of a document, as far as its shape is right; what is not is ParseDict's to refuse."""
    if not isinstance(document, dict):
        raise ValueError("no object")
    found = [document]
    for name in ("resourceSpans", "scopeSpans", "spans"):
        lists = (item.get(name) for item in found)
        found = [item for some in lists if isinstance(some, list) for item in some if isinstance(item, dict)]
    yield from found


def _ids_to_base64(span: dict[str, Any]) -> None:
    for name in ("traceId", "spanId", "parentSpanId"):
        if isinstance(span.get(name), str):
            span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()


def _no_number(_constant: str) -> NoReturn:
    raise ValueError("JSON has no NaN and no Infinity")
