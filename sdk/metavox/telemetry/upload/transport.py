"""One HTTPS request with one deadline. The only module of the SDK that opens a socket.

Here no proxy is asked, no redirect followed, no cookie kept or sent, no TLS secret logged, and everything, the
look-up of the name included, ends at a deadline. Of the environment only OpenSSL reads something: which
authorities to trust (``SSL_CERT_FILE``, ``SSL_CERT_DIR``) and its own settings (``OPENSSL_CONF``). Nothing is
printed or logged.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

TIMEOUT = 3.0
"""Seconds for a whole request: the name, the connection, TLS, sending and the answer."""

_FORM = "a collector's address looks like https://collector.example"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status.
        body: At most as many bytes as were asked for.
        encoding: The content encoding as the other side names it, lower case; "" for none.
    """

    status: int
    body: bytes
    encoding: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """There was no answer in time, or none that is HTTP.

    Attributes:
        reason: In a few words of ours, never the other side's.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where a collector listens; ``path`` is what stands before ``/v1/...``, without a slash at its end."""

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
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # a port that is none, a bracket too many
            raise ValueError(_FORM) from None
        plain = url.isascii() and url.isprintable() and not {*" ?#"} & {*url}
        if not host or not plain or port == 0 or parts.scheme not in ("http", "https"):
            raise ValueError(_FORM)
        if parts.username is not None or parts.password is not None:
            raise ValueError("a collector's address holds no user name and no password")
        secure = parts.scheme == "https"
        if not secure and not _is_loopback(host):
            raise ValueError("a collector is reached over https; http is for this machine (localhost) alone")
        return cls(host, port or (443 if secure else 80), parts.path.rstrip("/"), secure)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def request(
    method: str,
    address: Address,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str],
    timeout: float = TIMEOUT,
    longest: int = 0,
) -> Answer | Unreachable:
    """Make one request and read its answer's status, and its body as far as that is wanted.

    Args:
        method: "POST", "DELETE", "GET".
        address: The collector.
        path: What is asked for, after the address's own path.
        body: What is sent, as it is.
        headers: All that is sent beside what HTTP itself needs.
        timeout: Seconds for everything.
        longest: The most bytes of the body that are taken, more are an error; 0 reads the status alone.
    """
    deadline = time.monotonic() + timeout
    try:
        with contextlib.closing(_connect(address, deadline)) as sock:
            connection = http.client.HTTPConnection(address.host, address.port)
            connection.sock = sock
            _limit(sock, deadline)
            connection.request(method, address.path + path, body, dict(headers))
            return _answer(sock, deadline, method, longest)
    except (OSError, http.client.HTTPException, ValueError) as error:  # a name that is none, a size below nothing
        return Unreachable(type(error).__name__)


def _connect(address: Address, deadline: float) -> socket.socket:
    """To the first of the name's addresses that answers; one that does not leaves time for those after it."""
    failure: OSError = OSError("the name has no address")
    found = _resolve(address, deadline)
    for tried, (family, kind, protocol, _, place) in enumerate(found):
        now = time.monotonic()
        until = now + (deadline - now) / (len(found) - tried)
        try:
            return _open(socket.socket(family, kind, protocol), place, address, until)
        except OSError as error:  # this machine has no IPv6, perhaps, or the network drops it
            failure = error
    raise failure


def _open(sock: socket.socket, place: Any, address: Address, deadline: float) -> socket.socket:
    try:
        _limit(sock, deadline)
        sock.connect(place)
        _limit(sock, deadline)
        return tls().wrap_socket(sock, server_hostname=address.host) if address.secure else sock
    except BaseException:
        sock.close()
        raise


def tls() -> ssl.SSLContext:
    """Certificates are demanded, and must be the host's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # create_default_context would obey SSLKEYLOGFILE
    context.load_default_certs()
    return context


def _resolve(address: Address, deadline: float) -> list[tuple[Any, ...]]:
    """The host's addresses. Looking one up cannot be ended, so a thread does it that nobody waits for longer."""
    found: list[list[tuple[Any, ...]] | Exception] = []

    def look() -> None:
        try:
            found.append([*socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)])
        except Exception as error:  # told where it is waited for; a thread would print it
            found.append(error)

    thread = threading.Thread(target=look, name="metavox-resolver", daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0))
    if not found:
        raise TimeoutError
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _limit(sock: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)


class _Incoming(io.RawIOBase):
    """What comes from a socket until the deadline, however slowly it is sent."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """What ``HTTPResponse`` needs of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        _limit(self._sock, self._deadline)
        return self._sock.recv_into(buffer)


def _answer(sock: socket.socket, deadline: float, method: str, longest: int) -> Answer | Unreachable:
    incoming = cast("socket.socket", _Incoming(sock, deadline))
    response = http.client.HTTPResponse(incoming, method=method)
    response.begin()
    encoding = (response.headers.get("Content-Encoding") or "").strip().lower()
    body = response.read(longest + 1) if longest else b""
    if len(body) > longest:
        return Unreachable("the answer is too long")
    return Answer(response.status, body, encoding)
