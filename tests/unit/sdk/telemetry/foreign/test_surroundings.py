"""What a machine says of an engine on it, and only where there is one possibility."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from metavox.telemetry.foreign.locality import Engine
from metavox.telemetry.foreign.surroundings import engine_version, surroundings
from metavox.telemetry.hardware import undescribed


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices that were looked at."""
    devices: list[str] = []

    def detect(device: str) -> object:
        devices.append(device)
        return undescribed()

    monkeypatch.setattr("metavox.telemetry.foreign.surroundings.detect", detect)
    return devices


def torch_with(*, cuda: bool = False, is_initialized: bool = False, mps: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: cuda, is_initialized=lambda: is_initialized),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )


@pytest.mark.parametrize(
    ("engine", "torch", "device"),
    [
        (Engine("transformers", True), torch_with(), "cpu"),
        (Engine("transformers", True), torch_with(cuda=True, is_initialized=True), None),  # either
        (Engine("transformers", True), torch_with(mps=True), None),
        (Engine("transformers", False), torch_with(), None),  # a server of which nothing is known
        (Engine("transformers", True), None, None),
        (Engine("vllm", True), torch_with(cuda=True, is_initialized=True), "cuda"),
        (Engine("vllm", True), torch_with(cuda=True), None),  # another process has the device
        (Engine("ollama", False), torch_with(cuda=True, is_initialized=True), None),
        (Engine("mlx", True), torch_with(), None),
    ],
)
def test_a_device_is_looked_at_where_it_can_be_no_other(
    engine: Engine, torch: object, device: str | None, asked: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torch", torch)
    said = surroundings(engine)

    assert asked == ([device] if device else [])
    assert ("metavox.hw.count" in said) is (device is not None)


@pytest.mark.parametrize(("is_in_process", "version"), [(True, "5.0.0"), (False, None)])
def test_the_version_that_is_installed_is_a_servers_only_if_it_runs_here(
    is_in_process: bool, version: str | None, asked: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("metavox.telemetry.foreign.surroundings.engine_version", lambda engine: "5.0.0")

    assert surroundings(Engine("vllm", is_in_process)).get("metavox.engine.version") == version


def test_what_is_not_installed_has_no_version():
    assert engine_version("sglang") is None
    assert engine_version("ollama") is None
