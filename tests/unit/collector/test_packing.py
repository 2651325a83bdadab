from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox_collector.packing import Packing
from metavox_privacy.report import ReportCell, apportion
from metavox_privacy.schema import SCHEMA
from tests.spans import example_report

PACKING = Packing(SCHEMA)


def histograms():
    metrics = st.lists(st.sampled_from(SCHEMA.metrics), unique_by=lambda m: m.name)
    return metrics.flatmap(
        lambda chosen: st.fixed_dictionaries(
            {
                m.name: st.lists(st.integers(0, 9), min_size=m.buckets, max_size=m.buckets)
                .filter(any)
                .map(lambda counts: apportion(counts, SCHEMA.units))
                for m in chosen
            }
        )
    )


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.tuples(*(st.sampled_from(d.vocabulary) for d in SCHEMA.dimensions)), histograms())
def test_a_cell_comes_back_as_it_was_packed(key, units):
    cell = ReportCell(key, units)
    assert PACKING.unpack(*PACKING.pack(cell)) == cell


def test_all_units_in_one_bucket_come_back():
    full = {m.name: (*[0] * (m.buckets - 1), SCHEMA.units) for m in SCHEMA.metrics}
    cell = ReportCell(example_report().cells[0].key, full)
    assert PACKING.unpack(*PACKING.pack(cell)) == cell


@pytest.mark.parametrize(
    "change",
    [
        lambda key, units: (key[:-1], units),
        lambda key, units: (b"\xff" * len(key), units),
        lambda key, units: (key, units[:-1]),
        lambda key, units: (key, units[:-1] + b"\x07"),
        lambda key, units: (key, units + units[-3:]),
        lambda key, units: (key, b"\xff\xff\x00"),
    ],
)
def test_bytes_that_are_no_cell_are_refused(change):
    packed = PACKING.pack(example_report().cells[0])
    with pytest.raises(ValueError, match=r"not a cell|does not sum"):
        PACKING.unpack(*change(*packed))
