"""What a request ran on, in names of products: never a name, number or address of this one machine."""

from __future__ import annotations

import re
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

_ARCHITECTURES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm32",
    "arm": "arm32",
    "powerpc64le": "ppc64",
    "ppc64le": "ppc64",
    "s390x": "s390x",
}
_CPU_NAMES = {"AVX512": "CPU x86-64 AVX-512", "AVX2": "CPU x86-64 AVX2"}
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Hardware:
    """A device as a product, in the words of OpenTelemetry's ``hw.*``, ``host.*`` and ``os.*``.

    Attributes:
        model: The product's name, or the class of CPU.
        vendor: Lower case, None when not known.
        count: How many devices share the work.
        memory_bytes: Memory of one device; None for a CPU, where it would be the machine's.
        driver_version: As the driver states it.
        os_type: ``linux``, ``darwin``, ``windows``, ...
        arch: ``amd64``, ``arm64``, ...; None when Python's build does not say.
    """

    model: str | None
    vendor: str | None
    count: int
    memory_bytes: int | None
    driver_version: str | None
    os_type: str
    arch: str | None


def detect(device: str) -> Hardware:
    """Describe a device by its torch name: "cpu", "cuda", "cuda:1" or "mps".

    Architecture and system come from constants of Python's build, because the usual call for them
    returns the host's name along with them.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        return _cuda(device)
    if kind == "mps":
        return Hardware(None, "apple", 1, None, None, os_type(), host_arch())
    arch = host_arch()
    return Hardware(_cpu_name(arch), None, 1, None, None, os_type(), arch)


def undescribed() -> Hardware:
    """A device of which nothing is known but the system around it."""
    return Hardware(None, None, 1, None, None, os_type(), host_arch())


def _cuda(device: str) -> Hardware:
    import torch

    properties = torch.cuda.get_device_properties(device)
    amd = torch.version.hip is not None
    return Hardware(
        model=properties.name,
        vendor="amd" if amd else "nvidia",
        count=1,
        memory_bytes=properties.total_memory,
        driver_version=None if amd else _nvidia_driver(),
        os_type=os_type(),
        arch=host_arch(),
    )


def _nvidia_driver() -> str | None:
    try:
        text = _NVIDIA_DRIVER.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return parse_nvidia_driver(text)


def parse_nvidia_driver(text: str) -> str | None:
    """The version in the text of ``/proc/driver/nvidia/version``."""
    found = re.search(r"\s(\d{3,}\.\d+(?:\.\d+)?)\s", text)
    return found[1] if found else None


def _cpu_name(arch: str | None) -> str | None:
    if arch == "arm64":
        return "CPU Arm"
    if arch != "amd64":
        return None
    import torch

    return _CPU_NAMES.get(torch.backends.cpu.get_cpu_capability(), "CPU x86-64")


def host_arch() -> str | None:
    """The instruction set Python was built for, in OpenTelemetry's words."""
    built_for = str(sysconfig.get_config_var("HOST_GNU_TYPE") or "")
    if not built_for and sys.platform == "win32":
        built_for = "arm64" if "ARM64" in sys.version else "amd64"
    return _ARCHITECTURES.get(built_for.partition("-")[0].lower())


def os_type() -> str:
    """The kind of operating system, in OpenTelemetry's words."""
    platform = sys.platform
    if platform == "win32":
        return "windows"
    return platform.rstrip("0123456789")
