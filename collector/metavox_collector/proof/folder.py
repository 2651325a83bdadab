"""A directory -> its files' bytes, and whatever is there that no pack holds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metavox_collector.errors import NotAPack
from metavox_collector.proof.problem import Problem

MOST_BYTES = 2**30
"""A pack of 2,000 cells is some 20 MB; what is larger than this is not read."""


@dataclass(frozen=True)
class Folder:
    """What lies in a directory.

    Attributes:
        files: Content by path, with slashes, from the directory on.
        problems: Links, odd files and what cannot be read, each by its path.
    """

    files: dict[str, bytes]
    problems: tuple[Problem, ...]


def read(directory: Path) -> Folder:
    """Read every file below a directory, and follow no link.

    Raises:
        NotAPack: if it is no directory, cannot be listed, or holds more than a pack does.
    """
    if not directory.is_dir():
        raise NotAPack(f"{directory} is no directory; name the one that 'metavox-collector release' wrote")
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    left = MOST_BYTES
    for entry, name in _walk(directory, ""):
        state = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(state.st_mode):
            left -= state.st_size
            if left < 0:
                raise NotAPack(f"{directory} holds more than {MOST_BYTES >> 20} MiB; that is no release's pack")
            files[name] = _content(Path(entry.path))
        elif stat.S_ISLNK(state.st_mode):
            problems.append(Problem(name, "it is a link; a pack holds files alone"))
        elif stat.S_ISDIR(state.st_mode):
            problems.append(Problem(name, "it is an empty directory; a pack holds none"))
        else:
            problems.append(Problem(name, "it is neither a file nor a directory; a pack holds files alone"))
    return Folder(files, tuple(problems))


def _walk(directory: Path, prefix: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Whatever is not a directory with something in it, by path."""
    try:
        with os.scandir(directory) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        raise NotAPack(f"{directory} cannot be listed: {error.strerror}") from None
    for entry in entries:
        name = f"{prefix}{entry.name}"
        below = list(_walk(Path(entry.path), f"{name}/")) if entry.is_dir(follow_symlinks=False) else []
        yield from below or [(entry, name)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotAPack(f"{path} cannot be read: {error.strerror}") from None
