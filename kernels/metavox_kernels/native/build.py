"""C sources of this folder, compiled on first use for this very machine, and kept for the next time.

What cannot be compiled or loaded is no error: `load` answers None, the callers use their naive twins, and
`reason` says why.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent
COMPILERS = ("cc", "gcc", "clang")
SECONDS = 120  # that a compiler may take; 2 to 4 are usual

# No contraction: a product and a sum fused in one loop but not in another would make a row's result depend on
# the rows beside it. What is to be fused says so.
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi")
MACHINE_FLAGS = ("-march=native", "-mcpu=native")  # the first that the compiler takes
POOL = "pool"  # the threads, which the other libraries share
OFF = ("0", "off", "false", "no")


class Unavailable(Exception):
    """Why the compiled version of an op is not to be had."""


def load(name: str) -> ctypes.CDLL | None:
    """The library of ``<name>.c``, compiled if this machine has not done so before; None: use the naive twin.

    Looked for once in a process. Never raises and prints nothing. ``METAVOX_NATIVE=0`` turns it off.
    """
    return _outcome(name)[0]


def reason(name: str) -> str | None:
    """Why `load` answers None, in words for a person; None where it has the library."""
    return _outcome(name)[1]


def load_all() -> None:
    """`load` every source of this folder, those that must be compiled at the same time."""
    names = [source.stem for source in SOURCES.glob("*.c") if source.stem != POOL]
    load(POOL)  # once: two copies of it would have threads of their own
    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(load, names))


@functools.cache
def _outcome(name: str) -> tuple[ctypes.CDLL | None, str | None]:
    try:
        library = open_library(name, os.environ, SOURCES, None)
    except Unavailable as why:
        return None, str(why)
    pool = load(POOL) if name != POOL else None
    if pool is not None:
        library.use_pool(pool.run_loop)
    return library, None


def open_library(name: str, environment: Mapping[str, str], sources: Path, cache: Path | None) -> ctypes.CDLL:
    """The library of ``sources/<name>.c``.

    Args:
        name: of the source, without its ending.
        environment: ``METAVOX_NATIVE`` and ``PATH`` are read from it.
        sources: the folder of the source and of the headers it may include.
        cache: the folder to keep it in; None is the user's own.

    Raises:
        Unavailable: it is turned off, or there is no compiler, no safe folder, or the compiler refuses.
    """
    if environment.get("METAVOX_NATIVE", "").strip().lower() in OFF:
        raise Unavailable("METAVOX_NATIVE turns compiled ops off")
    compiler = _compiler(environment)
    try:
        library = _safe_folder(cache or _user_cache()) / f"{name}-{_key(name, sources, compiler)}.so"
        if not library.exists():
            _compile(sources / f"{name}.c", library, compiler)
        try:
            return ctypes.CDLL(str(library))
        except OSError:  # cut short by a full disk or a power failure
            _compile(sources / f"{name}.c", library, compiler)
            return ctypes.CDLL(str(library))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{name}.c is not in use: {error}") from error


def _compiler(environment: Mapping[str, str]) -> Path:
    found = (shutil.which(name, path=environment.get("PATH", os.defpath)) for name in COMPILERS)
    for path in found:
        if path:
            return Path(path).resolve()
    raise Unavailable(f"no C compiler on the PATH (tried {', '.join(COMPILERS)}); install one for faster ops")


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("metavox")
    except RuntimeError as error:  # somebody without a home folder, as many containers' users are
        raise Unavailable(f"there is no cache folder: {error}") from error
    if not folder.is_absolute():
        raise Unavailable("there is no cache folder: this user has no home folder")
    return folder / "native"


def _safe_folder(folder: Path) -> Path:
    """`folder`, made if need be: code is run from it, so nobody else may own it or write to it."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise Unavailable(f"{folder} belongs to another user; remove it for compiled ops")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unavailable(f"{folder} can be written to by others; remove it, or chmod 700, for compiled ops")
    return folder


def _key(name: str, sources: Path, compiler: Path) -> str:
    """A hash of all that the library depends on: homes are shared by machines, and compilers are upgraded."""
    status = compiler.stat()
    parts = [(sources / f"{name}.c").read_bytes(), *(header.read_bytes() for header in sorted(sources.glob("*.h")))]
    text = (FLAGS, MACHINE_FLAGS, str(compiler), status.st_size, status.st_mtime_ns, _machine())
    return hashlib.sha256(b"\0".join([*parts, repr(text).encode()])).hexdigest()[:24]


@functools.cache
def _machine() -> str:
    """The processor's model and features, all that -march=native looks at."""
    model = [sys.platform, sysconfig.get_config_var("HOST_GNU_TYPE") or sys.version]
    try:
        # Unbuffered, to stop at the end of the first processor: boards write their serial number after the last.
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            lines = itertools.takewhile(bytes.strip, iter(file.readline, b""))
            first = [line.decode(errors="replace").rstrip() for line in lines]
    except OSError:
        return repr(model)
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU part")
    return repr(model + [line for line in first if line.split(":")[0].strip() in wanted])


def _compile(source: Path, library: Path, compiler: Path) -> None:
    """Compile beside `library`, then move: other processes see all of it or nothing."""
    handle, temporary = tempfile.mkstemp(dir=library.parent, prefix=f".{library.stem}-", suffix=".so")
    os.close(handle)
    try:
        complaint = ""
        for machine in MACHINE_FLAGS:
            command = [str(compiler), *FLAGS, machine, str(source), "-o", temporary, "-lm"]
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, text=True, errors="replace")  # noqa: S603
            if done.returncode == 0:
                os.replace(temporary, library)
                return
            complaint = complaint or done.stderr.strip()
        raise Unavailable(f"{compiler} refuses {source.name}: {complaint[:500]}")
    finally:
        Path(temporary).unlink(missing_ok=True)
