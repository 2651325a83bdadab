"""A database with a small schema, so that noise over the whole key space is quick to draw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metavox_collector.settings import Settings
from metavox_collector.store import Database
from metavox_privacy.schema import Schema
from tests.postgres import Server, server
from tests.spans import small_schema
from tests.unit.collector.releases import CAP


@pytest.fixture(scope="session")
def schema() -> Schema:
    return small_schema()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests, started when the first of them asks for it."""
    with server() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own, empty, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/collector.db"
        return
    started: Server = request.getfixturevalue("postgres")
    made = started.new_database()
    yield made
    started.drop(made)


@pytest.fixture
def database(url: str, schema: Schema) -> Iterator[Database]:
    opened = Database.create(url, schema, sandbox=False, yearly_cap=CAP)
    yield opened
    opened.dispose()


@pytest.fixture
def settings(url: str) -> Settings:
    return Settings(db=url)
