"""The energy that devices use, for the user's own spans. No energy is in the list of what may be contributed."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from metavox.telemetry.hardware import nvidia
from metavox.telemetry.hardware.device import indices_of
from metavox_privacy.fields import quantity
from metavox_privacy.span import Span

_log = logging.getLogger(__name__)

ENERGY = "metavox.device.energy"
"""The attribute of the user's own spans, in joules."""


class EnergyReader:
    """Reads the energy counters of NVIDIA devices. Its methods never raise.

    NVML stays initialised between readings, because finding the devices takes longer than reading them.

    Args:
        devices: PyTorch's names of the devices that share the work.
        environment: The process's.
    """

    def __init__(self, devices: Sequence[str], environment: Mapping[str, str]) -> None:
        self._devices = tuple(devices)
        self._environment = environment
        self._process: int | None = None
        self._library: Any = None
        self._handles: Sequence[Any] = ()
        self._begun = threading.local()

    def start(self) -> None:
        """Remember the counters as they are now, for this thread's next ``used``."""
        self._begun.joules = self.joules()

    def used(self) -> float | None:
        """What the devices have used since this thread's ``start``, in joules; None without one."""
        begun, self._begun.joules = getattr(self._begun, "joules", None), None
        now = None if begun is None else self.joules()
        return None if begun is None or now is None else max(now - begun, 0.0)

    def joules(self) -> float | None:
        """What the devices have used together since their driver was loaded; None where it cannot be known.

        The difference of two readings is all that was used between them, by whatever ran there.
        """
        try:
            if self._process != os.getpid():  # the first reading, or a fork's first
                self._open()
            if not self._handles:
                return None
            millijoules: int = sum(map(self._library.nvmlDeviceGetTotalEnergyConsumption, self._handles))
            return millijoules / 1000
        except Exception as error:  # of NVML; devices before Volta do not count
            _log.debug("the energy could not be read: %s", type(error).__name__)
            self._handles = ()
            return None

    def _open(self) -> None:
        self._process, self._handles = os.getpid(), ()
        if any(device.partition(":")[0] != "cuda" for device in self._devices):
            return
        self._library = nvidia.load()
        self._library.nvmlInit()
        self._handles = nvidia.certain(self._library, indices_of(self._devices), self._environment)


def share_out(spans: Sequence[Span], joules: float | None) -> list[Span]:
    """The requests of one call with the energy that it used, in shares by their output tokens, which sum up to it.

    Args:
        spans: One for each request.
        joules: What the devices used; None leaves the spans as they are.
    """
    if joules is None:
        return list(spans)
    tokens = [quantity(span.attributes.get("gen_ai.usage.output_tokens")) or 0.0 for span in spans]
    whole = sum(tokens)
    shares = [part / whole if whole else 1 / len(spans) for part in tokens]
    return [
        replace(span, attributes={**span.attributes, ENERGY: joules * share})
        for span, share in zip(spans, shares, strict=True)
    ]
