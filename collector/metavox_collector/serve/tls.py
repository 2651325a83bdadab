"""TLS by certificate files."""

from __future__ import annotations

import ssl
from pathlib import Path

from metavox_collector.errors import NotAllowed
from metavox_collector.settings import Settings


def of(settings: Settings) -> ssl.SSLContext | None:
    """What the operator chose; None for plain HTTP. Raises as :func:`context`."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return context(settings.tls_cert, settings.tls_key)


def context(cert: Path, key: Path) -> ssl.SSLContext:
    """What a server needs to speak TLS 1.2 or 1.3.

    Args:
        cert: PEM file of the certificate and its chain.
        key: PEM file of its private key, without a passphrase.

    Raises:
        NotAllowed: if the files cannot be read, or do not belong together.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(cert, key, password="")  # else OpenSSL asks for one on the terminal
    except OSError as error:  # an ssl.SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or "not understood"
        raise NotAllowed(
            f"TLS with {cert} and {key} is not possible ({reason.lower()}); give a PEM certificate with its chain, "
            "and its private key without a passphrase"
        ) from None
    return made
