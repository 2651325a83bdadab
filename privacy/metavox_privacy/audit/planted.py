"""Faults that a release could have, each the shipped code with one thing in it replaced.

A gate that has never refused anything proves nothing. So each of these is played by the same games, and the audit
passes only if every one is caught. They exist in the process that plays them, while it does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any, TypeAlias

from metavox_privacy import budget, cells, mechanism, release, report
from metavox_privacy.audit import scene as scenes
from metavox_privacy.audit.scene import Scene, Tables
from metavox_privacy.budget import Account, Authorization, LedgerEntry
from metavox_privacy.fields import Scope, Table
from metavox_privacy.mechanism import GaussianMechanism
from metavox_privacy.report import Counts, Report
from metavox_privacy.schema import Schema

Replacement: TypeAlias = tuple[ModuleType, str, Any]
"""A name in a module, and what it stands for while a fault is planted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A planted fault.

    Attributes:
        name: What it is called in the report.
        says: What goes wrong.
        scene: The game that has to catch it, made from the schema, the scope and the nano-ρ of what is claimed.
        replaces: What of the shipped code it replaces.
    """

    name: str
    says: str
    scene: Callable[[Schema, Scope, int], Scene]
    replaces: Callable[[], Sequence[Replacement]]


@contextmanager
def planted(fault: Fault | None) -> Iterator[None]:
    """Play the shipped code, or with a fault in it, until the end of the block."""
    with ExitStack() as undone:
        for module, name, value in (*_remembered(), *(fault.replaces() if fault else ())):
            undone.callback(setattr, module, name, _shipped(module, name))
            setattr(module, name, value)
        yield


def _shipped(module: ModuleType, name: str) -> Any:
    """What a name stands for in a module, of its own or imported; AttributeError where the code has changed."""
    return getattr(module, name)


def _remembered() -> Sequence[Replacement]:
    """What follows from its arguments alone is computed once, or a trial takes thrice as long; noise is not."""
    return [(mechanism, name, cache(_shipped(mechanism, name))) for name in ("_measurement", "_price")]


def _parts(schema: Schema, scope: Scope, nano_rho: int) -> Scene:
    return scenes.parts(schema, scope, 1, nano_rho, tables=1)


def _four_weeks(schema: Schema, scope: Scope, nano_rho: int) -> Scene:
    return scenes.parts(schema, scope, 4, nano_rho, tables=1)


def _all_counts(schema: Schema, scope: Scope, nano_rho: int) -> Scene:
    return scenes.counts("whole", schema, scope, 1, nano_rho)


def _counts(schema: Schema, scope: Scope, nano_rho: int) -> Scene:
    return scenes.counts("parts", schema, scope, 1, nano_rho)


def _published(schema: Schema, scope: Scope, nano_rho: int) -> Scene:
    return scenes.counts("published", schema, scope, 1, nano_rho)


def _noise(schema: Schema, scope: Scope, nano_rho: int) -> Scene:
    return scenes.counts("noise", schema, scope, 1, nano_rho)


def _control(schema: Schema, scope: Scope, nano_rho: int) -> Scene:
    return scenes.counts("control", schema, scope, 1, nano_rho)


def _overspent(schema: Schema, scope: Scope, nano_rho: int) -> Scene:
    """The last metric is given the whole budget twice more, beside what it and all others have."""
    made = scenes.whole(schema, scope, 1, nano_rho)
    first, *others = made.tables
    name = list(first.metrics)[-1]
    greedy = (replace(first, metrics={**first.metrics, name: first.metrics[name] + 2000}), *others)
    return replace(made, schema=replace(made.schema, tables=greedy, coarse_tables=greedy))


def _noise_halved() -> Sequence[Replacement]:
    shipped = _shipped(release, "gaussian")

    def halved(*, squared_sensitivity: int, nano_rho: int) -> GaussianMechanism:
        made: GaussianMechanism = shipped(squared_sensitivity=squared_sensitivity, nano_rho=nano_rho)
        return replace(made, scale=made.scale / 2)

    return [(release, "gaussian", halved)]


def _limited_to(limit: Callable[[Schema], int]) -> Sequence[Replacement]:
    shipped = report.make_report

    def loose(counts: Counts, schema: Schema, **options: Any) -> Report | None:
        return shipped(counts, replace(schema, cells_per_report=limit(schema)), **options)

    return [(report, "make_report", loose)]


def _k_ignored() -> Sequence[Replacement]:
    return _limited_to(lambda schema: 10**9)


def _two_k() -> Sequence[Replacement]:
    return _limited_to(lambda schema: 2 * schema.cells_per_report)


def _counted_thrice() -> Sequence[Replacement]:
    shipped = cells.fold

    def repeating(reports: Iterable[Report], schema: Schema, tables: Sequence[Table]) -> Tables:
        heard = [one for one in reports for _ in range(3 if scenes.is_target(one) else 1)]
        return shipped(heard, schema, tables)

    return [(cells, "fold", repeating)]


def _fixed_seed() -> Sequence[Replacement]:
    class Seeded(GaussianMechanism):
        def draw(self, values: Sequence[int], account: Account) -> list[int]:
            account.debit(self.nano_rho)
            noise = random.Random(7)  # noqa: S311  # which is the fault
            return [value + round(noise.gauss(0, self.scale)) for value in values]

    shipped = _shipped(release, "gaussian")

    def seeded(*, squared_sensitivity: int, nano_rho: int) -> GaussianMechanism:
        made = shipped(squared_sensitivity=squared_sensitivity, nano_rho=nano_rho)
        return Seeded(made.sensitivity, made.scale, made.nano_rho)

    return [(release, "gaussian", seeded)]


def _noise_shared() -> Sequence[Replacement]:
    class Shared(GaussianMechanism):
        def draw(self, values: Sequence[int], account: Account) -> list[int]:
            (noise,) = GaussianMechanism.draw(self, [0], account)
            return [value + noise for value in values]

    shipped = _shipped(release, "gaussian")

    def shared(*, squared_sensitivity: int, nano_rho: int) -> GaussianMechanism:
        made = shipped(squared_sensitivity=squared_sensitivity, nano_rho=nano_rho)
        return Shared(made.sensitivity, made.scale, made.nano_rho)

    return [(release, "gaussian", shared)]


def _k_on_the_true_count() -> Sequence[Replacement]:
    shipped, least_of = release.make_release, release.threshold

    def candid(tables: Tables, schema: Schema, authorization: Authorization) -> release.Release:
        made = shipped(tables, schema, authorization)
        by_truth = (_by_true_count(table, tables[table.name], made.weeks) for table in made.tables)
        return replace(made, tables=tuple(by_truth))

    def _by_true_count(table: release.ReleasedTable, true: Any, weeks: int) -> release.ReleasedTable:
        least = least_of(table.count_scale, table.keys, weeks)
        kept = tuple(cell for cell in table.cells if cell.key in true and true[cell.key].contributors >= least)
        return replace(table, threshold=least, cells=kept)

    return [(release, "make_release", candid), (release, "threshold", lambda scale, keys, weeks: -(10**9))]


def _released_twice() -> Sequence[Replacement]:
    shipped = budget.authorize

    def forgetful(history: Sequence[LedgerEntry], **options: Any) -> Authorization:
        return shipped([], **options)

    return [(budget, "authorize", forgetful)]


def _kernel_unpriced() -> Sequence[Replacement]:
    return [(cells, "squared_norm", lambda metric: 1)]


def _weights_ignored() -> Sequence[Replacement]:
    return [(cells, "apportion", lambda histogram, units: histogram)]


def _units_ignored() -> Sequence[Replacement]:
    return [(module, "apportion", lambda histogram, units: histogram) for module in (report, cells)]


def _weeks_unpriced() -> Sequence[Replacement]:
    counts = _shipped(release, "squared_count_sensitivity")
    histogram = _shipped(release, "squared_histogram_sensitivity")

    return [
        (release, "squared_count_sensitivity", lambda schema, weeks: counts(schema, 1)),
        (release, "squared_histogram_sensitivity", lambda metric, schema, weeks: histogram(metric, schema, 1)),
    ]


def _metric_for_nothing() -> Sequence[Replacement]:
    class Forgiving(Account):
        def __init__(self, authorization: Authorization) -> None:
            super().__init__(authorization)
            self._most = authorization.nano_rho * 999 // 1000

        def debit(self, nano_rho: int) -> None:
            if nano_rho < self._most:  # only what asks for everything is not asked to pay
                super().debit(nano_rho)

    return [(release, "Account", Forgiving)]


FAULTS = (
    Fault("noise halved", "half of the noise that was paid for is drawn", _parts, _noise_halved),
    Fault("K ignored", "a report may have any number of cells", _counts, _k_ignored),
    Fault("2 K cells", "a report may have twice as many cells as are priced", _counts, _two_k),
    Fault("counted three times", "one installation's report is summed thrice", _counts, _counted_thrice),
    Fault("fixed seed", "two releases have the same noise", _noise, _fixed_seed),
    Fault("noise shared", "all cells have the same noise", _control, _noise_shared),
    Fault(
        "threshold on the true count", "whether a cell is published is not noisy", _published, _k_on_the_true_count
    ),
    Fault("a week released twice", "the ledger forgets what was released", _all_counts, _released_twice),
    Fault("kernel not priced", "units are spread, and priced as if they were not", _parts, _kernel_unpriced),
    Fault("weights ignored", "a report with K cells has all units in each", _parts, _weights_ignored),
    Fault("requests for units", "who asks more weighs more", _parts, _units_ignored),
    Fault("weeks not priced", "four weeks are released at the price of one", _four_weeks, _weeks_unpriced),
    Fault("a metric not debited", "a metric is drawn that nobody paid for", _overspent, _metric_for_nothing),
)
"""Every fault that the games must catch."""
