"""The facts of a release as JSON-ready values, for every format that states them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from metavox_collector.dataset.licences import EXPRESSION
from metavox_collector.dataset.model import DatasetTable
from metavox_collector.dataset.statement import Statement
from metavox_collector.store import ReleaseSummary
from metavox_privacy.budget import epsilon
from metavox_privacy.release import Release
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

DELTA = 1e-8
"""The δ at which every ε is stated."""


def facts(release: Release | ReleaseSummary, *, synthetic: bool) -> dict[str, Any]:
    """What a release is."""
    return {
        "week": str(release.week),
        "weeks": release.weeks,
        "first_week": str(release.week.before(release.weeks - 1)),
        "purpose": release.purpose,
        "scope": release.scope,
        "synthetic": synthetic,
        "schema_version": release.schema_version,
        "rho": release.nano_rho / 1e9,
        "epsilon": epsilon(release.nano_rho, DELTA),
        "delta": DELTA,
    }


def privacy(release: Release, schema: Schema) -> dict[str, Any]:
    """What is protected, how, and at which price."""
    return {
        "unit": privacy_unit(release.weeks),
        "neighbours": "two fleets that differ in one such unit, which one has and the other has not",
        "definition": "zero-concentrated differential privacy (arXiv:1605.02065)",
        "conversion": "to (epsilon, delta) after arXiv:2004.00010, proposition 12",
        "mechanism": "integer discrete Gaussian (arXiv:2004.00010), as OpenDP implements it, after a public "
        "smoothing of the histograms (matrix mechanism, doi:10.1007/s00778-015-0398-x)",
        "composition": "one draw for the counts of a table and one for each table and metric; all add up",
        "cells_per_installation": schema.cells_per_report,
        "units_per_histogram": schema.units,
        "rho": release.nano_rho / 1e9,
    }


def licence(release: Release) -> str:
    """Under what a release may be used, as an SPDX expression; ``NONE`` for one that was not made to be "
    "published."""
    return EXPRESSION if release.purpose == "publish" else "NONE"


def privacy_unit(weeks: int) -> str:
    """The unit that is protected, in words."""
    return "one installation in one ISO week" if weeks == 1 else f"one installation in {weeks} ISO weeks together"


def costs(statement: Statement) -> dict[str, Any]:
    """What the ledger says: of the week's releases together, of the year, and of itself."""
    return {
        "rho_by_purpose": {purpose: nano_rho / 1e9 for purpose, nano_rho in statement.week.items()},
        "rho_together": statement.together / 1e9,
        "epsilon_together": epsilon(statement.together, DELTA),
        "rho_yearly_cap": statement.yearly_cap / 1e9,
        "rho_spent_in_year": statement.spent / 1e9,
        "release_sha256": statement.release,
        "ledger_head": statement.head,
    }


def period(week: Week, weeks: int) -> str:
    """The period with its days, such as ``2026-W47 (2026-11-16 to 2026-11-22, UTC)``."""
    first = week.before(weeks - 1)
    named = str(week) if weeks == 1 else f"{first} to {week}"
    return f"{named} ({first.start:%Y-%m-%d} to {last_day(week)}, UTC)"


def first_day(week: Week, weeks: int) -> str:
    """The period's first day, in UTC, as ISO 8601 has it."""
    return f"{week.before(weeks - 1).start:%Y-%m-%d}"


def last_day(week: Week) -> str:
    """The week's Sunday, in UTC, as ISO 8601 has it."""
    return f"{week.end - timedelta(days=1):%Y-%m-%d}"


def primary_key(table: DatasetTable) -> tuple[str, ...]:
    """The columns that no two rows of a table have in common."""
    return ("week", *table.released.dimensions, *(("metric",) if table.declared.metrics else ()))
