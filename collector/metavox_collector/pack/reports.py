"""The reports of the audit and of the attacks: made or read, and held against the release that they go with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from metavox_collector.dataset.code import Code, this_code
from metavox_collector.errors import ReleaseRefused
from metavox_collector.proof import canonical
from metavox_collector.proof.attacks import Effort, Parameters, attack
from metavox_collector.proof.attacks.checks import checked, shown
from metavox_collector.proof.attacks.run import NAMES
from metavox_collector.proof.audit import as_staged
from metavox_collector.proof.canonical import NotCanonical
from metavox_privacy.audit import TRIALS
from metavox_privacy.audit import audit as play
from metavox_privacy.audit.planted import FAULTS
from metavox_privacy.audit.run import CONFIDENCE, WEEKS
from metavox_privacy.release import Release
from metavox_privacy.schema import Schema

Report: TypeAlias = Mapping[str, Any]

_SHORT = 1e-3
"""The attacks' numbers are written with four digits."""


@dataclass(frozen=True)
class Work:
    """How much is tried where a report is to be made: half of what the verbs of their own do.

    With that a release takes about two minutes on two processors. For more, give it the verbs' files.

    Attributes:
        trials: Of each world of the audit's games.
        plant_trials: Of each world of the games with a planted fault; None for the audit's own default.
        effort: Of the attacks.
        jobs: How many processes at a time.
    """

    trials: int = TRIALS // 2
    plant_trials: int | None = None
    effort: Effort = field(default_factory=lambda: Effort(pairs=2_000, lone=2_000))
    jobs: int = os.cpu_count() or 1


def audited(release: Release, schema: Schema, work: Work) -> Report:
    """Play the audit's games on the tables of the release's scope."""
    return play(
        schema,
        code_sha256=this_code().sha256,
        fold=as_staged,
        trials=work.trials,
        plant_trials=work.plant_trials,
        scopes=(release.scope,),
        jobs=work.jobs,
    ).as_json()


def attacked(release: Release, schema: Schema, work: Work) -> Report:
    """Attack simulated fleets that are released as this release was."""
    return attack(Parameters.of(release, schema), work.effort).as_json()


def report_from(path: Path) -> Report:
    """Read a report that was written before; raises ReleaseRefused if it is none."""
    try:
        value = canonical.read(path.read_bytes())
    except OSError as error:
        raise ReleaseRefused(f"{path} cannot be read: {error.strerror}") from None
    except NotCanonical as error:
        raise ReleaseRefused(f"{path} holds no report: {error}") from None
    if not isinstance(value, dict):
        raise ReleaseRefused(f"{path} holds no report; 'audit' or 'attacks' with --out writes one")
    return value


def with_release(report: Report, release: Release, before: Release | None, schema: Schema) -> Report:
    """The attacks' report with what can be checked of the release itself."""
    mine = [gate.as_json() for gate in checked(release, before, schema)]
    names = {gate["name"] for gate in mine}
    gates = [gate for gate in report["gates"] if gate["name"] not in names] + mine
    passed = all(gate["passed"] for gate in gates)
    return {
        **report,
        "verdict": "pass" if passed else "fail",
        "passed": passed,
        "gates": gates,
        "figures": {**report["figures"], "release": {"sha256": release.sha256, "tables": shown(release)}},
    }


def audit_problems(report: Report, release: Release, schema: Schema) -> Iterator[str]:
    """What keeps an audit's report from speaking for a release, or what it refutes."""
    try:
        yield from _audit(report, release, schema)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield f"it is no report of an audit: {error!r}"


def attack_problems(report: Report, release: Release, schema: Schema) -> Iterator[str]:
    """What keeps the attacks' report from speaking for a release, or what they refute."""
    try:
        yield from _attacks(report, release, schema)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield f"it is no report of attacks: {error!r}"


def of_other_software(audit: Report, attacks: Report, code: Code) -> Iterator[str]:
    """Which of the two reports is of other software than made the release."""
    for name, report in (("audit", audit), ("attacks", attacks)):
        parameters = report.get("parameters")
        if not isinstance(parameters, dict) or parameters.get("code_sha256") != code.sha256:
            yield f"the report of the {name} is of other software than made this release"


def _audit(report: Report, release: Release, schema: Schema) -> Iterator[str]:
    parameters = report["parameters"]
    if (parameters["schema_version"], parameters["schema_sha256"]) != (schema.version, schema.fingerprint):
        yield "it audited another schema"
    if report["confidence"] < CONFIDENCE:
        yield f"its bounds hold with a confidence of {report['confidence']}, below {CONFIDENCE}"
    games = report["gates"]
    played = {(game["scope"], game["weeks"]) for game in games}
    yield from (
        f"no game is of {'one week' if weeks == 1 else f'{weeks} weeks'} in the scope '{release.scope}'"
        for weeks in WEEKS
        if (release.scope, weeks) not in played
    )
    for game in games:
        if game["value"] > game["limit"] or game["passed"] is not True or game["verdict"] != "pass":
            yield f"the game '{game['name']}' refutes the claim: μ is at least {game['value']}"
    plants = {plant["name"]: plant for plant in report["planted"]}
    for fault in FAULTS:
        plant = plants.get(fault.name)
        if plant is None or plant["caught"] is not True:
            yield f"the planted fault '{fault.name}' was not caught"
        elif plant["gate"]["value"] <= plant["gate"]["limit"]:
            yield f"the planted fault '{fault.name}' was not caught, though it says so"
    if report["passed"] is not True or report["verdict"] != "pass":
        yield "its verdict is that the audit did not pass"


def _attacks(report: Report, release: Release, schema: Schema) -> Iterator[str]:
    expected = {
        "schema_version": schema.version,
        "schema_fingerprint": schema.fingerprint,
        "purpose": release.purpose,
        "scope": release.scope,
        "weeks": release.weeks,
        "nano_rho": release.nano_rho,
    }
    for name, value in expected.items():
        if report["parameters"].get(name) != value:
            yield f"it attacked releases of another {name} than this one's"
    gates = {gate["name"]: gate for gate in report["gates"]}
    for name in NAMES:
        if name not in gates:
            yield f"the attack '{name}' is missing"
    for gate in gates.values():
        yield from _gate(gate)
    yield from _of_release(gates, report, release, schema)
    if report["passed"] is not True or report["verdict"] != "pass":
        yield "its verdict is that the attacks did not pass"


def _gate(gate: Mapping[str, Any]) -> Iterator[str]:
    if gate["low"] > gate["limit"] or gate["passed"] is not True or gate["verdict"] != "pass":
        yield f"the attack '{gate['name']}' succeeds more often than ρ allows, or shows nothing"
    control = gate["control"]
    if control is not None and (control["succeeds"] is not True or control["low"] <= control["limit"]):
        yield f"the attack '{gate['name']}' fails on exact sums too, and so shows nothing"


def _of_release(
    gates: Mapping[str, Mapping[str, Any]], report: Report, release: Release, schema: Schema
) -> Iterator[str]:
    """What was checked of the release itself, computed again."""
    if report["figures"].get("release") != {"sha256": release.sha256, "tables": shown(release)}:
        yield "what it says of the release itself is not this release's"
    for gate in checked(release, None, schema):
        found = gates.get(gate.name)
        if found is None or abs(found["value"] - gate.release.value) > _SHORT * max(1.0, abs(gate.release.value)):
            yield f"'{gate.name}' is not what this release shows"
