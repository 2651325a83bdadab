"""One report to the collector. The only module of the SDK that opens a socket.

The stock OTLP exporters are not used: they would send the user's own ``OTEL_EXPORTER_OTLP_HEADERS``, which
hold keys, and delay the program's end when the collector is away. Here no
proxy is asked, no redirect followed, no cookie kept, no TLS secret logged, and everything ends at a deadline. Of
the environment only OpenSSL reads something: which authorities to trust (``SSL_CERT_FILE``, ``SSL_CERT_DIR``)
and its own settings (``OPENSSL_CONF``).
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import ipaddress
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

if TYPE_CHECKING:
    from socket import socket

TIMEOUT = 3.0
"""Seconds for connecting, and again for sending and the answer."""

_LONGEST_ANSWER = 64 * 1024
_PROTOBUF = "application/x-protobuf"
_HEADERS = {
    "Content-Type": _PROTOBUF,
    "Content-Encoding": "gzip",
    "Accept": _PROTOBUF,
    "User-Agent": "metavox",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """The collector has stored the report."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The collector answered, and has not stored the report.

    Attributes:
        status: The HTTP status; 200 when the collector rejected the report's content.
        message: The collector's own words, cleaned of control characters; may be empty.
    """

    status: int
    message: str = ""

    @property
    def final(self) -> bool:
        """Whether sending the same bytes again is pointless."""
        return self.status != 429 and (200 <= self.status < 300 or 400 <= self.status < 500)


@dataclass(frozen=True, slots=True)
class Unreachable:
    """There was no answer that a collector gives, in time; worth another try another day."""

    reason: str


Outcome: TypeAlias = Sent | Refused | Unreachable


@dataclass(frozen=True, slots=True)
class Address:
    """Where a collector listens."""

    host: str
    port: int
    path: str
    secure: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``https://collector.example``; http is for this machine alone.

        Raises:
            ValueError: with a message that says what an address must be.
        """
        url = url.strip()
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        plain = url.isascii() and url.isprintable() and not {*" ?#"} & {*url}
        if not host or not plain or parts.scheme not in ("http", "https"):
            raise ValueError("a collector's address looks like https://collector.example")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a collector's address holds no user name and no password")
        secure = parts.scheme == "https"
        if not secure and not _is_loopback(host):
            raise ValueError("a collector is reached over https; http is for this machine (localhost) alone")
        return cls(host, port or (443 if secure else 80), parts.path.rstrip("/") + "/v1/traces", secure)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def send(body: bytes, address: Address, *, timeout: float = TIMEOUT) -> Outcome:
    """POST one ``ExportTraceServiceRequest``, gzipped, and read the answer.

    Args:
        body: The encoded report, exactly as the journal holds it.
        address: The collector.
        timeout: Seconds for connecting, and again for all the rest.
    """
    try:
        with contextlib.closing(_connection(address, timeout)) as connection:
            connection.connect()
            deadline = time.monotonic() + timeout
            connection.request("POST", address.path, gzip.compress(body, mtime=0), _HEADERS)
            return _understand(_receive(connection.sock, deadline))
    except (OSError, http.client.HTTPException, UnicodeError) as error:  # a host name may be no name at all
        return Unreachable(type(error).__name__)


def _connection(address: Address, timeout: float) -> http.client.HTTPConnection:
    if not address.secure:
        return http.client.HTTPConnection(address.host, address.port, timeout=timeout)
    return http.client.HTTPSConnection(address.host, address.port, timeout=timeout, context=_tls())


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # create_default_context would obey SSLKEYLOGFILE
    context.load_default_certs()
    return context


def _receive(sock: socket, deadline: float) -> bytes:
    """Read until the other side closes, however slowly it sends, to the deadline and no further."""
    received = bytearray()
    while len(received) < _LONGEST_ANSWER:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            chunk = sock.recv(_LONGEST_ANSWER)
        except TimeoutError:
            break
        if not chunk:
            break
        received += chunk
    return bytes(received)


class _Received:
    """What ``HTTPResponse`` needs of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _understand(data: bytes) -> Outcome:
    if not data:
        return Unreachable("no answer in time")
    response = http.client.HTTPResponse(cast("socket", _Received(data)), method="POST")
    response.begin()
    content = response.read()
    if not 200 <= response.status < 300:
        return Refused(response.status)
    # A hotel's login page also answers 200: only the collector's own answer means that the report is stored.
    if response.headers.get_content_type() != _PROTOBUF:
        return Unreachable("something answered that is not a collector")
    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:
        return Unreachable("the collector's answer cannot be read")
    if partial.rejected_spans:
        return Refused(response.status, _clean(partial.error_message))
    return Sent()


def _clean(message: str) -> str:
    """A stranger's words, fit for a terminal."""
    return "".join(char if char.isprintable() else " " for char in message)[:300]
