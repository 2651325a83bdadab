from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from metavox.telemetry.hardware import amd, cpu
from metavox.telemetry.hardware.apple import parse_chip
from metavox.telemetry.hardware.device import Product
from metavox.telemetry.hardware.nvidia import from_kernel, parse_driver
from metavox_privacy.schema import SCHEMA

GIB = 1024**3
SKYLAKE = "fpu vme de sse sse2 fma avx avx2 bmi2 avx512f avx512dq avx512cd avx512bw avx512vl"
ZEN2 = "fpu vme de sse sse2 fma avx avx2 bmi2 sha_ni"
KNIGHTS_LANDING = "fpu sse2 fma avx avx2 avx512f avx512pf avx512er avx512cd"


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (SKYLAKE, "CPU x86-64 AVX-512"),
        (ZEN2, "CPU x86-64 AVX2"),
        (KNIGHTS_LANDING, "CPU x86-64 AVX2"),  # AVX-512 without the parts that anything uses
        ("fpu sse2 avx", "CPU x86-64"),
        ("", "CPU x86-64"),
    ],
)
def test_processors_are_told_by_their_instruction_set(flags: str, name: str):
    assert cpu.class_of(flags.split()) == name
    assert name in SCHEMA.dimension["accelerator"].vocabulary


def test_only_the_first_flags_of_cpuinfo_are_looked_at(tmp_path: Path):
    first = f"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: {ZEN2}\n"
    (tmp_path / "cpuinfo").write_text(f"{first}bugs\t\t:\n\nprocessor\t: 1\nflags\t\t: {SKYLAKE}\n")

    assert cpu.linux_features(tmp_path / "cpuinfo") == frozenset(ZEN2.split())


def test_reading_ends_with_the_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Lines(io.StringIO):
        def readline(self, size: int | None = -1) -> str:
            line = super().readline(-1 if size is None else size)
            assert "Serial" not in line
            return line

    text = "flags\t\t: fpu sse2\nSerial\t\t: 00000000deadbeef\n"
    monkeypatch.setattr(Path, "open", lambda *_, **__: Lines(text))

    assert cpu.linux_features(Path("/proc/cpuinfo")) == {"fpu", "sse2"}


def test_a_cpuinfo_that_is_not_there_or_has_no_flags_says_nothing(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd\n")

    assert cpu.linux_features(tmp_path / "cpuinfo") is None
    assert cpu.linux_features(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"hw.optional.avx512f": 1, "hw.optional.avx512bw": 1, "hw.optional.avx2_0": 1}, "CPU x86-64 AVX-512"),
        ({"hw.optional.avx512f": 0, "hw.optional.avx2_0": 1}, "CPU x86-64 AVX2"),
        ({}, "CPU x86-64"),
    ],
)
def test_macs_list_their_instruction_set(values: dict[str, int], name: str):
    assert cpu.class_of(cpu.mac_features(values.get)) == name


@pytest.mark.parametrize(
    ("present", "name"),
    [({40, 41}, "CPU x86-64 AVX-512"), ({40}, "CPU x86-64 AVX2"), (set(), "CPU x86-64")],
)
def test_windows_lists_its_instruction_set(present: set[int], name: str):
    assert cpu.class_of(cpu.windows_features(lambda feature: int(feature in present))) == name


@pytest.mark.parametrize(("arch", "model"), [("arm64", "CPU Arm"), ("s390x", None), (None, None)])
def test_other_processors_are_told_by_their_architecture_and_nothing_is_read(
    monkeypatch: pytest.MonkeyPatch, arch: str | None, model: str | None
):
    monkeypatch.setattr(cpu, "host_arch", lambda: arch)
    monkeypatch.setattr(cpu, "linux_features", lambda _: pytest.fail("read"))

    assert cpu.describe() == (Product(model) if model else None)


def test_an_x86_system_that_cannot_be_asked_says_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu, "host_arch", lambda: "amd64")
    monkeypatch.setattr(sys, "platform", "freebsd14")

    assert cpu.describe() is None


MAC = {"hw.memsize": (64 * GIB).to_bytes(8, sys.byteorder)}


@pytest.mark.parametrize(
    ("brand", "model"),
    [
        (b"Apple M3 Max\0", "Apple M3 Max"),
        (b"Apple M1\0", "Apple M1"),
        (b"Apple processor\0", None),  # what a virtual machine says
        (b"Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz\0", None),
        (None, None),
    ],
)
def test_a_mac_says_its_chip_and_its_memory(brand: bytes | None, model: str | None):
    values = {**MAC, "machdep.cpu.brand_string": brand}

    assert parse_chip(values.get) == Product(model, "apple", 64 * GIB)


def test_a_mac_that_says_nothing_is_apples_all_the_same():
    assert parse_chip(lambda name: None) == Product(vendor="apple")


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
def test_the_driver_is_read_from_the_kernel_modules_own_words(tmp_path: Path, text: str, version: str | None):
    assert parse_driver(text) == version
    (tmp_path / "version").write_text(text)
    assert from_kernel(tmp_path / "version") == Product(vendor="nvidia", driver_version=version)


def test_a_machine_without_nvidias_module_says_nothing_of_it(tmp_path: Path):
    assert from_kernel(tmp_path / "version") is None


IDS = (
    "# List of AMDGPU IDs\n#\n# device_id,\trevision_id,\tproduct_name\n\n1.0.0\n"
    "744C,\tC8,\tAMD Radeon RX 7900 XTX\n744C,\tCC,\tAMD Radeon RX 7900 XT\n"
    "74A1,\t00,\tAMD Instinct MI300X\n74B5,\t00,\tAMD Instinct MI300X VF\n1586,\tC1,\tAMD Radeon 8060S Graphics\n"
)


@pytest.mark.parametrize(
    ("device", "revision", "name"),
    [
        (0x744C, 0xC8, "AMD Radeon RX 7900 XTX"),
        (0x744C, 0xCC, "AMD Radeon RX 7900 XT"),
        (0x74B5, 0x00, "AMD Instinct MI300X"),
        (0x744C, 0x01, None),
    ],
)
def test_libdrms_table_names_amds_devices(device: int, revision: int, name: str | None):
    assert amd.parse_name(IDS, device, revision) == name


def add_card(sysfs: Path, at: int, **values: str) -> None:
    folder = sysfs / f"class/drm/card{at}/device"
    folder.mkdir(parents=True)
    (sysfs / f"class/drm/card{at}-HDMI-A-1").mkdir()
    for name, value in values.items():
        (folder / name).write_text(value + "\n")
    for name in ("unique_id", "serial_number"):
        (folder / name).mkdir()  # whoever reads it fails


def machine(tmp_path: Path, *cards: dict[str, str]) -> Product | None:
    for at, card in enumerate(cards):
        add_card(tmp_path, at, **card)
    (tmp_path / "amdgpu.ids").write_text(IDS)
    return amd.describe(tmp_path, (tmp_path / "nowhere", tmp_path / "amdgpu.ids"))


MI300X = {"vendor": "0x1002", "device": "0x74a1", "revision": "0x00", "mem_info_vram_total": str(192 * GIB)}
RADEON = {"vendor": "0x1002", "device": "0x744c", "revision": "0xc8", "mem_info_vram_total": str(24 * GIB)}
INTEL = {"vendor": "0x8086", "device": "0x46a6", "revision": "0x0c"}


def test_amds_devices_are_found_in_sysfs(tmp_path: Path):
    (tmp_path / "module/amdgpu").mkdir(parents=True)
    (tmp_path / "module/amdgpu/version").write_text("6.10.5\n")

    assert machine(tmp_path, INTEL, MI300X, MI300X) == Product("AMD Instinct MI300X", "amd", 192 * GIB, "6.10.5")


def test_of_several_products_none_is_named(tmp_path: Path):
    assert machine(tmp_path, MI300X, RADEON) == Product(vendor="amd")


def test_a_machine_without_amds_devices_says_nothing_of_them(tmp_path: Path):
    assert machine(tmp_path, INTEL) is None


def test_a_device_that_libdrm_does_not_know_keeps_its_vendor_and_memory(tmp_path: Path):
    assert machine(tmp_path, {**RADEON, "device": "0xffff"}) == Product(None, "amd", 24 * GIB)


def test_a_device_whose_files_say_nonsense_keeps_its_vendor(tmp_path: Path):
    assert machine(tmp_path, {"vendor": "0x1002", "device": "?", "mem_info_vram_total": ""}) == Product(None, "amd")
