"""``metavox-collector attacks``: what it prints, writes and refuses."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from metavox_collector.cli import attacks as verb
from metavox_collector.cli.verbs import app_for
from metavox_collector.errors import TargetExists
from metavox_collector.proof.attacks import Effort, Gate, Measured
from metavox_collector.proof.attacks.verdicts import AttackReport


@pytest.fixture(autouse=True)
def _few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "Effort", partial(Effort, pairs=50, lone=500, fleet=1500))


def _run(*words: str) -> Result:
    return CliRunner().invoke(app_for(["attacks"]), ["attacks", *words])


def test_it_attacks_what_the_settings_say_and_writes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAVOX_COLLECTOR_PUBLISH_NANO_RHO", "9000000")
    out = tmp_path / "attacks.json"
    result = _run("--scope", "coarse", "--json", "--out", str(out))
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told == json.loads(out.read_text())
    assert told["parameters"]["nano_rho"] == 9_000_000
    assert told["parameters"]["scope"] == "coarse"
    assert told["parameters"]["purpose"] == "publish"


def test_it_overwrites_nothing_and_says_so_before_it_attacks(tmp_path: Path) -> None:
    out = tmp_path / "attacks.json"
    out.write_text("what was there")
    result = _run("--out", str(out))
    assert isinstance(result.exception, TargetExists)
    assert out.read_text() == "what was there"


def test_a_claim_that_does_not_stand_is_shown_and_is_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, control = Measured(0.5, 0.4, 0.6, 0.07, 100), Measured(1.0, 0.9, 1.0, 0.07, 100)
    gate = Gate("an attack", "inference", "A question?", "a limit", bad, control)
    facts = {"nano_rho": 1, "mu": 0.1, "scope": "full", "weeks": 1}
    monkeypatch.setattr(verb, "attack", lambda *_: AttackReport(facts, (gate,), {}, 1.0))
    result = _run()
    assert result.exit_code == 1
    assert "FAIL       inference" in result.stdout
    assert "NOT every claim stands" in result.stdout
