"""NVIDIA's devices, by NVML where ``nvidia-ml-py`` is installed; else what the kernel module says of itself.

Of all that NVML knows, only name, memory, driver and energy are asked for.
"""

from __future__ import annotations

import importlib
import itertools
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metavox.telemetry.hardware.device import Product, product_name

_DRIVER = Path("/proc/driver/nvidia/version")
_LONGEST = 4096


def describe(indices: Sequence[int], environment: Mapping[str, str]) -> Product | None:
    """The product that the devices with these CUDA indices are; None where NVML cannot be asked.

    Args:
        indices: As CUDA counts them in this process.
        environment: The process's, of which ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` are looked at.
    """
    with nvml() as library:
        if library is None:
            return None
        everything = products(library)
        places = select(everything, indices, environment)
        chosen = {everything[place] for place in places} if places else set(everything)
        driver = _text(library.nvmlSystemGetDriverVersion())
    if not chosen:
        return None
    product = chosen.pop() if len(chosen) == 1 else Product()
    return Product(product.model, "nvidia", product.memory_bytes, driver)


def certain(library: Any, indices: Sequence[int], environment: Mapping[str, str]) -> list[Any]:
    """NVML's handles of the devices with these CUDA indices; none where it is not certain which they are.

    Args:
        library: ``pynvml``, initialised.
        indices: As CUDA counts them in this process.
        environment: As for ``describe``.
    """
    everything = products(library)
    places = select(everything, indices, environment) or []
    if any(everything[place].model is None for place in places):
        return []  # a part of a device, which counts the whole of it
    return [library.nvmlDeviceGetHandleByIndex(place) for place in places]


def from_kernel(version: Path = _DRIVER) -> Product | None:
    """The vendor and the driver where NVIDIA's kernel module is loaded."""
    try:
        with version.open(encoding="ascii", errors="replace") as file:
            text = file.read(_LONGEST)
    except OSError:
        return None
    return Product(vendor="nvidia", driver_version=parse_driver(text))


def parse_driver(text: str) -> str | None:
    """The version in the text of ``/proc/driver/nvidia/version``."""
    found = re.search(r"\s(\d{3,}\.\d+(?:\.\d+)?)\s", text)
    return found[1] if found else None


def select(
    everything: Sequence[Product], indices: Sequence[int], environment: Mapping[str, str]
) -> list[int] | None:
    """Where the devices with these CUDA indices stand in NVML's order; None where that is not certain.

    NVML counts devices by their slot, CUDA the fastest first unless told otherwise; among equals both count alike.
    """
    places = physical(indices, environment)
    is_alike = len(set(everything)) == 1 or environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if places is None or not is_alike or any(place >= len(everything) for place in places):
        return None
    return places


def physical(indices: Sequence[int], environment: Mapping[str, str]) -> list[int] | None:
    """CUDA's indices in this process, as indices of the machine; None where ``CUDA_VISIBLE_DEVICES`` names others.

    An entry that is not a number is an identifier, or a part of a device; it is not kept.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return list(indices)
    entries = [entry.strip() for entry in visible.split(",")]
    if not all(entry.isdecimal() for entry in entries) or any(index >= len(entries) for index in indices):
        return None
    return [int(entries[index]) for index in indices]


def count(environment: Mapping[str, str]) -> int | None:
    """How many devices CUDA shows to this process, None where NVML cannot be asked."""
    with nvml() as library:
        return None if library is None else num_visible(library.nvmlDeviceGetCount(), environment)


def num_visible(present: int, environment: Mapping[str, str]) -> int:
    """How many of the devices ``CUDA_VISIBLE_DEVICES`` leaves; like CUDA it ends at the first mistake."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    entries = (entry.strip() for entry in visible.split(","))
    names_one = (int(entry) < present if entry.isdecimal() else entry[:1].isalpha() for entry in entries)
    return sum(itertools.takewhile(bool, names_one))


def products(library: Any) -> list[Product]:
    """Each device that NVML lists, in its order."""
    count = library.nvmlDeviceGetCount()
    return [_product(library, library.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]


def _product(library: Any, handle: Any) -> Product:
    if _is_divided(library, handle):
        return Product(vendor="nvidia")  # a part of a device is not that product
    try:
        memory = int(library.nvmlDeviceGetMemoryInfo(handle).total)
    except library.NVMLError:  # memory that is shared with the processor is not listed
        memory = None
    return Product(product_name(_text(library.nvmlDeviceGetName(handle))), "nvidia", memory)


def _is_divided(library: Any, handle: Any) -> bool:
    try:
        return bool(library.nvmlDeviceGetMigMode(handle)[0])
    except library.NVMLError:  # most devices cannot be divided
        return False


def load() -> Any:
    """NVML's module; raises ImportError where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older distribution of the same module warns of itself
        return importlib.import_module("pynvml")


@contextmanager
def nvml() -> Iterator[Any | None]:
    """NVML, initialised; None where it is not installed or finds no driver."""
    try:
        library = load()
        library.nvmlInit()
    except Exception:  # NVMLError is the module's own, and a name that many modules had
        yield None
        return
    try:
        yield library
    finally:
        library.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value  # earlier releases: bytes
