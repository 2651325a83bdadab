"""The figures of a run beside their limits, and the table of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: What was measured.
        ours: MetaVox's figure.
        limit: The most it may be.
        unit: Of all three.
        peer: OpenTelemetry's, None where there is nothing to compare.
    """

    name: str
    ours: float
    limit: float
    unit: str
    peer: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether it is within its limit."""
        return self.ours <= self.limit


def figures(results: dict[str, Any]) -> list[Figure]:
    """What the sections that ran have measured, in units that people read."""
    found: list[Figure] = []
    if imports := results.get("imports"):
        found.append(Figure("import metavox", imports["metavox"] * 1e3, 30, "ms", imports["peer"] * 1e3))
        found.append(Figure("OpenTelemetry modules it loads", imports["opentelemetry_modules"], 0, ""))
    if off := results.get("off"):
        found.append(Figure("a request, off", off["mean"] * 1e6, 1, "µs"))
    if on := results.get("on"):
        ours, peer = on["on"], on["peer"]
        found.append(Figure("a request, on", ours["mean"] * 1e6, 30, "µs", peer["mean"] * 1e6))
        found.append(Figure("a request, on, p99", ours["p99"] * 1e6, 150, "µs", peer["p99"] * 1e6))
        memory = "memory after 100,000 requests"
        found.append(Figure(memory, ours["memory_bytes"] / 2**20, 2, "MiB", peer["memory_bytes"] / 2**20))
    for end in results.get("ends", []):
        name = f"end: {end['collector']}, {end['requests']} requests"
        found.append(Figure(name, end["on"] * 1e3, 50, "ms", end["peer"] * 1e3))
    if speed := results.get("speed"):
        found.append(Figure("tokens/s lost by contributing", speed["lost"] * 100, 1, "%"))
    return found


def print_figures(console: Console, found: Iterable[Figure]) -> None:
    """A table: ours, the limit, the peer's and the ratio."""
    table = Table("", "MetaVox", "at most", "", "OpenTelemetry", "ratio")
    for one in found:
        beside = ("", "")
        if one.peer is not None:
            ratio = f"{one.ours / one.peer:.3f}" if one.peer > 0 else ""
            beside = (f"{one.peer:.4g} {one.unit}", ratio)
        met = "" if one.is_met else "missed"
        table.add_row(one.name, f"{one.ours:.3g} {one.unit}", f"{one.limit} {one.unit}", met, *beside)
    console.print(table)
