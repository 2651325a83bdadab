# ruff: noqa: N802 (the names of NVML)
"""NVML as far as it may be asked, for machines without a device of NVIDIA's."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

GIB = 1024**3
H100, A10 = "NVIDIA H100 80GB HBM3", "NVIDIA A10"


class NVMLError(Exception):
    """As in pynvml: raised for all that a device or a machine has not."""


class Device:
    """One device as NVML knows it; ``millijoules`` go up by 1,000 with each reading."""

    def __init__(self, name: str, memory: int | None = 80 * GIB, *, is_divided: bool = False) -> None:
        self.name, self.memory, self.is_divided = name, memory, is_divided
        self.millijoules: int | None = 5_000_000


class FakeNvml(ModuleType):
    """``pynvml`` with these devices and with no function but those that are allowed."""

    NVMLError = NVMLError

    def __init__(self, *devices: Device, has_driver: bool = True, says: type = str) -> None:
        super().__init__("pynvml")
        self.devices, self.has_driver, self.says = devices, has_driver, says
        self.opened = self.closed = 0

    def nvmlInit(self) -> None:
        if not self.has_driver:
            raise NVMLError("Driver Not Loaded")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.closed += 1

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        return "570.86.15" if self.says is str else b"570.86.15"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:
        return self.devices[index]

    def nvmlDeviceGetName(self, handle: Device) -> str | bytes:
        return handle.name if self.says is str else handle.name.encode()

    def nvmlDeviceGetMemoryInfo(self, handle: Device) -> SimpleNamespace:
        if handle.memory is None:
            raise NVMLError("Not Supported")
        return SimpleNamespace(total=handle.memory, free=1, used=handle.memory - 1)

    def nvmlDeviceGetMigMode(self, handle: Device) -> list[int]:
        if not handle.is_divided and "H100" not in handle.name:
            raise NVMLError("Not Supported")
        return [int(handle.is_divided), 0]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Device) -> int:
        if handle.millijoules is None:
            raise NVMLError("Not Supported")
        handle.millijoules += 1000
        return handle.millijoules


def install(
    monkeypatch: pytest.MonkeyPatch, *devices: Device, has_driver: bool = True, says: type = str
) -> FakeNvml:
    """Let a machine have these devices, and the library that knows them."""
    library = FakeNvml(*devices, has_driver=has_driver, says=says)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    return library
