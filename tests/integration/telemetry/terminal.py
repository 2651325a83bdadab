"""Somebody at a terminal of their own, who starts a program, reads and types."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType

COMMAND = """
import os, sys
sys.argv = ["metavox", *sys.argv[1:]]
from metavox.cli import console, main
console.is_root = lambda: False
main()
"""
"""The command line as it is, but that the superuser, who is nobody in particular, counts as somebody."""

MOVED = """
import datetime, time
_away = datetime.timedelta(days={days})

class _Moved(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + _away

datetime.datetime = _Moved
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _away.total_seconds()
time.time_ns = lambda: _time_ns() + round(_away.total_seconds() * 10**9)
"""
"""Put in front of a program: its clock is some days ahead."""

_CONTROL = """
import fcntl, os, signal, termios
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background has it ignored
fcntl.ioctl(next(fd for fd in (0, 1, 2) if os.isatty(fd)), termios.TIOCSCTTY, 0)
"""


class Terminal:
    """A program on a terminal, ended on leaving.

    Args:
        program: Python.
        arguments: Its own.
        environment: All of it.
        columns: The width.
        apart: The standard streams that are not the terminal, by number: 0 is empty, 1 and 2 go into files.
        folder: Where these files are.

    Attributes:
        screen: What was shown.
    """

    def __init__(
        self,
        program: str,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        *,
        columns: int = 80,
        apart: tuple[int, ...] = (),
        folder: Path = Path("/nowhere"),
    ) -> None:
        self.screen = ""
        self._terminal, far_end = pty.openpty()
        fcntl.ioctl(far_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        files = {fd: os.open(folder / f"stream-{fd}", os.O_RDWR | os.O_CREAT) for fd in apart}
        streams = [files.get(fd, far_end) for fd in range(3)]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _CONTROL + program, *arguments],
            stdin=streams[0], stdout=streams[1], stderr=streams[2], env=environment, start_new_session=True,
        )  # fmt: skip
        for stream in {far_end, *streams}:
            os.close(stream)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        if self._terminal >= 0:
            os.close(self._terminal)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Read until a text is on the screen so many times, wherever its lines break."""
        deadline = time.monotonic() + 90  # torch takes its time on a busy machine
        while "".join(self.screen.split()).count("".join(text.split())) < times:
            assert time.monotonic() < deadline, self.screen
            assert self._read(), self.screen

    def type(self, keys: str) -> None:
        """Press some keys."""
        time.sleep(0.05)
        os.write(self._terminal, keys.encode())

    def end(self) -> int:
        """Read to the end, and give the program's status."""
        deadline = time.monotonic() + 90
        while self._read():
            assert time.monotonic() < deadline, self.screen
        return self._process.wait(30)

    def hang_up(self) -> int:
        """Close the terminal, as a window is closed; gives the program's status."""
        os.close(self._terminal)
        self._terminal = -1
        return self._process.wait(30)

    def _read(self) -> bool:
        """Read what there is now; False at the end."""
        if not select.select([self._terminal], [], [], 0.2)[0]:
            return True
        try:
            more = os.read(self._terminal, 65536)
        except OSError:  # Linux says EIO when the other side has closed
            return False
        self.screen += more.decode(errors="replace")
        return bool(more)
