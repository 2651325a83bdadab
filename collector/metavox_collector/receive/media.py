"""The two forms in which OTLP/HTTP is spoken; who is spoken to in one is answered in it."""

from __future__ import annotations

from enum import Enum

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


class Media(Enum):
    """A form, by its content type."""

    PROTOBUF = PROTOBUF
    JSON = JSON

    @classmethod
    def of(cls, content_type: str | None) -> Media | None:
        """The form that a content type names, with whatever parameters; None for none of ours."""
        named = (content_type or "").partition(";")[0].strip().lower()
        return _NAMED.get(named)

    def write(self, message: Message) -> bytes:
        """A message in this form."""
        if self is Media.JSON:
            return MessageToJson(message, indent=None).encode()
        return message.SerializeToString()


_NAMED = {media.value: media for media in Media}
