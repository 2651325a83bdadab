"""The arithmetic of ``tests/bench/telemetry.py``: which figure is held against which limit."""

from __future__ import annotations

import io

from rich.console import Console

from tests.bench.contribution.report import Figure, figures, print_figures

COST = {"mean": 20e-6, "p50": 19e-6, "p99": 40e-6, "max": 1e-3, "memory_bytes": 2**20}
RESULTS = {
    "imports": {"bare": 0.0, "metavox": 0.031, "peer": 0.3, "opentelemetry_modules": 0},
    "off": {"mean": 0.4e-6},
    "on": {"on": COST, "peer": {**COST, "mean": 40e-6}},
    "ends": [{"collector": "refuses", "requests": 1, "on": 0.051, "peer": 7.0}],
    "speed": {"on": 990.0, "off": 1000.0, "lost": 0.01},
}


def test_each_figure_is_held_against_its_limit_in_the_limits_unit():
    found = {figure.name: figure for figure in figures(RESULTS)}

    assert found["import metavox"] == Figure("import metavox", 31.0, 30, "ms", 300.0)
    assert found["a request, on"] == Figure("a request, on", 20.0, 30, "µs", 40.0)
    assert found["memory after 100,000 requests"].ours == 1
    assert [name for name, figure in found.items() if not figure.is_met] == [
        "import metavox",
        "end: refuses, 1 requests",
    ]


def test_sections_that_did_not_run_have_no_figures():
    assert figures({}) == []
    assert [figure.unit for figure in figures({"off": RESULTS["off"]})] == ["µs"]


def test_the_table_says_what_was_missed_and_the_ratio_to_the_peer():
    console = Console(file=io.StringIO(), width=120)
    print_figures(console, figures(RESULTS))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]

    assert any("a request, on " in line and "0.500" in line and "missed" not in line for line in lines)
    assert any("refuses" in line and "missed" in line for line in lines)
