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


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite database that is not there yet."""
    return f"sqlite:///{tmp_path}/collector.db"


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """A PostgreSQL database that is empty."""
    made = postgres.new_database()
    yield made
    postgres.drop(made)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Each of them in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def database(url: str, schema: Schema) -> Iterator[Database]:
    opened = Database.create(url, schema, sandbox=False, yearly_cap=CAP)
    yield opened
    opened.dispose()


@pytest.fixture
def settings(url: str) -> Settings:
    return Settings(db=url)
