"""A collector of the demo's own, run as an operator would run it: by its commands, in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import TracebackType

from metavox.errors import MetaVoxError
from metavox_privacy.week import Week

_COMMAND = (sys.executable, "-m", "metavox_collector")
_PATIENCE = 10.0


class LocalCollector:
    """``metavox-collector serve`` on a free port of this machine, ended on leaving.

    Args:
        folder: Where its database is; made here, and left to the caller to remove.
        now: What time it pretends.
    """

    def __init__(self, folder: Path, now: datetime) -> None:
        folder.mkdir(parents=True)
        self.db = f"sqlite:///{folder / 'collector.db'}"
        self._now = now
        self.url = ""

    def __enter__(self) -> LocalCollector:
        arguments = ("serve", "--db", self.db, "--sandbox", "--port", "0", "--now", self._now.isoformat())
        command = [*_COMMAND, *arguments]
        # Apart, so that Ctrl-C is the demo's alone, which ends the others without a traceback of theirs.
        self._process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=_environment()
        )
        try:
            self.url = self._address()
        except BaseException:  # Ctrl-C too: nobody calls __exit__ of what was not entered
            self._stop()
            raise
        return self

    def _address(self) -> str:
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        if "http://" not in ready:
            raise MetaVoxError("The collector did not start; what it printed above says why.")
        return ready.split()[-1]

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def run(self, *arguments: str) -> None:
        """Run another of its commands, with its output in view; raises MetaVoxError when it fails."""
        sys.stdout.flush()
        command = [*_COMMAND, *arguments]
        done = subprocess.run(  # noqa: S603
            command, stderr=subprocess.STDOUT, check=False, start_new_session=True, env=_environment()
        )
        if done.returncode:
            raise MetaVoxError(f"metavox-collector {arguments[0]} failed; what it printed above says why.")

    def preview(self, week: Week, out: Path) -> Path:
        """Write the data of the week's release and return its folder; the whole pack takes two minutes more."""
        named = ("--week", str(week), "--db", self.db, "--now", self._now.isoformat())
        self.run("release", *named, "--preview", "--out", str(out))
        return max(out.glob(f"metavox-{week}-publish*"), key=lambda path: path.stat().st_mtime)


def _environment() -> dict[str, str]:
    """Without the settings of a collector of the user's own, and the address that they upload to.

    No earlier release says how large the demo's fleet is, so it is said here.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METAVOX_COLLECTOR_")}
    return {**kept, "METAVOX_COLLECTOR_SCOPE": "full"}
