"""A whole recorded and counted request: what the process reads on the way, seen by itself and by the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    *(
        "machine-id",
        "/sys/class/dmi",
        "/sys/devices/virtual/dmi",
        "/sys/firmware/dmi",
        "/sys/class/net",
        "/proc/net",
    ),
    *("/etc/hostname", "/etc/passwd", "/proc/sys/kernel/hostname", "product_uuid", "serial_number", "unique_id"),
    "/proc/driver/nvidia/gpus",
)

REQUEST = """
import os
from datetime import datetime, timezone
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from metavox import LLM, SamplingParams
from metavox.telemetry.hardware import detect
from metavox.telemetry.home.folders import Home
from tests.unit.sdk.telemetry.shared import agree

spans = InMemorySpanExporter()
provider = TracerProvider(resource=Resource({}))
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
agree(Home.from_environment(os.environ), since=datetime.now(timezone.utc))

def request():
    for device in ("cpu", "cuda", "mps", "xpu"):
        detect(device)
    llm = LLM("metavox/tiny")
    llm.generate("Once upon a time", SamplingParams(max_tokens=4))
    llm.recorder._contribution.flush()
    assert len(spans.get_finished_spans()) == 1
    assert Home.from_environment(os.environ).journal_file.exists(), "the request was counted"
"""

WATCHED = """
import builtins, getpass, os, platform, pwd, socket, sys, uuid

asked = []

def is_compiler(program):  # of the compiled ops, where they were not compiled before
    return any(name in os.path.basename(program) for name in ("cc", "clang"))

def is_ours(frame):
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return False  # what another library reads when it is imported
        if frame.f_code.co_filename.startswith(OURS):
            return True
        frame = frame.f_back
    return False

def watch(module, name):
    original = getattr(module, name)

    def watched(*arguments, **named):
        if is_ours(sys._getframe(1)):
            asked.append(name)
        return original(*arguments, **named)

    setattr(module, name, watched)

OURS = tuple(os.path.join(ROOT, folder) for folder in ("sdk", "privacy", "kernels"))
for module, names in {
    os: ("uname", "getlogin"),
    socket: ("gethostname", "getfqdn", "gethostbyname"),
    platform: ("node", "uname", "platform", "machine", "processor"),
    uuid: ("getnode", "uuid1"),
    getpass: ("getuser",),
    pwd: ("getpwuid", "getpwnam"),
}.items():
    for name in names:
        watch(module, name)

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.fsdecode(arguments[0])
        if any(part in path for part in PARTS) and is_ours(sys._getframe(1)):
            asked.append(path)
    elif event == "socket.connect" and is_ours(sys._getframe(1)):
        asked.append(event)
    elif event == "subprocess.Popen" and not is_compiler(arguments[0]) and is_ours(sys._getframe(1)):
        asked.append(arguments[0])

sys.addaudithook(hook)
"""


def run(script: str, home: Path, *before: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "METAVOX_HOME": str(home / "metavox"),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),  # ops compiled before
        "PYTHONPATH": str(ROOT),
    }
    command = [*before, sys.executable, "-c", script]
    return subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=240
    )


def test_a_recorded_request_asks_for_no_name_and_opens_no_file_that_holds_one(tmp_path: Path):
    watched = f"ROOT, PARTS = {str(ROOT)!r}, {PARTS!r}\n{WATCHED}"
    done = run(f"{watched}\n{REQUEST}\nrequest()\nprint(asked)", tmp_path)

    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_the_watch_sees_what_our_code_asks(tmp_path: Path):
    planted = tmp_path / "sdk"
    planted.mkdir()
    (planted / "planted.py").write_text(
        "import os, platform, socket\n"
        "def read():\n"
        "    os.uname(), platform.node(), socket.gethostname()\n"
        "    open('/etc/hostname').close()\n"
    )
    watched = f"ROOT, PARTS = {str(tmp_path)!r}, {PARTS!r}\n{WATCHED}"
    plant = f"import sys; sys.path.insert(0, {str(planted)!r})\nimport planted; planted.read()"
    done = run(f"{watched}\n{plant}\nprint(asked)", tmp_path)

    for name in ("uname", "node", "gethostname", "/etc/hostname"):
        assert f"'{name}'" in done.stdout, done.stderr


def can_trace() -> bool:
    tool = shutil.which("strace")
    return tool is not None and subprocess.run([tool, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_trace(), reason="strace is not there or not allowed")
def test_the_system_sees_no_file_opened_that_names_the_machine(tmp_path: Path):
    trace = tmp_path / "trace"
    calls = "trace=open,openat,readlink,readlinkat,connect"
    done = run(f"{REQUEST}\nrequest()", tmp_path, "strace", "-f", "-o", str(trace), "-e", calls)
    assert done.returncode == 0, done.stderr

    lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()

    assert any("/proc/cpuinfo" in line for line in lines), "the trace sees files"
    assert [line for line in lines if any(part in line for part in PARTS)] == []  # not even in vain
    assert [line for line in lines if "connect(" in line and "AF_INET" in line] == []
