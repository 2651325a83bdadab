"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "avx_vnni", "asimddp", "bf16")


def describe_machine() -> dict[str, Any]:
    """Processor, its vector extensions, memory and the versions of what was measured."""
    return {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "extensions": [name for name in TELLING if name in (_cpuinfo("flags") or _cpuinfo("Features")).split()],
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in ("metavox", "torch", "transformers")},
    }


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")
