"""Figures as lines that fit the terminal: a table, or where it is too narrow for one, a list."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

GAP = "  "
HEADERS = (
    ("", "seqs"),
    ("prefill", "tok/s"),
    ("of", "limit"),
    ("decode", "tok/s"),
    ("of", "limit"),
    ("TPOT", "ms"),
    ("TTFT", "ms"),
)


def as_table(
    before: Sequence[str], results: Sequence[Mapping[str, Any]], after: Sequence[str], columns: int
) -> str:
    """Paragraphs, the figures and more paragraphs, in lines of at most `columns` characters.

    Args:
        before, after: the paragraphs.
        results: as `Result.as_document` gives them.
        columns: only a word, or the narrowest list, that is longer may pass it.
    """
    rows = [_cells(result) for result in results]
    table = _table(rows)
    figures = table if max(map(len, table)) <= columns else _lists(rows)
    wrapped = [textwrap.wrap(text, max(columns, 1), break_on_hyphens=False) for text in (*before, *after)]
    return "\n".join("\n".join(lines) for lines in _parted(wrapped[: len(before)], figures, wrapped[len(before) :]))


def _parted(before: list[list[str]], figures: list[str], after: list[list[str]]) -> list[list[str]]:
    blank = [""]
    return [*before, blank, figures, blank, *after]


def _cells(result: Mapping[str, Any]) -> list[str]:
    limits = result["limits"]
    return [
        str(result["num_seqs"]),
        _number(result["prefill_tokens_per_second"]),
        _percent(limits["prefill"]["reached"]),
        _number(result["decode_tokens_per_second"]),
        _percent(limits["decode"]["reached"]),
        _number(1000 * result["time_per_output_token"]),
        _number(1000 * result["time_to_first_token"]),
    ]


def _table(rows: list[list[str]]) -> list[str]:
    lines = [*map(list, zip(*HEADERS, strict=True)), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [GAP.join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]


def _lists(rows: list[list[str]]) -> list[str]:
    labels = [" ".join(part for part in header if part) for header in HEADERS]
    wide, high = max(map(len, labels)), max(len(cell) for row in rows for cell in row)
    lists = [[f"{label:{wide}} {cell:>{high}}" for label, cell in zip(labels, row, strict=True)] for row in rows]
    return [line for lines in lists for line in ("", *lines)][1:]


def _number(value: float | None) -> str:
    """With three digits at least, and no more behind the point than that takes."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
