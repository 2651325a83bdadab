"""Apple's chips: the name and the memory, by ``sysctlbyname``, which starts no program."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable

from metavox.telemetry.hardware.device import Product


def describe() -> Product | None:
    """The chip of this Mac, None elsewhere."""
    return parse_chip(sysctl) if sys.platform == "darwin" else None


def parse_chip(read: Callable[[str], bytes | None]) -> Product:
    """A chip as a product. Its memory is the machine's, because it is one for both.

    Args:
        read: What gives the value of ``sysctl``, None where there is none of that name.
    """
    brand = (read("machdep.cpu.brand_string") or b"").partition(b"\0")[0].decode("ascii", "replace")
    found = re.fullmatch(r"Apple M\d+(?: Pro| Max| Ultra)?", brand.strip())
    return Product(found[0] if found else None, "apple", _number(read("hw.memsize")))


def sysctl(name: str) -> bytes | None:
    """The bytes of one value of macOS's ``sysctl``, None where it has none of that name."""
    call = ctypes.CDLL(None).sysctlbyname
    call.argtypes = (
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.c_void_p,
        ctypes.c_size_t,
    )
    size = ctypes.c_size_t(0)
    if call(name.encode(), None, ctypes.byref(size), None, 0) != 0:
        return None
    value = ctypes.create_string_buffer(size.value)
    if call(name.encode(), value, ctypes.byref(size), None, 0) != 0:
        return None
    return value.raw[: size.value]


def sysctl_number(name: str) -> int | None:
    """One value as a number."""
    return _number(sysctl(name))


def _number(value: bytes | None) -> int | None:
    return int.from_bytes(value, sys.byteorder) if value and len(value) in (4, 8) else None
