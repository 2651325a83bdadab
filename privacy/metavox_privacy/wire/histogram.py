"""OTLP's array of integers -> a histogram, by its serialised bytes.

Python reads a message's 64 integers one by one in 17 us; a cell has five such arrays, and a collector 100 us for a
cell in all. Serialised, an integer below 128 is four bytes, one from 128 to 16,383 is five, and of the latter a
histogram of 256 units has two at most. So all of them can be looked at at once, in 2 or 3.
"""

from __future__ import annotations

from opentelemetry.proto.common.v1.common_pb2 import ArrayValue

from metavox_privacy.report import Histogram

LARGEST = 2
"""How many of a histogram's buckets can hold 128 units or more: 2 x 128 = 256."""

_LARGE = b"\n\x03\x18"  # element, 3 bytes, int_value; then the number in two bytes
_ZERO = b"\n\x02\x18\x00"  # element, 2 bytes, int_value; then the number in one


def histogram_of(values: ArrayValue, buckets: int) -> Histogram | None:
    """The integers of an array of ``buckets`` elements; None if one of them is no integer."""
    quick = read(values.SerializeToString(), buckets)
    return quick if quick is not None else plain(values)


def plain(values: ArrayValue) -> Histogram | None:
    """What :func:`histogram_of` is quicker than, and equal to."""
    if any(value.WhichOneof("value") != "int_value" for value in values.values):
        return None
    return tuple(value.int_value for value in values.values)


def read(data: bytes, buckets: int) -> Histogram | None:
    """The integers of a serialised array of ``buckets`` integers; None if it holds anything else, or is odd.

    A large element is cut to the size of the others before the pattern is looked for. Where what looks like one
    begins at no multiple of four, as a count of 10 before a 3 would, its replacement does not fit the pattern.
    """
    large: list[tuple[int, int]] = []
    while len(data) > 4 * buckets and (at := data.find(_LARGE)) >= 0:
        number = data[at + 3 : at + 5]
        if len(large) == LARGEST or len(number) < 2 or number[0] < 128 or number[1] >= 128:
            return None
        large.append((at // 4, number[0] - 128 + 128 * number[1]))
        data = data[:at] + _ZERO + data[at + 5 :]
    if len(data) != 4 * buckets or data[::4] != b"\n" * buckets:
        return None
    units = data[3::4]
    if data[1::4] != b"\x02" * buckets or data[2::4] != b"\x18" * buckets or not units.isascii():
        return None
    if not large:
        return tuple(units)
    numbers = list(units)
    for place, count in large:
        numbers[place] = count
    return tuple(numbers)
