"""What is known of a device, and of the system around it from constants of Python's build."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Product:
    """One device as a product; None where a source does not say.

    Attributes:
        model: The product's name.
        vendor: Lower case.
        memory_bytes: Its memory.
        driver_version: As the driver states it.
    """

    model: str | None = None
    vendor: str | None = None
    memory_bytes: int | None = None
    driver_version: str | None = None


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


def hardware_of(product: Product, count: int) -> Hardware:
    """So many devices of one product, in this system."""
    return Hardware(
        model=product.model,
        vendor=product.vendor,
        count=count,
        memory_bytes=product.memory_bytes,
        driver_version=product.driver_version,
        os_type=os_type(),
        arch=host_arch(),
    )


def undescribed() -> Hardware:
    """A device of which nothing is known but the system around it."""
    return hardware_of(Product(), 1)


def indices_of(devices: Iterable[str]) -> list[int]:
    """The numbers in PyTorch's names of devices, 0 where there is none; raises ValueError for other names."""
    return [int(device.partition(":")[2] or 0) for device in devices]


def product_name(text: str) -> str:
    """A device's name as the catalog spells it: without marks, chips in brackets and virtual functions."""
    plain = re.sub(r"\((?:R|TM|C)\)", "", text, flags=re.IGNORECASE)
    plain = re.sub(r"\s*\[[^\]]*\]", "", plain)
    plain = re.sub(r"^(Intel Arc \w+) Graphics$", r"\1", " ".join(plain.split()))
    return re.sub(r"^(AMD Instinct \w+) (?:VF|OAM)$", r"\1", plain)


def host_arch() -> str | None:
    """The instruction set Python was built for, in OpenTelemetry's words.

    The usual call for it returns the host's name along with it.
    """
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
