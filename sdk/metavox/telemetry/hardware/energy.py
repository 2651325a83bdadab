"""The energy that devices use, for the user's own spans. No energy is in the list of what may be contributed."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from metavox.telemetry.hardware import nvidia
from metavox.telemetry.hardware.device import indices_of

_log = logging.getLogger(__name__)


class EnergyReader:
    """Reads the energy counters of NVIDIA devices. Its method never raises.

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
        except Exception:  # of NVML; devices before Volta do not count
            _log.debug("the energy could not be read", exc_info=True)
            self._handles = ()
            return None

    def _open(self) -> None:
        self._process, self._handles = os.getpid(), ()
        if any(device.partition(":")[0] != "cuda" for device in self._devices):
            return
        self._library = nvidia.load()
        self._library.nvmlInit()
        self._handles = nvidia.certain(self._library, indices_of(self._devices), self._environment)
