"""Spans and small schemas for tests: the shapes production has, never mocks of internals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metavox_privacy.anonymize import anonymize
from metavox_privacy.fields import Choice, Purpose, Table
from metavox_privacy.report import Report, count, make_report
from metavox_privacy.schema import SCHEMA, Schema
from metavox_privacy.span import Span
from metavox_privacy.week import Week

WEEK = Week(2026, 47)
START = int(WEEK.start.timestamp()) * 10**9 + 3_600 * 10**9
BOTH: frozenset[Purpose] = frozenset({"improve", "publish"})

ATTRIBUTES: dict[str, Any] = {
    "gen_ai.operation.name": "text_completion",
    "gen_ai.request.model": "metavox/tiny",
    "gen_ai.usage.input_tokens": 20,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.request.stream": False,
    "gen_ai.server.time_to_first_token": 0.03,
    "gen_ai.server.time_per_output_token": 0.004,
    "gen_ai.server.request.duration": 0.43,
    "metavox.output_tokens_per_second": 250.0,
    "metavox.device.memory.peak": 2**28,
    "metavox.request.concurrency": 8,
    "metavox.model.architecture": "Qwen3ForCausalLM",
    "metavox.model.parameters": 3_700_000,
    "metavox.model.quantization": "bfloat16",
    "metavox.engine.name": "metavox",
    "metavox.engine.version": "0.1.0",
    "hw.model": "CPU x86-64 AVX-512",
    "metavox.hw.count": 1,
    "os.type": "linux",
    "host.arch": "amd64",
}


def example_span(**changes: Any) -> Span:
    """A finished request of the tiny model; ``changes`` replace attributes, with ``__`` for a dot."""
    attributes = {**ATTRIBUTES, **{name.replace("__", "."): value for name, value in changes.items()}}
    return Span("text_completion metavox/tiny", START, START + 430_000_000, attributes)


def example_report(
    *spans: Span, token: bytes = b"token", schema: Schema = SCHEMA, synthetic: bool = False
) -> Report:
    """The report of an installation that made these requests."""
    records = [record for span in spans or (example_span(),) if (record := anonymize(span, schema)) is not None]
    week = records[0].week
    report = make_report(count(records, week, schema), schema, token=token, purposes=BOTH, synthetic=synthetic)
    assert report is not None
    return report


def small_schema() -> Schema:
    """The shipped schema with short catalogs, so that noise over the whole key space is quick to draw."""
    short = {
        "accelerator": Choice(("CPU x86-64 AVX-512", "NVIDIA H100", "NVIDIA GeForce RTX 4090")),
        "model": Choice(("metavox/tiny", "Qwen/Qwen3-0.6B")),
        "engine_version": Choice(("0.1", "0.2"), version_parts=2),
        "driver_major": Choice(("535", "580"), version_parts=1),
    }
    dimensions = tuple(replace(d, kind=short.get(d.name, d.kind)) for d in SCHEMA.dimensions)
    return replace(SCHEMA, dimensions=dimensions)


def table(name: str, schema: Schema = SCHEMA) -> Table:
    """A table of the schema by name."""
    return next(table for table in schema.tables if table.name == name)
