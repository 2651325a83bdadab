"""``metavox.instrument`` and OpenTelemetry's own way to it."""

from __future__ import annotations

import importlib.metadata
import sys
from types import ModuleType

import pytest

import metavox
from metavox.errors import InvalidArgument
from metavox.telemetry.instrument import instrument, uninstrument
from metavox.telemetry.instrument.api import LIBRARIES
from metavox.telemetry.instrument.engines import instrumented
from metavox.telemetry.locality import ENGINES
from tests.unit.sdk.telemetry.instrument.fake_vllm import LLM, Offline
from tests.unit.sdk.telemetry.recordings import Kept


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("vllm")
    module.LLM = LLM
    monkeypatch.setitem(sys.modules, "vllm", module)
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


def test_the_instrumentor_waits_until_the_program_loads_the_engine(vllm: ModuleType):
    instrumentor = instrumentors()["metavox_vllm"]()
    instrumentor.instrument(skip_dep_check=True)
    try:
        assert "vllm" not in instrumented()
    finally:
        instrumentor.uninstrument()


def test_it_patches_an_engine_that_is_loaded_and_gives_it_back(vllm: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vllm.entrypoints.llm", ModuleType("vllm.entrypoints.llm"))
    original = Offline.generate
    instrumentor = instrumentors()["metavox_vllm"]()
    instrumentor.instrument(skip_dep_check=True)

    assert "vllm" in instrumented()
    instrumentor.uninstrument()
    assert Offline.generate is original
