"""Accuracy of a private release, beside PipelineDP, diffprivlib and OpenDP's quantiles, on the same fleets.

``make bench-privacy`` measures two settings and writes ``out/privacy.json``; ``docs/accuracy.md`` explains them.
*Like for like*: one table of 200 public cells with one metric, the whole budget of an ε at δ = 1e-8, for everyone
the same fleet and the same protected unit, an installation. *As shipped*: the schema's tables and metrics out of
the shipped budget of a week, and the ways to divide it that were tried. ``--quick`` measures the settings that have
targets. Everything runs on shares of 2 cores in a quarter of an hour; nothing of it is about speed.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.private_releases import like_for_like, shipped
from tests.bench.private_releases.errors import LEVELS
from tests.bench.private_releases.like_for_like import BY_SIZE, EQUAL, Row

FORMER = {"p50": 0.047, "p90": 0.095, "p99": 0.22}
"""Identity histograms and the best contiguous support at 100,000 installations and ε = 1, log-normal."""
SHIPPED = {"p50": 0.08, "p90": 0.15}
OUT = Path("out/privacy.json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked, print it and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only the settings that have targets")
    parser.add_argument("--only", choices=("like-for-like", "shipped", "bounds"), help="one part")
    asked = parser.parse_args(arguments)
    console = Console(width=140)
    record: dict[str, Any] = {"versions": {name: version(name) for name in ("opendp", "numpy", "scipy")}}
    if asked.only in (None, "like-for-like"):
        record["like_for_like"] = measure_like_for_like(console, quick=asked.quick)
    if asked.only in (None, "shipped"):
        record["as_shipped"] = measure_shipped(console, quick=asked.quick)
    if asked.only == "bounds":
        rows = list(like_for_like.bounds_tried())
        print_rows(console, "The peers with each bound on an installation's cells", [[row] for row in rows])
        record["bounds"] = [plain(row) for row in rows]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(record, indent=1) + "\n")
    console.print(f"wrote {OUT}")


def measure_like_for_like(console: Console, *, quick: bool) -> dict[str, Any]:
    """Rows, and each target beside its figure."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for setting in like_for_like.settings(quick):
        for row in like_for_like.compare(setting):
            groups[setting.installations, setting.shape, setting.epsilon, row.competitor].append(row)
    print_rows(console, "Like for like: median relative error over 200 cells", list(groups.values()))
    targets = []
    for shape in like_for_like.SHAPES:
        found = {
            key[3]: like_for_like.together(rows) for key, rows in groups.items() if key[:3] == (100_000, shape, 1.0)
        }
        for name in (EQUAL, BY_SIZE):
            for level in LEVELS:
                best = min(
                    (e[level]["median"] for n, e in found.items() if n not in (EQUAL, BY_SIZE)), default=None
                )
                figure = found[name][level]["median"]
                former = FORMER[level] if shape == "log-normal" else None
                targets.append(
                    {
                        "shape": shape,
                        "competitor": name,
                        "figure": level,
                        "error": figure,
                        "best_peer": best,
                        "former": former,
                    }
                )
    print_targets(console, targets)
    record: dict[str, Any] = {"rows": [plain(row) for rows in groups.values() for row in rows], "targets": targets}
    if not quick:
        record["counts"] = [{"permille": counts, "error": error} for counts, error in like_for_like.counts_tried()]
    return record


def plain(row: Row) -> dict[str, Any]:
    """A row for JSON, without the single cells."""
    return {name: value for name, value in asdict(row).items() if name != "by_cell"}


def print_rows(console: Console, title: str, groups: Sequence[Sequence[Row]]) -> None:
    """A line for each group of rows, their cells put together."""
    table = Table(
        "installations",
        "shape",
        "ε",
        "who",
        "cells kept",
        "released",
        *LEVELS,
        *(f"{n} given" for n in LEVELS),
        title=title,
    )
    for rows in groups:
        row, error = rows[0], like_for_like.together(rows)
        table.add_row(
            f"{row.setting.installations:,}",
            row.setting.shape,
            f"{row.setting.epsilon:g}",
            row.competitor,
            str(row.cells),
            f"{row.released:.0%}",
            *(f"{error[level]['median']:.1%}" for level in LEVELS),
            *(f"{row.given[level]:.0%}" for level in LEVELS),
        )
    console.print(table)


def print_targets(console: Console, targets: Sequence[dict[str, Any]]) -> None:
    """Each figure at 100,000 installations and ε = 1 beside the best peer's."""
    table = Table(
        "shape", "who", "figure", "error", "best peer", "better", "former", title="100,000 installations, ε = 1"
    )
    for one in targets:
        peer, former = one["best_peer"], one["former"]
        table.add_row(
            one["shape"],
            one["competitor"],
            one["figure"],
            f"{one['error']:.2%}",
            "-" if peer is None else f"{peer:.2%}",
            "-" if peer is None else "yes" if one["error"] < peer else "NO",
            "-" if former is None else f"{former:.1%}",
        )
    console.print(table)


def measure_shipped(console: Console, *, quick: bool) -> list[dict[str, Any]]:
    """A record for each variant."""
    records = []
    table = Table(
        "variant",
        "metric",
        "‰",
        "released",
        *LEVELS,
        *(f"{n}, buckets alone" for n in LEVELS),
        "within 8 / 15 %",
        title="As shipped: median relative error over the cells that hold nine tenths of installations",
    )
    for variant in shipped.variants(quick):
        record = shipped.measure(variant)
        records.append(record)
        for name, found in record["metrics"].items():
            if "error" not in found:
                continue
            error = found["error"]
            table.add_row(
                variant.name,
                name,
                str(record["shares"][name]),
                f"{record['released']:.0%}",
                *(f"{error[level]['median']:.1%}" for level in LEVELS),
                *(f"{found['buckets_alone'][level]['median']:.1%}" for level in LEVELS),
                "yes" if all(error[level]["median"] <= most for level, most in SHIPPED.items()) else "NO",
            )
    console.print(table)
    return records


if __name__ == "__main__":
    main()
