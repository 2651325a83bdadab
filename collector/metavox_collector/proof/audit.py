"""The audit of the code that is running: reports are summed as a close sums them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from metavox_collector.dataset.code import this_code
from metavox_collector.fold.sums import Sums
from metavox_collector.packing import Packing
from metavox_collector.store.rows import rows_of
from metavox_privacy.audit import TRIALS, AuditReport, Progress, audit
from metavox_privacy.audit.scene import Tables
from metavox_privacy.fields import Scope, Table
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA, Schema

NIGHT = 25
"""How many times the trials a thorough audit plays."""

_SCOPES: tuple[Scope, ...] = ("full", "coarse")


def audit_this_code(
    *,
    trials: int | None = None,
    thorough: bool = False,
    budgets: Sequence[int] = (),
    jobs: int = 1,
    progress: Progress | None = None,
) -> AuditReport:
    """Audit what is shipped, on this machine.

    Args:
        trials: Releases drawn of each world of a game; by default 4,000, or 100,000 of a thorough audit.
        thorough: Whether coarse releases are played as well, and the whole release at each of ``budgets``.
        budgets: What releases of this collector cost, in nano-ρ.
        jobs: How many processes play.
        progress: Told how far it is.

    Raises:
        ValueError: if there are too few trials for a bound.
    """
    return audit(
        SCHEMA,
        code_sha256=this_code().sha256,
        fold=as_staged,
        trials=trials or TRIALS * (NIGHT if thorough else 1),
        scopes=_SCOPES if thorough else _SCOPES[:1],
        budgets=budgets if thorough else (),
        jobs=jobs,
        progress=progress,
    )


def as_staged(reports: Iterable[Report], schema: Schema, tables: Sequence[Table]) -> Tables:
    """Sum reports as a close does: packed into the rows of the database, and added in numpy.

    Raises:
        ValueError: if a report is more than one report may be.
    """
    packing = Packing(schema)
    scope = next(scope for scope in _SCOPES if schema.in_scope(scope) == tuple(tables))
    sums = Sums(schema, packing, scope)
    sums.add([row for report in reports for row in rows_of(report, packing)])
    return {name: dict(cells) for name, cells in sums.tables("publish").items()}
