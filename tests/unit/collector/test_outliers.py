from __future__ import annotations

import json
import random
import re
import stat
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from metavox_collector.cli.verbs import app_for
from metavox_collector.close import close_week
from metavox_collector.outliers import find
from metavox_collector.store import Database
from metavox_privacy.schema import SCHEMA
from tests.spans import WEEK, example_report, example_span
from tests.unit.collector.releases import AFTER, CAP, NEXT, generous

H100 = "NVIDIA H100"
TINY = "CPU x86-64 AVX-512"
FIRST = "time_to_first_token"


def fleet(schema, number, *, name, factor=1.0, week=WEEK, **changes):
    """Reports of installations that are all about as fast as each other, or all ``factor`` times as slow."""
    chance = random.Random(name)
    for i in range(number):
        seconds = 0.03 * factor * chance.lognormvariate(0, 0.2)
        span = example_span(gen_ai__server__time_to_first_token=seconds, **changes)
        yield replace(example_report(span, token=f"{name} {i}".encode(), schema=schema), week=week)


def stage(database, *fleets):
    with database.write() as transaction:
        transaction.add_reports([report for one in fleets for report in one])


def cells_of(database, week=WEEK, purpose="publish"):
    return {cell.key[0]: cell for cell in find(database, week, purpose).cells}


def far_in(cell):
    return {spread.metric: spread.far for spread in cell.spreads if spread.far is not None}


def test_the_cell_that_was_poisoned_is_found_and_the_one_that_was_not_is_clean(database, schema):
    honest = fleet(schema, 100, name="honest")
    poison = fleet(schema, 30, name="poison", factor=0.01)
    stage(database, honest, poison, fleet(schema, 100, name="other", hw__model=H100))
    found = find(database, WEEK, "publish")
    assert [cell.key[0] for cell in found.cells] == [TINY, H100]
    assert [far_in(cell) for cell in found.cells] == [{FIRST: 30}, {}]
    worst = found.cells[0].worst
    assert worst.share == 30 / 130
    low, high = worst.near
    assert 0.005 < low < 0.03 < high < 0.2


def test_who_is_far_is_told_by_the_others_however_much_they_differ_among_themselves(database, schema):
    """One name stands for devices of three speeds: what is far from many equal reports is not far from these."""
    poison = fleet(schema, 30, name="poison", factor=0.1)
    varied = [fleet(schema, 60, name=f"varied {factor}", factor=factor) for factor in (0.3, 1, 3)]
    stage(database, poison, *varied)
    assert far_in(cells_of(database)[TINY]) == {}


def test_no_count_below_20_is_shown_and_the_others_are_in_tens(database, schema):
    stage(database, fleet(schema, 108, name="honest"), fleet(schema, 19, name="poison", factor=0.01))
    stage(database, fleet(schema, 19, name="few", hw__model=H100))
    cells = cells_of(database)
    assert set(cells) == {TINY}
    assert cells[TINY].contributors == 120
    assert far_in(cells[TINY]) == {}


def test_reports_that_do_not_permit_the_purpose_are_not_looked_at(database, schema):
    stage(database, (replace(r, purposes=frozenset({"improve"})) for r in fleet(schema, 50, name="honest")))
    assert cells_of(database) == {}
    assert set(cells_of(database, purpose="improve")) == {TINY}


def test_another_weeks_reports_are_not_looked_at(database, schema):
    stage(database, fleet(schema, 50, name="honest"))
    assert cells_of(database, week=NEXT) == {}


def test_a_cell_that_has_far_more_contributors_than_before_has_jumped(database, schema, url):
    stage(database, fleet(schema, 60, name="before"), fleet(schema, 60, name="steady", hw__model=H100))
    close_week(database, WEEK, generous(url), now=AFTER)
    later = {"week": NEXT}
    stage(
        database,
        fleet(schema, 200, name="after", **later),
        fleet(schema, 70, name="steady", hw__model=H100, **later),
        fleet(schema, 60, name="new", hw__model="NVIDIA GeForce RTX 4090", **later),
    )
    cells = cells_of(database, NEXT)
    assert (cells[TINY].earlier, cells[TINY].jumped) == (60, True)
    assert (cells[H100].earlier, cells[H100].jumped) == (60, False)
    new = cells["NVIDIA GeForce RTX 4090"]
    assert (new.earlier, new.jumped) == (21, True)  # the threshold, for it was not published


def test_before_the_first_release_there_is_nothing_to_jump_from(database, schema):
    stage(database, fleet(schema, 60, name="honest"))
    assert (cells_of(database)[TINY].earlier, cells_of(database)[TINY].jumped) == (None, False)


@pytest.fixture
def poisoned(url):
    """A database of the shipped schema, which is what the command reads."""
    opened = Database.create(url, SCHEMA, sandbox=True, yearly_cap=CAP)
    stage(opened, fleet(SCHEMA, 60, name="honest"), fleet(SCHEMA, 20, name="poison", factor=0.01))
    opened.dispose()
    return url


def run(*words):
    return CliRunner().invoke(app_for(), ["outliers", "--week", str(WEEK), *map(str, words)])


def test_the_command_shows_the_cell_says_that_it_is_not_private_and_that_it_is_synthetic(poisoned):
    result = run("--db", poisoned)
    assert result.exit_code == 0, result.output
    assert "NOT differentially private" in result.stdout
    assert "SYNTHETIC" in result.stdout
    assert re.search(r"80 +25% +time_to_first_token", result.stdout)


def test_all_of_it_is_written_for_the_owner_alone_and_never_over_anything(poisoned, tmp_path):
    out = tmp_path / "outliers.json"
    assert run("--db", poisoned, "--out", out).exit_code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    document = json.loads(out.read_text())
    assert "NOT differentially private" in document["warning"]
    assert document["cells"][0]["contributors"] == 80
    assert document["cells"][0]["spreads"][0]["far"] == 20
    before = out.read_text()
    again = run("--db", poisoned, "--out", out)
    assert "there already" in str(again.exception)
    assert out.read_text() == before
