"""``metavox telemetry journal``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from metavox.cli.telemetry.shared import AsJson, clear_errors, tell
from metavox.telemetry.home.folders import Home
from metavox_privacy.fields import Metric
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.telemetry.journal.holdings import HeldCell, HeldWeek, Holdings
    from metavox_privacy.consent import Consent

_UNITS = {"By": (2**20, "MiB")}
"""Units of the list as people write them, each with how many of the list's make one."""


def journal(as_json: AsJson = False) -> None:
    """List all that is counted, week by week and combination by combination, in words and numbers."""
    from metavox.telemetry.journal.holdings import holdings

    home = Home.from_environment(os.environ)
    with clear_errors():
        consent, held = home.consent(os.environ), holdings(home.journal_file)
    facts = {"file": home.journal_file, "weeks": [as_facts(week) for week in held.weeks]}
    tell(facts, *_lines(held, consent), as_json=as_json)


def as_facts(week: HeldWeek) -> dict[str, Any]:
    """A week as plain data, but for what only its owner should see: the token and the bytes."""
    report = week.report
    return {
        "week": str(report.week),
        "outcome": report.outcome,
        "is_built": report.body is not None,
        "due_at": report.due_at,
        "collector": report.collector,
        "tries": report.tries,
        "tried_at": report.tried_at,
        "cells": [_cell_facts(cell) for cell in week.cells],
    }


def _cell_facts(cell: HeldCell) -> dict[str, Any]:
    names = [dimension.name for dimension in SCHEMA.dimensions]
    return {
        "cell": dict(zip(names, cell.words, strict=False)),
        "requests": cell.requests,
        "buckets": cell.buckets,
    }


def _lines(held: Holdings, consent: Consent) -> Iterator[str]:
    if not held.weeks:
        yield "The journal is empty: nothing is counted."
        return
    if not consent.granted:
        yield f"Contributions are off, {consent.rule}: none of this is sent, and nothing is added."
    elif not held.is_of(consent.since):
        yield "This was counted under an earlier yes: it is never sent, and deleted with the next counted request."
    for week in held.weeks:
        yield f"Week {week.report.week}: {_state(week)}"
        for cell in week.cells:
            yield from _cell(cell)


def _state(week: HeldWeek) -> str:
    report = week.report
    if report.outcome == "withdrawn":
        return f"withdrawn; of its report, which went or may have gone to {report.collector}, the token is kept"
    if report.outcome is not None:
        return f"its report was {report.outcome} ({report.collector}); the counts are deleted"
    if report.body is not None:
        return f"its report holds the counts; {report.collector} was tried {report.tries} times"
    is_over = datetime.now(timezone.utc) >= report.week.end
    return f"{'over' if is_over else 'counting'}; its report may be sent from {report.due_at:%Y-%m-%d %H:%M} UTC"


def _cell(cell: HeldCell) -> Iterator[str]:
    yield f"  {cell.requests} {'request' if cell.requests == 1 else 'requests'}"
    for dimension, word in zip(SCHEMA.dimensions, cell.words, strict=False):
        yield f"    {dimension.name}: {word}"
    for name, buckets in cell.buckets.items():
        metric = SCHEMA.metric.get(name)
        counts = sorted(buckets.items())
        yield f"    {name}: " + ", ".join(f"{n} {bucket_in_words(metric, bucket)}" for bucket, n in counts)


def bucket_in_words(metric: Metric | None, bucket: int) -> str:
    """What a bucket's number means, such as ``at 0.025-0.03 s``."""
    if metric is None:  # of another release's list
        return f"in bucket {bucket}"
    if metric.is_rate:
        return ("worked", "failed")[bucket] if bucket in (0, 1) else f"in bucket {bucket}"
    size, unit = _UNITS.get(metric.unit, (1, metric.unit))
    edges = [f"{edge / size:.4g}" if edge < 1000 * size else f"{edge / size:.0f}" for edge in metric.edges]
    if bucket <= 0:
        return f"at {edges[0]} {unit} or less"
    return f"above {edges[-1]} {unit}" if bucket >= len(edges) else f"at {edges[bucket - 1]}-{edges[bucket]} {unit}"
