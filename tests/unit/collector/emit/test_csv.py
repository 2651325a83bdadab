from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping

import pandas as pd
import pytest

from metavox_collector.dataset.checks import csv as check
from metavox_collector.dataset.model import Dataset
from metavox_privacy.schema import SCHEMA
from tests.unit.collector.emit.packs import Pack, replaced

PERFORMANCE = "csv/performance.csv"


def rows_of(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.decode(), newline="")))


def test_cells_say_the_values_to_the_last_digit(dataset: Dataset, pack: Pack) -> None:
    read_back, rows = rows_of(pack[PERFORMANCE]), dataset.table("performance").rows
    assert len(read_back) == len(rows) > 0
    for written, row in zip(read_back, rows, strict=True):
        assert int(written["contributors"]) == row["contributors"]
        assert json.loads(written["noisy"]) == row["noisy"]
        assert written["synthetic"] == "true"
        assert (float(written["p50"]) if written["p50"] else None) == row["p50"]


def test_pandas_reads_the_same_numbers_from_both_files(pack: Pack) -> None:
    from_csv = pd.read_csv(io.BytesIO(pack[PERFORMANCE]), float_precision="round_trip")
    from_parquet = pd.read_parquet(io.BytesIO(pack["data/performance.parquet"]))
    same = [name for name in from_csv if name not in ("histogram", "noisy")]
    pd.testing.assert_frame_equal(from_csv[same], from_parquet[same])


def test_lines_end_as_the_standard_says(pack: Pack) -> None:
    assert pack[PERFORMANCE].endswith(b"\r\n")
    assert pack[PERFORMANCE].count(b"\r\n") == pack[PERFORMANCE].count(b"\n")
    assert not pack[PERFORMANCE].startswith(b"\xef\xbb\xbf")


def test_no_word_of_a_vocabulary_is_a_formula_to_a_spreadsheet() -> None:
    words = {word for dimension in SCHEMA.dimensions for word in dimension.vocabulary}
    assert not [word for word in words if word.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert words


def test_what_was_emitted_passes(pack: Pack) -> None:
    assert check.validate(pack) == []


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != PERFORMANCE}, "missing"),
    "not UTF-8": (lambda p: {**p, PERFORMANCE: b"\xff" + p[PERFORMANCE]}, "not UTF-8 at byte 0"),
    "unix lines": (lambda p: {**p, PERFORMANCE: p[PERFORMANCE].replace(b"\r\n", b"\n")}, "do not end in CR LF"),
    "other column": (lambda p: replaced(p, PERFORMANCE, "p50_low", "p51_low"), "its header is not"),
    "row gone": (lambda p: {**p, PERFORMANCE: p[PERFORMANCE].rsplit(b"\r\n", 2)[0] + b"\r\n"}, "rows,"),
    "row too long": (lambda p: replaced(p, PERFORMANCE, "true\r\n", "true,true\r\n"), "row 1 has"),
    "other boolean": (lambda p: replaced(p, PERFORMANCE, "true\r\n", "TRUE\r\n"), "row 1: synthetic is 'TRUE'"),
    "other word": (lambda p: replaced(p, PERFORMANCE, "bfloat16", "float16"), "row 1: quantization is 'float16'"),
    "no number": (lambda p: replaced(p, PERFORMANCE, ",s,", ",s,1e400"), "row 1: p50 is"),
    "open quote": (lambda p: replaced(p, PERFORMANCE, ",s,", ',s,"'), "csv/performance.csv: "),
    "all rows differ": (lambda p: {**p, PERFORMANCE: p[PERFORMANCE].replace(b"W47", b"W48")}, "more values differ"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_was_changed_is_named(pack: Pack, which: str) -> None:
    change, said = BROKEN[which]
    problems = check.validate(change(pack))
    assert any(said in problem and problem.startswith(PERFORMANCE) for problem in problems), problems


def test_no_figure_pretends_to_more_than_six_digits(dataset: Dataset) -> None:
    table = dataset.table("performance")
    numbers = [value for row in table.rows for value in row.values() if isinstance(value, float)]
    numbers += [share for row in table.rows if isinstance(row["histogram"], list) for share in row["histogram"]]
    assert len(numbers) > 100
    assert any(number != round(number, 3) for number in numbers)
    assert all(number == float(f"{number:.6g}") for number in numbers)


def test_the_card_says_that_versions_are_text_for_a_reader_without_types_takes_them_for_numbers(pack: Pack) -> None:
    versions = SCHEMA.dimension["engine_version"].vocabulary
    assert "0.10" in versions
    guessed = pd.read_csv(io.StringIO("engine_version\n0.10\n"))["engine_version"].astype(str)
    assert list(guessed) == ["0.1"]
    assert "a version such as\n0.10 becomes the number 0.1" in pack["README.md"].decode()
