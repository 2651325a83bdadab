"""``preview``, ``journal``, ``diff``, ``receipt``, ``export``: what is held, and what would leave."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import json
import os
import pty
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from metavox.cli.telemetry.journal import bucket_in_words
from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import tried_reports
from metavox_privacy.consent import Answer
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import format_receipt
from metavox_privacy.schema import SCHEMA
from tests.unit.sdk.cli.shared import LAST_WEEK, LONG_AGO, SILENT, collecting, count_last_week, run
from tests.unit.sdk.telemetry.upload.test_uploader import serving


def test_preview_raw_is_byte_for_byte_what_is_sent(home: Path):
    count_last_week(home)
    raw = run(home, "telemetry", "preview", "--raw").stdout_bytes
    with serving() as (server, _):
        url = f"http://127.0.0.1:{server.server_port}"
        said = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=url)

    assert said.stdout == f"{LAST_WEEK}: sent\n"
    assert gzip.decompress(server.requests[0][2]) == raw
    assert run(home, "telemetry", "preview", "--raw", "--week", str(LAST_WEEK)).stdout_bytes == raw


def test_preview_in_words_shows_every_field_and_the_hash_of_the_bytes(home: Path):
    count_last_week(home)
    raw = run(home, "telemetry", "preview", "--raw").stdout_bytes
    shown = run(home, "telemetry", "preview")
    facts = json.loads(run(home, "telemetry", "preview", "--json").stdout)

    assert hashlib.sha256(raw).hexdigest() in shown.stdout
    assert f"{len(raw)} bytes" in shown.stdout
    assert "is over: this is what the next upload sends" in shown.stderr
    assert (facts["bytes"], facts["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert facts["content"][0]["resource"]["metavox.week"] == str(LAST_WEEK)
    for field in SCHEMA.dimensions:
        assert field.attribute in shown.stdout
        assert field.attribute in facts["content"][0]["spans"][0]["attributes"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--week", "last"], "--week: 'last' is not an ISO week; write it like 2026-W47"),
        (["--week", "2026-W60"], "--week: "),
        (["--raw", "--json"], "--raw and --json are two forms of one answer"),
    ],
    ids=str,
)
def test_preview_says_how_it_was_called_wrongly(home: Path, arguments: list[str], words: str):
    result = run(home, "telemetry", "preview", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_preview_of_a_week_without_counts_says_so(home: Path):
    count_last_week(home)

    assert run(home, "telemetry", "preview", "--week", "2020-W01").stderr == (
        "Nothing would be sent: no counts of 2020-W01.\n"
    )


def test_preview_raw_writes_no_bytes_to_a_terminal(home: Path):
    count_last_week(home)
    terminal, far_end = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in SILENT}
    done = subprocess.run(
        [sys.executable, "-c", "from metavox.cli import main; main()", "telemetry", "preview", "--raw"],
        env={**environment, "METAVOX_HOME": str(home)},
        stdout=far_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.write(far_end, b"the end")
    os.close(far_end)

    assert done.returncode == 2
    assert "no terminal can show" in done.stderr
    assert os.read(terminal, 65536) == b"the end"
    os.close(terminal)


def test_preview_is_of_what_will_be_sent_and_of_what_was_only_when_asked(home: Path):
    count_last_week(home)
    with collecting() as collector:
        run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url)
    settled = run(home, "telemetry", "preview")
    asked = run(home, "telemetry", "preview", "--week", str(LAST_WEEK))

    assert (settled.stdout, settled.stderr) == ("", "Nothing would be sent: no counts.\n")
    assert asked.stderr == f"Week {LAST_WEEK} was sent.\n"
    assert "metavox/tiny" in asked.stdout


def test_journal_says_each_count_in_words_and_numbers(home: Path):
    count_last_week(home)
    lines = run(home, "telemetry", "journal").stdout.splitlines()

    assert lines[0].startswith(f"Week {LAST_WEEK}: over; its report may be sent from 20")
    assert lines[1] == "  1 request"
    assert "    model: metavox/tiny" in lines
    assert sum(line.startswith("    error_rate: 1 worked") for line in lines) == 1
    (first_token,) = [line for line in lines if line.startswith("    time_to_first_token: 1 at ")]
    low, high = first_token.removesuffix(" s").rpartition(" ")[2].split("-")
    assert 0 < float(low) < float(high)


def test_journal_tells_buckets_in_units_that_people_write():
    memory = SCHEMA.metric["peak_device_memory"]

    assert [bucket_in_words(memory, at) for at in (0, 13, 63)] == [
        "at 16 MiB or less",
        "at 128-152.2 MiB",
        "above 2097152 MiB",
    ]
    assert bucket_in_words(SCHEMA.metric["time_per_output_token"], 63) == "above 10 s"
    assert bucket_in_words(SCHEMA.metric["error_rate"], 1) == "failed"
    assert bucket_in_words(None, 4) == "in bucket 4"


def test_journal_in_json_holds_every_field(home: Path):
    count_last_week(home)
    (week,) = json.loads(run(home, "telemetry", "journal", "--json").stdout)["weeks"]
    (cell,) = week["cells"]

    assert (week["week"], week["outcome"], week["tries"], week["is_built"]) == (str(LAST_WEEK), None, 0, False)
    assert list(cell["cell"]) == [dimension.name for dimension in SCHEMA.dimensions]
    assert cell["requests"] == 1
    assert set(cell["buckets"]) <= set(SCHEMA.metric)


def test_journal_is_shown_while_contributions_are_off(home: Path):
    count_last_week(home)
    said = run(home, "telemetry", "journal", DO_NOT_TRACK="1").stdout

    assert "Contributions are off, DO_NOT_TRACK is set: none of this is sent, and nothing is added." in said
    assert "    model: metavox/tiny" in said


def test_journal_says_what_became_of_a_report(home: Path):
    with collecting() as collector:
        count_last_week(home)
        run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url)
        sent = run(home, "telemetry", "journal").stdout
        run(home, "telemetry", "off")
        withdrawn = run(home, "telemetry", "journal").stdout

    assert f"Week {LAST_WEEK}: its report was sent ({collector.url}); the counts are deleted" in sent
    assert f"Week {LAST_WEEK}: its report was sent ({collector.url})" in withdrawn


@pytest.mark.parametrize("verb", ["journal", "export"])
def test_a_damaged_journal_is_one_clear_line(home: Path, verb: str):
    count_last_week(home)
    (home / "journal.sqlite3").write_bytes(b"garbage" * 1000)
    result = run(home, "telemetry", verb)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("metavox: the journal cannot be used")
    assert result.stderr.count("\n") == 1


def test_diff_says_that_nothing_has_changed(home: Path):
    count_last_week(home)
    result = run(home, "telemetry", "diff")

    assert result.exit_code == 0
    assert result.stdout == f"Nothing has changed since the answer of {LONG_AGO:%Y-%m-%d}.\n"


def test_diff_shows_exactly_what_this_release_would_send_beside_what_was_agreed_to(home: Path):
    first, *rest = SCHEMA.dimensions
    before = replace(SCHEMA, version=0, dimensions=tuple(rest), units=128)
    words = notice_hash(before)
    home.mkdir()
    (home / "consent.json").write_text(
        format_receipt(Answer(frozenset({"improve"}), LONG_AGO, words, 0), before), encoding="utf-8"
    )
    result = run(home, "telemetry", "diff")
    facts = json.loads(run(home, "telemetry", "diff", "--json").stdout)

    assert result.exit_code == 0
    assert f"+ field {first.name}: {first.reason}" in facts["difference"]
    assert "~ units of a histogram: 128 -> 256" in facts["difference"]
    assert any(line.startswith("+ What: ") for line in facts["difference"])
    assert all(line in result.stdout.splitlines() for line in facts["difference"])
    assert "A yes pauses until you have seen this and agreed: 'metavox telemetry on'." in result.stdout
    assert "has changed since the yes" in run(home, "telemetry", "status").stdout


def test_diff_shows_the_collector_that_is_another_than_at_the_yes(home: Path):
    home.mkdir()
    given = Answer(
        frozenset({"improve"}), LONG_AGO, notice_hash(SCHEMA), SCHEMA.version, collector="https://one.example"
    )
    (home / "consent.json").write_text(format_receipt(given), encoding="utf-8")
    for url, shown in (
        ("https://another.example", "https://another.example"),
        ("https://me:secret@x", "what is no address"),
    ):
        result = run(home, "telemetry", "diff", METAVOX_COLLECTOR_URL=url)

        assert f"~ collector: https://one.example -> {shown}" in result.stdout.splitlines()
        assert "secret" not in result.stdout
    assert (
        "Nothing has changed" in run(home, "telemetry", "diff", METAVOX_COLLECTOR_URL="https://one.example").stdout
    )


def test_receipt_is_the_consent_file_itself(home: Path):
    count_last_week(home)
    text = (home / "consent.json").read_text(encoding="utf-8")

    assert run(home, "telemetry", "receipt").stdout == text
    facts = json.loads(run(home, "telemetry", "receipt", "--json").stdout)
    assert facts == {"file": str(home / "consent.json"), "receipt": json.loads(text)}


@pytest.mark.parametrize("verb", ["receipt", "diff"])
@pytest.mark.parametrize("content", [b"garbage", b"\xff\xfe", b"{}"], ids=repr)
def test_a_consent_file_that_is_no_receipt_is_one_clear_line(home: Path, verb: str, content: bytes):
    home.mkdir()
    (home / "consent.json").write_bytes(content)
    result = run(home, "telemetry", verb)

    assert (result.exit_code, result.stdout) == (1, "")
    assert str(home / "consent.json") in result.stderr
    assert result.stderr.count("\n") == 1


def test_export_holds_all_that_is_held(home: Path):
    with collecting() as collector:
        count_last_week(home)
        raw = run(home, "telemetry", "preview", "--raw").stdout_bytes
        collector.status = 503
        run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url)
    (home / "journal.sqlite3.damaged").write_bytes(b"garbage")
    (stored,) = tried_reports(home / "journal.sqlite3")
    document = json.loads(run(home, "telemetry", "export").stdout)
    (week,) = document["journal"]["weeks"]

    assert document["consent"]["receipt"] == json.loads((home / "consent.json").read_text())
    assert (week["week"], week["token"]) == (str(LAST_WEEK), stored.token.hex())
    assert (week["collector"], week["tries"]) == (collector.url, 1)
    assert base64.b64decode(week["report"]["base64"]) == raw
    assert week["report"]["content"][0]["resource"]["metavox.week"] == str(LAST_WEEK)
    assert base64.b64decode(document["damaged_journal"]["base64"]) == b"garbage"


def test_export_to_a_file_is_for_its_owner_alone_and_overwrites_nothing(home: Path, tmp_path: Path):
    count_last_week(home)
    out = tmp_path / "mine.json"
    first = run(home, "telemetry", "export", "--out", str(out), "--json")
    text = out.read_text()
    again = run(home, "telemetry", "export", "--out", str(out))

    assert (first.exit_code, first.stdout) == (0, "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert text.count("\n") == 1
    assert json.loads(text)["journal"]["weeks"][0]["cells"][0]["requests"] == 1
    assert again.exit_code == 1
    assert f"{out} is there already" in again.stderr
    assert out.read_text() == text


def test_export_of_somebody_who_never_answered_is_empty_and_makes_no_file(home: Path):
    document = json.loads(run(home, "telemetry", "export").stdout)

    assert document["consent"]["receipt"] is None
    assert document["journal"]["weeks"] == []
    assert not home.exists()
    assert not Home(home, home).consent({}).granted


def test_an_export_that_the_disk_cuts_short_leaves_no_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    count_last_week(home)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = run(home, "telemetry", "export", "--out", str(tmp_path / "mine.json"))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"metavox: {tmp_path / 'mine.json'}: No space left on device\n"
    assert not (tmp_path / "mine.json").exists()
