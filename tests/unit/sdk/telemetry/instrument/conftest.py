"""A contribution that keeps what it is told, and engines that are given back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metavox.telemetry.foreign.instrumented import instrumented, remove
from tests.unit.sdk.telemetry.kept import Kept


@pytest.fixture
def kept() -> Kept:
    """A contribution that is on."""
    return Kept()


@pytest.fixture(autouse=True)
def _given_back() -> Iterator[None]:
    yield
    for engine in instrumented():
        remove(engine)
