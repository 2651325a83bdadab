"""Packs for tests: a drawn release of a small schema, reports that pass, a key; all in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from metavox_collector.dataset.code import this_code
from metavox_collector.dataset.gdpr.operations import operations_of
from metavox_collector.dataset.model import Dataset, dataset_of
from metavox_collector.pack import reports
from metavox_collector.pack.inputs import Inputs
from metavox_collector.pack.publisher import SANDBOX
from metavox_collector.pack.release import kept, pack_of
from metavox_collector.proof import keys
from metavox_collector.proof.attacks.run import NAMES
from metavox_collector.proof.attacks.verdicts import AttackReport, Criterion, Gate, Measured
from metavox_collector.proof.canonical import compact, read
from metavox_collector.settings import Settings
from metavox_collector.store import Database, LabelledRelease
from metavox_privacy.audit.bound import Bound
from metavox_privacy.audit.planted import FAULTS
from metavox_privacy.audit.result import AuditReport, Game, Plant
from metavox_privacy.audit.run import WEEKS
from metavox_privacy.budget import LedgerEntry, authorize
from metavox_privacy.cells import fold
from metavox_privacy.fields import Purpose, Scope
from metavox_privacy.release import Release, make_release
from metavox_privacy.schema import SCHEMA, Schema
from metavox_privacy.week import Week
from tests.spans import WEEK, example_report, example_span, small_schema

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ISSUED = date(2026, 12, 4)
SMALL = small_schema()
CAP = 900_000_000
COSTS: Mapping[Purpose, int] = {"improve": 2_500_000, "publish": 14_500_000}
OFTEN = 40
_KINDS = (
    {},
    {"hw__model": "NVIDIA H100", "metavox__model__quantization": "int4"},
    {"gen_ai__server__time_to_first_token": 0.4, "error__type": "timeout"},
)


def drawn(
    weeks: tuple[Week, ...] = (WEEK,), scope: Scope = "full"
) -> tuple[tuple[LedgerEntry, ...], dict[tuple[Week, Purpose], Release]]:
    """The ledger of these weeks' closes, and what they released: 16,000 installations of three kinds."""
    return _drawn(weeks, scope)


@lru_cache
def _drawn(
    weeks: tuple[Week, ...], scope: Scope
) -> tuple[tuple[LedgerEntry, ...], dict[tuple[Week, Purpose], Release]]:
    spans = [example_span(**kind) for kind in _KINDS]
    fleet = [
        example_report(*spans[: 1 + n % 3], token=str(n).encode(), schema=SMALL, synthetic=True) for n in range(400)
    ]
    sums = fold(fleet, SMALL, SMALL.in_scope(scope))
    for cell in (cell for cells in sums.values() for cell in cells.values()):  # as if each had been there often
        cell.contributors *= OFTEN
        cell.histograms = {name: [units * OFTEN for units in found] for name, found in cell.histograms.items()}
    history: list[LedgerEntry] = []
    releases: dict[tuple[Week, Purpose], Release] = {}
    for week in weeks:
        for purpose, cost in COSTS.items():
            authorization = authorize(
                history,
                week=week,
                purpose=purpose,
                scope=scope,
                schema_version=SMALL.version,
                nano_rho=cost,
                yearly_cap=CAP,
                sandbox=True,
            )
            release = make_release(sums, SMALL, authorization)
            history.append(authorization.settle(release.sha256))
            releases[week, purpose] = release
    return tuple(history), releases


def inputs(release: Release, schema: Schema = SMALL) -> Inputs:
    """What a sandbox publishes a release with."""
    attacked = reports.with_release(attack_report(release, schema), release, None, schema)
    return Inputs(SANDBOX, ISSUED, operations_of(Settings()), audit_report(release, schema), _plain(attacked))


def dataset(
    release: Release,
    history: Sequence[LedgerEntry],
    given: Inputs,
    *,
    schema: Schema = SMALL,
    synthetic: bool = True,
) -> Dataset:
    return dataset_of(
        LabelledRelease(release, synthetic=True),
        history,
        schema,
        publisher=given.publisher,
        issued=given.issued,
        code=this_code(),
    )


@lru_cache
def pack(
    week: Week = WEEK, weeks: tuple[Week, ...] = (WEEK,), purpose: Purpose = "publish", scope: Scope = "full"
) -> Mapping[str, bytes]:
    """A whole, signed pack of one of these weeks."""
    history, releases = drawn(weeks, scope)
    release = releases[week, purpose]
    given = inputs(release)
    return pack_of(dataset(release, history, given), given, KEY)


def options(url: str, week: Week, folder: Path) -> list[str]:
    """What ``release`` needs beside a week: a key, and reports that passed, for their own take minutes."""
    database = Database.existing(url, SCHEMA)
    release = kept(database, week, "publish").labelled.release
    database.dispose()
    audit, attacks, key = folder / "audit.json", folder / "attacks.json", folder / "key.pem"
    audit.write_bytes(compact(audit_report(release, SCHEMA)))
    attacks.write_bytes(compact(attack_report(release, SCHEMA)))
    key.write_bytes(keys.generate().private)
    key.chmod(0o600)
    return ["--audit", str(audit), "--attacks", str(attacks), "--key", str(key)]


def audit_report(release: Release, schema: Schema = SMALL) -> dict[str, Any]:
    """An audit that passes: the shape of one, without its minutes."""
    games = tuple(Game("the whole release", release.scope, weeks, 2 * 10**9, 2.0, _bound(1.8)) for weeks in WEEKS)
    refuted = replace(games[0], bound=_bound(2.9))
    report = AuditReport(
        games=games,
        plants=tuple(Plant(fault.name, fault.says, refuted) for fault in FAULTS),
        confidence=0.999,
        trials=4000,
        plant_trials=1000,
        schema_version=schema.version,
        schema_sha256=schema.fingerprint,
        code_sha256=this_code().sha256,
        libraries={"opendp": this_code().opendp},
    )
    return _plain(report.as_json())


def attack_report(release: Release, schema: Schema = SMALL) -> dict[str, Any]:
    """Attacks that find nothing: the shape of their report, without its minutes."""
    criteria: cycle[Criterion] = cycle(("singling out", "linkability", "inference", "membership"))
    held, broken = Measured(0.01, -0.02, 0.04, 0.1, 4000), Measured(1.0, 0.9, 1.0, 0.1, 400)
    gates = tuple(Gate(name, next(criteria), "?", "μ", held, broken) for name in NAMES)
    identified = {
        "code_version": this_code().version,
        "code_sha256": this_code().sha256,
        "schema_version": schema.version,
        "schema_fingerprint": schema.fingerprint,
        "purpose": release.purpose,
        "scope": release.scope,
        "weeks": release.weeks,
        "nano_rho": release.nano_rho,
    }
    return _plain(AttackReport(identified, gates, {}, 1.0).as_json())


def _bound(mu: float) -> Bound:
    return Bound(mu, mu + 0.1, 3000, 30, 30)


def _plain(value: Any) -> dict[str, Any]:
    """As JSON has it, without tuples."""
    plain: dict[str, Any] = read(compact(value))
    return plain
