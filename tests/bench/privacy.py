"""Accuracy of a private release, beside PipelineDP, diffprivlib and OpenDP's quantiles, on the same fleets.

``make bench-privacy`` measures all parts and writes ``out/privacy.json``; ``docs/accuracy.md`` explains them.
*Like for like*: one table of 200 public cells with one metric, the whole budget of an ε at δ = 1e-8, for everyone
the same fleet and the same protected unit, an installation. *As shipped*: the schema's tables and metrics out of
the shipped budget of a week; *variants* are other ways to divide it, *scope* smaller fleets. ``--quick`` measures
the settings that have targets. Every result is written when it is there, and ``--resume`` goes on from them.
Nothing of it is about speed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.private_releases import like_for_like, shipped
from tests.bench.private_releases.errors import LEVELS
from tests.bench.private_releases.fleet import SHAPES
from tests.bench.private_releases.like_for_like import BY_SIZE, EQUAL, Keep, Row
from tests.bench.private_releases.parts import Parts

FORMER = {"p50": 0.047, "p90": 0.095, "p99": 0.22}
"""Identity histograms and the best contiguous support at 100,000 installations and ε = 1, log-normal."""
SHIPPED = {"p50": 0.08, "p90": 0.15}
OUT = Path("out/privacy.json")
PARTS = ("like-for-like", "shipped", "variants", "scope", "counts", "bounds")
QUICK = ("like-for-like", "shipped")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked, print it and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only the settings that have targets")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--installations", type=int, nargs="*", help="like for like: only fleets of these sizes")
    parser.add_argument("--epsilon", type=float, nargs="*", help="like for like: only these ε")
    parser.add_argument("--shape", choices=SHAPES, nargs="*", help="like for like: only fleets of these shapes")
    parser.add_argument("--who", nargs="*", help="like for like: only competitors whose name begins so")
    parser.add_argument("--resume", action="store_true", help=f"keep what {OUT} has, measure the rest")
    asked = parser.parse_args(arguments)
    console = Console(width=140)
    keep = Parts(OUT, {name: version(name) for name in ("opendp", "numpy", "scipy")}, resume=asked.resume).result
    parts: dict[str, Callable[[], None]] = {
        "like-for-like": lambda: measure_like_for_like(console, keep, asked),
        "shipped": lambda: measure_shipped(console, keep, "As shipped", shipped.shipped(), quick=asked.quick),
        "variants": lambda: measure_shipped(console, keep, "Shares tried", shipped.shares_tried()),
        "scope": lambda: measure_shipped(console, keep, "Smaller fleets", shipped.scopes()),
        "counts": lambda: print_counts(console, like_for_like.counts_tried(keep)),
        "bounds": lambda: print_rows(
            console, "Cells that a peer keeps", [[row] for row in like_for_like.bounds_tried(keep)]
        ),
    }
    for name in (asked.only,) if asked.only else QUICK if asked.quick else PARTS:
        parts[name]()
    console.print(f"wrote {OUT}")


def measure_like_for_like(console: Console, keep: Keep, asked: argparse.Namespace) -> None:
    """A row for each competitor and setting, then each target beside its figure."""
    groups: dict[tuple[int, str, float, str], list[Row]] = defaultdict(list)
    for setting in like_for_like.settings(asked.quick):
        if asked.installations and setting.installations not in asked.installations:
            continue
        if asked.epsilon and setting.epsilon not in asked.epsilon:
            continue
        if asked.shape and setting.shape not in asked.shape:
            continue
        for row in like_for_like.compare(setting, keep, asked.who):
            groups[row.installations, row.shape, row.epsilon, row.competitor].append(row)
    print_rows(console, "Like for like: median relative error over 200 cells of each fleet", list(groups.values()))
    print_targets(console, list(targets(groups)))


def targets(groups: dict[tuple[int, str, float, str], list[Row]]) -> Iterator[dict[str, Any]]:
    """At 100,000 installations and ε = 1, each figure of ours beside the best peer's, however it was asked."""
    for shape in SHAPES:
        found = {
            key[3]: like_for_like.together(rows) for key, rows in groups.items() if key[:3] == (100_000, shape, 1.0)
        }
        for name in (name for name in (EQUAL, BY_SIZE) if name in found):
            for level in LEVELS:
                others = [error[level]["median"] for who, error in found.items() if who not in (EQUAL, BY_SIZE)]
                yield {
                    "shape": shape,
                    "competitor": name,
                    "figure": level,
                    "error": found[name][level]["median"],
                    "best_peer": min(others, default=None),
                    "former": FORMER[level] if shape == "log-normal" else None,
                }


def print_rows(console: Console, title: str, groups: Sequence[Sequence[Row]]) -> None:
    """A line for each group of rows, their cells put together."""
    table = Table(
        "installations",
        "shape",
        "ε",
        "who",
        "fleets",
        "cells kept",
        "released",
        *LEVELS,
        *(f"{n} given" for n in LEVELS),
        title=title,
    )
    for rows in groups:
        row, error = rows[0], like_for_like.together(rows)
        table.add_row(
            f"{row.installations:,}",
            row.shape,
            f"{row.epsilon:g}",
            row.competitor,
            str(len(rows)),
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


def print_counts(console: Console, tried: Iterable[tuple[int, dict[str, dict[str, float]]]]) -> None:
    """A line for each share of the counts."""
    table = Table("counts, ‰ of ρ", *LEVELS, title="What the counts' share costs: log-normal, 100,000, ε = 1")
    for counts, error in tried:
        table.add_row(str(counts), *(f"{error[level]['median']:.2%}" for level in LEVELS))
    console.print(table)


def measure_shipped(
    console: Console, keep: Keep, title: str, variants: Iterable[shipped.Variant], *, quick: bool = False
) -> None:
    """A line for each variant and metric."""
    table = Table(
        "variant",
        "metric",
        "‰",
        "released",
        "threshold",
        *LEVELS,
        *(f"{n}, buckets alone" for n in LEVELS),
        *(f"{n} given" for n in LEVELS),
        "within 8 / 15 %",
        title=f"{title}: median relative error over the cells that hold nine tenths of installations",
    )
    for variant in variants:
        if quick and variant.name != shipped.SHIPS:
            continue
        record = keep(variant.part, partial(shipped.measure, variant))
        for name, found in record["metrics"].items():
            if "error" not in found:
                table.add_row(variant.name, name, str(record["shares"][name]), f"noise {found['noise']:.1%}")
                continue
            error = found["error"]
            table.add_row(
                variant.name,
                name,
                str(record["shares"][name]),
                f"{record['released']:.0%}",
                f"{record['threshold']:.0f}",
                *(f"{error[level]['median']:.1%}" for level in LEVELS),
                *(f"{found['buckets_alone'][level]['median']:.1%}" for level in LEVELS),
                *(f"{found['given'][level]:.0%}" for level in LEVELS),
                "yes" if all(error[level]["median"] <= most for level, most in SHIPPED.items()) else "NO",
            )
    console.print(table)


if __name__ == "__main__":
    main()
