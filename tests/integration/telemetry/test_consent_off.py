"""Without a yes a request works, and touches neither the network nor the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from metavox.telemetry.home import Home
from metavox_kernels.native.build import COMPILERS
from metavox_privacy.consent import CI_VARIABLES, Answer
from metavox_privacy.notice import notice_hash
from metavox_privacy.schema import SCHEMA

GUARDED = """
import os, sys

NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
WRITES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate", "os.remove", "os.rmdir", "os.chmod",
          "shutil.copyfile", "tempfile.mkstemp", "tempfile.mkdtemp", "sqlite3.connect")
FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
seen = []

def deny(event, arguments):
    if event in NETWORK or event in WRITES or (event == "open" and opens_to_write(*arguments)):
        seen.append((event, arguments))
        raise PermissionError(f"denied: {event} {arguments!r}")

def opens_to_write(path, mode, flags):
    if path == os.devnull:
        return False
    return bool(mode and set(mode) & set("wax+")) or bool(flags & FLAGS)

sys.addaudithook(deny)
for forbidden in (lambda: open("made", "w"), lambda: __import__("socket").create_connection(("127.0.0.1", 9))):
    try:
        forbidden()
    except PermissionError:
        continue
    sys.exit("the guard does not work")
seen.clear()

from metavox import LLM, SamplingParams
params = SamplingParams(max_tokens=8)
llm = LLM("metavox/tiny")
outputs = llm.generate(["Once upon a time", "The dog"], params)
from metavox.telemetry.recorder import Recorder
assert Recorder(llm.info).finished([(output, params) for output in outputs]) == []
assert [len(output.outputs[0].token_ids) for output in outputs], outputs
from metavox import telemetry
assert not telemetry.status().on
assert not seen, seen
print("done", telemetry.status().rule)
"""


@pytest.mark.parametrize("recorded", [None, frozenset()], ids=["nobody was asked", "the answer was no"])
def test_a_request_without_consent_opens_no_connection_and_writes_no_file(tmp_path: Path, recorded):
    home = tmp_path / "home"
    home.mkdir()
    environment = clean_environment(home)
    config = Home(home / ".config" / "metavox", home / ".local" / "state" / "metavox")
    if recorded is not None:
        now = datetime.now(timezone.utc)
        config.record(Answer(recorded, now, notice_hash(SCHEMA), SCHEMA.version))
    compile_operations(home)
    before = everything_in(home)
    work = tmp_path / "work"
    work.mkdir()
    script = tmp_path / "guarded.py"
    script.write_text(GUARDED)

    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env=environment, cwd=work, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("done ")
    expected = "nobody has been asked" if recorded is None else "the answer was no"
    assert expected in done.stdout
    assert everything_in(home) == before
    assert list(work.iterdir()) == []


def test_importing_metavox_loads_no_torch_and_starts_no_thread_and_prints_nothing(tmp_path: Path):
    script = (
        "import sys, threading; import metavox; from metavox import telemetry; "
        "assert not {'torch', 'sqlite3', 'ssl', 'http.client', 'opentelemetry.sdk'} & set(sys.modules); "
        "assert threading.active_count() == 1"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_engine_keeps_its_compiled_operations_and_nothing_else(tmp_path: Path):
    compile_operations(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.suffix == ".so" for path in files)
    assert {path.parent for path in files} <= {tmp_path / ".cache" / "metavox" / "native"}
    assert files or not any(map(shutil.which, COMPILERS))


def compile_operations(home: Path) -> None:
    """What the first request on a machine does, if it has a compiler."""
    script = "from metavox import LLM; LLM('metavox/tiny').generate('Once')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def clean_environment(home: Path) -> dict[str, str]:
    """This process's environment without what would switch contributions off, so that only the answer does."""
    dropped = {*CI_VARIABLES, "DO_NOT_TRACK", "METAVOX_TELEMETRY", "METAVOX_HOME", "METAVOX_COLLECTOR_URL"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    kept = {name: value for name, value in kept.items() if not name.startswith("XDG_")}
    # Python itself writes bytecode beside the sources of an editable install.
    return {**kept, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}


def everything_in(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}
