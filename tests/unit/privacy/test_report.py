import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_privacy.anonymize import anonymize
from metavox_privacy.report import Counts, apportion, count, make_report
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.spans import BOTH, WEEK, example_report, example_span


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=64).filter(any), st.integers(1, 1000))
def test_units_always_sum_and_stay_within_one_of_the_proportion(counts, units):
    shares = apportion(counts, units)
    assert sum(shares) == units
    assert all(abs(n - value * units / sum(counts)) < 1 for n, value in zip(shares, counts, strict=True))


def test_nothing_cannot_be_apportioned():
    with pytest.raises(ValueError, match="nothing"):
        apportion([0, 0], 256)


def test_a_heavy_and_a_light_user_weigh_the_same():
    light, heavy = example_report(*[example_span()] * 3), example_report(*[example_span()] * 3000)
    assert light.cells == heavy.cells


def test_only_the_most_used_cells_are_reported_and_each_histogram_is_whole():
    spans = [
        example_span(metavox__model__quantization=q)
        for q, n in zip(["float32", "bfloat16", "float16", "fp8", "int8", "int4"], [1, 6, 5, 4, 3, 2], strict=True)
        for _ in range(n)
    ]
    report = example_report(*spans)
    position = SCHEMA.position["quantization"]
    assert [cell.key[position] for cell in report.cells] == ["bfloat16", "float16", "fp8", "int8"]
    assert all(sum(h) == SCHEMA.units for cell in report.cells for h in cell.histograms.values())


def test_counting_ignores_other_weeks():
    record = anonymize(example_span(), SCHEMA)
    assert count([record] * 3, WEEK, SCHEMA).cells[record.cell].requests == 3
    assert not count([record], Week(2026, 46), SCHEMA).cells


def test_a_week_without_requests_or_purposes_makes_no_report():
    assert make_report(Counts(WEEK, {}), SCHEMA, token=b"t", purposes=BOTH) is None
    counts = count([anonymize(example_span(), SCHEMA)], WEEK, SCHEMA)
    assert make_report(counts, SCHEMA, token=b"t", purposes=frozenset()) is None


def test_the_report_names_the_hash_of_its_token_and_not_the_token():
    report = example_report(token=b"a secret token")
    assert len(report.report_id) == 64
    assert b"a secret token".hex() not in repr(report)
    assert report.report_id != example_report(token=b"another").report_id
