import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox_privacy.cells import fold, project, squared_count_sensitivity, squared_histogram_sensitivity
from metavox_privacy.schema import SCHEMA
from tests.spans import example_report, example_span, table

spans = st.builds(
    lambda concurrency, tokens, quantization, ttft: example_span(
        metavox__request__concurrency=concurrency,
        gen_ai__usage__input_tokens=tokens,
        metavox__model__quantization=quantization,
        gen_ai__server__time_to_first_token=ttft,
    ),
    st.sampled_from([1, 8, 20]),
    st.sampled_from([10, 100, 1000]),
    st.sampled_from(["bfloat16", "int8"]),
    st.floats(0.001, 10),
)


@pytest.mark.parametrize("one", SCHEMA.tables, ids=lambda t: t.name)
@given(st.lists(spans, min_size=1, max_size=12))
@settings(max_examples=25)
def test_no_report_moves_a_table_further_than_its_stated_sensitivity(one, requests):
    added = project(example_report(*requests), one, SCHEMA)
    assert sum(cell.contributors**2 for cell in added.values()) <= squared_count_sensitivity(SCHEMA)
    moved = sum(n * n for cell in added.values() for histogram in cell.histograms.values() for n in histogram)
    assert moved <= squared_histogram_sensitivity(one, SCHEMA)


def test_the_sensitivity_is_reached_so_it_is_not_overstated():
    spread = [example_span(metavox__request__concurrency=n) for n in (1, 3, 10, 30)]
    performance = table("performance")
    added = project(example_report(*spread), performance, SCHEMA)
    moved = sum(n * n for cell in added.values() for histogram in cell.histograms.values() for n in histogram)
    assert len(added) == SCHEMA.cells_per_report
    assert moved == squared_histogram_sensitivity(performance, SCHEMA)


def test_cells_that_share_a_key_become_one_of_256_units():
    requests = [example_span(gen_ai__usage__input_tokens=n) for n in (10, 100, 1000)]
    (cell,) = project(example_report(*requests), table("performance"), SCHEMA).values()
    assert cell.contributors == 1
    assert all(sum(histogram) == SCHEMA.units for histogram in cell.histograms.values())


def test_a_fold_is_the_sum_of_its_reports():
    reports = [example_report(token=bytes([i])) for i in range(5)]
    tables = fold(reports, SCHEMA)
    for one in SCHEMA.tables:
        (cell,) = tables[one.name].values()
        assert cell.contributors == 5
        assert all(sum(h) == 5 * SCHEMA.units for h in cell.histograms.values())
        assert set(cell.histograms) == set(one.metrics)
