"""Whether the raw release is what the stated mechanism draws, and the parameters are what the software derives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from metavox_collector.dataset.facts import facts, privacy
from metavox_collector.dataset.statement import Statement
from metavox_collector.pack.opened import Opened
from metavox_collector.proof.parameters import FORMAT, SELF_SELECTION, coverage, shown, specification
from metavox_collector.proof.paths import PARAMETERS, RELEASE
from metavox_collector.proof.problem import Problem
from metavox_privacy.notice import notice_hashes
from metavox_privacy.release import ReleasedCell, ReleasedTable

_CLOSE = 1e-9
"""Scales are computed by floating point on the buyer's machine again."""


def check_schema(pack: Opened) -> Iterator[Problem]:
    """Whether this software has the declaration that the release was made from; without it nothing compares."""
    ours = {"version": pack.schema.version, "fingerprint": pack.schema.fingerprint}
    if pack.parameters.get("schema") != ours or pack.release.schema_version != pack.schema.version:
        version = pack.release.schema_version
        words = f"it is of schema version {version}, and this software has version {pack.schema.version}"
        if version == pack.schema.version:
            words = "the schema's fingerprint is not that of this software's declaration of the same version"
        yield Problem(PARAMETERS, f"{words}; verify it with the software that made it")


def check_parameters(pack: Opened, statement: Statement, *, synthetic: bool) -> Iterator[Problem]:
    """Whether each part of the parameters is what follows from the release, the ledger and the schema."""
    release = pack.release
    derived: dict[str, Any] = {
        "format": FORMAT,
        "release": {**facts(release, synthetic=synthetic), "sha256": release.sha256},
        "privacy": privacy(release, pack.schema),
        **specification(pack.schema, release.scope, release.weeks, release.nano_rho, statement, pack.history),
        "shown": [shown(table, release) for table in release.tables],
        "coverage": coverage(release),
        "self_selection": SELF_SELECTION,
        "notices": notice_hashes(pack.schema),
    }
    for name, value in derived.items():
        if not alike(pack.parameters.get(name), value):
            yield Problem(PARAMETERS, f"'{name}' is not what follows from the release, the ledger and the schema")


def check_tables(pack: Opened) -> Iterator[Problem]:
    """Whether the release has the schema's tables, the noise that was paid for, and nothing below a threshold."""
    declared = pack.schema.in_scope(pack.release.scope)
    if [table.name for table in pack.release.tables] != [table.name for table in declared]:
        yield Problem(RELEASE, "its tables are not those of the schema")
        return
    specified = {table["name"]: table for table in pack.parameters["tables"]}
    for table in pack.release.tables:
        for words in _table(table, specified.get(table.name, {}), pack):
            yield Problem(RELEASE, f"table {table.name}: {words}")


def _table(table: ReleasedTable, stated: Any, pack: Opened) -> Iterator[str]:
    scales = {one["metric"]: one["noise_scale"] for one in stated["histograms"]}
    noise = {"counts": stated["counts"]["noise_scale"], **scales}
    if not alike({"counts": table.count_scale, **table.histogram_scales}, noise):
        yield "the noise is not what was paid for"
    if (table.keys, table.threshold) != (stated["possible_keys"], stated["counts"]["threshold"]):
        yield "its key space or its threshold is not what the schema and the noise ask for"
    if list(table.dimensions) != stated["dimensions"]:
        yield "its key is not the schema's"
        return
    lengths = {one["metric"]: one["spread_buckets"] for one in stated["histograms"]}
    vocabularies = [frozenset(pack.schema.dimension[name].vocabulary) for name in table.dimensions]
    for cell in table.cells:
        yield from _cell(cell, table, lengths, vocabularies)
    if len({cell.key for cell in table.cells}) != len(table.cells):
        yield "a key is published twice"
    if list(table.cells) != sorted(table.cells, key=lambda cell: (-cell.contributors, cell.key)):
        yield "its cells are not in their order"


def _cell(
    cell: ReleasedCell, table: ReleasedTable, lengths: dict[str, int], vocabularies: list[frozenset[str]]
) -> Iterator[str]:
    named = ", ".join(cell.key)
    if len(cell.key) != len(vocabularies) or not all(map(frozenset.__contains__, vocabularies, cell.key)):
        yield f"{named} is no key of the public key space"
    if cell.contributors < table.threshold:
        yield f"{named} is published with {cell.contributors} contributors, below the threshold"
    if {name: len(units) for name, units in cell.histograms.items()} != lengths:
        yield f"{named} has other histograms than the schema's"


def alike(left: Any, right: Any) -> bool:
    """Whether two JSON-ready values are the same but for the last digits of floating point."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(alike(left[name], right[name]) for name in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, float) and isinstance(right, (int, float)):
        return not isinstance(right, bool) and math.isclose(left, right, rel_tol=_CLOSE)
    return type(left) is type(right) and bool(left == right)
