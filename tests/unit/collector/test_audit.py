import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from metavox_collector.cli import audit as verb
from metavox_collector.cli.verbs import app_for
from metavox_collector.errors import AuditEnded, NotAllowed, TargetExists
from metavox_collector.proof.audit import as_staged, audit_this_code
from metavox_privacy import cells
from metavox_privacy.audit import run
from metavox_privacy.audit import scene as scenes
from metavox_privacy.audit.bound import Bound
from metavox_privacy.audit.run import CLAIM
from metavox_privacy.schema import SCHEMA

SCENES = [
    scenes.whole(SCHEMA, "full", 4, CLAIM),
    scenes.whole(SCHEMA, "coarse", 1, CLAIM),
    scenes.parts(SCHEMA, "full", 1, CLAIM, tables=1),
    scenes.counts("published", SCHEMA, "full", 1, CLAIM),
]


def invoke(*words):
    return CliRunner().invoke(app_for(["audit"]), ["audit", *words])


@pytest.fixture
def short(monkeypatch):
    """Eight trials, which prove nothing: who wants a verdict says what they shall prove."""
    monkeypatch.setattr(run, "PLANT_TRIALS", 8)
    monkeypatch.setattr(
        verb, "audit_this_code", lambda **wanted: audit_this_code(**{**wanted, "trials": 8, "jobs": 1})
    )


@pytest.fixture
def telling(short, monkeypatch):
    """As if so few trials proved all that there is to prove."""
    played = run.play

    def judged(plays, jobs, progress):
        mus = [3.0 if one.fault else 1.5 for one in plays]
        found = played(plays, jobs, progress)
        return [
            [replace(game, bound=Bound(mu, mu, 6, 1, 1)) for game in games]
            for mu, games in zip(mus, found, strict=True)
        ]

    monkeypatch.setattr(run, "play", judged)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene.attack}-{scene.scope}-{scene.weeks}")
def test_what_a_game_sums_as_a_close_does_is_what_the_specification_says(scene):
    target = scenes.target(scene, len(scene.words), last=True)
    keys = {key for table in cells.fold(target, scene.schema, scene.tables).values() for key in table}
    reports = [*scenes.crowd(scene, keys, 7), *target]
    assert as_staged(reports, scene.schema, scene.tables) == cells.fold(reports, scene.schema, scene.tables)


def test_what_a_close_sums_refuses_a_report_of_too_many_cells():
    scene = scenes.counts("parts", SCHEMA, "full", 1, CLAIM)
    (whole,) = scenes.target(replace(scene, schema=replace(scene.schema, cells_per_report=9)), 9, last=False)
    with pytest.raises(ValueError, match="more than 4 cells"):
        as_staged([whole], scene.schema, scene.tables)


def test_an_audit_that_proves_nothing_of_planted_faults_fails(short):
    result = invoke()
    assert result.exit_code == 1
    assert "NOT CAUGHT" in result.stdout
    assert "FAIL: " in result.stdout


def test_an_audit_whose_faults_are_caught_passes_and_names_every_game_and_fault(telling):
    result = invoke()
    assert result.exit_code == 0, result.output
    assert "REFUTED" not in result.stdout
    assert "pass: 20 of 20 claims stand, 13 of 13 planted faults are caught" in result.stdout
    for name in ("performance: error_rate", "the whole release", "2 K cells", "fixed seed", "a metric not debited"):
        assert name in result.stdout


def test_out_holds_what_json_prints_for_its_owner_alone(telling, tmp_path):
    target = tmp_path / "audit.json"
    result = invoke("--json", "--out", str(target))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(target.read_text())
    assert target.stat().st_mode & 0o777 == 0o600
    assert json.loads(result.stdout)["verdict"] == "pass"


def test_a_report_that_is_there_is_not_written_over_and_nothing_is_played(tmp_path, monkeypatch):
    monkeypatch.delattr(verb, "audit_this_code")
    target = tmp_path / "audit.json"
    target.write_text("kept")
    assert isinstance(invoke("--out", str(target)).exception, TargetExists)
    assert isinstance(invoke("--out", str(tmp_path / "away" / "audit.json")).exception, NotAllowed)
    assert target.read_text() == "kept"


def test_an_audit_of_two_processes_finds_what_one_finds(monkeypatch):
    monkeypatch.setattr(run, "FAULTS", ())
    scene = scenes.counts("parts", SCHEMA, "full", 1, CLAIM)
    monkeypatch.setattr(run, "_scenes", lambda schema, scopes, budgets: iter([scene]))
    found = audit_this_code(trials=600, jobs=2)
    assert [game.looks_at for game in found.games] == ["performance: contributors"]
    assert found.games[0].bound.trials == 450
    assert 1 < found.games[0].bound.mu <= 2


def test_a_process_that_is_ended_is_told_in_one_line_and_nothing_is_written(tmp_path, monkeypatch):
    def ended(**wanted):
        raise verb.BrokenProcessPool("gone")

    monkeypatch.setattr(verb, "audit_this_code", ended)
    target = tmp_path / "audit.json"
    result = invoke("--out", str(target))
    assert isinstance(result.exception, AuditEnded)
    assert list(tmp_path.iterdir()) == []


def test_a_thorough_audit_plays_coarse_releases_and_the_settings_budgets(telling, monkeypatch):
    monkeypatch.setenv("METAVOX_COLLECTOR_PUBLISH_NANO_RHO", "13000000")
    result = invoke("--thorough", "--json")
    gates = json.loads(result.stdout)["gates"]
    assert {gate["scope"] for gate in gates} == {"full", "coarse"}
    assert 13_000_000 in {gate["nano_rho"] for gate in gates}


@pytest.mark.parametrize("words", [("--trials", "99"), ("--trials", "many"), ("--jobs", "0")])
def test_numbers_that_cannot_be_are_refused(words):
    assert invoke(*words).exit_code == 2
