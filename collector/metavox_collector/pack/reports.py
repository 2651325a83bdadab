"""The reports of the audit and of the attacks: read from files, and held against the release that they go with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metavox_collector.errors import ReleaseRefused
from metavox_collector.proof import canonical
from metavox_collector.proof.canonical import NotCanonical


def report_from(path: Path) -> Mapping[str, Any]:
    """Read a report that was written before; raises ReleaseRefused if it is none."""
    try:
        value = canonical.read(path.read_bytes())
    except OSError as error:
        raise ReleaseRefused(f"{path} cannot be read: {error.strerror}") from None
    except NotCanonical as error:
        raise ReleaseRefused(f"{path} holds no report: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("verdict"), str):
        raise ReleaseRefused(f"{path} holds no report with a verdict; 'audit' or 'attacks' with --out writes one")
    return value


def failures(report: Mapping[str, Any]) -> Iterator[str]:
    """What of a report did not pass, by name."""
    if report.get("verdict") != "pass":
        yield "its verdict is not 'pass'"
    for gate in _gates(report):
        if gate.get("verdict") != "pass":
            yield f"{gate.get('name')} has not passed"


def _gates(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = report.get("gates", [])
    return [gate for gate in found if isinstance(gate, dict)] if isinstance(found, list) else []
