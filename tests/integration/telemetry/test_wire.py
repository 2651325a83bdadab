"""What crosses the wire is one report, or one token, under the least that HTTP needs; and it goes to one place."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import sqlite3
import ssl
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from metavox.telemetry.home.folders import Home
from metavox.telemetry.upload.readable import as_document
from metavox_privacy.week import Week
from tests.integration.telemetry.canary import found
from tests.integration.telemetry.shared import (
    Collector,
    agree,
    clean_environment,
    collector,
    everything_in,
    home_of,
    keep_a_due_report,
    report_in,
    run,
)

SECRET = "vendor-key-4711-quillfeather"  # and nobody's

UPLOAD = """
import os, sys, time
from pathlib import Path
from metavox.telemetry.contribution import Contribution
from metavox_privacy.week import Week
from tests.integration.telemetry.shared import home_of, report_in

Contribution.from_environment(os.environ).begin()
deadline = time.monotonic() + 20
while report_in(home_of(Path(os.environ["METAVOX_HOME"])), Week.parse(sys.argv[1]))[1] != "sent":
    assert time.monotonic() < deadline
    time.sleep(0.02)
"""

VERB = """
import sys
connected = []

def watch(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__",):
        connected.append(event)

sys.addaudithook(watch)
from metavox.cli import main
try:
    main()
finally:
    print("connections:", len(connected), file=sys.stderr)
"""


@pytest.fixture
def loaded(tmp_path: Path) -> dict[str, str]:
    """An environment in which secrets stand wherever HTTP and telemetry libraries look for some."""
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {SECRET} password {SECRET}\ndefault login {SECRET}\n")
    (tmp_path / "cookies.txt").write_text(f".localhost\tTRUE\t/\tFALSE\t0\tsession\t{SECRET}\n")
    headers = ("HEADERS", "TRACES_HEADERS", "METRICS_HEADERS", "CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    return {
        **{f"OTEL_EXPORTER_OTLP_{name}": f"authorization={SECRET}" for name in headers},
        "OTEL_RESOURCE_ATTRIBUTES": f"service.name={SECRET},host.name={SECRET},enduser.id={SECRET}",
        "OTEL_SERVICE_NAME": SECRET,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{SECRET}.example",
        "OTEL_PROPAGATORS": "tracecontext,baggage",
        **dict.fromkeys(("NETRC", "CURL_HOME"), str(tmp_path / "netrc")),
        "COOKIES": str(tmp_path / "cookies.txt"),
        "SSLKEYLOGFILE": str(tmp_path / "tls-secrets"),
        "USER": SECRET,
        "HOSTNAME": SECRET,
        "HTTP_USER_AGENT": SECRET,
        "METAVOX_TELEMETRY": "on",
        "METAVOX_HOME": str(tmp_path / "home"),
    }


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    made = home_of(tmp_path / "home")
    agree(made)
    return made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of localhost, and a server that has it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("a certificate is made by the openssl command, which is not there")
    folder = tmp_path_factory.mktemp("certificate")
    made, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(key), "-out", str(made), "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return made, context


def head_and_body(heard: bytes) -> tuple[list[str], bytes]:
    head, _, body = heard.partition(b"\r\n\r\n")
    return head.decode("ascii").split("\r\n"), body


def host_of(made: Collector) -> str:
    return made.url.partition("://")[2]


def token_in(home: Home, week: Week) -> bytes:
    with closing(sqlite3.connect(home.journal_file)) as sql:
        return bytes(sql.execute("SELECT token FROM reports WHERE week = ?", (str(week),)).fetchone()[0])


def verb(environment: dict[str, str], *words: str) -> tuple[int, str, int]:
    """A verb of ``metavox telemetry``: its status, its answer, and how often it touched the network."""
    done = run(VERB, environment, "telemetry", *words)
    touched = re.search(r"connections: (\d+)", done.stderr.decode())
    assert touched is not None, done.stderr
    return done.returncode, done.stdout.decode(), int(touched[1])


def test_an_upload_and_a_deletion_say_this_and_no_more(
    tmp_path: Path, home: Home, loaded: dict[str, str], certificate: tuple[Path, ssl.SSLContext]
):
    week = keep_a_due_report(home)
    token = token_in(home, week)
    trusted, context = certificate
    with collector("healthy", certificate=context) as made, collector("healthy") as proxy:
        proxies = {
            f"{kind}_PROXY": proxy.url.replace("//", f"//{SECRET}:{SECRET}@") for kind in ("HTTP", "HTTPS", "ALL")
        }
        environment = clean_environment(
            tmp_path,
            **{**loaded, **proxies, **{name.lower(): url for name, url in proxies.items()}},
            METAVOX_COLLECTOR_URL=made.url,
            SSL_CERT_FILE=str(trusted),
        )
        done = run(UPLOAD, environment, str(week))
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        deleted = verb({**environment, "METAVOX_COLLECTOR_URL": proxy.url}, "off", "--delete")

    head, body = head_and_body(made.heard[0])
    assert head == [
        "POST /v1/traces HTTP/1.1",
        f"Host: {host_of(made)}",
        "Accept-Encoding: identity",
        f"Content-Length: {len(body)}",
        "Content-Type: application/x-protobuf",
        "Content-Encoding: gzip",
        "Accept: application/x-protobuf",
        "User-Agent: metavox",
        "Connection: close",
    ]
    (document,) = as_document(gzip.decompress(body))
    assert set(document["resource"]) == {
        *("metavox.report.id", "metavox.schema.version", "metavox.week", "metavox.purposes"),
    }
    assert document["resource"]["metavox.report.id"] == hashlib.sha256(token).hexdigest()
    assert document["resource"]["metavox.week"] == str(week)
    assert head_and_body(made.heard[1]) == (
        [
            f"DELETE /v1/reports/{token.hex()} HTTP/1.1",
            f"Host: {host_of(made)}",
            "Accept-Encoding: identity",
            "User-Agent: metavox",
            "Connection: close",
        ],
        b"",
    )
    assert len(made.heard) == 2
    assert proxy.heard == []
    assert not (tmp_path / "tls-secrets").exists()
    assert deleted[0] in (0, 1)
    left = b"".join(content or b"" for content in everything_in(home.config).values())
    assert (
        found(SECRET, SECRET, {"wire": b"|".join(made.heard), "files": left, "answer": deleted[1].encode()}) == []
    )


def test_a_certificate_that_nobody_vouches_for_gets_nothing(
    tmp_path: Path, home: Home, certificate: tuple[Path, ssl.SSLContext]
):
    week = keep_a_due_report(home)
    with collector("healthy", certificate=certificate[1]) as made:
        environment = clean_environment(tmp_path, METAVOX_HOME=str(home.config), METAVOX_COLLECTOR_URL=made.url)
        status, said, _ = verb(environment, "upload")

    assert status == 1
    assert "SSLCertVerificationError" in said
    assert made.heard == [] or made.heard == [b""]
    assert report_in(home, week) == (1, None)


def sent_to(home: Home, made: Collector, folder: Path) -> Week:
    """A report that a collector has."""
    week = keep_a_due_report(home)
    environment = clean_environment(folder, METAVOX_HOME=str(home.config), METAVOX_COLLECTOR_URL=made.url)
    status, said, touched = verb(environment, "upload")
    assert (status, touched > 0) == (0, True), said
    assert report_in(home, week) == (1, "sent")
    return week


def test_a_plain_off_says_nothing_to_anybody_and_keeps_the_token(tmp_path: Path, home: Home):
    with collector("healthy") as made:
        week = sent_to(home, made, tmp_path)
        token = token_in(home, week)
        environment = clean_environment(tmp_path, METAVOX_HOME=str(home.config), METAVOX_COLLECTOR_URL=made.url)
        status, _, touched = verb(environment, "off")

    assert (status, touched) == (0, 0)
    assert len(made.heard) == 1
    assert token_in(home, week) == token


@pytest.mark.parametrize(
    "surroundings", [{}, {"CI": "1", "DO_NOT_TRACK": "1", "METAVOX_TELEMETRY": "off"}], ids=str
)
def test_off_with_delete_sends_the_token_to_where_the_report_went_and_to_nobody_else(
    tmp_path: Path, home: Home, surroundings: dict[str, str]
):
    with collector("healthy", b"204 Gone now") as made, collector("healthy") as other:
        week = sent_to(home, made, tmp_path)
        token = token_in(home, week)
        environment = clean_environment(
            tmp_path, METAVOX_HOME=str(home.config), METAVOX_COLLECTOR_URL=other.url, **surroundings
        )
        status, said, _ = verb(environment, "off", "--delete", "--json")

    assert status == 0, said
    assert json.loads(said)["reports"] == {str(week): "deleted"}
    assert [heard.split(b" ", 2)[:2] for heard in made.heard[1:]] == [
        [b"DELETE", f"/v1/reports/{token.hex()}".encode()]
    ]
    assert other.heard == []
    assert not home.journal_file.exists()


def test_off_with_delete_of_what_was_never_sent_touches_no_network(tmp_path: Path, home: Home):
    keep_a_due_report(home)
    with collector("healthy") as made:
        environment = clean_environment(tmp_path, METAVOX_HOME=str(home.config), METAVOX_COLLECTOR_URL=made.url)
        status, said, touched = verb(environment, "off", "--delete")

    assert (status, touched) == (0, 0), said
    assert made.heard == []
    assert not home.journal_file.exists()


@pytest.mark.parametrize("temper", ["refusing", "503"])
def test_a_token_that_could_not_be_sent_is_kept_for_another_time(tmp_path: Path, home: Home, temper: str):
    with collector("healthy") as made:
        week = sent_to(home, made, tmp_path)
        token = token_in(home, week)
    with collector(temper) as away:
        with closing(sqlite3.connect(home.journal_file)) as sql, sql:
            sql.execute("UPDATE reports SET collector = ?", (away.url,))
        environment = clean_environment(tmp_path, METAVOX_HOME=str(home.config))
        status, said, _ = verb(environment, "off", "--delete")

    assert status == 1, said
    assert token_in(home, week) == token


@pytest.mark.parametrize(
    "words", [("status",), ("preview",), ("journal",), ("receipt",), ("diff",), ("doctor",), ("export",), ("off",)]
)
def test_no_verb_but_upload_and_deletion_touches_the_network(tmp_path: Path, home: Home, words: tuple[str, ...]):
    keep_a_due_report(home)
    environment = clean_environment(
        tmp_path, METAVOX_HOME=str(home.config), METAVOX_COLLECTOR_URL="http://localhost:9"
    )
    status, _, touched = verb(environment, *words)

    assert status in (0, 1)
    assert touched == 0
