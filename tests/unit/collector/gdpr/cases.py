"""A GDPR file for tests: of an example release, with reports of an audit and of attacks as a pack holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from metavox_collector.dataset.gdpr import Operations, emit, operations_of
from metavox_collector.dataset.model import Dataset
from metavox_collector.proof.attacks.verdicts import AttackReport, Criterion, Gate, Measured
from metavox_collector.settings import Settings
from metavox_privacy.audit.bound import Bound
from metavox_privacy.audit.result import AuditReport, Game, Plant
from tests.unit.collector.emit.datasets import example_dataset

CRITERIA: tuple[Criterion, ...] = (
    "singling out",
    "linkability",
    "inference",
    "membership",
    "the release itself",
)


def settings(**changes: Any) -> Settings:
    """A collector in Italy behind its own TLS, with one processor."""
    given = {
        "db": "postgresql://metavox@localhost/metavox",
        "tls_cert": "cert.pem",
        "tls_key": "key.pem",
        "hosting_country": "IT",
        "processors": ("Example Hosting|runs the database|DE",),
    }
    return Settings(**{**given, **changes})


def audit(*, mu: float = 0.1, caught: bool = True) -> dict[str, Any]:
    """An audit of one game and one planted fault."""
    shipped = Game("the whole release", "full", 1, 14_500_000, 0.17, _bound(mu))
    planted = Game("the whole release", "full", 1, 14_500_000, 0.34, _bound(0.3 if caught else 0.1))
    report = AuditReport(
        games=(shipped,),
        plants=(Plant("noise halved", "noise of half the scale is drawn", planted),),
        confidence=0.999,
        trials=4000,
        plant_trials=2000,
        schema_version=2,
        schema_sha256="ab" * 32,
        code_sha256="cd" * 32,
        libraries={"opendp": "0.16.0"},
    )
    return _plain(report.as_json())


def attacks(*, failing: Criterion | None = None, without: Criterion | None = None) -> dict[str, Any]:
    """Attacks, one gate for each criterion."""
    gates = tuple(_gate(one, fails=one == failing) for one in CRITERIA if one != without)
    return _plain(AttackReport({}, gates, {}, 1.0).as_json())


def example_file(
    dataset: Dataset | None = None,
    *,
    of_audit: Mapping[str, Any] | None = None,
    of_attacks: Mapping[str, Any] | None = None,
    operations: Operations | None = None,
) -> dict[str, bytes]:
    """Every file by its path in the pack."""
    if dataset is None and of_audit is None and of_attacks is None and operations is None:
        return dict(_default())
    return emit(
        EXAMPLE if dataset is None else dataset,
        audit() if of_audit is None else of_audit,
        attacks() if of_attacks is None else of_attacks,
        operations_of(settings()) if operations is None else operations,
    )


@lru_cache(maxsize=1)
def _default() -> dict[str, bytes]:
    return emit(EXAMPLE, audit(), attacks(), operations_of(settings()))


def _bound(mu: float) -> Bound:
    return Bound(mu=mu, estimate=1.1 * mu, trials=4000, false_positives=1800, false_negatives=1900)


def _gate(criterion: Criterion, *, fails: bool) -> Gate:
    measured = Measured(value=0.2 if fails else 0.02, low=0.1 if fails else 0.0, high=0.3, limit=0.07, trials=9000)
    control = Measured(value=0.9, low=0.8, high=1.0, limit=0.07, trials=400)
    return Gate(f"asking about {criterion}", criterion, "What can be seen?", "2 Φ(μ/2) - 1", measured, control)


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """As it is after a pack has held it."""
    content: dict[str, Any] = json.loads(json.dumps(report))
    return content


EXAMPLE = example_dataset(synthetic=False)
"""Once, for it takes a second."""
