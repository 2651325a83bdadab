"""What ``doctor`` and the start of the service say about settings and surroundings."""

from __future__ import annotations

import os
import resource
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from metavox_collector.clock import fixed, utc_now
from metavox_collector.errors import NotAllowed
from metavox_collector.operate import tls, unsafe
from metavox_collector.operate.doctor import examine
from metavox_collector.settings import Settings
from metavox_collector.store import Database, inspection
from tests.postgres import binaries
from tests.spans import WEEK
from tests.unit.collector.releases import CAP, released

NOW = datetime.now(timezone.utc)


def openssl(*words: str, folder: Path) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with a key, another key, and certificates of the first: valid for 90 days, for 3, and no more."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("key", "other"):
        openssl("genrsa", "-out", f"{name}.pem", "2048", folder=folder)
        (folder / f"{name}.pem").chmod(0o600)
    openssl("req", "-new", "-key", "key.pem", "-subj", "/CN=collector.example", "-out", "asked.pem", folder=folder)
    for name, days in (("cert", "90"), ("short", "3"), ("expired", "-1")):
        signed = ("x509", "-req", "-in", "asked.pem", "-signkey", "key.pem", "-days", days, "-out", f"{name}.pem")
        openssl(*signed, folder=folder)
    return folder


def found(settings: Settings, schema, now: datetime | None = None) -> dict[str, tuple[str, str]]:
    findings = examine(settings, schema, utc_now if now is None else fixed(now))
    return {finding.about: (finding.level, finding.says) for finding in findings}


def test_a_database_in_order_is_said_to_be(database, url, schema, monkeypatch):
    monkeypatch.setenv("PATH", f"{binaries()}{os.pathsep}{os.environ['PATH']}")
    levels = {
        about: level for about, (level, _) in found(Settings(db=url, yearly_cap_nano_rho=CAP), schema).items()
    }
    if url.startswith("postgresql"):
        assert levels.pop("durability") == "error"  # the server for tests is not durable, and doctor says so
        assert levels.pop("checksums") == "warning"
        assert levels.keys() >= {"server", "clock", "backup"}
    assert set(levels.values()) == {"ok"}


def test_a_database_of_the_other_kind_is_an_error(database, url, schema):
    level, says = found(Settings(db=url, sandbox=True, yearly_cap_nano_rho=CAP), schema)["database"]
    assert (level, says) == (
        "error",
        "it is for production and the settings are for a sandbox; change sandbox, or db",
    )


def test_a_cap_above_the_one_of_birth_is_an_error(database, url, schema):
    level, says = found(Settings(db=url, yearly_cap_nano_rho=CAP + 1), schema)["database"]
    assert level == "error"
    assert "can be lowered and never raised" in says


@pytest.mark.parametrize(
    ("given", "level", "says"),
    [
        ({}, "ok", "a week can be closed from 10 days after its end on, for 18 days"),
        (
            {"accept_weeks": 2, "grace_days": 13},
            "warning",
            "a week can be closed from 13 days after its end on, for 1 day:",
        ),
        (
            {"cadence_weeks": 4, "grace_days": 5},
            "ok",
            "the last of four weeks can be closed from 5 days after its end on, for 2 days",
        ),
        (
            {"cadence_weeks": 4, "grace_days": 6},
            "warning",
            "the last of four weeks can be closed from 6 days after its end on, for 1 day: what fails then expires",
        ),
    ],
)
def test_too_little_time_to_close_is_a_warning(sqlite_url, schema, given, level, says):
    found_level, found_says = found(Settings(db=sqlite_url, **given), schema)["cadence"]
    assert found_level == level
    assert found_says.startswith(says) if level == "warning" else found_says == says


def test_a_database_that_cannot_be_reached_is_an_error(schema):
    gone = Settings(db="postgresql://metavox@127.0.0.1:9/metavox", busy_timeout_s=1)
    level, says = found(gone, schema)["database"]
    assert level == "error"
    assert "see that it runs" in says


def test_looking_makes_no_database(url, tmp_path, schema):
    says = "it can be reached and is empty; serve makes the tables"
    words = ("ok", says if url.startswith("postgresql") else "it is not there; serve makes it")
    assert [found(Settings(db=url), schema)["database"] for _ in range(2)] == [words, words]
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_is_not_the_databases_is_an_error(postgres_url, schema):
    Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP).dispose()
    settings = Settings(db=postgres_url)
    level, says = found(settings, schema, now=datetime.now(timezone.utc) + timedelta(minutes=2))["clock"]
    assert level == "error"
    assert "run NTP on both" in says


def test_a_database_that_takes_its_time_is_not_taken_for_a_wrong_clock(postgres_url, schema, monkeypatch):
    """This machine's clock stands for as long as the database is asked, and is right again after its answer."""
    Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP).dispose()
    asked, look = [], inspection.server
    monkeypatch.setattr(inspection, "server", lambda transaction: [look(transaction), asked.append(1)][0])
    findings = examine(Settings(db=postgres_url), schema, lambda: utc_now() - timedelta(minutes=not asked))
    assert {finding.level for finding in findings if finding.about == "clock"} == {"ok"}


def test_a_clock_behind_the_last_close_is_an_error(database, url, schema):
    released(database, url)
    level, says = found(Settings(db=url, yearly_cap_nano_rho=CAP), schema, now=WEEK.end - timedelta(hours=1))[
        "clock"
    ]
    assert level == "error"
    assert (
        url.startswith("postgresql")
        or says == f"{WEEK} was released and by this machine's clock is not over; run NTP"
    )


def test_a_database_file_that_others_may_read_is_an_error(sqlite_url, schema, tmp_path):
    Database.create(sqlite_url, schema, sandbox=False, yearly_cap=CAP).dispose()
    (tmp_path / "collector.db").chmod(0o644)
    level, says = found(Settings(db=sqlite_url), schema)["permissions"]
    assert (level, says) == (
        "error",
        f"others may read {tmp_path}/collector.db; run: chmod 600 {tmp_path}/collector.db",
    )


@pytest.mark.parametrize(
    "name", ["sqlite", "sqlite://", "sqlite:///:memory:", "sqlite:///{here}", "sqlite:///x?mode=ro"]
)
def test_a_database_that_is_no_file_is_an_error_and_nothing_else_is_said(tmp_path, schema, name):
    (tmp_path / "folder").mkdir(mode=0o755)
    says = found(Settings(db=name.format(here=tmp_path / "folder")), schema)
    assert {about: level for about, (level, _) in says.items()} == {"database": "error"}
    assert "like sqlite:///collector.db" in says["database"][1]


def test_a_folder_that_is_not_there_is_an_error(tmp_path, schema):
    says = found(Settings(db=f"sqlite:///{tmp_path}/none/collector.db"), schema)
    assert says["folder"] == ("error", f"{tmp_path}/none is not there")
    assert "database" not in says


def test_more_connections_than_open_files_is_an_error(tmp_path, schema):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings = Settings(db=f"sqlite:///{tmp_path}/none.db", max_connections=soft // 2)
    level, says = found(settings, schema)["open files"]
    assert level == "error"
    assert f"LimitNOFILE={soft // 2 * 2 + 128}" in says


@pytest.mark.parametrize(
    ("given", "level"),
    [
        ({}, "ok"),
        ({"host": "0.0.0.0"}, "error"),  # noqa: S104
        ({"host": "0.0.0.0", "trusted_proxies": "10.0.0.5"}, "warning"),  # noqa: S104
        ({"host": "0.0.0.0", "allow_public": True}, "warning"),  # noqa: S104
    ],
)
def test_an_address_that_others_can_reach_needs_tls_or_a_proxy(tmp_path, schema, given, level):
    assert found(Settings(db=f"sqlite:///{tmp_path}/none.db", **given), schema)["address"][0] == level


@pytest.mark.parametrize(("name", "level"), [("cert", "ok"), ("short", "warning"), ("expired", "error")])
def test_a_certificate_is_looked_at_as_a_client_would(tmp_path, schema, pair, name, level):
    files = {"tls_cert": pair / f"{name}.pem", "tls_key": pair / "key.pem"}
    settings = Settings(db=f"sqlite:///{tmp_path}/none.db", host="0.0.0.0", **files)  # noqa: S104
    assert found(settings, schema)["certificate"][0] == level
    assert found(settings, schema)["address"][0] == "ok"


@pytest.mark.parametrize(
    ("cert", "key", "words"),
    [
        ("cert.pem", "other.pem", "no certificate and its key"),
        ("none.pem", "key.pem", "cannot be read"),
        ("expired.pem", "key.pem", "certificate has expired"),
    ],
)
def test_a_certificate_that_would_not_do_is_told_why(pair, cert, key, words):
    with pytest.raises(NotAllowed, match=words):
        tls.valid_until(pair / cert, pair / key)


def test_a_certificates_end_is_told(pair):
    assert timedelta(days=89) < tls.valid_until(pair / "cert.pem", pair / "key.pem") - NOW < timedelta(days=91)


def test_a_key_or_a_list_of_tokens_that_everybody_may_read_is_unsafe(tmp_path, pair):
    (tmp_path / "tokens").touch(0o644)
    (tmp_path / "key.pem").touch(0o644)
    settings = Settings(tls_cert=pair / "cert.pem", tls_key=tmp_path / "key.pem", require_token=tmp_path / "tokens")
    assert [
        f"run: chmod o= {tmp_path / name}" in words
        for name, words in zip(("key.pem", "tokens"), unsafe.unsafe(settings), strict=True)
    ] == [True] * 2
    with pytest.raises(NotAllowed, match="chmod o="):
        unsafe.refuse_unsafe(settings)


@pytest.mark.parametrize(("networks", "safe"), [("10.0.0.0/8", True), ("0.0.0.0/0", False), ("::/0", False)])
def test_to_trust_everybody_as_a_proxy_is_unsafe(networks, safe):
    assert (list(unsafe.unsafe(Settings(trusted_proxies=networks))) == []) is safe


@pytest.mark.parametrize(
    ("kind", "safe"), [("ext4", True), ("nfs4", False), ("fuse.sshfs", False), ("cifs", False)]
)
def test_sqlite_on_a_networks_file_system_is_unsafe(tmp_path, monkeypatch, kind, safe):
    mounts = tmp_path / "mounts"
    where = str(tmp_path).replace(" ", "\\040")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/data {where} {kind} rw 0 0\n", encoding="utf-8")
    monkeypatch.setattr(unsafe, "_MOUNTS", mounts)
    assert (list(unsafe.unsafe(Settings(db=f"sqlite:///{tmp_path}/collector.db"))) == []) is safe
    assert list(unsafe.unsafe(Settings(db="postgresql://metavox@db.example/metavox"))) == []
