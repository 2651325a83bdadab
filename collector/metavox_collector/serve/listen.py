"""Sockets that listen."""

from __future__ import annotations

import ipaddress
import socket

from metavox_collector.errors import NotAllowed


def listen(host: str, port: int, *, allow_public: bool) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Args:
        host: An address, or ``localhost``.
        port: 0 to 65535.
        allow_public: Whether other machines may reach it.

    Raises:
        NotAllowed: if the address is not this machine's own and that was not allowed, or cannot be had.
    """
    if not allow_public and not is_loopback(host):
        raise NotAllowed(
            f"{host} can be reached from other machines: give --tls-cert and --tls-key, or name the proxy before "
            "this service that ends TLS with --trusted-proxies; --allow-public listens there without either"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        why, _, _ = reason.partition(" (while")  # Python adds the address again
        words = f"cannot listen on {host} port {port}: {why}"
        raise NotAllowed(f"{words}; end what listens there, or give another address or port") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_of(listener: socket.socket, *, tls: bool) -> str:
    """Where a socket listens, as others would write it."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
