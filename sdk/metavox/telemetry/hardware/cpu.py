"""The class of a processor, by its instruction set alone: no name, number or count of it is kept.

Arm has one class, so nothing is read there; ``/proc/cpuinfo`` would hold the board's serial number.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from pathlib import Path

from metavox.telemetry.hardware.apple import sysctl_number
from metavox.telemetry.hardware.device import Product, host_arch, os_type

_CPUINFO = Path("/proc/cpuinfo")
_LONGEST_LINE = 16 * 1024
# What PyTorch asks of a processor before it uses its code for AVX-512 and for AVX2.
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
_AVX2 = frozenset({"avx2", "fma"})
# Of winnt.h; a Windows that has AVX-512 switched on has its usual parts.
_PF_AVX2, _PF_AVX512F = 40, 41


def describe() -> Product | None:
    """The class of this processor, None where it has none."""
    arch = host_arch()
    if arch == "arm64":
        return Product("CPU Arm")
    features = _features() if arch == "amd64" else None
    return None if features is None else Product(class_of(features))


def class_of(features: Iterable[str]) -> str:
    """The catalog's name for an x86-64 processor with these features, spelled as Linux does."""
    has = frozenset(features)
    if has >= _AVX512:
        return "CPU x86-64 AVX-512"
    return "CPU x86-64 AVX2" if has >= _AVX2 else "CPU x86-64"


def _features() -> frozenset[str] | None:
    system = os_type()
    if system == "linux":
        return linux_features(_CPUINFO)
    if system == "darwin":
        return mac_features(sysctl_number)
    if system == "windows":
        return windows_features(vars(ctypes)["windll"].kernel32.IsProcessorFeaturePresent)
    return None


def linux_features(cpuinfo: Path) -> frozenset[str] | None:
    """The first processor's flags; the lines after them are not read."""
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as lines:
            while line := lines.readline(_LONGEST_LINE):
                name, _, value = line.partition(":")
                if name.strip() == "flags":
                    return frozenset(value.split())
    except OSError:
        pass
    return None


def mac_features(number: Callable[[str], int | None]) -> frozenset[str]:
    """The features that macOS lists.

    Args:
        number: What gives a number of ``sysctl``, None where there is none of that name.
    """
    if number("hw.optional.avx512f") and number("hw.optional.avx512bw"):
        return _AVX512
    return _AVX2 if number("hw.optional.avx2_0") else frozenset()


def windows_features(is_present: Callable[[int], int]) -> frozenset[str]:
    """The features that Windows lists.

    Args:
        is_present: ``IsProcessorFeaturePresent``.
    """
    if is_present(_PF_AVX512F):
        return _AVX512
    return _AVX2 if is_present(_PF_AVX2) else frozenset()
