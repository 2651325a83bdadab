"""The data dictionary: of the right form, of one piece, and at one with the files that it names."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from metavox_collector.dataset.checks.reading import Pack, Unusable, document, telling
from metavox_collector.dataset.licences import EXPRESSION
from metavox_collector.dataset.model import FIGURES
from metavox_collector.dataset.paths import DICTIONARY, csv_path, parquet_path
from metavox_privacy.budget import epsilon

MEASURED = {
    "metric": "string",
    "unit": "string",
    "signal_to_noise": "double",
    "histogram": "list<double>",
    "noisy": "list<int64>",
    **{f"{name}{end}": "double" for name in FIGURES for end in ("", "_low", "_high")},
}
"""The columns of a table with metrics, beside those of every table, and their types."""

UNUSABLE = f"{DICTIONARY}: wrong in itself, so that what it declares could not be checked"


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with the data dictionary, a line each."""
    described = document(pack, DICTIONARY, "dictionary")
    return [f"{DICTIONARY}: {problem}" for problem in (*_problems(described), *_files(described, pack))]


def dictionary(pack: Pack) -> dict[str, Any]:
    """The data dictionary, not to be changed; raises Unusable if it is missing, malformed or contradicts itself."""
    described = _usable(pack[DICTIONARY]) if DICTIONARY in pack else None
    if described is None:
        raise Unusable(UNUSABLE)
    return described


@lru_cache(maxsize=2)
def _usable(content: bytes) -> dict[str, Any] | None:
    """The same from its bytes; each check asks for it, and its form takes a tenth of a second to look at."""
    try:
        described = document({DICTIONARY: content}, DICTIONARY, "dictionary")
    except Unusable:
        return None
    return None if any(_problems(described)) else described


def _problems(described: dict[str, Any]) -> Iterator[str]:
    yield from _release(described)
    for metric in described["metrics"]:
        yield from _metric(metric)
    names = [table["name"] for table in described["tables"]]
    if len(names) != len(set(names)):
        yield "a table is there twice"
    measured = {metric["name"] for metric in described["metrics"]}
    for table in described["tables"]:
        yield from _table(table, measured)


def _files(described: dict[str, Any], pack: Pack) -> Iterator[str]:
    files = {table[kind] for table in described["tables"] for kind in ("file", "csv")}
    yield from (f"{path} is missing" for path in sorted(files - pack.keys()))
    for path in sorted(pack.keys() - files):
        if path.startswith(("data/", "csv/")):
            yield f"{path} is in the pack and in no table"


def _release(described: dict[str, Any]) -> Iterator[str]:
    release, privacy = described["release"], described["privacy"]
    licence = EXPRESSION if release["purpose"] == "publish" else "NONE"
    if described["licence"] != licence:
        yield f"licence is {described['licence']!r}, not {licence!r}"
    if release["week"] not in described["name"] or release["purpose"] not in described["name"]:
        yield "name does not hold the release's week and purpose"
    if ("synthetic" in described["name"]) != release["synthetic"]:
        yield "name does not say whether the release is synthetic"
    if privacy["rho"] != release["rho"] or privacy["rho_by_purpose"].get(release["purpose"]) != release["rho"]:
        yield "privacy.rho and privacy.rho_by_purpose differ from release.rho"
    if not math.isclose(privacy["rho_together"], sum(privacy["rho_by_purpose"].values())):
        yield "privacy.rho_together is not the sum of rho_by_purpose"
    if privacy["rho_spent_in_year"] > privacy["rho_yearly_cap"]:
        yield "more was spent in the year than the cap permits"
    for name, part, rho in (("epsilon", release, release["rho"]), ("epsilon_together", privacy, None)):
        implied = epsilon(round((rho or privacy["rho_together"]) * 1e9), release["delta"])
        if not math.isclose(part[name], implied, rel_tol=1e-6):
            yield f"{name} is {part[name]:g}, where ρ implies {implied:g}"


def _metric(metric: dict[str, Any]) -> Iterator[str]:
    name, edges = metric["name"], metric["bucket_edges"]
    if any(a >= b for a, b in itertools.pairwise(edges)):
        yield f"metric {name}: bucket_edges do not ascend"
    if metric["buckets"] != (2 if metric["rate"] else len(edges) + 1):
        yield f"metric {name}: {metric['buckets']} buckets do not go with {len(edges)} bucket_edges"
    if metric["spread_buckets"] != metric["buckets"] + len(metric["kernel"]) - 1:
        yield f"metric {name}: spread_buckets do not go with the kernel"


def _table(table: dict[str, Any], measured: set[str]) -> Iterator[str]:
    name, scales = table["name"], table["histogram_noise_scales"]
    types = {column["name"]: column["type"] for column in table["columns"]}
    if len(types) != len(table["columns"]):
        yield f"table {name}: a column is there twice"
    needed = {"week": "string", "contributors": "int64", "synthetic": "bool", **(MEASURED if scales else {})}
    for column, kind in needed.items():
        if types.get(column) != kind:
            yield f"table {name}: no column {column} of type {kind}"
    for column in table["primary_key"]:
        if types.get(column) != "string":
            yield f"table {name}: key {column} is no column of type string"
    for metric in sorted(scales.keys() - measured):
        yield f"table {name}: metric {metric} is not described"
    if table["rows"] != table["cells"] * max(1, len(scales)):
        yield f"table {name}: {table['rows']} rows do not go with {table['cells']} cells"
    if (table["file"], table["csv"]) != (parquet_path(name), csv_path(name)):
        yield f"table {name}: file and csv are not {parquet_path(name)} and {csv_path(name)}"
