from __future__ import annotations

import sqlite3
import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from metavox_collector.errors import WrongDatabase
from metavox_collector.store import Database, migrations
from metavox_collector.store.engine import connected, open_engine
from metavox_collector.store.tables import tables_of
from tests.unit.collector.releases import CAP, everything, released
from tests.waiting import FOR_EVER

LATER = f"""
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{migrations.HEAD}"


def upgrade():
    op.add_column("collector", sa.Column("motto", sa.String(16), nullable=False, server_default="slowly"))


def downgrade():
    op.drop_column("collector", "motto")
"""


@pytest.fixture
def engine(url):
    opened = open_engine(url, 5)
    yield opened
    opened.dispose()


@pytest.fixture
def later(tmp_path):
    """A folder with the migration of a version that is to come."""
    folder = tmp_path / "versions"
    folder.mkdir()
    (folder / "later.py").write_text(LATER, encoding="utf-8")
    return folder


def names(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def test_the_revision_that_the_code_needs_is_the_last_there_is():
    config = migrations.run._config()
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_the_migrated_database_is_what_the_code_says(engine):
    with connected(engine, writes=True) as connection:
        migrations.upgrade(connection)
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, tables_of(engine.dialect.name).metadata) == []
        look = inspect(connection)
        for table in tables_of(engine.dialect.name).metadata.tables.values():  # Alembic compares no primary keys
            assert look.get_pk_constraint(table.name)["constrained_columns"] == [*table.primary_key.columns.keys()]


def test_what_was_made_is_gone_after_all_steps_back_and_can_be_made_again(database, url, engine):
    released(database, url)
    with connected(engine, writes=True) as connection:
        migrations.downgrade(connection)
        assert names(connection) == {"alembic_version"}
        assert migrations.revision(connection) is None
        migrations.upgrade(connection)
        assert migrations.revision(connection) == migrations.HEAD


def test_a_ledger_of_another_form_is_kept_and_named(engine):
    with connected(engine, writes=True) as connection:
        migrations.upgrade(connection, "0001")
        entry = {"week": "2026-W40", "purpose": "publish", "release": "r", "previous": "p", "hash": "h"}
        connection.execute(
            text(
                "INSERT INTO ledger (sequence, week, purpose, schema_version, nano_rho, yearly_cap, sandbox, "
                "release, previous, hash) VALUES (1, :week, :purpose, 1, 5, 9, false, :release, :previous, :hash)"
            ),
            entry,
        )
    with pytest.raises(WrongDatabase, match="begin a new database"), connected(engine, writes=True) as connection:
        migrations.upgrade(connection)
    with connected(engine, writes=False) as connection:
        assert migrations.revision(connection) == "0001"
        assert connection.scalar(text("SELECT count(*) FROM ledger")) == 1


def test_a_step_on_and_back_keeps_every_row(database, url, engine, later):
    released(database, url)
    before = everything(database)
    with connected(engine, writes=True) as connection:
        migrations.upgrade(connection, "later", versions=later)
        assert connection.scalar(text("SELECT motto FROM collector")) == "slowly"
    with connected(engine, writes=True) as connection:
        migrations.downgrade(connection, migrations.HEAD, versions=later)
        assert [column["name"] for column in inspect(connection).get_columns("collector")][-1] != "motto"
    assert everything(database) == before


def test_a_step_that_fails_leaves_nothing(engine, later):
    broken = LATER.replace("def downgrade", '    op.execute("no SQL")\n\n\ndef downgrade')
    (later / "later.py").write_text(broken, encoding="utf-8")
    with connected(engine, writes=True) as connection:
        migrations.upgrade(connection)
    with pytest.raises(Exception, match="no"), connected(engine, writes=True) as connection:
        migrations.upgrade(connection, "later", versions=later)
    with connected(engine, writes=False) as connection:
        assert migrations.revision(connection) == migrations.HEAD
        assert "motto" not in {column["name"] for column in inspect(connection).get_columns("collector")}


@pytest.mark.parametrize(
    ("found", "words"),
    [("0000", "later version"), (None, "no version of this software")],
)
def test_a_database_of_another_version_is_refused_and_left_as_it_is(database, url, schema, engine, found, words):
    with connected(engine, writes=True) as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        if found:
            connection.execute(text("INSERT INTO alembic_version VALUES (:found)"), {"found": found})
    for opening in (
        lambda: Database.create(url, schema, sandbox=False, yearly_cap=CAP),
        lambda: Database.existing(url, schema),
        lambda: Database.upgrade(url),
    ):
        with pytest.raises(WrongDatabase, match=words):
            opening()


@pytest.mark.parametrize(
    "theirs",
    [
        ["CREATE TABLE theirs (a INTEGER)"],
        ["CREATE TABLE alembic_version (version_num VARCHAR(32))", "INSERT INTO alembic_version VALUES ('abc')"],
    ],
)
def test_a_database_of_another_program_is_refused_and_left_as_it_is(url, schema, engine, theirs):
    with connected(engine, writes=True) as connection:
        for statement in theirs:
            connection.execute(text(statement))
        before = inspect(connection).get_table_names()
    with pytest.raises(WrongDatabase, match="another program"):
        Database.create(url, schema, sandbox=False, yearly_cap=CAP)
    with connected(engine, writes=False) as connection:
        assert inspect(connection).get_table_names() == before


def test_a_database_of_an_earlier_version_is_told_how_to_be_upgraded(database, url, schema, monkeypatch):
    monkeypatch.setattr(migrations.run, "HEAD", "later")
    with pytest.raises(WrongDatabase, match="run: metavox-collector db upgrade"):
        Database.existing(url, schema)


def test_an_upgrade_says_from_where_and_can_be_done_again(database, url):
    assert [Database.upgrade(url), Database.upgrade(url)] == [migrations.HEAD] * 2


def test_of_several_that_make_a_database_at_once_each_finds_it_made(url, schema):
    opened, errors = [], []

    def make():
        try:
            opened.append(Database.create(url, schema, sandbox=False, yearly_cap=CAP, busy_timeout=FOR_EVER))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in opened:
        database.dispose()
    assert errors == []
    assert len(opened) == 4


def test_a_new_database_that_another_process_writes_to_is_waited_for(schema, tmp_path, monkeypatch):
    file = tmp_path / "collector.db"
    other, pauses = sqlite3.connect(file, isolation_level=None), []
    other.execute("BEGIN IMMEDIATE")  # whoever would switch the file to a write-ahead log now is not made to wait

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        other.close()

    monkeypatch.setattr(time, "sleep", pause)
    Database.create(f"sqlite:///{file}", schema, sandbox=False, yearly_cap=CAP, busy_timeout=FOR_EVER).dispose()
    assert len(pauses) == 1
