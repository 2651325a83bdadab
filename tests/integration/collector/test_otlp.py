"""OTLP/HTTP to the letter, asked of a service as an operator runs it."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import zstandard
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.integration.collector.running import PATIENCE, Collector, collector, staged
from tests.otlp import in_json
from tests.spans import example_report

PROTOBUF, JSON = "application/x-protobuf", "application/json"
BODIES = {PROTOBUF: encode([example_report(token=b"protobuf", synthetic=True)], SCHEMA)}
BODIES[JSON] = json.dumps(in_json(encode([example_report(token=b"json", synthetic=True)], SCHEMA))).encode()
each_form = pytest.mark.parametrize("form", [PROTOBUF, JSON])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("otlp") / "collector.db"


@pytest.fixture(scope="module")
def service(file: Path) -> Iterator[Collector]:
    with collector(f"sqlite:///{file}") as started:
        yield started


def message(answer: httpx.Response, kind: type[Message], form: str) -> Message:
    """The answer's body, which has to be such a message in the form in which the request was."""
    assert answer.headers["content-type"] == form
    return kind.FromString(answer.content) if form == PROTOBUF else ParseDict(answer.json(), kind())


def assert_refused(answer: httpx.Response, form: str, http: int, code: int) -> None:
    assert answer.status_code == http
    status = message(answer, Status, form)
    assert (status.code, bool(status.message)) == (code, True)


@each_form
def test_what_is_taken_whole_is_answered_with_nothing(service, file, form):
    answer = service.post(BODIES[form], Content_Type=f"{form}; charset=utf-8")
    assert answer.status_code == 200
    assert answer.content == (b"" if form == PROTOBUF else b"{}")
    name = example_report(token=form.removeprefix("application/").removeprefix("x-").encode()).report_id
    assert staged(f"sqlite:///{file}")[name] == 1


@each_form
@pytest.mark.parametrize("body", [b"", b"{}"])
def test_an_empty_request_is_taken(service, form, body):
    if body and form == PROTOBUF:
        body = ExportTraceServiceRequest().SerializeToString()
    answer = service.post(body, Content_Type=form)
    assert (answer.status_code, message(answer, ExportTraceServiceResponse, form)) == (
        200,
        ExportTraceServiceResponse(),
    )


ENCODINGS = {
    "identity": bytes,
    "gzip": gzip.compress,
    "GZip, identity": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


@each_form
@pytest.mark.parametrize(("encoding", "encoder"), ENCODINGS.items(), ids=ENCODINGS)
def test_a_body_may_be_encoded(service, form, encoding, encoder):
    answer = service.post(encoder(BODIES[form]), Content_Type=form, Content_Encoding=encoding)
    assert (answer.status_code, answer.content) == (200, b"" if form == PROTOBUF else b"{}")


@each_form
def test_what_is_not_taken_is_counted_and_its_reason_named(service, form):
    bad = in_json(BODIES[PROTOBUF])
    bad["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] = "ada"
    body = (
        BODIES[PROTOBUF].replace(b"metavox.cell", b"ada adaadaad") if form == PROTOBUF else json.dumps(bad).encode()
    )
    answer = service.post(body, Content_Type=form)
    partial = message(answer, ExportTraceServiceResponse, form).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 1)
    assert "beside the schema's fields (1 report)" in partial.error_message
    assert "ada" not in partial.error_message


@each_form
def test_every_refusal_is_a_status_in_the_form_that_was_spoken(service, form):
    assert_refused(service.post(b"no otlp", Content_Type=form), form, 400, 3)
    assert_refused(service.post(gzip.compress(b"")[:-1], Content_Type=form, Content_Encoding="gzip"), form, 400, 3)
    assert_refused(service.post(b"\0" * (2**20 + 1), Content_Type=form), form, 413, 8)
    bomb = gzip.compress(b"\0" * (2**22 + 1))
    assert_refused(service.post(bomb, Content_Type=form, Content_Encoding="gzip"), form, 413, 8)
    unknown = service.post(BODIES[form], Content_Type=form, Content_Encoding="br")
    assert_refused(unknown, form, 415, 12)
    assert unknown.headers["accept-encoding"] == "identity, gzip, deflate, zstd"


@pytest.mark.parametrize("headers", [{"Content-Type": "text/plain"}, {}], ids=["text", "none"])
def test_a_body_of_another_type_is_refused_in_protobuf(service, headers):
    answer = httpx.post(
        f"{service.url}/v1/traces", content=b"words", headers=headers, trust_env=False, timeout=PATIENCE
    )
    assert_refused(answer, PROTOBUF, 415, 12)
    assert answer.headers["accept-post"] == f"{PROTOBUF}, {JSON}"


@each_form
@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs"])
def test_opentelemetrys_other_signals_are_not_here(service, form, path):
    answer = httpx.post(
        service.url + path, content=b"", headers={"Content-Type": form}, trust_env=False, timeout=PATIENCE
    )
    assert_refused(answer, form, 404, 5)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_another_method_is_refused_and_told_which_is_not(service, method):
    answer = httpx.request(method, f"{service.url}/v1/traces", trust_env=False, timeout=PATIENCE)
    assert_refused(answer, PROTOBUF, 405, 12)
    assert answer.headers["allow"] == "POST"


@each_form
def test_a_busy_database_is_503_with_a_time_to_wait(service, file, form):
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = service.post(BODIES[form], Content_Type=form)
    assert_refused(answer, form, 503, 14)
    assert int(answer.headers["retry-after"]) > 0
