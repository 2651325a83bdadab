"""The wheel holds the four packages, the source distribution its tests, and the light parts stay light."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from metavox.cli.verbs import app
from tests.integration.telemetry.shared import agree, clean_environment, home_of, keep_a_due_report

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
            normal = canonicalize_name(requirement.name)
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


def test_the_extra_for_other_engines_brings_what_patches_them_and_no_engine():
    brought = closure("metavox", frozenset({"instrument"})) - closure("metavox", frozenset())
    assert {"opentelemetry-instrumentation", "wrapt"} <= brought
    assert brought <= {"importlib-metadata", "opentelemetry-instrumentation", "packaging", "wrapt", "zipp"}


def test_the_constraints_name_a_version_of_all_that_is_installed_for_tests():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    here = [canonicalize_name(pin.name) for pin in pins if pin.marker is None or pin.marker.evaluate()]
    needed = closure("metavox", frozenset({"engine", "server", "collector", "instrument", "dev"}))
    by_torch = {
        name for name in needed if name.startswith(("cuda-", "nvidia-", "triton"))
    }  # it names versions itself
    assert sorted(set(here)) == sorted(here)
    assert needed - by_torch - {"setuptools"} <= set(here)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("built")
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--sdist",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def test_the_source_distribution_holds_the_tests_and_what_they_read(built):
    with tarfile.open(built[1]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        str(path.relative_to(ROOT))
        for folder in ("collector", "docs", "kernels", "privacy", "sdk", "tests", "tools")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert needed | {"Makefile", "PRIVACY.md", "constraints.txt", "pyproject.toml"} <= held


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The wheel installed without extras in a fresh venv."""
    wheel, folder = built[0], tmp_path_factory.mktemp("installed")
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


def test_every_verb_of_telemetry_works_on_the_bare_install(installed, tmp_path):
    home = home_of(tmp_path)
    agree(home)
    keep_a_due_report(home)
    environment = clean_environment(tmp_path, METAVOX_HOME=str(tmp_path))
    metavox = [str(installed[1]), "-I", str(installed[1].parent / "metavox"), "telemetry"]
    codes = {}
    for verb in sorted(get_command(app).commands["telemetry"].commands, key=lambda verb: verb == "off"):
        done = subprocess.run(
            [*metavox, verb], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        codes[verb] = done.returncode
        assert "Traceback" not in done.stderr
        assert "pip install" not in done.stderr
    assert {verb for verb, code in codes.items() if code != 0} == {"authorize", "on", "upload"}, codes
