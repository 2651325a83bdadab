from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metavox_collector.dataset.checks import parquet as check
from metavox_collector.dataset.emit import parquet
from metavox_collector.dataset.model import Dataset
from tests.unit.collector.emit.datasets import example_dataset
from tests.unit.collector.emit.packs import Pack, pack_of

PERFORMANCE = "data/performance.parquet"


def read(file: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(file))


def with_table(pack: Pack, change: Callable[[pa.Table], pa.Table], **options: Any) -> dict[str, bytes]:
    """The pack with another performance table."""
    sink = pa.BufferOutputStream()
    pq.write_table(change(read(pack[PERFORMANCE])), sink, **{"compression": "zstd", **options})
    return {**pack, PERFORMANCE: bytes(sink.getvalue())}


def with_values(pack: Pack, name: str, change: Callable[[list[Any]], list[Any]]) -> dict[str, bytes]:
    """The pack with other values in one column of the performance table."""

    def other(table: pa.Table) -> pa.Table:
        index = table.schema.names.index(name)
        field = table.schema.field(name)
        return table.set_column(index, field, pa.array(change(table.column(name).to_pylist()), field.type))

    return with_table(pack, other)


def test_every_value_is_read_back_as_it_was(dataset: Dataset, pack: Pack) -> None:
    for table in dataset.tables:
        assert read(pack[f"data/{table.name}.parquet"]).to_pylist() == [dict(row) for row in table.rows]
    assert dataset.table("performance").rows


def test_a_column_says_what_it_holds_and_in_which_unit(dataset: Dataset, pack: Pack) -> None:
    schema = read(pack[PERFORMANCE]).schema
    for column in dataset.table("performance").columns:
        metadata = schema.field(column.name).metadata
        assert metadata[b"description"].decode() == column.description
        assert metadata.get(b"unit", b"").decode() == (column.unit or "")
    assert schema.field("p50").metadata[b"unit"] == b"unit"
    assert schema.field("contributors").metadata[b"unit"] == b"1"


def test_a_file_says_which_release_it_is_of_and_what_that_cost(dataset: Dataset, pack: Pack) -> None:
    said = {key.decode(): value for key, value in read(pack[PERFORMANCE]).schema.metadata.items()}
    assert json.loads(said["release_sha256"]) == dataset.release.sha256
    assert json.loads(said["synthetic"]) is True
    assert json.loads(said["rho"]) == dataset.release.nano_rho / 1e9
    assert json.loads(said["licence"]) == "CDLA-Permissive-2.0 OR LicenseRef-MetaVox-Commercial-1.0"


def test_a_file_is_compressed_and_says_how_it_is_sorted(pack: Pack) -> None:
    group = pq.ParquetFile(pa.BufferReader(pack[PERFORMANCE])).metadata.row_group(0)
    names = [group.column(i).path_in_schema for i in range(group.num_columns)]
    sorting = [(names[by.column_index], by.descending) for by in group.sorting_columns]
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}
    assert sorting == [
        ("contributors", True),
        *((name, False) for name in ("accelerator", "model", "quantization", "concurrency")),
    ]


def test_the_same_dataset_has_the_same_bytes(dataset: Dataset, pack: Pack) -> None:
    again = pack_of(example_dataset())
    assert again == pack
    assert parquet.emit(dataset).items() <= pack.items()


def test_duckdb_answers_from_a_file(dataset: Dataset, pack: Pack, tmp_path: Any) -> None:
    path = tmp_path / "performance.parquet"
    path.write_bytes(pack[PERFORMANCE])
    question = "SELECT accelerator, p50 FROM read_parquet($path) WHERE metric = 'time_to_first_token'"
    found = duckdb.execute(question, {"path": str(path)}).fetchall()
    expected = [row for row in dataset.table("performance").rows if row["metric"] == "time_to_first_token"]
    assert found == [(row["accelerator"], row["p50"]) for row in expected]
    assert found


def test_what_was_emitted_passes(pack: Pack) -> None:
    assert check.validate(pack) == []


def first(value: Any) -> Callable[[list[Any]], list[Any]]:
    """Another value in the first row."""
    return lambda values: [value, *values[1:]]


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != PERFORMANCE}, "missing"),
    "no parquet": (lambda p: {**p, PERFORMANCE: b"PAR1"}, "no Parquet"),
    "column gone": (lambda p: with_table(p, lambda t: t.drop_columns(["p99_low"])), "column p99_low is missing"),
    "column too many": (
        lambda p: with_table(p, lambda t: t.append_column("ip", pa.array([""] * len(t)))),
        "column ip is not declared",
    ),
    "column twice": (
        lambda p: with_table(p, lambda t: t.append_column("week", t.column("week"))),
        "column week is there twice",
    ),
    "other order": (lambda p: with_table(p, lambda t: t.select(t.schema.names[::-1])), "another order"),
    "other type": (
        lambda p: with_table(p, lambda t: t.cast(t.schema.set(5, t.schema.field(5).with_type(pa.int32())))),
        "column contributors is int32",
    ),
    "other unit": (
        lambda p: with_table(
            p, lambda t: t.cast(t.schema.set(5, t.schema.field(5).with_metadata({"description": "many"})))
        ),
        "column contributors has another description or unit",
    ),
    "no facts": (
        lambda p: with_table(p, lambda t: t.replace_schema_metadata(None)),
        "its metadata says week = None",
    ),
    "not zstd": (lambda p: with_table(p, lambda t: t, compression="snappy"), "not compressed by Zstandard"),
    "row gone": (lambda p: with_table(p, lambda t: t.slice(1)), "rows, declared"),
    "unsorted": (lambda p: with_table(p, lambda t: t.take(list(range(len(t)))[::-1])), "not sorted"),
    "key twice": (lambda p: with_values(p, "metric", lambda v: [v[1], *v[1:]]), "two rows have the same key"),
    "not in vocabulary": (
        lambda p: with_values(p, "model", first("/home/me/model")),
        "model is '/home/me/model', which is not in its vocabulary",
    ),
    "below threshold": (
        lambda p: with_values(p, "contributors", lambda v: [*v[:-1], 3]),
        "contributors 3 are below the threshold",
    ),
    "other week": (lambda p: with_values(p, "week", first("2026-W48")), "not the release's"),
    "a measurement": (lambda p: with_values(p, "synthetic", first(False)), "not the release's"),
    "infinite": (lambda p: with_values(p, "p99", first(float("inf"))), "p99 is inf"),
    "other metric's unit": (lambda p: with_values(p, "unit", first("By")), "unit is 'By'"),
    "outside of interval": (lambda p: with_values(p, "p50_low", first(1e6)), "p50 is outside of its interval"),
    "no interval": (
        lambda p: with_values(p, "mean_high", first(None)),
        "mean and its interval are not given together",
    ),
    "share of a time": (lambda p: with_values(p, "share", first(0.5)), "share is given, which time_to_first_token"),
    "shares of no sum": (
        lambda p: with_values(p, "histogram", lambda v: [[0.5] * 64, *v[1:]]),
        "histogram is not of shares that add up to 1",
    ),
    "histogram short": (lambda p: with_values(p, "histogram", first([1.0])), "histogram has 1 buckets"),
    "a share above 1": (
        lambda p: with_values(p, "share", lambda v: [*v[:-1], 1.5]),
        "share is not between 0 and 1",
    ),
    "no share in a bucket": (
        lambda p: with_values(p, "histogram", lambda v: [[None] * 64, *v[1:]]),
        "histogram is not of shares",
    ),
    "no number in noisy": (
        lambda p: with_values(p, "noisy", lambda v: [[None] * 72, *v[1:]]),
        "noisy has 0 numbers",
    ),
    "noisy short": (lambda p: with_values(p, "noisy", first([1, 2])), "noisy has 2 numbers"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_was_changed_is_named(pack: Pack, which: str) -> None:
    change, said = BROKEN[which]
    problems = check.validate(change(pack))
    assert any(said in problem and problem.startswith(PERFORMANCE) for problem in problems), problems


def test_a_release_without_a_cell_has_its_columns_all_the_same() -> None:
    dataset = example_dataset(cells=0)
    pack = pack_of(dataset)
    assert check.validate(pack) == []
    assert read(pack[PERFORMANCE]).num_rows == 0
    assert read(pack[PERFORMANCE]).schema.names == [c.name for c in dataset.table("performance").columns]
