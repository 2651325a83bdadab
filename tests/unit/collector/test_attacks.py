"""The attacks: they find what is wrong with a release, and find nothing where nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from metavox_collector.proof.attacks import Effort, Gate, Measured, Parameters, attack, games
from metavox_collector.proof.attacks.rare import lone_in_world
from metavox_collector.proof.attacks.run import GAMES, NAMES, in_fleet
from metavox_collector.proof.attacks.ties import tables_linked
from metavox_collector.proof.attacks.trials import OUT, Trials, trials
from metavox_collector.proof.attacks.world import World, exact_release
from metavox_privacy.cells import fold
from metavox_privacy.release import make_release
from metavox_privacy.schema import SCHEMA
from tests.unit.collector.attacked import PARAMETERS, noisy

Play = Callable[[Trials, float], Measured]
COARSE = replace(PARAMETERS, scope="coarse", weeks=4)
PLAYS = {game.name: game.play for game in GAMES}


def _played(parameters: Parameters, pairs: int, seed: int, **faults: float | bool) -> dict[str, Measured]:
    found = trials(parameters, pairs, noisy(seed, **faults), np.random.default_rng(seed))
    return {name: play(found, parameters.mu) for name, play in PLAYS.items()}


@pytest.mark.parametrize("parameters", [PARAMETERS, COARSE], ids=["full", "coarse, four weeks"])
def test_no_attack_exceeds_its_limit_on_a_release_with_the_noise_that_is_declared(parameters: Parameters) -> None:
    found = _played(parameters, 1000, 7)
    assert not [name for name, measured in found.items() if measured.exceeds]


@pytest.mark.parametrize("parameters", [PARAMETERS, COARSE], ids=["full", "coarse, four weeks"])
@pytest.mark.parametrize("name", PLAYS)
def test_every_attack_succeeds_on_exact_sums(name: str, parameters: Parameters) -> None:
    found = trials(parameters, 400, exact_release, np.random.default_rng(3))
    assert PLAYS[name](found, parameters.mu).exceeds


def test_a_target_is_nearly_as_far_from_nobody_as_the_claim_allows_and_no_further() -> None:
    """So the limits are such as attacks come near to: what is missing is that it fills one cell and not K."""
    found = trials(PARAMETERS, 50, noisy(5), np.random.default_rng(5))
    distance = np.sqrt(np.nansum(found.power, axis=-1)).max()
    assert 0.9 * PARAMETERS.mu < distance < PARAMETERS.mu


def test_halved_noise_is_found_at_the_default_effort() -> None:
    assert _played(PARAMETERS, Effort().pairs, 11, part=0.5)["membership"].exceeds


def test_four_weeks_priced_as_one_are_found() -> None:
    priced_as_one = noisy(12, part=0.25)  # the noise that one week asks for
    found = trials(COARSE, 1000, priced_as_one, np.random.default_rng(12))
    assert games.membership(found, COARSE.mu).exceeds


def test_noise_that_begins_anew_in_each_release_is_found_by_differencing() -> None:
    found = _played(PARAMETERS, 400, 13, always_the_same=True)
    assert found["differencing two weeks"].exceeds


def test_where_a_target_is_out_the_attacker_learns_nothing_of_its_speed() -> None:
    found = trials(PARAMETERS, 300, noisy(14, part=0.01), np.random.default_rng(14))
    likely = found.evidence[np.arange(len(found.speed)), 0, found.guess[:, 0]].argmax(axis=1)
    out = found.model[:, 0] == OUT
    assert np.mean(likely[~out] == found.speed[~out]) > 0.95
    assert np.mean(likely[out] == found.speed[out]) < 0.25


@pytest.mark.parametrize("parameters", [PARAMETERS, COARSE], ids=["full", "coarse, four weeks"])
def test_lone_installations_are_not_shown_and_are_by_exact_sums(parameters: Parameters) -> None:
    shown, speed = lone_in_world(parameters, 1000, make_release)
    assert shown.value == 0
    assert not speed.exceeds
    assert all(measured.exceeds for measured in lone_in_world(parameters, 500, exact_release))


def test_cells_that_are_published_because_somebody_is_in_them_are_found() -> None:
    """Noise on their counts does not help: that the key is there says it."""
    assert lone_in_world(PARAMETERS, 500, noisy(15, whoever=True))[0].exceeds


def test_in_a_fleet_nobody_is_singled_out_and_without_a_threshold_somebody_is() -> None:
    good = in_fleet(PARAMETERS, 1500, noisy(16))
    assert not good.singled_out.exceeds
    assert not good.lone.exceeds
    bad = in_fleet(PARAMETERS, 1500, noisy(17, whoever=True))
    assert bad.singled_out.exceeds
    assert bad.lone.exceeds
    assert bad.figures["suppressed"]["performance"] == 0 < good.figures["suppressed"]["performance"] < 1
    assert bad.figures["fewest_in_a_published_cell"] == 1


def test_sums_say_nothing_of_who_is_the_same_in_two_tables_but_reports_do() -> None:
    release, control = tables_linked(PARAMETERS)
    assert (release.value, release.trials) == (0.0, 10)
    assert control.value == 1.0


def test_a_target_changes_in_a_world_what_its_report_changes_in_a_fold() -> None:
    world = World(COARSE, 3)
    schema, tables = world.parameters.schema, world.parameters.tables
    report = world.report(1, 1, 5)
    before, after = (world.release(reports, exact_release) for reports in ([], [report]))
    alone = fold([report] * 4, schema, tables)
    for old, new, table in zip(before.tables, after.tables, tables, strict=True):
        counts = {cell.key: cell.contributors for cell in old.cells}
        changed = {c.key: c.contributors - counts[c.key] for c in new.cells if c.contributors != counts[c.key]}
        assert changed == {key: cell.contributors for key, cell in alone[table.name].items()}
        assert list(changed.values()) == [4]


def test_a_world_has_the_noise_of_the_shipped_schema() -> None:
    small = World(PARAMETERS, 3, crowded=False)
    sums = fold([], small.parameters.schema, small.parameters.tables)
    ours = make_release(sums, small.parameters.schema, PARAMETERS.authorization())
    declared = noisy(1)(fold([], SCHEMA, SCHEMA.tables), SCHEMA, PARAMETERS.authorization())
    for one, other in zip(ours.tables, declared.tables, strict=True):
        assert one.count_scale == other.count_scale
        assert one.histogram_scales == other.histogram_scales


def test_a_gate_whose_attack_fails_where_nothing_protects_does_not_pass() -> None:
    good, bad = Measured(0.0, 0.0, 0.1, 0.07, 100), Measured(0.5, 0.4, 0.6, 0.07, 100)
    assert _gate(good, bad).passed
    assert not _gate(good, good).passed
    assert _gate(good, good).toothless
    assert not _gate(bad, bad).passed


def _gate(release: Measured, control: Measured) -> Gate:
    return Gate("a name", "inference", "A question?", "a limit", release, control)


def test_the_whole_report_passes_and_is_json() -> None:
    report = attack(COARSE, Effort(pairs=250, lone=500, fleet=1500))
    told = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert [gate["name"] for gate in told["gates"] if gate["verdict"] != "pass"] == []
    assert told["verdict"] == "pass"
    assert {gate["criterion"] for gate in told["gates"]} >= {"singling out", "linkability", "inference"}
    assert tuple(gate["name"] for gate in told["gates"]) == NAMES
    assert len(set(NAMES)) == len(NAMES)
    assert told["parameters"]["weeks"] == 4
    assert told["parameters"]["code_sha256"]
