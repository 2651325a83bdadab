"""A new file that appears whole or not at all, for its owner alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metavox_collector.errors import NotAllowed, TargetExists


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """An empty file beside the target, which becomes the target when the block ends well and goes when it does not.

    Raises:
        TargetExists: if there is something at the target; it is left as it is.
        NotAllowed: if nothing can be written there.
    """
    part = target.with_name(f".{target.name}.part")
    if target.exists():
        raise TargetExists(f"{target} exists; give another name, for nothing is overwritten")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise TargetExists(
            f"{part} is left of another run; make sure that none is under way and remove it"
        ) from None
    except OSError as error:
        raise NotAllowed(f"{target} cannot be written: {error.strerror}; give another name") from None
    try:
        yield part
        _publish(part, target)
    finally:
        part.unlink(missing_ok=True)


def _publish(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # unlike a rename it overwrites nothing
    except FileExistsError:
        raise TargetExists(f"{target} has appeared meanwhile; give another name") from None
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
