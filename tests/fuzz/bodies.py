"""Bodies that nobody should send: genuine ones, damaged in every way, and noise; of one seed always the same."""

from __future__ import annotations

import copy
import gzip
import json
import random
import zlib
from collections.abc import Callable
from typing import Any

import zstandard
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_collector.receive import Coding, Media
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.otlp import in_json
from tests.spans import example_report, example_span

CANARY = "ada@example.org"
"""Is in many of the bodies, and may be in nothing that comes of them."""

_CELLS = [example_span(metavox__model__quantization=word) for word in ("bfloat16", "int8", "int4", "awq")]
_REPORTS = [example_report(*_CELLS[: 1 + i % 4], token=bytes([i]), synthetic=i % 2 == 0) for i in range(6)]
_GENUINE = [encode(_REPORTS[i : i + 1 + i % 3], SCHEMA) for i in range(len(_REPORTS))]
_GENUINE_AND_SHORT = [encode([report], SCHEMA) for report in _REPORTS[:2]]
_ENCODE: dict[Coding, Callable[[bytes], bytes]] = {
    Coding.IDENTITY: bytes,
    Coding.GZIP: lambda data: gzip.compress(data, 1, mtime=0),
    Coding.DEFLATE: lambda data: zlib.compress(data, 1),
    Coding.ZSTD: lambda data: zstandard.compress(data, 1),
}
_TOO_MUCH = 5 * 2**20
"""More than a body may be once it is inflated, by the settings' default."""
_NUMBERS = (0, 1, -1, 127, 128, 255, 256, 257, 2**31 - 1, 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1, 10**400)
_SMALL_NUMBERS = (0, 1, 2, 128, 256, 2**31 - 1)
_FITTING: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_STRING: (CANARY, "", "unknown", "true", "x" * 300, "\n\x02\x18\x00"),
    FieldDescriptor.CPPTYPE_INT64: tuple(number for number in _NUMBERS if -(2**63) <= number < 2**63),
    FieldDescriptor.CPPTYPE_UINT64: tuple(number for number in _NUMBERS if 0 <= number < 2**64),
    FieldDescriptor.CPPTYPE_DOUBLE: (0.0, 1.5, float("nan"), float("inf")),
    FieldDescriptor.CPPTYPE_BOOL: (False, True),
}
_JSON: tuple[Any, ...] = (
    None,
    True,
    CANARY,
    "",
    [],
    {},
    1.5,
    1e300,
    -0.0,
    [[]],
    {"": {}},
    "7",
    "\ud800",
    *_NUMBERS,
)


def body(chance: random.Random) -> tuple[Media, Coding, bytes]:
    """One body, with what its header says of it, which may not be so."""
    media = Media.JSON if chance.random() < 0.2 else Media.PROTOBUF  # which takes 50 times as long
    coding = chance.choice(list(Coding))
    data = chance.choice(_MAKERS[media])(chance)
    if coding is not Coding.IDENTITY and chance.random() < 0.005:
        data += bytes(_TOO_MUCH)
    encoded = _ENCODE[coding](data)
    if coding is not Coding.IDENTITY and chance.random() < 0.2:
        encoded = _damaged(encoded, chance)
    if chance.random() < 0.05:  # under a false name
        media, coding = chance.choice(list(Media)), chance.choice(list(Coding))
    return media, coding, encoded


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 2, 10, 100, 1000)))


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """With some bytes changed, cut out, repeated or put in."""
    for _ in range(chance.randint(1, 3)):
        at, length = chance.randint(0, len(data)), chance.choice((0, 1, 1, 2, 8, 64))
        kept, rest = data[:at], data[at + length :]
        piece = chance.choice((b"", chance.randbytes(length), data[at : at + 2 * length], CANARY.encode()))
        data = chance.choice((kept + piece + rest, kept + piece + data[at:], kept + piece))
    return data


def _damaged_protobuf(chance: random.Random) -> bytes:
    return _damaged(chance.choice(_GENUINE), chance)


def _changed_protobuf(chance: random.Random) -> bytes:
    """With some fields, anywhere in the message, set to what they should not be."""
    request = ExportTraceServiceRequest.FromString(chance.choice(_GENUINE))
    for _ in range(chance.randint(1, 3)):
        _change(request, chance)
    return request.SerializeToString()


def _change(message: Message, chance: random.Random) -> None:
    """Walk down a random way, and change something where it ends."""
    while True:
        field: FieldDescriptor = chance.choice(list(message.DESCRIPTOR.fields))
        if field.message_type is None or chance.random() < 0.1:
            break
        value = getattr(message, field.name)
        if not field.is_repeated:
            message = value
        elif value:
            message = chance.choice(value)
        else:
            break
    _set(message, field, chance)


def _set(message: Message, field: FieldDescriptor, chance: random.Random) -> None:
    value = getattr(message, field.name)
    if chance.random() < 0.2:
        message.ClearField(field.name)
    elif field.is_repeated and field.message_type is not None:
        for _ in range(chance.choice((1, 2, 30, 300))):
            value.append(chance.choice(value)) if value else value.add()
    elif field.message_type is not None:
        value.SetInParent()
    else:
        given = chance.choice(_FITTING.get(field.cpp_type, _SMALL_NUMBERS))
        if field.type == FieldDescriptor.TYPE_BYTES:
            given = str(given).encode()
        value.append(given) if field.is_repeated else setattr(message, field.name, given)


def _otlp_json(chance: random.Random) -> dict[str, Any]:
    return in_json(chance.choice(_GENUINE_AND_SHORT))


def _damaged_json(chance: random.Random) -> bytes:
    return _damaged(json.dumps(_otlp_json(chance)).encode(), chance)


def _changed_json(chance: random.Random) -> bytes:
    """With some values, anywhere in the document, set to what they should not be."""
    document = _otlp_json(chance)
    for _ in range(chance.randint(1, 3)):
        at: Any = document
        while True:
            key = chance.choice(list(at) if isinstance(at, dict) else range(len(at)))
            if not at[key] or not isinstance(at[key], (dict, list)) or chance.random() < 0.1:
                break
            at = at[key]
        at[key] = copy.deepcopy(chance.choice(_JSON))
        if isinstance(at, dict) and chance.random() < 0.3:
            at[chance.choice((CANARY, "flags", "events", "traceState", "kind"))] = copy.deepcopy(
                chance.choice(_JSON)
            )
    return json.dumps(document, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")


_MAKERS = {
    Media.PROTOBUF: (_noise, *[_damaged_protobuf] * 3, *[_changed_protobuf] * 6),
    Media.JSON: (_noise, *[_damaged_json] * 3, *[_changed_json] * 6),
}
