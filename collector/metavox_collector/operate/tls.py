"""Whether a certificate and its key would do: a handshake in memory, as a client of today would hold it."""

from __future__ import annotations

import ssl
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from metavox_collector.errors import NotAllowed


def valid_until(cert: Path, key: Path) -> datetime:
    """When a certificate expires that a client would take now, if it trusts who issued it.

    Raises:
        NotAllowed: if a file cannot be read, they do not belong together, or the certificate is not valid now.
    """
    server, client = _server(cert, key), _client(cert)
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(inward, outward, server_side=True)
    theirs = client.wrap_bio(outward, inward)
    try:
        for side in (theirs, ours, theirs, ours):
            _step(side)
    except ssl.SSLError as error:
        raise NotAllowed(f"no client would take {cert}: {_reason(error)}; have it renewed") from None
    held = theirs.getpeercert()
    assert held, "the handshake is over"
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(held["notAfter"])), timezone.utc)


def _server(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # nobody is asked for one
    except ssl.SSLError as error:
        raise NotAllowed(f"{cert} and {key} are no certificate and its key: {_reason(error)}") from None
    except OSError as error:
        raise NotAllowed(f"{cert} or {key} cannot be read: {error.strerror}") from None
    return context


def _client(cert: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # whatever it is called
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # and whoever issued it
    context.load_verify_locations(cert)
    return context


def _step(side: ssl.SSLObject) -> None:
    with suppress(ssl.SSLWantReadError):
        side.do_handshake()


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "verify_message", None) or error.reason or type(error).__name__
