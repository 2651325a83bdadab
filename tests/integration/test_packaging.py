"""The wheel holds the four packages, and the light parts stay light."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("metavox", "metavox_kernels", "metavox_privacy", "metavox_collector")


def closure(distribution: str, extras: frozenset[str]) -> set[str]:
    """Every distribution that ``distribution[extras]`` pulls in, by what is installed here."""
    found: set[str] = set()
    todo = [(distribution, extras)]
    while todo:
        name, wanted = todo.pop()
        for line in requires(name) or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                continue
            normal = requirement.name.lower().replace("_", "-")
            if normal not in found:
                found.add(normal)
                todo.append((requirement.name, frozenset(requirement.extras)))
    return found


def test_the_collector_never_pulls_in_torch():
    needed = closure("metavox", frozenset({"collector"}))
    assert {"fastapi", "sqlalchemy", "opendp", "pyarrow"} <= needed
    assert not needed & {"torch", "triton", "transformers", "safetensors", "tokenizers"}


def test_the_closure_would_see_torch_if_it_were_there():
    assert "torch" in closure("metavox", frozenset({"engine"}))


def test_the_base_install_is_light():
    assert not closure("metavox", frozenset()) & {"torch", "numpy", "fastapi", "pyarrow", "httpx", "sqlalchemy"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel built and installed without extras in a fresh venv."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), str(wheel)], check=True)
    return wheel, python


def run(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=False)


def test_the_wheel_contains_the_four_packages_typed_with_their_data(installed):
    names = zipfile.ZipFile(installed[0]).namelist()
    for package in PACKAGES:
        assert f"{package}/__init__.py" in names
        assert f"{package}/py.typed" in names
    assert "metavox/tiny/model.safetensors" in names
    assert "metavox_privacy/catalog/models.json" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_the_bare_install_imports_without_torch_and_without_a_sound(installed):
    result = run(
        installed[1],
        "import sys, threading, metavox; from metavox import LLM, SamplingParams, telemetry;"
        "assert 'torch' not in sys.modules; assert threading.active_count() == 1",
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_llm_without_the_engine_says_which_command_installs_it(installed):
    result = run(installed[1], "from metavox import LLM; LLM('metavox/tiny')")
    assert result.returncode == 1
    assert 'pip install "metavox[engine]"' in result.stderr


def test_both_commands_work_or_name_what_is_missing(installed):
    binaries = installed[1].parent
    version = subprocess.run([str(binaries / "metavox"), "--version"], capture_output=True, text=True, check=True)
    assert "0.1.0" in version.stdout
    collector = subprocess.run(
        [str(binaries / "metavox-collector"), "--help"], capture_output=True, text=True, check=False
    )
    assert collector.returncode == 1
    assert 'pip install "metavox[collector]"' in collector.stderr
