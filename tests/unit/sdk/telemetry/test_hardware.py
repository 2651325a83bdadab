from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from metavox.telemetry import hardware
from metavox.telemetry.hardware import detect, host_arch, os_type, parse_nvidia_driver
from metavox_privacy.schema import SCHEMA

ROOT = Path(__file__).parents[4]
BANNED = {
    *("platform.node", "platform.uname", "platform.platform", "os.uname", "os.getlogin", "socket.gethostname"),
    *("socket.getfqdn", "socket.gethostbyname", "getpass.getuser", "uuid.getnode", "uuid.uuid1", "pwd.getpwuid"),
    "pwd.getpwnam",
}


@pytest.mark.parametrize(
    "path", sorted({*ROOT.glob("sdk/**/*.py"), *ROOT.glob("privacy/**/*.py")}), ids=lambda path: path.name
)
def test_no_source_asks_who_the_user_or_the_machine_is(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))

    assert not BANNED & set(names_in(tree))


def test_the_scan_finds_every_way_to_ask():
    for text in ("import platform as p\np.node()", "from os import uname as u", "import os\nos.uname()"):
        assert BANNED & set(names_in(ast.parse(text))), text


def names_in(tree: ast.AST) -> list[str]:
    """Dotted names that a module reaches, with its own names for modules resolved."""
    modules: dict[str, str] = {}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.append(f"{modules.get(node.value.id, node.value.id)}.{node.attr}")
    return found


def test_a_cpu_is_told_by_its_class_alone():
    found = detect("cpu")

    assert found.model in SCHEMA.dimension["accelerator"].vocabulary
    assert (found.vendor, found.count, found.memory_bytes, found.driver_version) == (None, 1, None, None)


def test_architecture_and_system_are_in_the_schemas_words():
    assert host_arch() in SCHEMA.dimension["cpu_arch"].vocabulary
    assert os_type() in SCHEMA.dimension["os"].vocabulary


@pytest.mark.parametrize(
    ("platform", "name"), [("linux", "linux"), ("darwin", "darwin"), ("win32", "windows"), ("freebsd14", "freebsd")]
)
def test_systems_have_opentelemetrys_names(monkeypatch: pytest.MonkeyPatch, platform: str, name: str):
    monkeypatch.setattr(sys, "platform", platform)

    assert os_type() == name


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("AVX512", "CPU x86-64 AVX-512"),
        ("AVX2", "CPU x86-64 AVX2"),
        ("DEFAULT", "CPU x86-64"),
        ("NEW", "CPU x86-64"),
    ],
)
def test_cpu_classes_are_in_the_catalog(monkeypatch: pytest.MonkeyPatch, capability: str, name: str):
    import torch

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(hardware, "host_arch", lambda: "amd64")

    assert detect("cpu").model == name
    assert name in SCHEMA.dimension["accelerator"].vocabulary


@pytest.mark.parametrize(("arch", "name"), [("arm64", "CPU Arm"), ("s390x", None), (None, None)])
def test_other_cpus_are_told_by_their_architecture(monkeypatch: pytest.MonkeyPatch, arch: str | None, name: str):
    monkeypatch.setattr(hardware, "host_arch", lambda: arch)

    assert detect("cpu").model == name


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n",
            "535.129.03",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC 12.3.0 ",
            "580.65.06",
        ),
        ("nothing of the kind", None),
        ("", None),
    ],
)
def test_the_driver_is_read_from_the_kernel_modules_own_words(text: str, version: str | None):
    assert parse_nvidia_driver(text) == version


def test_apple_devices_say_their_vendor():
    assert (detect("mps").vendor, detect("mps").model) == ("apple", None)
