from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from metavox.telemetry import hardware
from metavox.telemetry.hardware import detection, nvidia
from metavox.telemetry.hardware.device import Product
from tests.unit.sdk.telemetry.hardware.nvml import A10, H100, Device, FakeNvml, install

SOURCES = Path(nvidia.__file__).parent
GIB = 1024**3


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    detection._detect.cache_clear()
    yield
    detection._detect.cache_clear()


@pytest.mark.parametrize("says", [str, bytes])
def test_nvml_says_name_memory_and_driver(monkeypatch: pytest.MonkeyPatch, says: type):
    library = install(monkeypatch, Device(H100), says=says)

    assert nvidia.describe([0], {}) == Product(H100, "nvidia", 80 * GIB, "570.86.15")
    assert (library.opened, library.closed) == (1, 1)


def test_detecting_asks_nvml(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, Device(A10, 24 * GIB), Device(A10, 24 * GIB))
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
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], indices: Sequence[int], model: str | None
):
    install(monkeypatch, Device(A10, 24 * GIB), Device(H100))

    found = nvidia.describe(indices, environment)

    assert found is not None
    assert (found.model, found.vendor, found.driver_version) == (model, "nvidia", "570.86.15")


@pytest.mark.parametrize(
    ("visible", "count"),
    [
        (None, 4),
        ("0,2", 2),
        ("3", 1),
        ("1,-1,2", 1),  # CUDA ends there
        ("0,9,1", 1),
        ("GPU-8932f937,GPU-1a2b3c4d", 2),
        ("", 0),
    ],
)
def test_devices_are_counted_as_cuda_shows_them(visible: str | None, count: int):
    assert nvidia.num_visible(4, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == count


def test_an_engine_that_takes_all_devices_is_told_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert hardware.visible("cuda") == ["cuda"], "nobody counts them"

    install(monkeypatch, Device(A10), Device(A10), Device(A10))
    assert hardware.visible("cuda") == ["cuda:0", "cuda:1"]
    assert hardware.visible("mps") == ["mps"]

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert hardware.visible("cuda") == ["cuda"]


def test_a_part_of_a_device_is_not_that_product(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, Device(H100, is_divided=True))

    assert nvidia.describe([0], {}) == Product(None, "nvidia", None, "570.86.15")


def test_memory_that_is_shared_with_the_processor_is_not_told(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, Device("NVIDIA GB10", None))

    assert nvidia.describe([0], {}) == Product("NVIDIA GB10", "nvidia", None, "570.86.15")


def test_a_machine_without_driver_or_devices_says_nothing(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, has_driver=False)
    assert nvidia.describe([0], {}) is None

    install(monkeypatch)
    assert nvidia.describe([0], {}) is None


def test_a_machine_without_the_library_says_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert nvidia.describe([0], {}) is None


def test_a_module_that_warns_of_itself_is_not_heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd):
    (tmp_path / "pynvml.py").write_text("import warnings\nwarnings.warn('deprecated', FutureWarning)\n")
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert nvidia.describe([0], {}) is None

    sys.modules.pop("pynvml", None)
    assert capfd.readouterr() == ("", "")


def test_of_nvml_nothing_is_asked_but_what_the_fake_has():
    asked = {
        node.attr
        for path in SOURCES.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr.lower().startswith("nvml")
    }

    assert asked == {name for name in vars(FakeNvml) if name.lower().startswith("nvml")}
