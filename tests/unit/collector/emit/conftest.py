"""One dataset and its pack, made once: they are values, and no test changes them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from metavox_collector.dataset.model import Dataset
from tests.unit.collector.emit.datasets import example_dataset
from tests.unit.collector.emit.packs import pack_of


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return example_dataset()


@pytest.fixture(scope="session")
def pack(dataset: Dataset) -> Mapping[str, bytes]:
    return pack_of(dataset)
