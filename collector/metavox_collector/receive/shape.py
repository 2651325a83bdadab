"""How many things a serialised request is made of, before protobuf makes an object of each.

Two bytes make a span of which protobuf keeps 160: 4 MiB of them took 330 MB. A report's field has 40 bytes on
average, and anybody's span more than 8.
"""

from __future__ import annotations

_INTO = (1, 2, 2)  # the field to walk into, by depth: resource spans, scope spans, spans
_VARINT, _EIGHT, _LENGTH, _GROUPS, _FOUR = 0, 1, 2, (3, 4), 5  # protobuf's wire types


def is_plausible(data: bytes) -> bool:
    """Whether a request, down to the fields of its spans, has no more fields than such a length can be made of.

    What is no protobuf at all is plausible here, and protobuf's to refuse.
    """
    left = 64 + len(data) // 8
    parts = [(0, len(data), 0)]
    try:
        while parts:
            at, end, depth = parts.pop()
            while at < end:
                left -= 1
                if left < 0:
                    return False
                tag, at = _varint(data, at)
                kind = tag & 7
                if kind == _LENGTH:
                    size, at = _varint(data, at)
                    if depth < len(_INTO) and tag >> 3 == _INTO[depth]:
                        parts.append((at, min(at + size, end), depth + 1))
                    at += size
                elif kind == _VARINT:
                    at = _varint(data, at)[1]
                elif kind in (_EIGHT, _FOUR):
                    at += 8 if kind == _EIGHT else 4
                elif kind not in _GROUPS:
                    return True
    except IndexError:
        return True
    return True


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where what follows it begins; raises IndexError."""
    number, shift = data[at] & 127, 7
    while data[at] > 127 and shift < 70:
        at += 1
        number |= (data[at] & 127) << shift
        shift += 7
    return number, at + 1
