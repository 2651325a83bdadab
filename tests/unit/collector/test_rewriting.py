from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from metavox_collector.close import close_week
from metavox_collector.store import Database, sqlite_staged
from tests.postgres import Server
from tests.spans import WEEK
from tests.unit.collector.deletions import TOKEN, delete, fill, left_in, report, stage, staged
from tests.unit.collector.releases import AFTER, CAP, NEXT, generous
from tests.unit.collector.releases import staged as staged_rows


@pytest.fixture
def database(sqlite_url, schema) -> Iterator[Database]:
    opened = Database.create(sqlite_url, schema, sandbox=False, yearly_cap=CAP)
    yield opened
    opened.dispose()


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(sqlite_staged, "_REPORTS_AT_A_TIME", 100)


def rewrite(database: Database) -> int:
    """Write anew all that is due; in how many pieces."""
    pieces = 1
    while database.rewrite_a_piece():
        pieces += 1
    assert database.scrub()
    return pieces


def test_no_byte_of_a_deleted_reports_name_is_left_in_the_files(database, tmp_path):
    names = fill(database)
    assert all(name in left_in(tmp_path) for name in names.values())
    deleted = list(names)[::4]
    assert all(delete(database, token) for token in deleted)
    rewrite(database)
    data = left_in(tmp_path)
    assert [name for token, name in names.items() if token in deleted and name in data] == []
    assert all(name in data for token, name in names.items() if token not in deleted)
    assert not any(token in data for token in names)
    assert len(staged_rows(database)) == sum(2 if i % 2 else 1 for i in range(1000) if i % 4)


def test_what_is_deleted_is_written_anew_in_its_own_week_alone(database, tmp_path):
    names = fill(database, (WEEK, NEXT))
    deleted = list(names)[:200:2]
    assert all(delete(database, token) for token in deleted)
    assert rewrite(database) == 1
    data = left_in(tmp_path)
    assert [names[token] for token in deleted if names[token] in data] == []


def test_a_report_that_was_staged_in_two_weeks_is_gone_from_both(database, tmp_path):
    fill(database, (WEEK, NEXT))
    stage(database, report(), report(week=NEXT))
    assert delete(database, TOKEN)
    assert rewrite(database) == 2
    assert bytes.fromhex(report().report_id) not in left_in(tmp_path)


def test_no_byte_of_a_destroyed_weeks_names_is_left_beside_those_of_another_week(sqlite_url, database, tmp_path):
    names = list(fill(database, (WEEK, NEXT)).values())
    close_week(database, WEEK, generous(sqlite_url), now=AFTER)
    data = left_in(tmp_path)
    assert [name for name in names[::2] if name in data] == []
    assert all(name in data for name in names[1::2])


@pytest.mark.usefixtures("small_pieces")
def test_between_two_pieces_of_rewriting_reports_are_taken_found_deleted_and_never_lost(
    sqlite_url, schema, database, tmp_path
):
    names = fill(database)
    tokens, deleted = iter(names), []
    delete(database, next(tokens))
    pieces = 0
    while database.rewrite_a_piece() and pieces < 10:
        pieces += 1
        deleted.append(next(tokens))
        assert delete(database, deleted[-1])
        late = report(b"late %d" % pieces)
        assert stage(database, late, late) == []
        assert stage(database, late) == []
    assert pieces == 10
    other = Database.existing(sqlite_url, schema)  # as after a crash
    rewrite(other)
    other.dispose()
    data = left_in(tmp_path)
    assert [name for token, name in names.items() if token in deleted and name in data] == []
    assert len(staged(database)) == 1000 - 11 + 10
    rows = [row[:2] for row in staged_rows(database)]
    assert rows == sorted(set(rows))


@pytest.mark.usefixtures("small_pieces")
def test_a_report_that_has_not_moved_yet_and_comes_again_is_stored_once(database):
    names = fill(database)
    first, last = min(names, key=names.__getitem__), max(names, key=names.__getitem__)
    stage(database, report())
    delete(database, first)
    assert database.rewrite_a_piece() is True
    assert stage(database, report(last), report()) == []
    rewrite(database)
    assert len(staged(database)) == 1000


@pytest.mark.usefixtures("small_pieces")
def test_a_close_in_the_middle_of_rewriting_takes_every_report_and_leaves_none(sqlite_url, database, tmp_path):
    names = fill(database)
    delete(database, next(iter(names)))
    assert database.rewrite_a_piece() is True
    closed = close_week(database, WEEK, generous(sqlite_url), now=AFTER)
    assert [round(table.cells[0].contributors, -1) for table in closed.releases[0].tables][:1] == [1000]
    assert staged(database) == set()
    assert [name for name in names.values() if name in left_in(tmp_path)] == []


@pytest.mark.usefixtures("small_pieces")
def test_rewriting_holds_a_piece_at_a_time_and_nothing_when_nothing_was_deleted(database):
    tokens = list(fill(database))
    assert rewrite(database) == 1
    delete(database, tokens[0])
    assert rewrite(database) == 10
    assert rewrite(database) == 1


def test_in_postgresql_no_byte_of_a_deleted_reports_name_is_left_in_a_weeks_file(postgres, postgres_url, schema):
    database = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP)
    names = fill(database)
    deleted = list(names)[::4]
    assert all(delete(database, token) for token in deleted)
    before = files(postgres, postgres_url)
    assert all(name in before for name in names.values())
    assert database.rewrite_a_piece() is False
    data = files(postgres, postgres_url)
    assert [name for token, name in names.items() if token in deleted and name in data] == []
    assert all(name in data for token, name in names.items() if token not in deleted)
    assert len(staged(database)) == 750
    database.dispose()


def test_postgresql_loses_the_order_of_arrival_when_a_week_is_written_anew(postgres_url, schema):
    database = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP)
    names = fill(database)
    delete(database, next(iter(names)))
    database.rewrite_a_piece()
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("SELECT report_id FROM staged_cell_202647 ORDER BY ctid").fetchall()
    assert rows == sorted(rows)
    database.dispose()


def files(server: Server, url: str) -> bytes:
    """Every byte of the files of a database's own tables, the catalogue's left out."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        which = "SELECT oid::text FROM pg_database WHERE datname = current_database()"
        (folder,) = connection.execute(which).fetchone() or ("",)
    found = (Path(server.folder) / "data/base" / str(folder)).iterdir()
    ours = [
        path for path in found if re.match("[0-9]+", path.name) and int(re.split("[._]", path.name)[0]) >= 16384
    ]
    return b"".join(path.read_bytes() for path in ours)
