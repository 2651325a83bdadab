"""Nothing of ours asks who somebody is or which machine this is, and the tools that check it can fail."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for root in ("sdk", "privacy", "kernels") for path in (ROOT / root).rglob("*.py"))

# Names on any object: what is reached over a value has no module that a linter could know.
ATTRIBUTES = {
    *("nodename", "uuid", "serial", "serial_number", "board_serial", "unique_id", "machine_id", "pci_bus_id"),
    *("pci_device_id", "pci_domain_id", "getlogin", "gethostname", "getfqdn", "getnode", "getuser", "getpwuid"),
    *("getpwnam", "getpwall", "uname", "if_nameindex", "ioreg", "dmidecode"),
}
# The whole of what NVML may be asked; it knows serial numbers, too.
NVML = {
    *("nvmlInit", "nvmlShutdown", "nvmlSystemGetDriverVersion", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"),
    *("nvmlDeviceGetName", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMigMode", "NVMLError"),
    "nvmlDeviceGetTotalEnergyConsumption",
}
# In any text of the code but its documentation: files, and keys of other systems.
PARTS = (
    *(
        "machine-id",
        "machine_id",
        "machineguid",
        "product_uuid",
        "product_serial",
        "board_serial",
        "chassis_serial",
    ),
    *("/sys/class/net", "/sys/class/dmi", "/sys/devices/virtual/dmi", "/sys/firmware/dmi", "/etc/hostname"),
    *("/proc/sys/kernel/hostname", "boot_id", "/etc/passwd", "/proc/driver/nvidia/gpus", "unique_id"),
    *(
        "serial_number",
        "ioplatform",
        "kern.uuid",
        "kern.hostname",
        "hw.uuid",
        "smbios",
        "/proc/net",
        "/proc/self/net",
    ),
)
# A text that is nothing else: environment variables, programs, and functions by their name.
WHOLE = {
    *("USER", "USERNAME", "LOGNAME", "HOSTNAME", "COMPUTERNAME", "USERDOMAIN", "SUDO_USER", "SSH_CLIENT"),
    *("SSH_CONNECTION", "hostname", "whoami", "hostid", "ifconfig", "dmidecode", "lshw", "ioreg"),
    *("system_profiler", "wmic", "nvidia-smi", "amd-smi", "rocm-smi", "getmac", "uname", "gethostname", "getnode"),
    *("getlogin", "getuser"),
}


def findings(source: str) -> list[str]:
    """What a source reads that says who or where somebody is; its documentation may speak of it."""
    tree = ast.parse(source)
    prose = set(documentation(tree))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_banned(node.attr):
            found.append(f"line {node.lineno}: .{node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            text = node.value
            if text in WHOLE or any(part in text.lower() for part in PARTS):
                found.append(f"line {node.lineno}: {text!r}")
    return found


def is_banned(attribute: str) -> bool:
    return attribute in ATTRIBUTES or (attribute.lower().startswith("nvml") and attribute not in NVML)


def documentation(tree: ast.AST) -> Iterator[ast.AST]:
    return (
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def lint(folder: Path) -> list[dict]:
    """What ruff's rule for banned names finds in a folder, with the settings of the pyproject.toml there."""
    tool = Path(sys.executable).with_name("ruff")
    command = [str(tool), "check", "--no-cache", "--select", "TID251", "--output-format", "json", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_there_is_something_to_look_at():
    assert len(SOURCES) > 100


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_reads_who_or_where_somebody_is(path: Path):
    source = path.read_text(encoding="utf-8")

    assert findings(source) == []
    assert "TID251" not in source, "the ban has no exceptions"


@pytest.mark.parametrize(
    "line",
    [
        "torch.cuda.get_device_properties(0).uuid",
        "device.serial_number",
        "pynvml.nvmlDeviceGetUUID(handle)",
        "nvml.nvmlDeviceGetSerial(handle)",
        "nvml.nvmlDeviceGetPciInfo(handle)",
        "nvml.nvmlDeviceGetBoardId(handle)",
        "(alias or os).uname()",
        "__import__('os').getlogin()",
        "getattr(os, 'uname')()",
        "open('/etc/machine-id')",
        "open('/var/lib/dbus/machine-id')",
        "Path('/sys/class/dmi/id/product_uuid')",
        "Path('/sys/class/net').iterdir()",
        "Path(f'/sys/class/net/{card}/address')",
        "card / 'unique_id'",
        "environment.get('USER')",
        "environment['HOSTNAME']",
        "run(['hostname'])",
        "run(['ioreg', '-rd1', '-c', 'IOPlatformExpertDevice'])",
        "run(['nvidia-smi', '-L'])",
        "sysctl('kern.uuid')",
    ],
)
def test_the_walk_finds_each_way_to_read_it(line: str):
    assert findings(f"def read(): return {line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "'''The host's /etc/machine-id is not read.'''",
        "uuid.uuid4()",
        "nvml.nvmlDeviceGetName(handle)",
        "url.hostname",
        "'the user'",
        "environment.get('HOME')",
    ],
)
def test_the_walk_lets_the_rest_pass(line: str):
    assert findings(line) == []


PLANTED = [
    "import platform as p",
    "from platform import node",
    "import os; os.uname()",
    "from os import uname as u",
    "import os as o; o.getlogin()",
    "import socket; socket.gethostname()",
    "from socket import getfqdn",
    "import socket; socket.gethostbyname('x')",
    "import uuid; uuid.getnode()",
    "from uuid import uuid1",
    "import getpass; getpass.getuser()",
    "import pwd",
    "import pynvml; pynvml.nvmlDeviceGetSerial",
    "import psutil; psutil.users()",
    "import sysconfig; sysconfig.get_platform()",
    "from email.utils import make_msgid",
    "from opentelemetry.sdk.resources import ProcessResourceDetector",
    "import winreg",
]


def test_the_linter_finds_nothing_in_the_house_as_it_stands():
    assert lint(ROOT) == []


@pytest.mark.parametrize(
    "root", ["sdk/metavox", "privacy/metavox_privacy", "kernels/metavox_kernels", "collector/x"]
)
def test_the_linter_finds_each_banned_name(tmp_path: Path, root: str):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / root).mkdir(parents=True)
    (tmp_path / root / "planted.py").write_text("\n".join(PLANTED) + "\n", encoding="utf-8")

    found = lint(tmp_path)

    assert {one["location"]["row"] for one in found} == set(range(1, len(PLANTED) + 1))
    assert all(one["message"].rstrip().endswith(".") for one in found), "each says why"
