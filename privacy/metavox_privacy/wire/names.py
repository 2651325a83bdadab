"""How a report is named on the wire, and what of it follows from its id and week."""

from __future__ import annotations

import hashlib
from datetime import datetime

SCOPE = "metavox.contribution"
SPAN_NAME = "metavox.cell"
VERSION = "metavox.schema.version"
WEEK = "metavox.week"
REPORT_ID = "metavox.report.id"
PURPOSES = "metavox.purposes"
SYNTHETIC = "metavox.synthetic"


def trace_id(report_id: str) -> bytes:
    """A report's trace id, 16 bytes, which follows from its own id, so that it says nothing more."""
    return bytes.fromhex(report_id)[:16]


def span_id(report_id: str, index: int) -> bytes:
    """The span id, 8 bytes, of a report's cell."""
    return hashlib.sha256(f"{report_id}/{index}".encode()).digest()[:8]


def nano(moment: datetime) -> int:
    """A moment as OTLP writes it, in nanoseconds since 1970."""
    return int(moment.timestamp()) * 10**9
