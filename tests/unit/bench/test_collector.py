"""The arithmetic of ``tests/bench/collector.py``: what is counted, and what is held against which target."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.bench.receivers.processes import kill_tree, processor_seconds, resident_bytes, tree
from tests.bench.receivers.report import PEERS, POSTGRESQL, SQLITE, figures
from tests.bench.receivers.runs import Memory, Run
from tests.bench.receivers.traces import traces

ANSWERS: dict[str, Any] = {"latency_ms": {"p50": 4.0, "p90": 9.0, "p99": 12.0, "max": 20.0}}
OURS = Run(SQLITE[0], 100_000, 8.0, 12_500.0, 0.08, None, ANSWERS, 12_000, 0, 0.01)
RUNS = [
    OURS,
    replace(OURS, name=SQLITE[1], per_second=9_000.0, cpu=0.11, lost=4),
    replace(OURS, name=POSTGRESQL[0], per_second=12_500 / 1.6),
    replace(OURS, name=PEERS[0], per_second=200.0, lost=3000),
    replace(OURS, name=PEERS[2], per_second=400.0),
]
PARENT = """
import subprocess, sys, time
code = "import time; end = time.process_time() + 0.3\\nwhile time.process_time() < end: pass\\ntime.sleep(60)"
print(subprocess.Popen([sys.executable, "-c", code]).pid, flush=True)
time.sleep(60)
"""


def test_each_target_is_held_against_its_figure():
    found = {figure.name: figure for figure in figures({run.name: run for run in RUNS}, None)}
    assert found[f"{SQLITE[0]}: times the faster peer"].value == 12_500 / 400
    assert found[f"{POSTGRESQL[0]}: times slower than SQLite"].value == pytest.approx(1.6)
    assert {name for name, figure in found.items() if not figure.is_met} == {
        f"{SQLITE[1]}: durable spans/s",
        f"{SQLITE[1]}: CPU-s per 1,000 spans",
        f"{SQLITE[1]}: times the faster peer",
        f"{SQLITE[1]}: acknowledged and lost at kill -9",
        f"{POSTGRESQL[0]}: times slower than SQLite",
    }
    assert not any("Phoenix" in name for name in found)


def test_of_receivers_that_were_not_measured_nothing_is_said():
    assert {figure.name for figure in figures({SQLITE[0]: OURS}, None)} == {
        f"{SQLITE[0]}: {what}"
        for what in ("durable spans/s", "CPU-s per 1,000 spans", "p99, ms", "acknowledged and lost at kill -9")
    }


def test_memory_that_grows_is_told_from_memory_that_is_held():
    held, grows = Memory([10, *[100_000_000] * 20]), Memory([at * 10_000_000 for at in range(20)])
    assert held.figures() == {"most_bytes": 100_000_000, "growth_bytes": 0}
    assert all(figure.is_met for figure in figures({}, held.figures()))
    assert [figure.is_met for figure in figures({}, grows.figures())] == [False, False]


def test_a_request_to_a_peer_has_50_spans_with_14_attributes_in_traces_of_four():
    (made,) = traces(1, 4)
    (resource,) = ExportTraceServiceRequest.FromString(gzip.decompress(made.body)).resource_spans
    spans = resource.scope_spans[0].spans
    assert len(spans) == made.spans == 50
    assert {len(span.attributes) for span in spans} == {14}
    assert sorted(Counter(span.trace_id for span in spans).values()) == [2, *[4] * 12]
    assert len({span.span_id for span in spans}) == 50
    assert sum(not span.parent_span_id for span in spans) == 13


def test_a_tree_of_processes_is_counted_and_ended_whole():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert tree(parent.pid) == [parent.pid, child]
        deadline = time.monotonic() + 30
        while processor_seconds(child) < 0.3 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert processor_seconds(parent.pid) >= processor_seconds(child) >= 0.3
        assert all(10**6 < size < 10**9 for size in resident_bytes(parent.pid))
        kill_tree(parent.pid)
        assert parent.wait(10) == -9
    while (state := Path(f"/proc/{child}/stat")).exists() and ") Z " not in state.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
