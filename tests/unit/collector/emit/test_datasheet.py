from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from metavox_collector.dataset.checks import datasheet as check
from metavox_collector.dataset.emit import datasheet
from metavox_collector.dataset.model import Dataset
from tests.unit.collector.emit.packs import Pack, replaced

SHEET = "datasheet.md"


def test_it_says_how_many_rows_there_are_and_how_many_figures_noise_has_left(dataset: Dataset, pack: Pack) -> None:
    text = pack[SHEET].decode()
    table = dataset.table("performance")
    assert f"| `performance` | {len(table.rows)} | {len(table.released.cells)} | 299,376 |" in text
    rows = [row for row in table.rows if row["metric"] == "time_per_output_token"]
    given = sum(row["p50"] is not None for row in rows)
    assert (
        f"| 64 | {given} of {len(rows)} | {table.released.histogram_scales['time_per_output_token']:,.0f} |" in text
    )


def test_it_says_which_corrections_the_ledger_holds(dataset: Dataset) -> None:
    entry = replace(dataset.history[-1], reason="withdrawn", nano_rho=0, sequence=2)
    corrected = replace(dataset, history=(*dataset.history, entry))
    assert "The ledger holds 1 correction of this release: withdrawn." in datasheet.emit(corrected)[SHEET].decode()
    assert "**Erratum.** None." in datasheet.emit(dataset)[SHEET].decode()


def test_what_was_emitted_passes(pack: Pack) -> None:
    assert check.validate(pack) == []


@pytest.mark.parametrize(("section", "point"), [(s, p) for s, points in check.POINTS.items() for p in points])
def test_a_point_without_an_answer_is_named(pack: Pack, section: str, point: str) -> None:
    text = pack[SHEET].decode()
    start = text.index(f"**{point}.**", text.index(f"## {section}\n")) + len(f"**{point}.**")
    ends = [found for mark in ("\n**", "\n## ") if (found := text.find(mark, start)) > 0]
    broken = text[:start] + text[min(ends, default=len(text)) :]
    assert f"{SHEET}: {section}: nothing on '{point}'" in check.validate({**pack, SHEET: broken.encode()})


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != SHEET}, "missing"),
    "empty": (lambda p: {**p, SHEET: b""}, "its sections are none"),
    "a section gone": (lambda p: replaced(p, SHEET, "## 5. Uses", "### 5. Uses"), "its sections are 1. Motivation"),
    "no impact assessment": (
        lambda p: {k: v for k, v in p.items() if k != "gdpr/dpia.md"},
        "sends its reader to gdpr/dpia.md, which is not in the pack",
    ),
    "no measurement": (
        lambda p: replaced(p, SHEET, "**Synthetic:", "**Measured:"),
        "whether the release is synthetic",
    ),
    "other code": (lambda p: replaced(p, SHEET, "abab", "cdcd"), "does not say the code's SHA-256"),
    "other threshold": (lambda p: replaced(p, SHEET, "| 299,376 | ", "| 299,376 | 1"), "threshold of performance"),
    "no publisher": (lambda p: {**p, SHEET: p[SHEET].replace(b"GmbH", b"Ltd")}, "does not say the publisher"),
    "another ε": (lambda p: {**p, SHEET: p[SHEET].replace("ε = 0.9".encode(), b"0.1")}, "does not say ε"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_was_changed_is_named(pack: Pack, which: str) -> None:
    change, said = BROKEN[which]
    problems = check.validate(change(pack))
    assert any(said in problem and problem.startswith(SHEET) for problem in problems), problems
