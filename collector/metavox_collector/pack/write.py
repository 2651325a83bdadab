"""Files -> a directory: complete, or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from metavox_collector.errors import TargetExists


def write(files: Mapping[str, bytes], target: Path) -> None:
    """Write every file beside the target, bring it to the disk, then rename.

    Raises:
        TargetExists: if there is something at the target; it is left as it is.
    """
    require_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for name, content in files.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, content)
        partial.chmod(0o755)
        for directory in (*(path for path in partial.rglob("*") if path.is_dir()), partial):
            _sync(directory)
        require_free(target)  # a rename would take the place of an empty directory
        partial.rename(target)
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def require_free(target: Path) -> None:
    """Raise TargetExists if there is something at the target, be it a link to nowhere, or no room for it."""
    if target.exists() or target.is_symlink():
        raise TargetExists(f"{target} exists; a release never changes, so nothing was written")
    above = next(folder for folder in target.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise TargetExists(f"{above} is no directory that can be written to, so nothing was; name another one")


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
