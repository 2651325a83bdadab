"""The reports that ``release`` makes by itself: a real audit and real attacks, with few trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from metavox_collector.dataset.code import this_code
from metavox_collector.errors import ReleaseRefused
from metavox_collector.pack import reports
from metavox_collector.pack.publisher import SANDBOX
from metavox_collector.pack.release import Kept, write_pack
from metavox_collector.pack.reports import Work
from metavox_collector.pack.verify import verify
from metavox_collector.proof import canonical
from metavox_collector.proof.attacks import Effort
from metavox_collector.proof.integrity import Pinned
from metavox_collector.simulate.fleet import fleet
from metavox_collector.store import LabelledRelease
from metavox_privacy.budget import authorize
from metavox_privacy.cells import fold
from metavox_privacy.release import make_release
from metavox_privacy.schema import SCHEMA
from tests.spans import WEEK
from tests.unit.collector import packs

FEW = Work(trials=8, plant_trials=8, effort=Effort(pairs=250, lone=500, fleet=1500), jobs=2)


@pytest.fixture(scope="module")
def released() -> Kept:
    """A coarse release of a simulated fleet, under the shipped schema and budget."""
    authorization = authorize(
        (),
        week=WEEK,
        purpose="publish",
        scope="coarse",
        schema_version=SCHEMA.version,
        nano_rho=packs.COSTS["publish"],
        yearly_cap=packs.CAP,
        sandbox=True,
    )
    sums = fold(fleet(800, WEEK, SCHEMA, seed=1), SCHEMA, SCHEMA.in_scope("coarse"))
    release = make_release(sums, SCHEMA, authorization)
    return Kept(LabelledRelease(release, synthetic=True), None, [authorization.settle(release.sha256)], SCHEMA)


def test_an_audit_of_too_few_trials_catches_no_fault_and_nothing_is_released(released):
    with pytest.raises(ReleaseRefused, match="the audit did not pass, so nothing was written: the planted fault"):
        released.reports(None, None, FEW)


def test_real_attacks_go_into_a_pack_of_the_shipped_schema_that_verifies(released, tmp_path: Path):
    audit = tmp_path / "audit.json"
    audit.write_bytes(canonical.legible(packs.audit_report(released.labelled.release, SCHEMA)))
    audited, attacked = released.reports(audit, None, FEW)
    assert attacked["parameters"]["code_sha256"] == this_code().sha256
    assert [*reports.attack_problems(attacked, released.labelled.release, SCHEMA)] == []
    given = packs.Inputs(SANDBOX, packs.ISSUED, packs.operations_of(packs.Settings()), audited, attacked)
    target = write_pack(released.dataset(SANDBOX, packs.ISSUED), given, packs.KEY, tmp_path / "out")
    found = verify(target, SCHEMA, Pinned(key=packs.KEY.public_key()))
    assert (found.problems, found.notes) == ((), ())
