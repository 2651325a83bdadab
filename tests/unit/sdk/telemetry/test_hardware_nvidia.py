# ruff: noqa: N802 (the names of NVML)
from __future__ import annotations

import ast
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from metavox.telemetry.hardware import detection, nvidia
from metavox.telemetry.hardware.device import Product
from metavox.telemetry.hardware.energy import EnergyReader

GIB = 1024**3
SOURCES = Path(nvidia.__file__).parent


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


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    detection._detect.cache_clear()
    yield
    detection._detect.cache_clear()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    def install(*devices: Device, has_driver: bool = True, says: type = str) -> FakeNvml:
        library = FakeNvml(*devices, has_driver=has_driver, says=says)
        monkeypatch.setitem(sys.modules, "pynvml", library)
        return library

    return install


H100, A10 = "NVIDIA H100 80GB HBM3", "NVIDIA A10"


@pytest.mark.parametrize("says", [str, bytes])
def test_nvml_says_name_memory_and_driver(installed, says: type):
    library = installed(Device(H100), says=says)

    assert nvidia.describe([0], {}) == Product(H100, "nvidia", 80 * GIB, "570.86.15")
    assert (library.opened, library.closed) == (1, 1)


def test_detecting_asks_nvml(installed, monkeypatch: pytest.MonkeyPatch):
    installed(Device(A10, 24 * GIB), Device(A10, 24 * GIB))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    found = detection.detect(["cuda:0", "cuda:1"])

    assert (found.model, found.count, found.memory_bytes) == (A10, 2, 24 * GIB)


@pytest.mark.parametrize(
    ("environment", "indices", "model"),
    [
        ({}, [0], None),  # CUDA may count the fastest first
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, [0], A10),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}, [0], H100),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1,0"}, [1], A10),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, [0, 1], None),  # two products are none
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "7"}, [0], None),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-8932f937"}, [0], None),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ""}, [0], None),
    ],
)
def test_of_unlike_devices_one_is_named_only_where_it_is_certain_which(
    installed, environment: dict[str, str], indices: Sequence[int], model: str | None
):
    installed(Device(A10, 24 * GIB), Device(H100))

    found = nvidia.describe(indices, environment)

    assert found is not None
    assert (found.model, found.vendor, found.driver_version) == (model, "nvidia", "570.86.15")


def test_a_part_of_a_device_is_not_that_product(installed):
    installed(Device(H100, is_divided=True))

    assert nvidia.describe([0], {}) == Product(None, "nvidia", None, "570.86.15")


def test_memory_that_is_shared_with_the_processor_is_not_told(installed):
    installed(Device("NVIDIA GB10", None))

    assert nvidia.describe([0], {}) == Product("NVIDIA GB10", "nvidia", None, "570.86.15")


def test_a_machine_without_driver_or_devices_says_nothing(installed):
    installed(has_driver=False)
    assert nvidia.describe([0], {}) is None

    installed()
    assert nvidia.describe([0], {}) is None


def test_a_machine_without_the_library_says_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert nvidia.describe([0], {}) is None
    assert EnergyReader(["cuda"], {}).joules() is None


def test_a_module_that_warns_of_itself_is_not_heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd):
    (tmp_path / "pynvml.py").write_text("import warnings\nwarnings.warn('deprecated', FutureWarning)\n")
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert nvidia.describe([0], {}) is None

    sys.modules.pop("pynvml", None)
    assert capfd.readouterr() == ("", "")


def test_energy_is_the_sum_of_the_devices_in_joules(installed):
    installed(Device(H100), Device(H100))
    reader = EnergyReader(["cuda:0", "cuda:1"], {})

    first, second = reader.joules(), reader.joules()

    assert (first, second) == (10_002.0, 10_004.0)


def test_devices_are_found_once_and_again_in_a_fork(installed, monkeypatch: pytest.MonkeyPatch):
    library = installed(Device(H100))
    reader = EnergyReader(["cuda"], {})
    reader.joules()
    reader.joules()
    assert library.opened == 1

    monkeypatch.setattr("metavox.telemetry.hardware.energy.os.getpid", lambda: -1)
    reader.joules()
    assert library.opened == 2


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        ([Device(A10), Device(H100)], ["cuda:0"]),  # which of them it is, is not certain
        ([Device(H100, is_divided=True)], ["cuda:0"]),  # the counter is the whole device's
        ([Device(H100)], ["cpu"]),
        ([Device(H100)], ["cuda:3"]),
        ([], ["cuda"]),
    ],
)
def test_energy_that_may_be_anothers_is_not_told(installed, devices: list[Device], names: list[str]):
    installed(*devices)

    assert EnergyReader(names, {}).joules() is None


def test_a_device_without_a_counter_is_asked_once(installed):
    old = Device("NVIDIA T4")
    old.millijoules = None
    installed(old)
    reader = EnergyReader(["cuda"], {})
    assert reader.joules() is None

    old.millijoules = 1
    assert reader.joules() is None


def test_a_processor_costs_nothing_to_ask(installed):
    library = installed(Device(H100))
    before = threading.active_count()

    EnergyReader(["cpu"], {}).joules()

    assert (library.opened, threading.active_count()) == (0, before)


def test_of_nvml_nothing_is_asked_but_what_the_fake_has():
    asked = {
        node.attr
        for path in SOURCES.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr.lower().startswith("nvml")
    }

    assert asked == {name for name in vars(FakeNvml) if name.lower().startswith("nvml")}
