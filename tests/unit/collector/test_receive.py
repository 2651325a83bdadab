from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from metavox_collector.receive import (
    MOST_ELEMENTS,
    PROTOBUF,
    Code,
    Limits,
    Refused,
    answer,
    check_headers,
    inflate,
    parse,
    read_bounded,
)
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import Rejected, encode
from tests.spans import example_report

LIMITS = Limits(body=10_000, inflated=40_000, reports=3)


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


@pytest.mark.parametrize("kind", [PROTOBUF, f"{PROTOBUF}; charset=utf-8", f"{PROTOBUF.upper()} ;v=1"])
def test_the_content_type_may_carry_parameters(kind):
    assert check_headers(kind, "gzip", "10", LIMITS) is True
    assert check_headers(kind, None, None, LIMITS) is False
    assert check_headers(kind, "Identity", "not a number", LIMITS) is False


@pytest.mark.parametrize("kind", [None, "", "application/json", "text/plain", "application/x-protobuf2"])
def test_another_content_type_is_unsupported(kind):
    refused(Code.UNSUPPORTED, check_headers, kind, None, None, LIMITS)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_another_encoding_is_unsupported(encoding):
    refused(Code.UNSUPPORTED, check_headers, PROTOBUF, encoding, None, LIMITS)


def test_an_announced_length_over_the_limit_is_refused_before_a_byte_is_read():
    refused(Code.TOO_LARGE, check_headers, PROTOBUF, None, "10001", LIMITS)
    assert check_headers(PROTOBUF, None, "10000", LIMITS) is False


def test_reading_stops_at_the_limit_whatever_comes():
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1000

    with pytest.raises(Refused) as caught:
        asyncio.run(read_bounded(endless(), LIMITS))
    assert caught.value.http_status == 413
    assert taken == 11


def test_a_gzip_bomb_is_refused_within_bounded_memory():
    bomb = gzip.compress(b"\0" * 100_000_000)
    tracemalloc.start()
    error = refused(Code.TOO_LARGE, parse, bomb, gzip=True, limits=LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "after inflation" in str(error)
    assert peak < 1_000_000


def test_inflation_takes_exactly_the_limit_and_not_one_byte_more():
    assert inflate(gzip.compress(b"x" * 100), 100) == b"x" * 100
    refused(Code.TOO_LARGE, inflate, gzip.compress(b"x" * 101), 100)


def test_every_truncation_of_a_gzip_body_is_a_client_error():
    whole = gzip.compress(encode([example_report()], SCHEMA))
    for length in range(len(whole)):
        refused(Code.INVALID, inflate, whole[:length], 1_000_000)


def test_what_follows_a_gzip_body_or_is_none_is_refused():
    refused(Code.INVALID, inflate, gzip.compress(b"a") + gzip.compress(b"b"), 1000)
    refused(Code.INVALID, inflate, b"not gzip at all", 1000)
    damaged = bytearray(gzip.compress(b"some words that are checked"))
    damaged[-5] ^= 1
    refused(Code.INVALID, inflate, bytes(damaged), 1000)


@pytest.mark.parametrize("body", [b"{}", b"\xff\xff\xff", b"GET / HTTP/1.1", b"\x0a\x05ab"])
def test_a_body_that_is_no_otlp_is_refused(body):
    refused(Code.INVALID, parse, body, gzip=False, limits=LIMITS)


def test_an_empty_request_is_a_request():
    assert len(parse(b"", gzip=False, limits=LIMITS).resource_spans) == 0
    assert answer([]) == b""


def test_too_many_reports_are_refused():
    assert parse(b"\x0a\x00" * 3, gzip=False, limits=LIMITS)
    refused(Code.TOO_LARGE, parse, b"\x0a\x00" * 4, gzip=False, limits=LIMITS)


NOTHING = b"\x0a\x00" * (MOST_ELEMENTS + 1)
VALUES = field(0x12, field(0x2A, NOTHING))


@pytest.mark.parametrize(
    "report",
    [
        field(0x0A, NOTHING),  # the resource's attributes
        b"\x12\x00" * (MOST_ELEMENTS + 1),  # scopes
        field(0x12, b"\x12\x00" * (MOST_ELEMENTS + 1)),  # spans in one scope
        field(0x12, b"\x12\x00" * 200) * 2,  # spans in several
        field(0x12, field(0x12, b"\x4a\x00" * (MOST_ELEMENTS + 1))),  # a span's attributes
        field(0x12, field(0x12, field(0x4A, VALUES))),  # an attribute's values
    ],
)
def test_a_list_that_no_report_could_have_is_refused_before_it_is_read(report):
    error = refused(Code.INVALID, parse, field(0x0A, report), gzip=False, limits=LIMITS)
    assert "elements" in str(error)


def test_a_whole_report_is_well_below_every_limit():
    request = parse(encode([example_report()], SCHEMA), gzip=False, limits=Limits(2**20, 2**22, 1000))
    assert len(request.resource_spans) == 1


def test_a_refusal_is_a_protobuf_status():
    error = Refused(Code.TOO_LARGE, "too large")
    status = Status.FromString(error.body())
    assert (error.http_status, status.code, status.message) == (413, 8, "too large")


def test_a_partial_answer_counts_spans_and_names_each_reason_once():
    rejected = [Rejected("the week is closed", 2), Rejected("the week is closed", 1), Rejected("odd", 4)]
    partial = ExportTraceServiceResponse.FromString(answer(rejected)).partial_success
    assert partial.rejected_spans == 7
    assert partial.error_message == "not taken: the week is closed (2 reports); odd (1 report)"
