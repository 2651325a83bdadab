"""Who is at the other end: the address of a client, possibly behind proxies, and the neighbourhood it belongs to.

An address lives in these functions' arguments for the length of a request. It is never stored, logged or counted;
what is counted is found by a keyed hash of a neighbourhood, see :mod:`~metavox_collector.admission.table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


def parse_address(text: str) -> Address | None:
    """An address as a socket or a proxy writes it, with or without a port or a zone; None when it is none.

    An IPv4 address that comes mapped into IPv6, as it does on a socket for both, is the IPv4 address.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks."""
    return any(address in network for network in networks)


def client_of(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """The client's address: the socket's, or the last one in ``X-Forwarded-For`` that is no proxy of ours.

    Each proxy appends the address that it was reached from, so what stands left of the last untrusted address was
    written by that client and proves nothing. Where a trusted proxy wrote something that is no address, the
    proxy itself is taken for the client.

    Args:
        peer: The other end of the socket; None where it has no address.
        forwarded: The values of all ``X-Forwarded-For`` headers, in the order of the request.
        trusted: The networks in which the operator's own proxies are.
    """
    address = parse_address(peer) if peer is not None else None
    hops = [hop for value in forwarded for hop in value.split(",")]
    while address is not None and hops and is_within(address, trusted):
        before = parse_address(hops.pop())
        if before is None:
            break
        address = before
    return None if address is None else str(address)


def host_of(address: Address) -> bytes:
    """What one sender can hold: an IPv4 address, or an IPv6 /64, of which every line has one."""
    return b"4" + address.packed if address.version == 4 else b"6" + address.packed[:8]


def block_of(address: Address) -> bytes:
    """What one site can hold: an IPv4 /24 or an IPv6 /48."""
    return b"4" + address.packed[:3] if address.version == 4 else b"6" + address.packed[:6]
