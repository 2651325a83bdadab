"""A request that is not taken, and how the sender is told so (https://opentelemetry.io/docs/specs/otlp/#failures)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from metavox_collector.receive.media import Media


class Code(Enum):
    """HTTP status and google.rpc code of each kind. Senders try again after 429, 502, 503 and 504 alone."""

    INVALID = (400, 3)
    UNAUTHENTICATED = (401, 16)
    NOT_FOUND = (404, 5)
    NO_SUCH_METHOD = (405, 12)
    TIMEOUT = (408, 4)
    TOO_LARGE = (413, 8)
    UNSUPPORTED = (415, 12)
    TOO_MANY = (429, 8)
    INTERNAL = (500, 13)
    UNAVAILABLE = (503, 14)


class Refused(Exception):
    """A request that is not taken at all; the message is ours and repeats no word of the sender's.

    Attributes:
        code: What kind of refusal it is.
        headers: What the answer says beside its body.
    """

    def __init__(self, code: Code, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.headers = dict(headers or {})

    @property
    def http_status(self) -> int:
        """The status line's number."""
        return self.code.value[0]

    def body(self, media: Media) -> bytes:
        """A serialised ``google.rpc.Status``."""
        return media.write(Status(code=self.code.value[1], message=str(self)))


def no_such_path() -> Refused:
    """For OTLP's other signals, ``/v1/metrics`` and ``/v1/logs``, and for paths that are not ours."""
    return Refused(Code.NOT_FOUND, "there is nothing here; contributions are sent to /v1/traces, as traces")


def no_such_method(allowed: str) -> Refused:
    """For a method that a path does not have.

    Args:
        allowed: Those that it has, as in the header Allow.
    """
    return Refused(Code.NO_SUCH_METHOD, f"this path answers {allowed} only", {"Allow": allowed})
