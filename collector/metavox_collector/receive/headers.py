"""What a request's header says of its body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metavox_collector.receive.inflate import Coding
from metavox_collector.receive.media import JSON, PROTOBUF, Media
from metavox_collector.receive.refused import Code, Refused


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may hold.

    Attributes:
        body: Bytes as they arrive.
        inflated: Bytes after inflation.
        reports: Reports, that is, resource spans.
    """

    body: int
    inflated: int
    reports: int


@dataclass(frozen=True, slots=True)
class Headers:
    """The form and the encoding of a body."""

    media: Media
    coding: Coding

    @classmethod
    def read(cls, fields: Mapping[str, str], limits: Limits) -> Headers:
        """What a request's header fields, whose names are in lower case, say.

        Raises:
            Refused: if the type or the encoding is not ours, or the announced length is too large already.
        """
        media = Media.of(fields.get("content-type"))
        if media is None:
            allowed = {"Accept-Post": f"{PROTOBUF}, {JSON}"}
            raise Refused(Code.UNSUPPORTED, f"the content type must be {PROTOBUF} or {JSON}", allowed)
        coding = Coding.of(fields.get("content-encoding"))
        length = fields.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > limits.body:
            raise Refused(
                Code.TOO_LARGE, f"the body is larger than {limits.body} bytes; send fewer reports at a time"
            )
        return cls(media, coding)
