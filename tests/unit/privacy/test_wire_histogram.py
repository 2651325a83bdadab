"""The quick reading of integers is the plain one, whatever the bytes are."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue

from metavox_privacy.wire.histogram import histogram_of, plain, read

UNITS = st.integers(0, 300) | st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    UNITS.map(lambda number: AnyValue(int_value=number)),
    st.sampled_from(
        [AnyValue(), AnyValue(bool_value=True), AnyValue(string_value=""), AnyValue(string_value="\n")]
    ),
)
# Pieces of which arrays are made: small and large elements, and what could be mistaken for them.
PIECES = st.sampled_from(
    [
        *(b"\n\x02\x18\x00", b"\n\x02\x18\x0a", b"\n\x02\x18\x7f", b"\n\x02\x18\x80", b"\n\x03\x18\x80\x01"),
        *(b"\n\x03\x18\x85\x00", b"\n\x03\x18\x05\x18", b"\n\x03\x18\x80\x80", b"\n\x03\x18"),
        *(b"\n\x02\x0a\x00", b"\n\x02\x10\x01", b"\n\x00", b"\n\x04\x18\x80\x80\x01", b"\x12\x02\x18\x01"),
        *(b"\x18\x0a", b"\n", b"\x03", b"\x18"),
    ]
)


@given(st.lists(VALUES, max_size=12))
def test_an_array_is_read_as_protobuf_reads_it(values):
    array = ArrayValue(values=values)
    assert histogram_of(array, len(values)) == plain(array)


@given(st.lists(PIECES, max_size=9).map(b"".join) | st.binary(max_size=40), st.integers(0, 9))
def test_bytes_are_read_as_protobuf_reads_them_or_not_at_all(data, buckets):
    found = read(data, buckets)
    if found is not None:
        array = ArrayValue.FromString(data)
        assert found == plain(array)
        assert len(found) == buckets


@pytest.mark.parametrize("data", [b"\n\x02\x18\x80", b"\n\x03\x18\x80", b"\n\x03\x18\x80\x80"])
def test_a_number_that_is_cut_off_is_none(data):
    with pytest.raises(DecodeError):
        ArrayValue.FromString(data)
    assert read(data, 1) is None


@given(st.lists(st.integers(0, 256), min_size=2, max_size=64))
def test_the_quick_way_takes_up_to_two_large_numbers(units):
    array = ArrayValue(values=[AnyValue(int_value=number) for number in units])
    quick = read(array.SerializeToString(), len(units))
    assert (quick is not None) is (sum(number >= 128 for number in units) <= 2)
