"""Settings that would put people's reports at risk: the service does not start with them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from metavox_collector.errors import NotAllowed
from metavox_collector.settings import Settings
from metavox_collector.sources import require_private
from metavox_collector.store import copies

_MOUNTS = Path("/proc/self/mounts")
_NETWORKED = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.s3fs")
)
_WIDEST = {4: 8, 6: 16}
"""The shortest prefix of a network of proxies: a shorter one is the internet and no network of anybody's."""


def refuse_unsafe(settings: Settings) -> None:
    """Raise NotAllowed for the first thing that is unsafe."""
    for words in unsafe(settings):
        raise NotAllowed(words)


def unsafe(settings: Settings) -> Iterator[str]:
    """What is unsafe, each with what to do."""
    yield from _keys(settings)
    yield from _proxies(settings)
    yield from _file_system(settings)


def _keys(settings: Settings) -> Iterator[str]:
    for file in filter(None, (settings.tls_key, settings.require_token)):
        yield from _public(file)


def _public(file: Path) -> Iterator[str]:
    try:
        require_private(file)
    except NotAllowed as error:
        yield str(error)


def _proxies(settings: Settings) -> Iterator[str]:
    for network in map(ip_network, settings.trusted_proxies):
        if network.prefixlen < _WIDEST[network.version]:
            yield (
                f"trusted_proxies holds {network}: anybody could then say to come from any address; "
                "name the proxies' own addresses"
            )


def _file_system(settings: Settings) -> Iterator[str]:
    if not settings.db.startswith("sqlite"):
        return
    file = copies.file_of(settings.db).absolute()
    if (kind := file_system_of(file.parent)) in _NETWORKED:
        yield (
            f"{file.parent} is on a network's file system ({kind}), whose locks SQLite cannot rely on; "
            "put the database on a disk of this machine, or use PostgreSQL"
        )


def file_system_of(folder: Path) -> str | None:
    """The kind of file system that a folder is on, as Linux calls it; None where it cannot be told."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    mounts = {Path(_unescaped(where)): kind for _, where, kind, *_ in map(str.split, lines)}
    resolved = folder.resolve()
    return next((mounts[parent] for parent in (resolved, *resolved.parents) if parent in mounts), None)


def _unescaped(name: str) -> str:
    return name.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")  # as proc(5) says
