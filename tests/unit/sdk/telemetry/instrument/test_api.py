"""``metavox.instrument`` and OpenTelemetry's own way to it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import metavox
from metavox.errors import InvalidArgument
from metavox.telemetry.foreign.instrumented import instrumented
from metavox.telemetry.foreign.locality import ENGINES
from metavox.telemetry.instrument import instrument, uninstrument
from metavox.telemetry.instrument.api import LIBRARIES
from tests.unit.sdk.telemetry.instrument.fake_vllm import LLM, Offline
from tests.unit.sdk.telemetry.kept import Kept


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("vllm")
    module.LLM = LLM
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.entrypoints.llm", module)
    return module


def test_it_is_a_name_of_the_package():
    assert metavox.instrument is instrument
    assert "instrument" in dir(metavox)


@pytest.mark.parametrize("library", ["", "sglang", "VLLM", None])
def test_an_engine_that_is_not_known_is_refused_with_those_that_are(library: str):
    with pytest.raises(InvalidArgument, match="transformers, vllm, llama_cpp"):
        instrument(library)


def test_an_engine_that_is_not_installed_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InvalidArgument, match="pip install vllm"):
        instrument("vllm")
    assert "vllm" not in instrumented()


def test_a_version_without_the_methods_is_refused(vllm: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vllm, "LLM", type("LLM", (), {}))
    with pytest.raises(InvalidArgument, match="version of vllm"):
        instrument("vllm")


def test_a_second_call_changes_nothing(vllm: ModuleType):
    instrument("vllm", contribution=Kept())
    once = Offline.generate
    instrument("vllm", contribution=Kept())

    assert Offline.generate is once


def test_two_threads_at_once_patch_it_once(vllm: ModuleType, monkeypatch: pytest.MonkeyPatch):
    patches: list[str] = []

    def patch(observer: object) -> Callable[[], None]:
        patches.append("patched")
        if len(patches) == 1:
            other = threading.Thread(target=instrument, args=("vllm",))
            other.start()
            other.join(timeout=30)
            assert not other.is_alive()
        return lambda: patches.append("given back")

    monkeypatch.setattr("metavox.telemetry.instrument.vllm.patch", patch)
    instrument("vllm")
    uninstrument("vllm")
    assert patches == ["patched", "given back"]


def test_after_a_refusal_it_can_be_tried_again(vllm: ModuleType, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(vllm, "LLM", type("LLM", (), {}))
        with pytest.raises(InvalidArgument):
            instrument("vllm")
    instrument("vllm", contribution=Kept())
    assert "vllm" in instrumented()


def test_what_was_never_instrumented_can_be_given_back():
    uninstrument("vllm")


def test_every_engine_is_one_of_the_schemas():
    assert {library.engine for library in LIBRARIES.values()} <= ENGINES


def instrumentors() -> dict[str, type]:
    points = importlib.metadata.entry_points(group="opentelemetry_instrumentor")
    return {point.name: point.load() for point in points if point.value.startswith("metavox.")}


def test_opentelemetry_finds_an_instrumentor_of_each_engine():
    found = instrumentors()

    assert {cls.library for cls in found.values()} == set(LIBRARIES)
    assert all(cls().instrumentation_dependencies() for cls in found.values())


def test_its_dependencies_name_distributions_that_it_can_look_up():
    from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

    asked = instrumentors()["metavox_transformers"]().instrumentation_dependencies()
    assert get_dependency_conflicts(asked) is None


@pytest.mark.parametrize(
    ("library", "module", "body", "name"),
    [
        ("vllm", "vllm.entrypoints.llm", "class LLM:\n def generate(self): 0\n def chat(self): 0", "LLM"),
        (
            "llama_cpp",
            "llama_cpp.llama",
            "class Llama:\n def generate(self): 0\n create_completion = create_chat_completion = generate",
            "Llama",
        ),
    ],
)
def test_the_instrumentor_waits_until_the_program_loads_the_engine_and_then_patches_it(
    library: str, module: str, body: str, name: str, tmp_path: Path
):
    # Both packages import the class from a module of theirs, which is whole before they are.
    folder = tmp_path
    for part in module.split(".")[:-1]:
        folder /= part
        folder.mkdir()
        (folder / "__init__.py").write_text(f"from {module} import {name}" if part == library else "")
    (folder / module.rpartition(".")[2]).with_suffix(".py").write_text(body)
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from metavox.telemetry.instrument import instrumentors
from metavox.telemetry.foreign.instrumented import instrumented
found = next(cls() for cls in vars(instrumentors).values() if getattr(cls, "library", None) == {library!r})
found.instrument(skip_dep_check=True)
assert not instrumented() and {library!r} not in sys.modules
import {library} as package
assert instrumented() and hasattr(package.{name}.generate, "__wrapped__")
found.uninstrument()
assert not instrumented() and not hasattr(package.{name}.generate, "__wrapped__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_patches_an_engine_that_is_loaded_and_gives_it_back(vllm: ModuleType):
    original = Offline.generate
    instrumentor = instrumentors()["metavox_vllm"]()
    instrumentor.instrument(skip_dep_check=True)

    assert "vllm" in instrumented()
    instrumentor.uninstrument()
    assert Offline.generate is original
