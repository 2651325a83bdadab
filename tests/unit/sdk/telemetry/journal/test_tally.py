from __future__ import annotations

import tracemalloc
from dataclasses import replace

from metavox.telemetry.journal.tally import MOST_CELLS, Tally
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.spans import WEEK, example_span
from tests.unit.sdk.telemetry.shared import record_of, tally_of

RECORDS = [record_of(example_span(gen_ai__server__time_per_output_token=0.01 * n)) for n in range(5)]


def test_requests_are_counted_by_week_cell_and_bucket():
    other = replace(RECORDS[0], cell=(*RECORDS[0].cell[:-1], "true"))
    later = replace(RECORDS[0], week=Week(2026, 48))
    weeks = dict(tally_of([*RECORDS, RECORDS[0], other, later]))

    assert set(weeks) == {WEEK, later.week}
    assert {key: cell.requests for key, cell in weeks[WEEK].items()} == {RECORDS[0].cell: 6, other.cell: 1}
    times = weeks[WEEK][RECORDS[0].cell].buckets["time_per_output_token"]
    assert sum(times.values()) == 6
    assert times[RECORDS[0].buckets["time_per_output_token"]] == 2
    assert tally_of(RECORDS).requests == 5


def test_an_empty_tally_is_false():
    assert not Tally()
    assert tally_of(RECORDS)


def test_with_no_room_left_only_known_cells_count():
    tally = Tally(most_cells=2)
    cells = [replace(RECORDS[0], cell=(*RECORDS[0].cell[:-1], word)) for word in ("true", "false", "other")]
    for record in [*cells, *cells]:
        tally.add(record)
    ((_, counted),) = tally

    assert {key[-1]: cell.requests for key, cell in counted.items()} == {"true": 2, "false": 2}


def test_however_many_requests_of_however_many_cells_take_little_memory():
    most = max(metric.buckets for metric in SCHEMA.metrics)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tally = Tally()
    for number in range(30_000):
        cell = (*RECORDS[0].cell[:-1], str(number % (2 * MOST_CELLS)))
        buckets = {metric.name: number // 7 % most % metric.buckets for metric in SCHEMA.metrics}
        tally.add(replace(RECORDS[0], cell=cell, buckets=buckets))
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert 14_000 < tally.requests < 16_000
    assert taken < 2 * 2**20
