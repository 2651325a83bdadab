"""Files for one user alone: written whole or not at all, and never over somebody else's."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows: there, a first answer is still written by one process alone
    fcntl = None  # type: ignore[assignment]

NOWHERE: Final = Path(os.devnull, "metavox")
"""Where nothing can be, so that it reads as off and takes no file: the folders of somebody without a home."""

UNFINISHED: Final = ".consent-"
"""How the name of a file begins that is not whole yet; a crash may leave one."""

_LONGEST_WAIT = 1.0  # seconds for another process's answer, which takes milliseconds


def is_superuser() -> bool:
    """Whether this process may do everything, in everybody's folders."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def is_another_users(found: os.stat_result) -> bool:
    """Whether a file belongs to another user than this process's."""
    return hasattr(os, "geteuid") and found.st_uid != os.geteuid()


def is_somebody_elses(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, is another user's, or a link of theirs."""
    try:
        nearest = _nearest(folder)
        return is_another_users(nearest.lstat()) or is_another_users(nearest.stat())
    except OSError:  # a link that leads nowhere, or a current folder that is gone: no place for an answer
        return True


def make_private_folder(folder: Path) -> None:
    """Make a folder and its missing parents, for the owner of the nearest one alone (0700); raises OSError."""
    if folder == NOWHERE:
        raise OSError(
            errno.ENOENT, "there is no home folder; METAVOX_HOME can name one, by its whole path", str(folder)
        )
    for missing in reversed([path for path in (folder, *folder.parents) if not os.path.lexists(path)]):
        missing.mkdir(mode=0o700, exist_ok=True)
        _give_to_owner_of(missing.absolute().parent, missing)


def write_whole(path: Path, text: str, *, is_first: bool) -> None:
    """Write a file for the folder's owner alone (0600), so that a reader sees the old text or the new one, whole.

    Args:
        path: The file, in a folder that exists.
        text: What it is to hold.
        is_first: Whether no file may be there yet.

    Raises:
        OSError: the disk does not let it; ``FileExistsError`` where a first file is there already.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED)  # 0600, and new
    except OSError as error:  # of a file whose name says nothing to anybody
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            _give_to_owner_of(
                path.parent, file.fileno()
            )  # by its number: in another's folder a name may be exchanged
        _put(temporary, path, is_first=is_first)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _put(temporary: str, path: Path, *, is_first: bool) -> None:
    """Give a file its name; a first one by a link, which the disk makes only where the name is free."""
    if is_first:
        try:
            os.link(temporary, path)
        except OSError:  # the name is taken, or the disk has no such links
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        else:
            os.unlink(temporary)
            return
    os.replace(temporary, path)


def _give_to_owner_of(folder: Path, made: int | Path) -> None:
    """What the superuser makes in somebody's folder is theirs, so that they can read it and take it away."""
    owner = folder.stat()
    if not is_superuser() or not is_another_users(owner):
        return
    if isinstance(made, int):
        os.fchown(made, owner.st_uid, owner.st_gid)
    else:
        os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone among the processes that do the same; without waiting long, and without it where a disk cannot lock."""
    with contextlib.ExitStack() as stack:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                handle = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, handle)
                _lock(handle)
        yield


def _lock(handle: int) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT
    while not _is_locked(handle):
        if time.monotonic() > deadline:
            return  # somebody holds the folder for another reason, and an answer must not wait for it
        time.sleep(0.01)


def _is_locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
