import json
import math
from dataclasses import replace

import pytest

from metavox_privacy import budget, cells, mechanism, release, report
from metavox_privacy.audit import AuditReport, Game, Plant, audit, run
from metavox_privacy.audit import scene as scenes
from metavox_privacy.audit.attack import Part, closed, stage
from metavox_privacy.audit.bound import Bound
from metavox_privacy.audit.planted import FAULTS, planted
from metavox_privacy.audit.run import CLAIM, Play, play
from metavox_privacy.cells import squared_count_sensitivity, squared_histogram_sensitivity
from metavox_privacy.schema import SCHEMA

SUBTLE = {"2 K cells", "a week released twice", "a metric not debited"}
"""Those that make μ 1.4 times as large; every other one at least doubles it, and needs few trials."""

SHIPPED = [
    scenes.parts(SCHEMA, "full", 1, CLAIM),
    scenes.parts(SCHEMA, "coarse", 4, CLAIM),
    scenes.whole(SCHEMA, "full", 4, CLAIM),
    scenes.whole(SCHEMA, "coarse", 1, CLAIM),
    scenes.counts("published", SCHEMA, "full", 1, CLAIM),
    scenes.counts("published", SCHEMA, "full", 4, CLAIM),
    scenes.counts("noise", SCHEMA, "full", 1, CLAIM),
    scenes.counts("control", SCHEMA, "coarse", 1, CLAIM),
]


def named(scene):
    return f"{scene.attack}-{scene.scope}-{scene.weeks}"


@pytest.mark.parametrize("scene", SHIPPED, ids=named)
def test_what_is_shipped_keeps_every_claim_and_the_attack_is_a_strong_one(scene):
    (games,) = play([Play(scene, 400)])
    for game in games:
        assert game.passed
        assert game.bound.mu > 0.3 * game.claimed_mu  # a blind attack would prove 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_same_games_catch_every_planted_fault(fault):
    scene = fault.scene(SCHEMA, "full", CLAIM)
    (games,) = play([Play(scene, 1_000 if fault.name in SUBTLE else 300, fault=fault.name)])
    assert not all(game.passed for game in games)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_gone_when_its_game_is_over_even_if_that_failed(fault):
    modules = (budget, cells, mechanism, release, report)
    before = [dict(vars(module)) for module in modules]

    def interrupted():
        with planted(fault):
            assert [dict(vars(module)) for module in modules] != before
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        interrupted()
    assert [dict(vars(module)) for module in modules] == before


@pytest.mark.parametrize("weeks", [1, 4])
def test_the_target_reaches_the_sensitivity_of_every_part(weeks):
    scene = scenes.parts(SCHEMA, "full", weeks, CLAIM)
    moved = {
        part: sum(step**2 for move in moves.values() for step in move.by)
        for part, moves in stage(scene).moves.items()
    }
    assert set(moved) == {Part(t.name, m) for t in SCHEMA.tables for m in ("", *t.metrics)}
    for part, squared in moved.items():
        if part.metric:
            metric = SCHEMA.metric[part.metric]
            assert squared == squared_histogram_sensitivity(metric, SCHEMA, weeks)
        else:
            assert squared == squared_count_sensitivity(SCHEMA, weeks)


@pytest.mark.parametrize("weeks", [1, 4])
@pytest.mark.parametrize("make", [scenes.parts, scenes.whole])
def test_the_attack_would_have_the_whole_claim_if_trials_had_no_end(make, weeks):
    prepared = stage(make(SCHEMA, "full", weeks, CLAIM))
    for mu, cost in zip(prepared.attack_mus(), prepared.costs, strict=True):
        assert mu == pytest.approx(math.sqrt(2 * cost / 1e9), rel=1e-6)


def test_the_worlds_differ_by_the_target_alone():
    scene = scenes.whole(SCHEMA, "full", 4, CLAIM)
    prepared = stage(scene)
    for name, moves in prepared.moves.items():
        assert len(moves) == SCHEMA.cells_per_report
        if not name.metric:
            assert {tuple(move.by) for move in moves.values()} == {(4,)}


def test_the_small_schema_keeps_what_privacy_depends_on():
    scene = scenes.whole(SCHEMA, "full", 1, CLAIM)
    assert (scene.schema.cells_per_report, scene.schema.units) == (SCHEMA.cells_per_report, SCHEMA.units)
    assert [(t.name, t.metrics, t.count_permille) for t in scene.tables] == [
        (t.name, t.metrics, t.count_permille) for t in SCHEMA.tables
    ]


def test_the_same_week_can_be_had_once_only():
    scene = scenes.counts("whole", SCHEMA, "full", 1, CLAIM)
    assert len(closed(scene, {table.name: {} for table in scene.tables})) == 1


def test_a_schema_that_overspends_is_refused_by_what_is_shipped():
    greedy = next(fault for fault in FAULTS if fault.name == "a metric not debited").scene(SCHEMA, "full", CLAIM)
    with pytest.raises(budget.BudgetExhausted):
        stage(greedy)


def small_audit():
    return audit(SCHEMA, code_sha256="c0de", trials=8, plant_trials=8)


def test_a_gate_that_refutes_nothing_does_not_pass(monkeypatch):
    monkeypatch.setattr(run, "lower_bound", lambda absent, present, confidence: Bound(0, 0, 8, 0, 0))
    blind = small_audit()
    assert all(game.passed for game in blind.games)
    assert not any(plant.caught for plant in blind.plants)
    assert not blind.passed


def test_a_gate_that_refutes_everything_does_not_pass(monkeypatch):
    monkeypatch.setattr(run, "lower_bound", lambda absent, present, confidence: Bound(9, 9, 8, 0, 0))
    strict = small_audit()
    assert all(plant.caught for plant in strict.plants)
    assert not strict.passed


def test_too_few_trials_catch_nothing_and_so_do_not_pass():
    told = []
    found = audit(SCHEMA, code_sha256="c0de", trials=8, plant_trials=8, progress=lambda *at: told.append(at))
    assert not found.passed
    assert told[-1] == (len(told), len(told))


def game(mu, claim=2 * 10**9, **changes):
    return replace(Game("counts", "full", 1, claim, 2.0, Bound(mu, math.inf, 3_000, 1, 2)), **changes)


def reported(games, plants):
    return AuditReport(tuple(games), tuple(plants), 0.999, 4_000, 1_000, 2, "5c", "c0de", {"opendp": "0"})


def test_a_report_passes_only_if_every_claim_stands_and_every_fault_is_caught():
    good, bad = game(1.99), game(2.01)
    caught, missed = Plant("fault", "", bad), Plant("fault", "", good)
    assert reported([good], [caught]).passed
    assert not reported([good, bad], [caught]).passed
    assert not reported([good], [caught, missed]).passed
    assert not reported([good], []).passed
    assert not reported([], [caught]).passed


def test_a_report_is_json_with_a_verdict_a_value_and_a_limit_for_each_game():
    told = reported([game(1.5)], [Plant("fault", "what it does", game(3))]).as_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    (gate,) = told["gates"]
    assert (told["verdict"], gate["verdict"], gate["value"], gate["limit"]) == ("pass", "pass", 1.5, 2.0)
    assert gate["estimate"] is None  # no number says what was never mistaken
    assert gate["proven_epsilon"] < gate["claimed_epsilon"]
    assert told["planted"][0]["caught"] is True
    assert told["parameters"]["code_sha256"] == "c0de"


def test_every_game_of_an_audit_has_a_name_of_its_own(monkeypatch):
    monkeypatch.setattr(run, "lower_bound", lambda absent, present, confidence: Bound(0, 0, 8, 0, 0))
    made = audit(SCHEMA, code_sha256="", trials=8, plant_trials=8, scopes=("full", "coarse"), budgets=(14_500_000,))
    names = [game.name for game in made.games]
    assert len(set(names)) == len(names)
    assert any("14_500_000" not in name and "0.0145" in name for name in names)
    assert {plant.name for plant in made.plants} == {fault.name for fault in FAULTS}
