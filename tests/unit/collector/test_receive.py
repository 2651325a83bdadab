"""Bodies and headers: what is understood, what is refused, and how the sender is told."""

from __future__ import annotations

import json
import time

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from metavox_collector.receive import (
    JSON,
    PROTOBUF,
    Code,
    Coding,
    Headers,
    Limits,
    Media,
    Receiver,
    Refused,
    answer,
    inflate,
    no_such_method,
    no_such_path,
    understand,
)
from metavox_collector.receive.shape import is_plausible
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import Rejected, encode
from tests.spans import example_report

LIMITS = Limits(body=10_000, inflated=40_000, reports=3)
RECEIVER = Receiver(SCHEMA, LIMITS)
PLAIN = Headers(Media.PROTOBUF, Coding.IDENTITY)


def field(tag: int, payload: bytes) -> bytes:
    """One length-delimited protobuf field."""
    length, head = len(payload), bytes([tag])
    while length > 127:
        head += bytes([length & 127 | 128])
        length >>= 7
    return head + bytes([length]) + payload


def refused(code: Code, function, *arguments, **named) -> Refused:
    with pytest.raises(Refused) as caught:
        function(*arguments, **named)
    assert caught.value.code is code
    return caught.value


def headers(**fields: str) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in fields.items()}


@pytest.mark.parametrize("kind", [PROTOBUF, f"{PROTOBUF}; charset=utf-8", f"{PROTOBUF.upper()} ;v=1"])
def test_the_content_type_may_carry_parameters(kind):
    assert Headers.read(headers(content_type=kind), LIMITS) == PLAIN


def test_json_is_understood_too():
    found = Headers.read(headers(content_type=f"{JSON};charset=UTF-8"), LIMITS)
    assert found == Headers(Media.JSON, Coding.IDENTITY)


@pytest.mark.parametrize("kind", [None, "", "application/jsonl", "text/plain", "application/x-protobuf2"])
def test_another_content_type_is_unsupported_and_says_which_are_not(kind):
    fields = {} if kind is None else headers(content_type=kind)
    error = refused(Code.UNSUPPORTED, Headers.read, fields, LIMITS)
    assert error.headers == {"Accept-Post": f"{PROTOBUF}, {JSON}"}


def test_an_announced_length_over_the_limit_is_refused_before_a_byte_is_read():
    refused(Code.TOO_LARGE, Headers.read, headers(content_type=PROTOBUF, content_length="10001"), LIMITS)
    refused(Code.TOO_LARGE, Headers.read, headers(content_type=PROTOBUF, content_length="9" * 9999), LIMITS)
    for fine in ("10000", "not a number"):
        assert Headers.read(headers(content_type=PROTOBUF, content_length=fine), LIMITS) == PLAIN


@pytest.mark.parametrize("body", [b"{}", b"\xff\xff\xff", b"GET / HTTP/1.1", b"\x0a\x05ab"])
def test_a_body_that_is_no_otlp_is_refused(body):
    refused(Code.INVALID, understand, PLAIN, body, RECEIVER)


@pytest.mark.parametrize("coding", Coding)
@pytest.mark.parametrize("media", Media)
def test_a_request_of_nothing_is_a_request(media, coding):
    assert understand(Headers(media, coding), inflate(b"", coding, 0), RECEIVER) == []
    assert answer([], Media.PROTOBUF) == b""
    assert answer([], Media.JSON) == b"{}"


def test_too_many_reports_are_refused_whichever_way_they_are_read():
    assert len(understand(PLAIN, b"\x0a\x00" * 3, RECEIVER)) == 3
    refused(Code.TOO_LARGE, understand, PLAIN, b"\x0a\x00" * 4, RECEIVER)
    reports = [example_report(token=bytes([number])) for number in range(4)]
    assert understand(PLAIN, encode(reports[:3], SCHEMA), RECEIVER) == reports[:3]
    refused(Code.TOO_LARGE, understand, PLAIN, encode(reports, SCHEMA), RECEIVER)


GENUINE = encode([example_report()], SCHEMA)
TWO_MILLION = 2**21 - 8192


def _beside(payload: bytes) -> bytes:
    """A genuine report to whose span something is added."""
    span = ExportTraceServiceRequest.FromString(GENUINE).resource_spans[0]
    scope = span.scope_spans[0]
    resource = field(0x0A, span.resource.SerializeToString())
    content = field(0x0A, scope.scope.SerializeToString()) + field(
        0x12, scope.spans[0].SerializeToString() + payload
    )
    return field(0x0A, resource + field(0x12, content))


HOSTILE = {
    "resource spans": b"\x0a\x00" * TWO_MILLION,
    "scopes": field(0x0A, b"\x12\x00" * TWO_MILLION),
    "spans": field(0x0A, field(0x12, b"\x12\x00" * TWO_MILLION)),
    "spans after a group": field(0x0A, b"\x1b\x1c" + field(0x12, b"\x12\x00" * TWO_MILLION)),
    "attributes": _beside(b"\x4a\x00" * TWO_MILLION),
    "events": _beside(b"\x5a\x00" * TWO_MILLION),
    "links": _beside(b"\x6a\x00" * TWO_MILLION),
}
DEEP = {
    "resource attributes": field(0x0A, field(0x0A, b"\x0a\x00" * TWO_MILLION)),
    "values of an attribute": _beside(field(0x4A, field(0x12, field(0x2A, b"\x0a\x00" * TWO_MILLION)))),
}
WIDE = Receiver(SCHEMA, Limits(2**20, 2**22, 1000))


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_two_millions_of_anything_are_refused_before_they_are_made(body):
    assert 4_000_000 < len(body) < 2**22
    began = time.process_time()
    error = refused(Code.INVALID, understand, PLAIN, body, WIDE)
    assert "more things" in str(error)
    assert time.process_time() - began < 2  # it takes 0.1


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
def test_a_list_of_two_millions_within_one_thing_is_rejected_before_it_is_read(body):
    assert 4_000_000 < len(body) < 2**22
    (result,) = understand(PLAIN, body, WIDE)
    assert isinstance(result, Rejected)


def test_every_real_request_is_plausible():
    assert is_plausible(GENUINE)
    assert is_plausible(encode([example_report(token=bytes([number])) for number in range(200)], SCHEMA))


def test_a_refusal_holds_nothing_of_what_was_sent():
    error = refused(Code.INVALID, understand, PLAIN, b"ada@example.org", RECEIVER)
    held = []
    trace = error.__traceback__
    while trace is not None:
        held.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert held[-1] == "understand"
    assert error.__context__ is None
    assert "ada" not in str(error)


def test_a_refusal_is_a_status_in_the_form_that_was_spoken():
    error = Refused(Code.TOO_LARGE, "too large")
    status = Status.FromString(error.body(Media.PROTOBUF))
    assert (error.http_status, status.code, status.message) == (413, 8, "too large")
    assert json.loads(error.body(Media.JSON)) == {"code": 8, "message": "too large"}


def test_what_is_not_here_says_what_is():
    assert (no_such_path().http_status, "/v1/traces" in str(no_such_path())) == (404, True)
    assert (no_such_method("POST").http_status, no_such_method("POST").headers) == (405, {"Allow": "POST"})


REJECTED = [
    Rejected("week_closed", "the week is closed", 2),
    Rejected("week_closed", "the week is closed", 1),
    Rejected("odd", "odd", 4),
]
MESSAGE = "not taken: the week is closed (2 reports); odd (1 report)"


def test_a_partial_answer_counts_spans_and_names_each_reason_once():
    partial = ExportTraceServiceResponse.FromString(answer(REJECTED, Media.PROTOBUF)).partial_success
    assert (partial.rejected_spans, partial.error_message) == (7, MESSAGE)


def test_a_partial_answer_in_json_writes_counts_as_protobuf_does():
    expected = {"partialSuccess": {"rejectedSpans": "7", "errorMessage": MESSAGE}}
    assert json.loads(answer(REJECTED, Media.JSON)) == expected
