"""The peers' side: their own interpreter, and for each the bound on an installation's cells that suits it best."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np

from tests.bench.private_releases.fleet import CELLS, HIGH, LOW, MOST_CELLS, Fleet, Floats

PYTHON = Path(".venv/bench-accuracy/bin/python")
PROGRAM = Path(__file__).with_name("peer_program.py")
LIMIT = 900

BOUND = {"opendp": 2, "diffprivlib": 1, "pipelinedp": 2, "pipelinedp-private": 2}
"""Cells that each keeps of an installation, where its p50 was best (``--bounds`` tries them all): fewer than three
lose requests, and three divide the budget further.
"""

BOUNDS = tuple(range(1, MOST_CELLS + 1))


def is_installed() -> bool:
    """Whether ``make bench-privacy`` has made the peers' environment."""
    return PYTHON.exists()


def store(fleet: Fleet, path: Path) -> None:
    """Write a fleet for the peers' interpreter."""
    np.savez(
        path,
        installation=fleet.installation,
        cell=fleet.cell,
        values=fleet.values,
        bounds=(LOW, HIGH),
        count=CELLS,
    )


def answer(
    peer: str, path: Path, *, epsilon: float, delta: float, rho: float, cells: int, documented: bool = False
) -> Floats:
    """A peer's quantiles in seconds, ``(CELLS, levels)``, NaN where it releases none; tuned, or as documented.

    Raises:
        RuntimeError: the peer failed; its message is in the text.
    """
    asked = json.dumps({"epsilon": epsilon, "delta": delta, "rho": rho, "cells": cells, "documented": documented})
    command = [str(PYTHON), str(PROGRAM), peer, str(path), asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer} failed:\n{done.stderr[-2000:]}")
    return np.array([row or [np.nan] * 3 for row in json.loads(done.stdout)])
