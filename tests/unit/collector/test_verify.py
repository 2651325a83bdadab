"""``verify`` on a real pack of every format: whatever is changed is found and named, signed anew or not."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from metavox_collector.cli.verbs import app_for
from metavox_collector.pack import verify as verifying
from metavox_collector.pack.verify import Verified, verify
from metavox_collector.pack.write import write
from metavox_collector.proof import canonical, keys
from metavox_collector.proof.envelope import opened, seal
from metavox_collector.proof.integrity import Pinned, examine
from metavox_collector.proof.paths import ATTACKS, AUDIT, LEDGER, PARAMETERS, RELEASE, SIGNATURE, SIGNING_KEY
from metavox_privacy.budget import correct
from tests.spans import WEEK
from tests.unit.collector import packs
from tests.unit.collector.releases import NEXT

KEY_ID = keys.key_id(packs.KEY.public_key())
PINNED = Pinned(key_id=KEY_ID)
PERFORMANCE, CSV = "data/performance.parquet", "csv/performance.csv"

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def pack() -> Mapping[str, bytes]:
    return packs.pack()


def signed_anew(files: Mapping[str, bytes], change: Change, key: Ed25519PrivateKey = packs.KEY) -> dict[str, bytes]:
    """What a forger, or a publisher by mistake, makes of a pack: changed, and signed with the old words."""
    changed = dict(files)
    predicate = opened(changed.pop(SIGNATURE)).predicate
    change(changed)
    changed[SIGNING_KEY] = keys.public_pem(key.public_key())
    return {**changed, SIGNATURE: seal(changed, predicate, key)}


def looked_at(files: Mapping[str, bytes], tmp_path: Path, pinned: Pinned = PINNED) -> Verified:
    write(files, tmp_path / "pack")
    return verify(tmp_path / "pack", packs.SMALL, pinned)


def named(found: Verified) -> set[str]:
    return {problem.file for problem in found.problems}


def replaced(name: str, old: bytes, new: bytes) -> Change:
    def change(files: dict[str, bytes]) -> None:
        assert old in files[name], f"{name} does not hold {old!r}"
        files[name] = files[name].replace(old, new, 1)

    return change


def in_json(name: str, change: Callable[[Any], object]) -> Change:
    def apply(files: dict[str, bytes]) -> None:
        value = json.loads(files[name])
        change(value)
        files[name] = canonical.legible(value)

    return apply


def test_a_pack_as_it_was_written_is_well_and_nothing_was_left_unasked(pack, tmp_path):
    found = looked_at(pack, tmp_path)
    assert found.problems == ()
    assert found.notes == ()
    assert (found.files, found.key_id, found.pinned) == (len(pack), KEY_ID, True)


@pytest.mark.parametrize(("scope", "purpose"), [("coarse", "publish"), ("full", "improve")])
def test_packs_of_another_scope_and_purpose_are_well_too(scope, purpose, tmp_path):
    made = packs.pack(scope=scope, purpose=purpose)
    assert looked_at(made, tmp_path).problems == ()
    assert ("listing/listing.yaml" in made) == (purpose == "publish")


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_one_byte_of_any_file_that_is_flipped_inserted_or_deleted_is_found_and_its_file_named(pack, data):
    name = data.draw(st.sampled_from(sorted(pack)))
    content = pack[name]
    at, byte = data.draw(st.integers(0, len(content) - 1)), bytes([data.draw(st.integers(0, 255))])
    kind = data.draw(st.sampled_from(["flip", "insert", "delete"]))
    rest = content[at + (kind != "insert") :]
    changed = content[:at] + (b"" if kind == "delete" else byte) + rest
    found = {problem.file for problem in examine({**pack, name: changed}, Pinned()).problems}
    assert (name in found) == (changed != content)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_file_that_is_added_removed_or_renamed_is_found_and_named(pack, data):
    name = data.draw(st.sampled_from(sorted(pack)))
    other = data.draw(st.text("abc/.", min_size=1, max_size=12).filter(lambda text: text not in pack))
    without = {key: content for key, content in pack.items() if key != name}
    assert {problem.file for problem in examine({**pack, other: b""}, PINNED).problems} == {other}
    assert name in {problem.file for problem in examine(without, PINNED).problems}
    renamed = {problem.file for problem in examine({**without, other: pack[name]}, PINNED).problems}
    assert renamed >= ({name} if name == SIGNATURE else {name, other})


def test_verify_names_the_file_in_which_a_byte_changed_on_the_disk(pack, tmp_path):
    write(pack, tmp_path / "pack")
    for name in (RELEASE, SIGNATURE, "data/models.parquet", "gdpr/dpia.md"):
        path = tmp_path / "pack" / name
        path.write_bytes(pack[name][:-9] + bytes([pack[name][-9] ^ 1]) + pack[name][-8:])
        assert name in named(verify(tmp_path / "pack", packs.SMALL, PINNED))
        path.write_bytes(pack[name])


def test_what_another_key_signed_anew_is_found_when_a_key_is_pinned_and_said_when_none_is(pack, tmp_path):
    forged = signed_anew(pack, lambda files: None, packs.OTHER_KEY)
    assert named(looked_at(forged, tmp_path)) == {SIGNATURE}
    found = verify(tmp_path / "pack", packs.SMALL, Pinned())
    assert found.problems == ()
    assert not found.pinned
    assert found.key_id == keys.key_id(packs.OTHER_KEY.public_key())


def forged_figure(column: str, part: float) -> Change:
    """A figure of the first row made larger, in both forms of the data."""

    def change(files: dict[str, bytes]) -> None:
        table = pq.read_table(io.BytesIO(files[PERFORMANCE]))
        at = table.schema.get_field_index(column)
        values = table.column(at).to_pylist()
        first = next(n for n, value in enumerate(values) if value is not None)
        old = values[first]
        values[first] = type(old)(old * part)
        changed = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
        sink = io.BytesIO()
        pq.write_table(changed, sink, compression="zstd")
        files[PERFORMANCE] = sink.getvalue()
        assert str(old).encode() in files[CSV]
        files[CSV] = files[CSV].replace(str(old).encode(), str(values[first]).encode())

    return change


@pytest.mark.parametrize("column", ["p50", "p50_low", "p90", "share", "mean", "contributors"])
def test_a_forged_figure_is_found_although_the_right_key_signed_it(pack, tmp_path, column):
    found = looked_at(signed_anew(pack, forged_figure(column, 1.05)), tmp_path)
    assert any(
        problem.file == PERFORMANCE and problem.says.startswith(f"{column} of ") for problem in found.problems
    )


def test_a_figure_that_differs_in_its_last_digits_is_not_forged(pack, tmp_path):
    found = looked_at(signed_anew(pack, forged_figure("p50", 1 + 1e-9)), tmp_path)
    assert not [problem for problem in found.problems if problem.says.startswith("p50 of ")]


def test_a_row_that_is_left_out_and_a_column_of_another_type_are_found(pack, tmp_path):
    table = pq.read_table(io.BytesIO(pack[PERFORMANCE]))
    kept, cast = io.BytesIO(), io.BytesIO()
    pq.write_table(table.slice(1), kept)
    at = table.schema.get_field_index("contributors")
    pq.write_table(table.set_column(at, "contributors", pc.cast(table.column(at), pa.int32())), cast)
    for number, (content, words) in enumerate(
        [
            (kept.getvalue(), "release makes"),
            (cast.getvalue(), "its columns are not"),
            (b"PAR1", "as Parquet"),
        ]
    ):
        forged = signed_anew(pack, lambda files, content=content: files.update({PERFORMANCE: content}))
        found = looked_at(forged, tmp_path / str(number))
        assert any(p.file == PERFORMANCE and words in p.says for p in found.problems), words


def test_documents_that_do_not_follow_from_the_release_are_found_although_the_right_key_signed_them(pack, tmp_path):
    documents = {name for name in pack if not name.startswith(("data/", "proof/", "signature"))}
    assert len(documents) > 30

    def change(files: dict[str, bytes]) -> None:
        files.update({name: files[name] + b" " for name in documents})

    assert named(looked_at(signed_anew(pack, change), tmp_path)) >= documents


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (PARAMETERS, in_json(PARAMETERS, lambda p: p["tables"][0]["counts"].update(noise_scale=1.0)), "'tables'"),
        (
            PARAMETERS,
            in_json(PARAMETERS, lambda p: p["composition"].update(delta=1e-3)),
            "'composition'",
        ),
        (PARAMETERS, in_json(PARAMETERS, lambda p: p["coverage"].update(installations_a_week=10**6)), "'coverage'"),
        (PARAMETERS, in_json(PARAMETERS, lambda p: p["notices"].update(en="0" * 64)), "'notices'"),
        (PARAMETERS, in_json(PARAMETERS, lambda p: p["schema"].update(version=9)), "the schema's fingerprint"),
        (PARAMETERS, in_json(PARAMETERS, lambda p: p.pop("documents")), "is not stated"),
        (AUDIT, in_json(AUDIT, lambda a: a["gates"][0].update(value=9.0)), "refutes the claim"),
        (AUDIT, in_json(AUDIT, lambda a: a["planted"].pop()), "was not caught"),
        (AUDIT, in_json(AUDIT, lambda a: a["planted"][0]["gate"].update(value=0.0)), "though it says so"),
        (AUDIT, in_json(AUDIT, lambda a: a.update(verdict="fail")), "did not pass"),
        (AUDIT, in_json(AUDIT, lambda a: a.pop("gates")), "no report of an audit"),
        (ATTACKS, in_json(ATTACKS, lambda a: a["gates"][0].update(low=0.9)), "succeeds more often"),
        (ATTACKS, in_json(ATTACKS, lambda a: a["gates"].pop(0)), "is missing"),
        (ATTACKS, in_json(ATTACKS, lambda a: a["gates"][0]["control"].update(succeeds=False)), "shows nothing"),
        (ATTACKS, in_json(ATTACKS, lambda a: a["parameters"].update(nano_rho=1)), "another nano_rho"),
        (
            ATTACKS,
            in_json(ATTACKS, lambda a: a["figures"]["release"].update(sha256="0")),
            "not this release's",
        ),
        (PARAMETERS, in_json(ATTACKS, lambda a: a["parameters"].update(code_sha256="0" * 64)), "other software"),
        (SIGNATURE, in_json(PARAMETERS, lambda p: p["made_by"].update(version="9.9")), "not what the pack holds"),
        (LEDGER, in_json(LEDGER, lambda entries: entries[0].update(nano_rho=1)), "chain of hashes is broken"),
        (LEDGER, in_json(LEDGER, lambda entries: entries.clear()), "0 entries pay"),
        (LEDGER, in_json(LEDGER, lambda entries: entries[0].update(nano_rho=1.5)), "is no whole number"),
        (LEDGER, replaced(LEDGER, b"\n", b"\n "), "not written as it has to be"),
        (RELEASE, replaced(RELEASE, b'"contributors": ', b'"contributors": 9'), "the ledger paid for"),
        (RELEASE, replaced(RELEASE, b'"threshold": ', b'"threshold": -'), "its threshold is not what"),
        (RELEASE, replaced(RELEASE, b'"count_scale": ', b'"count_scale":  '), "not written as a release is"),
        (RELEASE, replaced(RELEASE, b'"weeks": 1', b'"weeks": 4'), "its weeks is not what the ledger"),
        (RELEASE, replaced(RELEASE, b'"metavox/tiny"', b'"my/secret-model"'), "no key of the public key space"),
        ("data_dictionary.json", in_json("data_dictionary.json", lambda d: d["release"].update(epsilon=0.1)), ""),
        ("listing/secret.txt", lambda files: files.update({"listing/secret.txt": b"x"}), "writes no such file"),
        ("croissant.json", lambda files: files.pop("croissant.json"), "missing"),
        (AUDIT, lambda files: files.pop(AUDIT), "missing"),
    ],
)
def test_what_contradicts_the_release_is_named_although_the_right_key_signed_it(
    pack, tmp_path, name, change, words
):
    found = looked_at(signed_anew(pack, change), tmp_path)
    assert any(problem.file == name and words in problem.says for problem in found.problems), found.problems


def test_a_release_that_costs_more_than_the_cap_is_named(tmp_path):
    history, releases = packs.drawn()
    release = releases[WEEK, "publish"]
    forged = []
    for entry in history:
        previous = forged[-1].hash if forged else entry.previous
        forged.append(_resealed(entry, yearly_cap=1_000_000, previous=previous))
    given = packs.inputs(release)
    made = packs.pack_of(packs.dataset(release, forged, given), given, packs.KEY)
    words = [p.says for p in looked_at(made, tmp_path).problems if p.file == LEDGER]
    assert any("above the cap of 1000000" in line for line in words)


def _resealed(entry: Any, **changes: Any) -> Any:
    return replace(entry, **changes).sealed()


def test_a_pack_of_a_release_that_was_withdrawn_since_says_so(tmp_path):
    history, releases = packs.drawn()
    release = releases[WEEK, "publish"]
    withdrawn = (*history, correct(history, week=WEEK, purpose="publish", reason="withdrawn"))
    given = packs.inputs(release)
    made = packs.pack_of(packs.dataset(release, withdrawn, given), given, packs.KEY)
    words = [p.says for p in looked_at(made, tmp_path).problems if p.file == LEDGER]
    assert words == ["entry 3 withdraws this release: it must not be used"]


def test_the_earlier_packs_ledger_must_be_the_beginning_of_the_later_ones(tmp_path):
    weeks = (WEEK, NEXT)
    first, second = packs.pack(WEEK, weeks), packs.pack(NEXT, weeks)
    other_past = packs.pack(WEEK, (WEEK,))
    directories = [tmp_path / name for name in ("first", "second", "other")]
    for files, directory in zip((first, second, other_past), directories, strict=True):
        write(files, directory)
    assert verify(directories[1], packs.SMALL, PINNED, directories[0]).problems == ()
    (problem,) = verify(directories[1], packs.SMALL, PINNED, directories[2]).problems
    assert (problem.file, "the past was altered" in problem.says) == (LEDGER, True)
    (problem,) = verify(directories[0], packs.SMALL, PINNED, directories[1]).problems
    assert "name the packs the other way round" in problem.says


def test_what_other_software_made_is_checked_but_for_writing_its_documents_again(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(verifying, "this_code", lambda: replace(packs.this_code(), sha256="0" * 64))
    found = looked_at(pack, tmp_path)
    assert found.problems == ()
    assert [note for note in found.notes if "this is other software" in note] == list(found.notes)
    forged = signed_anew(pack, forged_figure("p50", 1.05))
    assert PERFORMANCE in named(looked_at(forged, tmp_path / "forged"))


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app_for(["verify"]), ["verify", *map(str, words)])


def test_the_verb_needs_no_settings_names_each_problem_on_a_line_and_ends_with_one(pack, tmp_path, monkeypatch):
    monkeypatch.setattr("metavox_collector.cli.verify.SCHEMA", packs.SMALL)
    write(pack, tmp_path / "pack")
    (tmp_path / "key.pem").write_bytes(keys.public_pem(packs.KEY.public_key()))
    well = run(tmp_path / "pack", "--key-id", KEY_ID)
    assert (well.exit_code, well.stdout) == (
        0,
        f"ok      {len(pack)} files, signed by the key {KEY_ID} that you named\n",
    )
    assert run(tmp_path / "pack", "--public-key", tmp_path / "key.pem").exit_code == 0
    unpinned = run(tmp_path / "pack")
    assert unpinned.exit_code == 0
    assert f"no key was pinned: this shows that nothing changed since key {KEY_ID} signed" in unpinned.stdout
    (tmp_path / "pack" / "README.md").write_text("other")
    (tmp_path / "pack" / "more").write_text("more")
    broken = run(tmp_path / "pack", "--key-id", KEY_ID)
    assert broken.exit_code == 1
    assert "ERROR   README.md: its SHA-256 is not the one that was signed: it was changed\n" in broken.stdout
    assert "ERROR   more: the signed statement does not name it: it was added\n" in broken.stdout
    as_json = json.loads(run(tmp_path / "pack", "--json").stdout)
    assert as_json["ok"] is False
    assert {"README.md", "more"} <= {problem["file"] for problem in as_json["problems"]}


@pytest.mark.parametrize("words", [("--key-id", "abc"), ("--key-id", KEY_ID, "--public-key", "x")])
def test_a_key_that_is_pinned_wrongly_is_refused(tmp_path, words):
    result = run(tmp_path, *words)
    assert isinstance(result.exception, Exception)
    assert "--key-id" in str(result.exception)


ODD = st.sampled_from([None, True, -1, 1.5, "", "x", [], [[]], {}, {"a": None}])


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_whatever_the_files_of_the_proof_hold_verify_ends_with_words_and_names_them(pack, tmp_path_factory, data):
    name = data.draw(st.sampled_from([PARAMETERS, AUDIT, ATTACKS, LEDGER, RELEASE]))
    value = json.loads(pack[name])
    inner, places = value, []
    while isinstance(inner, (dict, list)) and inner and (not places or data.draw(st.booleans())):
        place = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        places.append((inner, place))
        inner = inner[place]
    holder, place = places[-1]
    odd = data.draw(ODD.filter(lambda odd: odd != inner))
    holder[place] = odd
    written = json.dumps(value, sort_keys=True).encode() if name == RELEASE else canonical.legible(value)
    forged = signed_anew(pack, lambda files: files.update({name: written}))
    found = looked_at(forged, tmp_path_factory.mktemp("odd"))
    assert found.problems


def test_a_directory_without_a_signature_names_no_key(tmp_path):
    (tmp_path / "pack").mkdir()
    told = run(tmp_path / "pack")
    assert told.exit_code == 1
    assert "signature.dsse.json: it is missing" in told.output
    assert "None" not in told.output
