"""A device's name in an engine -> Hardware. Looked up once for each process and device, when it is first asked."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import TypeAlias

from metavox.telemetry.hardware import amd, apple, cpu, nvidia, torch_device
from metavox.telemetry.hardware.device import Hardware, Product, hardware_of, indices_of

_log = logging.getLogger(__name__)

Source: TypeAlias = Callable[[], "Product | None"]
"""What may know something of a device; None where it does not know the device."""


def detect(device: str | Sequence[str]) -> Hardware:
    """Describe what an engine runs on; what cannot be found out is None, and nothing is raised.

    Args:
        device: PyTorch's name for it, "cpu", "cuda", "cuda:1", "mps" or "xpu"; or those of all devices that share
            the work.
    """
    names = (device,) if isinstance(device, str) else tuple(dict.fromkeys(device))
    return _detect(names)


def visible(kind: str) -> list[str]:
    """The devices of a kind that this process may use, for engines that take all; ``[kind]`` if nobody counts.

    Args:
        kind: "cuda"; of others there is one.
    """
    count = None
    if kind == "cuda":
        with contextlib.suppress(Exception):  # of the driver, as below
            count = nvidia.count(os.environ)
    return [f"{kind}:{index}" for index in range(count)] if count else [kind]


@lru_cache(maxsize=64)
def _detect(devices: tuple[str, ...]) -> Hardware:
    product = merge(_answer(source) for source in _sources(devices))
    return hardware_of(product, max(len(devices), 1))


def _answer(source: Source) -> Product | None:
    try:
        return source()
    except Exception as error:  # a driver that does not answer must not cost the user their spans
        _log.debug("a device could not be described: %s", type(error).__name__)
        return None


def _sources(devices: tuple[str, ...]) -> Sequence[Source]:
    """Whom to ask, the one who knows best first."""
    kinds = {device.partition(":")[0] for device in devices}
    if len(kinds) != 1:
        return ()  # work that several kinds of devices share is no product's
    return {
        "cpu": (cpu.describe,),
        "cuda": (  # which is also what PyTorch calls AMD's
            lambda: nvidia.describe(indices_of(devices), os.environ),
            lambda: _all_alike(devices),
            nvidia.from_kernel,
            amd.describe,
        ),
        "mps": (apple.describe,),
        "xpu": (lambda: _all_alike(devices),),
    }.get(kinds.pop(), ())


def _all_alike(devices: Iterable[str]) -> Product | None:
    kinds = {torch_device.describe(device) for device in devices}
    return kinds.pop() if len(kinds) == 1 else None


def merge(answers: Iterable[Product | None]) -> Product:
    """What several sources know together; those after the first are heard only where they mean the same vendor."""
    merged: Product | None = None
    for answer in answers:
        if merged is None:
            merged = answer
        elif answer is not None and answer.vendor == merged.vendor:
            missing = {
                one.name: getattr(answer, one.name) for one in fields(merged) if getattr(merged, one.name) is None
            }
            merged = replace(merged, **missing)
    return merged or Product()
