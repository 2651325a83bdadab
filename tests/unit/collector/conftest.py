"""A database with a small schema, so that noise over the whole key space is quick to draw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metavox_collector.settings import Settings
from metavox_collector.store import Database
from metavox_privacy.schema import Schema
from tests.spans import small_schema
from tests.unit.collector.releases import CAP


@pytest.fixture(scope="session")
def schema() -> Schema:
    return small_schema()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/collector.db"


@pytest.fixture
def database(url: str, schema: Schema) -> Iterator[Database]:
    opened = Database.create(url, schema, sandbox=False, yearly_cap=CAP)
    yield opened
    opened.dispose()


@pytest.fixture
def settings(url: str) -> Settings:
    return Settings(db=url)
