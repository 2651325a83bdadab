"""Without a yes a request works, and touches neither the network nor the disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from metavox.telemetry.home.folders import Home
from metavox_kernels.native.build import COMPILERS
from metavox_privacy.consent import Answer
from metavox_privacy.notice import notice_hash
from metavox_privacy.schema import SCHEMA
from tests.integration.telemetry.shared import clean_environment, everything_in, run

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
assert llm.recorder.finished([(output, params) for output in outputs]) == []
assert [len(output.outputs[0].token_ids) for output in outputs], outputs
from metavox import telemetry
assert not telemetry.status().on
assert not seen, seen
print("done", telemetry.status().rule)
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home after the first request on a machine, which compiles operations if there is a compiler."""
    home = tmp_path_factory.mktemp("compiled")
    script = "from metavox import LLM; LLM('metavox/tiny').generate('Once')"
    done = run(script, of_its_own(home), warnings="default", patience=200)
    assert done.returncode == 0, done.stderr
    return home


@pytest.mark.parametrize("recorded", [None, frozenset()], ids=["nobody was asked", "the answer was no"])
def test_a_request_without_consent_opens_no_connection_and_writes_no_file(tmp_path: Path, compiled: Path, recorded):
    home = tmp_path / "home"
    home.mkdir()
    environment = of_its_own(home)
    config = Home(home / ".config" / "metavox", home / ".local" / "state" / "metavox")
    if recorded is not None:
        now = datetime.now(timezone.utc)
        config.record(Answer(recorded, now, notice_hash(SCHEMA), SCHEMA.version))
    shutil.copytree(compiled, home, dirs_exist_ok=True)
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
        env=of_its_own(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_engine_keeps_its_compiled_operations_and_nothing_else(compiled: Path):
    files = [path for path in compiled.rglob("*") if path.is_file()]
    assert all(path.suffix == ".so" for path in files)
    assert {path.parent for path in files} <= {compiled / ".cache" / "metavox" / "native"}
    assert files or not any(map(shutil.which, COMPILERS))


def of_its_own(home: Path) -> dict[str, str]:
    """The environment of somebody who has nothing yet, not even compiled operations."""
    return clean_environment(home, XDG_CACHE_HOME=str(home / ".cache"))
