"""Devices as PyTorch names them, where a program uses it already; it is never imported for this."""

from __future__ import annotations

import sys
from typing import Any

from metavox.telemetry.hardware.device import Product, product_name


def describe(device: str) -> Product | None:
    """One device of "cuda" or "xpu", None where PyTorch is not used for that kind.

    Args:
        device: PyTorch's name for it, such as "cuda:1".
    """
    torch = sys.modules.get("torch")
    kind = device.partition(":")[0]
    module: Any = getattr(torch, kind, None)
    # Asking would make a context on the device, with its memory, and end all forks.
    if torch is None or module is None or not module.is_initialized():
        return None
    properties = module.get_device_properties(device)
    return Product(product_name(properties.name), _vendor(torch, kind), properties.total_memory)


def _vendor(torch: Any, kind: str) -> str:
    if kind == "xpu":
        return "intel"
    return "amd" if torch.version.hip is not None else "nvidia"
