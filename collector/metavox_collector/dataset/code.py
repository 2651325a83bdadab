"""Which software made a dataset: its version, and one hash over all that could have changed what it says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import metavox_collector
import metavox_privacy


@dataclass(frozen=True, slots=True)
class Code:
    """The software.

    Attributes:
        version: Of the distribution.
        sha256: Hex SHA-256 over the files of the packages that see a report or make a release.
        opendp: The version of the library that draws the noise.
    """

    version: str
    sha256: str
    opendp: str


@cache
def this_code() -> Code:
    """The software that is running."""
    digest = hashlib.sha256()
    for package in (metavox_collector, metavox_privacy):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(root.parent).as_posix()
                digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return Code(version("metavox"), digest.hexdigest(), version("opendp"))
