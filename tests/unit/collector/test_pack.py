"""From a closed week in a database to a pack on the disk: what is written, and what is refused."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from metavox_collector.cli.verbs import app_for
from metavox_collector.close import close_week
from metavox_collector.errors import KeyUnusable, NotReleased, ReleaseRefused, TargetExists
from metavox_collector.pack import reports
from metavox_collector.pack.publisher import SANDBOX, publisher_of
from metavox_collector.pack.release import kept, write_pack, write_preview
from metavox_collector.pack.reports import Work
from metavox_collector.pack.verify import verify
from metavox_collector.pack.write import require_free, write
from metavox_collector.proof import canonical, keys
from metavox_collector.proof.integrity import Pinned
from metavox_collector.proof.parameters import shown
from metavox_collector.proof.paths import LEDGER, PARAMETERS, RELEASE, SIGNATURE, WORDS
from metavox_collector.settings import Settings
from metavox_collector.store import Database
from metavox_privacy.budget import LedgerBroken, correct
from tests.spans import WEEK
from tests.unit.collector import packs
from tests.unit.collector.releases import AFTER, CAP, NEXT, generous, released, stage_fleet


@pytest.fixture
def closed(url, schema) -> Database:
    """A sandbox whose week is closed; the release costs so much that its noise is next to none."""
    opened = Database.create(url, schema, sandbox=True, yearly_cap=CAP)
    released(opened, url, synthetic=True)
    yield opened
    opened.dispose()


def reports_for(database: Database, tmp_path: Path) -> tuple[Path, Path]:
    """Files of an audit and of attacks that passed."""
    release = kept(database, WEEK, "publish").labelled.release
    audit, attacks = tmp_path / "audit.json", tmp_path / "attacks.json"
    audit.write_bytes(canonical.legible(packs.audit_report(release)))
    attacks.write_bytes(canonical.legible(packs.attack_report(release)))
    return audit, attacks


def test_a_closed_week_becomes_a_pack_that_verifies(closed, tmp_path):
    found = kept(closed, WEEK, "publish")
    dataset = found.dataset(SANDBOX, packs.ISSUED)
    given = packs.inputs(found.labelled.release)
    target = write_pack(dataset, given, packs.KEY, tmp_path / "out")
    assert target.name == "metavox-2026-W47-publish-synthetic"
    looked = verify(target, packs.SMALL, Pinned(key=packs.KEY.public_key()))
    assert (looked.problems, looked.notes) == ((), ())


def test_the_proof_says_what_was_promised_drawn_and_shown():
    pack = packs.pack()
    history, releases = packs.drawn()
    stated = json.loads(pack[PARAMETERS])
    assert stated["made_by"]["opendp"] == packs.this_code().opendp
    assert stated["bounds"]["units_by_number_of_cells"] == [256, 181, 147, 128]
    assert stated["composition"]["nano_rho_of_release"] == packs.COSTS["publish"]
    assert stated["composition"]["rho_together"] == sum(packs.COSTS.values()) / 1e9
    paid = sum(draw["nano_rho"] for table in stated["tables"] for draw in (table["counts"], *table["histograms"]))
    assert packs.COSTS["publish"] * 0.999 < paid <= packs.COSTS["publish"]
    release = releases[WEEK, "publish"]
    for told, table in zip(stated["shown"], release.tables, strict=True):
        assert told["published_keys"] == len(table.cells)
        assert told["contributions"] == sum(cell.contributors for cell in table.cells)
        assert 0 <= told["suppressed_share_estimated"] <= (0 if table.histogram_scales else 0.1)
    assert set(stated["notices"]) == {"en", "it"}
    words = pack[WORDS].decode()
    assert history[-1].hash in words
    assert release.sha256 in words
    assert stated["self_selection"] in words


def test_what_another_table_shows_more_of_is_said_to_be_missing():
    _, releases = packs.drawn()
    release = releases[WEEK, "publish"]
    performance, *shares = release.tables
    (model,) = {cell.key[1] for cell in performance.cells}
    whole = shown(performance, release)["suppressed_share_estimated"]
    less = replace(performance, cells=performance.cells[1:])
    part = shown(less, replace(release, tables=(less, *shares)))["suppressed_share_estimated"]
    (models,) = (table for table in shares if table.name == "models")
    (counted,) = (cell.contributors for cell in models.cells if cell.key[0] == model)
    assert whole == 0
    assert part >= round((counted - less.cells[0].contributors) / counted, 4) > 0.1


def test_a_table_that_counts_installations_several_times_says_nothing_of_what_another_lacks():
    _, releases = packs.drawn()
    release = releases[WEEK, "publish"]
    (workload,) = (table for table in release.tables if table.name == "workload")
    (hardware,) = (table for table in release.tables if table.name == "hardware")
    twice = replace(
        workload, cells=tuple(replace(cell, contributors=9 * cell.contributors) for cell in workload.cells)
    )
    others = tuple(table for table in release.tables if table is not workload)
    inflated = replace(release, tables=(*others, twice))
    assert shown(hardware, inflated) == shown(hardware, release)


def test_the_raw_release_is_what_sha256sum_says_and_the_ledger_holds(tmp_path):
    pack = packs.pack()
    write(pack, tmp_path / "pack")
    told = subprocess.run(["sha256sum", tmp_path / "pack" / RELEASE], capture_output=True, text=True, check=True)
    paid = json.loads(pack[LEDGER])[-1]
    assert told.stdout.split()[0] == paid["release"]
    assert paid["purpose"] == "publish"


def test_the_same_inputs_make_the_same_bytes(schema):
    history, releases = packs.drawn()
    release = releases[WEEK, "publish"]
    given = packs.inputs(release)
    made = [packs.pack_of(packs.dataset(release, history, given), given, packs.KEY) for _ in range(2)]
    assert made[0] == made[1]


def test_a_pack_that_fails_half_way_leaves_nothing_and_nothing_is_overwritten(tmp_path):
    with pytest.raises(TypeError):
        write({"a": b"1", "b/c": None}, tmp_path / "pack")  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []
    write({"a": b"1", "b/c": b"2"}, tmp_path / "pack")
    with pytest.raises(TargetExists, match="a release never changes, so nothing was written"):
        write({"a": b"2"}, tmp_path / "pack")
    assert (tmp_path / "pack" / "a").read_bytes() == b"1"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(TargetExists):
        write({"a": b"2"}, tmp_path / "link")


def test_a_file_in_the_place_of_the_directory_is_named_before_any_work(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "file" / "pack", tmp_path / "file" / "below" / "pack"):
        with pytest.raises(TargetExists, match="file is no directory that can be written to"):
            require_free(target)
    require_free(tmp_path / "not" / "there" / "yet" / "pack")


def test_a_preview_is_the_data_alone_and_never_taken_for_a_pack(closed, tmp_path):
    dataset = kept(closed, WEEK, "publish").dataset(SANDBOX, packs.ISSUED)
    target = write_preview(dataset, tmp_path)
    assert target.name == "metavox-2026-W47-publish-synthetic-preview"
    tables = {table.name for table in dataset.tables}
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert files == {
        *(f"data/{name}.parquet" for name in tables),
        *(f"csv/{name}.csv" for name in tables),
        *("data_dictionary.json", "README.md"),
    }
    assert "hand it on\nto nobody" in (target / "README.md").read_text(encoding="utf-8")
    assert "signature.dsse.json" in {problem.file for problem in verify(target, packs.SMALL, Pinned()).problems}
    with pytest.raises(TargetExists):
        write_preview(dataset, tmp_path)


def test_what_was_not_released_or_was_withdrawn_is_refused(closed):
    with pytest.raises(NotReleased, match="'metavox-collector close' makes one"):
        kept(closed, NEXT, "publish")
    with closed.write() as transaction:
        transaction.add_correction(correct(transaction.ledger(), week=WEEK, purpose="publish", reason="withdrawn"))
    with pytest.raises(ReleaseRefused, match="was withdrawn by ledger entry 3; nothing of it is published again"):
        kept(closed, WEEK, "publish")
    assert kept(closed, WEEK, "improve").labelled.release.purpose == "improve"


def test_a_release_that_is_not_what_was_paid_for_is_not_published(closed):
    with closed.write() as transaction:
        transaction.connection.exec_driver_sql("UPDATE released_cell SET contributors = contributors + 1")
    with pytest.raises(LedgerBroken, match="is not what was released"):
        kept(closed, WEEK, "publish").dataset(SANDBOX, packs.ISSUED)


def test_a_release_of_people_names_who_answers_for_it():
    with pytest.raises(ReleaseRefused, match="controller_name, controller_address, controller_email are not given"):
        publisher_of(Settings(), sandbox=False)
    assert publisher_of(Settings(), sandbox=True) == SANDBOX
    given = Settings(controller_name="A", controller_address="B", controller_email="c@example.org")
    for sandbox in (False, True):
        assert publisher_of(given, sandbox=sandbox).name == "A"


@pytest.mark.parametrize(
    ("which", "change", "words"),
    [
        ("audit", lambda report: report.update(passed=False), "the audit did not pass, so nothing was written"),
        ("audit", lambda report: report["parameters"].update(code_sha256="0"), "audit is of other software"),
        ("audit", lambda report: report["parameters"].update(schema_sha256="0"), "audited another schema"),
        ("audit", lambda report: report.clear(), "no report of an audit"),
        ("attacks", lambda report: report["gates"][0].update(low=1.0), "succeeds more often than"),
        ("attacks", lambda report: report["parameters"].update(code_sha256="0"), "attacks is of other software"),
        ("attacks", lambda report: report["parameters"].update(weeks=4), "another weeks than this one's"),
        ("attacks", lambda report: report.clear(), "holds no report of attacks"),
    ],
)
def test_reports_that_fail_or_are_of_something_else_are_refused(closed, tmp_path, which, change, words):
    files = dict(zip(("audit", "attacks"), reports_for(closed, tmp_path), strict=True))
    report = json.loads(files[which].read_bytes())
    change(report)
    files[which].write_text(json.dumps(report))
    with pytest.raises(ReleaseRefused, match=words):
        kept(closed, WEEK, "publish").reports(files["audit"], files["attacks"], Work())


def test_the_release_itself_is_checked_beside_the_one_before_it(closed, url, tmp_path):
    stage_fleet(closed, synthetic=True, week=NEXT)
    close_week(closed, NEXT, generous(url), now=AFTER + (NEXT.end - WEEK.end))
    found = kept(closed, NEXT, "publish")
    assert found.before is not None
    assert found.before.week == WEEK
    assert kept(closed, WEEK, "publish").before is None
    release = found.labelled.release
    attacked = reports.with_release(packs.attack_report(release), release, found.before, packs.SMALL)
    assert "noise is new in each release" in {gate["name"] for gate in attacked["gates"]}


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app_for(["release"]), ["release", *map(str, words)])


def test_the_verb_writes_a_pack_from_reports_that_were_made_before(closed, url, tmp_path, monkeypatch):
    monkeypatch.setattr("metavox_collector.cli.release.SCHEMA", packs.SMALL)
    audit, attacks = reports_for(closed, tmp_path)
    pair = keys.generate()
    key = tmp_path / "key.pem"
    key.write_bytes(pair.private)
    key.chmod(0o600)
    words = ("--week", WEEK, "--db", url, "--out", tmp_path / "out", "--audit", audit, "--attacks", attacks)
    assert isinstance(run(*words).exception, ReleaseRefused)
    assert isinstance(run(*words, "--key", audit).exception, KeyUnusable)
    assert not (tmp_path / "out").exists()
    done = run(*words, "--key", key, "--now", "2026-12-05T00:00Z")
    assert done.exit_code == 0, done.exception
    target = tmp_path / "out" / "metavox-2026-W47-publish-synthetic"
    assert done.stdout == f"wrote {target}, signed by key {pair.key_id}\n"
    assert json.loads((target / PARAMETERS).read_text())["documents"]["issued"] == "2026-12-05"
    assert verify(target, packs.SMALL, Pinned(key_id=pair.key_id)).problems == ()
    assert (target / SIGNATURE).is_file()
    assert isinstance(run(*words, "--key", key).exception, TargetExists)
