"""The release and the ledger as files: exactly what was hashed, so that ``sha256sum`` can hold them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

from metavox_collector.proof import canonical
from metavox_collector.proof.canonical import NotCanonical
from metavox_privacy.budget import LedgerEntry
from metavox_privacy.release import Release, ReleasedCell, ReleasedTable
from metavox_privacy.week import Week

_T = TypeVar("_T")


def release_bytes(release: Release) -> bytes:
    """The raw release. The SHA-256 of these bytes is what its ledger entry holds."""
    return release.canonical.encode()


def read_release(content: bytes) -> Release:
    """The release that was written; raises NotCanonical if the bytes are none, or written otherwise."""
    release = _shaped(_release, canonical.read(content))
    if release_bytes(release) != content:
        raise NotCanonical("it is not written as a release is")
    return release


def ledger_bytes(history: Sequence[LedgerEntry]) -> bytes:
    """The ledger's entries, oldest first."""
    return canonical.legible([{**asdict(entry), "week": str(entry.week)} for entry in history])


def read_ledger(content: bytes) -> tuple[LedgerEntry, ...]:
    """The entries that were written, whether or not they are a chain; raises NotCanonical."""
    return _shaped(_ledger, canonical.read_legible(content))


def _shaped(make: Callable[[Any], _T], value: Any) -> _T:
    try:
        return make(value)
    except NotCanonical:
        raise
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NotCanonical("its fields are not those that belong there") from None


def _release(value: Any) -> Release:
    tables = tuple(map(_table, value["tables"]))
    return Release(**{**value, "week": Week.parse(value["week"]), "tables": tables})


def _table(value: Any) -> ReleasedTable:
    cells = tuple(map(_cell, value["cells"]))
    return ReleasedTable(**{**value, "dimensions": tuple(value["dimensions"]), "cells": cells})


def _cell(value: Any) -> ReleasedCell:
    histograms = {metric: tuple(map(_whole, units)) for metric, units in value["histograms"].items()}
    return ReleasedCell(tuple(map(_word, value["key"])), _whole(value["contributors"]), histograms)


def _ledger(value: Any) -> tuple[LedgerEntry, ...]:
    names = {field.name for field in fields(LedgerEntry)}
    if not isinstance(value, list) or any(set(entry) != names for entry in value):
        raise NotCanonical("it is no list of a ledger's entries")
    whole = ("sequence", "weeks", "schema_version", "nano_rho", "yearly_cap")
    for entry in value:
        for name in whole:
            _whole(entry[name])
    return tuple(LedgerEntry(**{**entry, "week": Week.parse(entry["week"])}) for entry in value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise NotCanonical(f"{value!r} is no whole number")
    return value


def _word(value: Any) -> str:
    if type(value) is not str:
        raise NotCanonical(f"{value!r} is no word")
    return value
