from __future__ import annotations

import json
from pathlib import Path

import pytest

from metavox.telemetry.journal.journal import Journal, StoredReport
from tests.unit.sdk.cli.shared import LAST_WEEK, collecting, count_last_week, run


def test_upload_sends_a_week_once(home: Path):
    count_last_week(home)
    with collecting() as collector:
        first = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url)
        second = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url)

    assert first.exit_code == second.exit_code == 0
    assert first.stdout == f"{LAST_WEEK}: sent\n"
    assert second.stdout == "Nothing was sent: no completed week is waiting.\n"
    assert collector.asked == ["POST /v1/traces"]
    assert len(collector.held) == 1


def test_upload_in_json_says_the_same(home: Path):
    count_last_week(home)
    with collecting() as collector:
        collector.status = 503
        kept = run(home, "telemetry", "upload", "--json", METAVOX_COLLECTOR_URL=collector.url)
        collector.status = None
        sent = run(home, "telemetry", "upload", "--json", METAVOX_COLLECTOR_URL=collector.url)

    assert (kept.exit_code, sent.exit_code) == (1, 0)
    assert json.loads(kept.stdout)["reports"] == [{"week": str(LAST_WEEK), "outcome": "kept", "status": 503}]
    assert json.loads(sent.stdout)["reports"] == [{"week": str(LAST_WEEK), "outcome": "sent"}]


def test_upload_says_that_it_stopped_because_the_consent_changed(home: Path, monkeypatch: pytest.MonkeyPatch):
    count_last_week(home)
    claim = Journal.claim

    def claim_and_withdraw(journal: Journal, *arguments: object, **named: object) -> StoredReport | None:
        claimed = claim(journal, *arguments, **named)  # type: ignore[arg-type]
        (home / "consent.json").unlink()
        return claimed

    monkeypatch.setattr(Journal, "claim", claim_and_withdraw)
    with collecting() as collector:
        said = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url).stdout

    assert said == "The consent has changed meanwhile, so nothing more was sent.\n"
    assert collector.asked == []


def test_upload_without_a_collector_says_so_and_sends_nothing(home: Path):
    count_last_week(home)
    result = run(home, "telemetry", "upload")

    assert result.exit_code == 1
    assert result.stderr == (
        "metavox: no collector is configured, so nothing was sent; METAVOX_COLLECTOR_URL names one\n"
    )


def test_upload_refuses_an_address_without_encryption(home: Path):
    count_last_week(home)
    result = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL="http://collector.example")

    assert result.exit_code == 1
    assert "https" in result.stderr


@pytest.mark.parametrize(
    ("status", "words"), [(400, "it will not be sent again"), (503, "it is kept for another try")]
)
def test_upload_says_what_a_refusal_means(home: Path, status: int, words: str):
    count_last_week(home)
    with collecting() as collector:
        collector.status = status
        result = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url)

    assert result.exit_code == 1
    assert result.stdout == f"{LAST_WEEK}: refused with status {status}; {words}\n"


def test_upload_while_off_sends_nothing(home: Path):
    count_last_week(home)
    with collecting() as collector:
        result = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url, DO_NOT_TRACK="1")

    assert result.exit_code == 0
    assert "Nothing was sent: contributions are off, DO_NOT_TRACK is set." in result.stdout
    assert collector.asked == []
