"""Whether a Spark master takes connections, asked before a JVM is started for it.

Spark's own client tries for a minute (three times 20 s, which no setting of Spark's changes) and tells no reason.
"""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias
from urllib.parse import urlsplit

from metavox_collector.errors import FoldFailed, NotAllowed

_Address: TypeAlias = tuple[str, int]

_STANDALONE = "spark://"
_PATIENCE_S = 4.0
"""TCP asks again after 1 s and after 3 s, so two of its questions may be lost."""


def require_reachable(master: str, patience_s: float = _PATIENCE_S) -> None:
    """Refuse a standalone cluster when none of its masters takes a connection; others are Spark's own matter.

    Args:
        master: As Spark takes it; ``spark://a:7077,b:7077`` names two, of which one may be away.
        patience_s: How long each may take, in seconds.

    Raises:
        NotAllowed: if an address has no host or no port.
        FoldFailed: if none can be reached.
    """
    if not master.startswith(_STANDALONE):
        return
    addresses = [_parse(one) for one in master.removeprefix(_STANDALONE).split(",")]
    with ThreadPoolExecutor(len(addresses)) as pool:
        reasons = list(pool.map(lambda address: _trouble(address, patience_s), addresses))
    if all(reasons):
        raise FoldFailed(
            f"the Spark cluster at {master} cannot be reached: {'; '.join(map(str, reasons))}; is that its "
            "address, does its master run, and does a firewall let this machine through? Nothing was done"
        )


def _parse(written: str) -> _Address:
    try:
        parts = urlsplit(_STANDALONE + written)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as a socket will
    except ValueError:
        host, port = "", None
    if not host or not port:
        raise NotAllowed(f"'{_STANDALONE}{written}' is no Spark master's address; write it like spark://host:7077")
    return host, port


def _trouble(address: _Address, patience_s: float) -> str | None:
    """Why nobody is there; None when somebody is."""
    try:
        socket.create_connection(address, timeout=patience_s).close()
    except OSError as error:
        return f"{address[0]} port {address[1]}: {error.strerror or error}"
    return None
