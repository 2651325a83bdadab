"""A run's results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Results = dict[str, Any]


def print_report(console: Console, results: Results) -> None:
    """Print a table for every section that was measured, the targets, and what failed."""
    if "limits" in results:
        console.print(
            _table("What the machine allows", ("measured", "best"), results["limits"]["measured"].items())
        )
    for section in ("speed", "quantized"):
        if section in results:
            console.print(_speeds(section, results))
    for section in ("prefix", "speculative", "overhead", "load", "ready"):
        if section in results:
            console.print(_table(section, ("measured", "value"), _flat(results[section])))
    if "perplexity" in results:
        columns = ("variant", "perplexity", "change")
        rows = [(one["variant"], *_perplexity(one)) for one in results["perplexity"]]
        console.print(_table("perplexity of metavox/tiny", columns, rows))
    if results["targets"]:
        console.print(_targets(results["targets"]))
    for section, message in results["failures"].items():
        console.print(f"[red]{section} failed:[/] {message}", highlight=False)


def _speeds(section: str, results: Results) -> Table:
    """A row for each engine and number of sequences; the ratio is that of ours to the engine's decode rate."""
    own = {one["num_seqs"]: one for one in results[section] if one["engine"] == "metavox bf16"}
    rows: list[tuple[object, ...]] = []
    for one in sorted(results[section], key=lambda one: one["num_seqs"]):
        if "error" in one:
            rows.append((one["engine"], one["num_seqs"], one["error"]))
            continue
        ratio = own.get(one["num_seqs"], {}).get("decode", float("nan")) / one["decode"]
        others = [turn["others"] for turn in one["rounds"] if turn["others"] is not None]
        quiet = f"{min(others):.0%}" if others else "?"
        row = (one["engine"], one["num_seqs"], one["prefill"], one["decode"], 1e3 * one["tpot"], ratio, quiet)
        rows.append(row)
    if section == "speed":
        steps = results.get("limits", {}).get("steps", ())
        rows += [("limit", one["num_seqs"], one["prefill"], one["decode"], 1e3 * one["tpot"]) for one in steps]
    title = f"{section}: tokens a second, best of the rounds; 'ratio' is metavox bf16's decode rate to the row's"
    columns = ("engine", "sequences", "prefill", "decode", "ms/token", "ratio", "others")
    return _table(title, columns, rows)


def _targets(targets: Sequence[Results]) -> Table:
    rows = []
    for one in targets:
        bound = f"{'≤' if one['at_most'] else '≥'} {one['bound']:g}"
        rows.append((one["claim"], one["value"], bound, "[green]yes[/]" if one["reached"] else "[red]no[/]"))
    return _table("targets", ("ratio", "measured", "target", "reached"), rows)


def _perplexity(one: Results) -> tuple[object, ...]:
    if "error" in one:
        return (one["error"],)
    return f"{one['perplexity']:.4f}", "" if one["change"] is None else f"{one['change']:+.3%}"


def _flat(results: Results, prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in results.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", value


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left", no_wrap=not at)
    for row in rows:
        table.add_row(*map(_shown, row))
    return table


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
