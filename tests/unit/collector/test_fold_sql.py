from __future__ import annotations

from dataclasses import replace

import pytest

from metavox_collector.fold.sql import fold_week
from metavox_collector.store.postgres_staged import query
from metavox_collector.store.rows import week_number
from metavox_privacy.cells import fold
from metavox_privacy.fields import PURPOSES
from tests.spans import WEEK, example_report, example_span
from tests.unit.collector.releases import NEXT


@pytest.fixture
def reports(database):
    """More than are read at a time, some of which permit one purpose alone; and one of another week."""
    one = example_report(schema=database.schema)
    cells = tuple(replace(one.cells[0], key=(*one.cells[0].key[:-1], word)) for word in ("true", "false"))
    made = [
        replace(
            one,
            report_id=f"{number * 2654435761 % 2**32:064x}",
            cells=cells[: 1 + number % 2],
            purposes=frozenset(PURPOSES[: 1 + (number % 3 > 0)]),
        )
        for number in range(2000)
    ]
    with database.write() as transaction:
        transaction.add_reports([*made, replace(one, week=NEXT)])
    return made


def test_a_week_is_summed_as_specified_whatever_is_read_at_a_time(database, reports):
    with database.read() as transaction:
        sums = fold_week(transaction, WEEK, "full")
        assert sums.reports == transaction.count_staged(WEEK) == len(reports)
    for purpose in PURPOSES:
        expected = fold(
            [report for report in reports if purpose in report.purposes], database.schema, database.schema.tables
        )
        assert {name: dict(cells) for name, cells in sums.tables(purpose).items()} == expected


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7])
def test_a_report_that_is_cut_by_what_is_read_at_a_time_weighs_no_more_than_any_other(database, monkeypatch, rows):
    monkeypatch.setattr("metavox_collector.fold.sql.ROWS_AT_A_TIME", rows)
    schema = database.schema
    spans = [example_span(metavox__request__concurrency=n, gen_ai__request__stream=n > 8) for n in (1, 3, 10, 70)]
    reports = [
        example_report(*spans[: 1 + number % 4], token=bytes([number]), schema=schema) for number in range(24)
    ]
    with database.write() as transaction:
        transaction.add_reports(reports)
    with database.read() as transaction:
        sums = fold_week(transaction, WEEK, "full")
    assert sums.reports == 24
    found = {name: dict(cells) for name, cells in sums.tables("publish").items()}
    assert found == fold(reports, schema, schema.tables)


def test_a_week_of_which_nothing_is_staged_sums_to_nothing(database):
    with database.read() as transaction:
        assert fold_week(transaction, WEEK, "full").reports == 0


def test_postgresql_reads_a_week_by_its_key_and_sorts_no_copy_of_it_into_a_file(database, reports):
    if database.dialect != "postgresql":
        pytest.skip("of PostgreSQL alone: SQLite's table is in the order of its key")
    with database.write() as transaction:
        transaction.connection.exec_driver_sql("ANALYZE staged_cell_202647")
    with database.read() as transaction:
        next(transaction.staged_rows(WEEK))
        plan = [row[0] for row in transaction.connection.exec_driver_sql(f"EXPLAIN {query(week_number(WEEK))}")]
    assert "Index Scan" in plan[0]
    assert not [line for line in plan if "Sort" in line]
