from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from metavox.telemetry.hardware import amd, apple, cpu, detect, detection, host_arch, nvidia, os_type, undescribed
from metavox.telemetry.hardware.detection import merge
from metavox.telemetry.hardware.device import Product, product_name
from metavox_privacy.schema import SCHEMA

GIB = 1024**3


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not this machine's devices
    detection._detect.cache_clear()
    yield
    detection._detect.cache_clear()


def torch_with(kind: str, *names: str, hip: str | None = None, is_initialized: bool = True) -> SimpleNamespace:
    """PyTorch with devices of these names, as far as it is asked."""

    def properties(device: str) -> SimpleNamespace:
        return SimpleNamespace(name=names[int(device.partition(":")[2] or 0)], total_memory=80 * GIB)

    module = SimpleNamespace(is_initialized=lambda: is_initialized, get_device_properties=properties)
    return SimpleNamespace(version=SimpleNamespace(hip=hip), **{kind: module})


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


def test_a_device_that_pytorch_has_open_is_named_by_pytorch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", torch_with("cuda", "NVIDIA H100 80GB HBM3"))
    monkeypatch.setattr(nvidia, "from_kernel", lambda: Product(vendor="nvidia", driver_version="570.86.15"))

    found = detect("cuda:0")

    assert (found.model, found.vendor, found.count) == ("NVIDIA H100 80GB HBM3", "nvidia", 1)
    assert (found.memory_bytes, found.driver_version) == (80 * GIB, "570.86.15")


def test_pytorch_for_amd_is_told_from_pytorch_for_nvidia(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", torch_with("cuda", "AMD Instinct MI300X", hip="6.3.42131"))
    monkeypatch.setattr(nvidia, "from_kernel", lambda: None)
    monkeypatch.setattr(amd, "describe", lambda: Product(None, "amd", None, "6.10.5"))

    found = detect("cuda")

    assert (found.model, found.vendor, found.driver_version) == ("AMD Instinct MI300X", "amd", "6.10.5")


def test_a_device_of_intel_is_named_by_pytorch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", torch_with("xpu", "Intel(R) Arc(TM) B580 Graphics"))

    assert (detect("xpu").model, detect("xpu").vendor) == ("Intel Arc B580", "intel")


def test_a_device_that_pytorch_has_not_opened_stays_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", torch_with("cuda", "NVIDIA H100 80GB HBM3", is_initialized=False))
    monkeypatch.setattr(nvidia, "from_kernel", lambda: None)
    monkeypatch.setattr(amd, "describe", lambda: None)

    assert detect("cuda").model is None


@pytest.mark.parametrize(
    ("devices", "count", "model"),
    [
        (["cuda:0", "cuda:1"], 2, "NVIDIA L4"),
        (["cuda:0", "cuda:0"], 1, "NVIDIA L4"),
        (["cuda:1", "cuda:2"], 2, None),  # two products are none
        (["cuda:0", "cpu"], 2, None),
        ([], 1, None),
    ],
)
def test_devices_that_share_the_work_are_counted(
    monkeypatch: pytest.MonkeyPatch, devices: list[str], count: int, model: str | None
):
    monkeypatch.setitem(sys.modules, "torch", torch_with("cuda", "NVIDIA L4", "NVIDIA L4", "NVIDIA T4"))
    monkeypatch.setattr(nvidia, "from_kernel", lambda: None)
    monkeypatch.setattr(amd, "describe", lambda: None)

    found = detect(devices)

    assert (found.count, found.model) == (count, model)


@pytest.mark.parametrize("device", ["vulkan", "cuda:first", "", "cuda:999999"])
def test_a_device_that_nobody_knows_is_undescribed(device: str):
    assert detect(device) == undescribed()


def test_a_source_that_fails_costs_nothing_but_its_answer(monkeypatch: pytest.MonkeyPatch):
    def fail() -> Product:
        raise RuntimeError("the driver does not answer")

    monkeypatch.setattr(cpu, "describe", fail)
    monkeypatch.setattr(nvidia, "from_kernel", fail)
    monkeypatch.setattr(amd, "describe", lambda: Product("AMD Instinct MI300X", "amd"))

    assert detect("cpu") == undescribed()
    assert detect("cuda").model == "AMD Instinct MI300X"


def test_a_device_is_looked_up_once(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(cpu, "describe", lambda: asked.append("cpu"))

    assert detect("cpu") == detect("cpu") == detect(["cpu"])
    assert asked == ["cpu"]


def test_a_later_source_is_heard_only_of_the_same_vendor():
    named, shared = Product("NVIDIA L4", "nvidia"), Product("other", "nvidia", 24 * GIB, "570.86")

    assert merge([None, named, Product("x", "amd", 1, "6.1"), shared]) == Product(
        "NVIDIA L4", "nvidia", 24 * GIB, "570.86"
    )
    assert merge([]) == Product()


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("NVIDIA H200 NVL", "NVIDIA H200"),
        ("Tesla T4", "NVIDIA T4"),
        ("AMD Radeon RX 7900 XTX [gfx1100]", "AMD Radeon RX 7900 XTX"),
        ("AMD Instinct MI300X VF", "AMD Instinct MI300X"),
        ("Intel(R) Arc(TM) A770 Graphics", "Intel Arc A770"),
        ("Intel(R) Arc(TM) B580 Graphics", "Intel Arc B580"),
        ("AMD Radeon 8060S Graphics", "AMD Ryzen AI Max+ 395"),
        ("Apple M3 Max", "Apple M3 Pro, Max or Ultra"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "other"),  # a part is not the whole
        ("AMD Instinct MI308X", "other"),
    ],
)
def test_names_are_mapped_to_the_catalog_here(spelling: str, name: str):
    assert SCHEMA.dimension["accelerator"].kind.classify(product_name(spelling)) == name


def test_looking_imports_no_library_and_starts_nothing():
    look = (
        "import sys, threading\n"
        "from metavox.telemetry.hardware import detect\n"
        "sys.addaudithook(lambda event, _: event in ('subprocess.Popen', 'os.posix_spawn', 'os.fork') and 1 / 0)\n"
        "for device in ('cpu', 'mps', 'xpu'): detect(device)\n"
        "assert not {'torch', 'pynvml', 'subprocess', 'platform'} & set(sys.modules)\n"
        "detect('cuda')\n"  # which asks pynvml, where that is installed; it imports subprocess for itself
        "assert not {'torch', 'platform'} & set(sys.modules)\n"
        "assert threading.active_count() == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_an_apple_device_is_no_other_systems(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(apple, "sysctl", lambda name: b"Apple M4\0")
    monkeypatch.setattr(sys, "platform", "linux")
    assert apple.describe() is None

    monkeypatch.setattr(sys, "platform", "darwin")
    assert apple.describe() == Product("Apple M4", "apple")
