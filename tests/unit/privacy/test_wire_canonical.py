"""The quick reader takes nothing that protobuf and the decoder do not, and then the same."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import Canonical, Decoder, encode
from tests.spans import example_report, example_span

DECODER = Decoder(SCHEMA)
CANONICAL = Canonical(DECODER)
REPORTS = [
    example_report(token=b"1"),
    example_report(example_span(), example_span(metavox__model__quantization="int8"), token=b"2", synthetic=True),
]
BODY = encode(REPORTS, SCHEMA)
PLACES = st.integers(0, len(BODY))
PIECES = st.binary(max_size=3) | st.sampled_from(
    [b"\x4a\x00", b"\n\x02\x18\x00", b"\n\x03\x18\x80\x01", b"\x12", b"\n", b"\x80", b"\xfa\x3f\x00"]
)
# Cut out what lies between two places and put something there; among the places are those where lengths are.
CHANGES = st.lists(st.tuples(PLACES, st.integers(0, 6), PIECES), min_size=1, max_size=3)


def agrees(body: bytes) -> bool:
    """Whether the quick reader took the body; if so, the slow one takes it, and reads the same."""
    quick = CANONICAL.read(body)
    if quick is not None:
        assert DECODER.decode(ExportTraceServiceRequest.FromString(body)) == quick
    return quick is not None


@given(CHANGES)
def test_a_body_that_is_changed_is_read_the_same_or_not_at_all(changes):
    body = BODY
    for at, length, piece in changes:
        body = body[:at] + piece + body[at + length :]
    agrees(body)


def test_every_byte_that_is_another_one_is_read_the_same_or_not_at_all():
    taken = 0
    for at in range(len(BODY)):
        for other in (BODY[at] ^ 1, BODY[at] ^ 0x80):
            taken += agrees(BODY[:at] + bytes([other]) + BODY[at + 1 :])
    assert taken > 0  # Qwen3 and Qwen2, versions 0.1 and 0.0


def test_every_truncation_is_left_to_protobuf_but_between_reports():
    first = len(encode(REPORTS[:1], SCHEMA))
    assert [length for length in range(len(BODY) + 1) if agrees(BODY[:length])] == [0, first, len(BODY)]


@given(st.binary(max_size=200))
@example(b"\n" * 50)
@example(b"\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_any_bytes_at_all_are_read_the_same_or_not_at_all(body):
    agrees(body)


def test_a_length_written_in_more_bytes_than_it_needs_is_the_same_length():
    one = encode(REPORTS[:1], SCHEMA)
    assert one[1] & 0x80  # the report's length has two bytes; a third that adds nothing is allowed by protobuf
    assert agrees(one[:2] + bytes([one[2] | 0x80, 0]) + one[3:])
