"""The load generator: its bodies are the SDK's, it counts what it is answered, and it tries again as it is told."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from typer.testing import CliRunner

from metavox_collector.cli.verbs import app_for
from metavox_collector.errors import CollectorError
from metavox_collector.load.bodies import Encoding, Request, Template, requests, templates
from metavox_collector.load.connection import Target, connect
from metavox_collector.load.outcome import Outcome
from metavox_collector.load.senders import Load, send
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from metavox_privacy.wire import decode, encode
from tests.spans import WEEK, example_report, example_span
from tests.waiting import PATIENCE

SAID = {"Content-Type": "application/x-protobuf"}


@pytest.fixture(scope="module")
def made_from() -> list[Template]:
    return templates([WEEK], SCHEMA, seed=1)


def decoded(body: bytes) -> list[Report]:
    found = decode(ExportTraceServiceRequest.FromString(body), SCHEMA)
    assert all(isinstance(report, Report) for report in found)
    return found


def test_a_template_with_another_id_is_byte_for_byte_what_the_sdk_encodes():
    spans = [example_span(gen_ai__usage__input_tokens=size) for size in (20, 200, 2000)]
    one, other = (example_report(*spans, token=token) for token in (b"one", b"other"))
    assert len(one.cells) == 3
    assert Template.of(one, SCHEMA).body(other.report_id) == encode([other], SCHEMA)


def test_every_report_has_the_most_cells_is_synthetic_and_passes_the_receiver(made_from):
    reports = decoded(
        b"".join(each.body for each in requests(made_from, 200, together=1, encoding=Encoding.identity))
    )
    assert len(reports) == len({report.report_id for report in reports}) == 200
    assert {len(report.cells) for report in reports} == {SCHEMA.cells_per_report}
    assert all(report.synthetic for report in reports)


def test_a_request_holds_as_many_reports_as_asked_and_the_last_one_the_rest(made_from):
    made = list(requests(made_from, 30, together=12, encoding=Encoding.identity))
    assert [len(each.reports) for each in made] == [12, 12, 6]
    for each in made:
        reports = decoded(each.body)
        assert tuple(report.report_id for report in reports) == each.reports
        assert sum(len(report.cells) for report in reports) == each.spans


@pytest.mark.parametrize(
    ("encoding", "inflate"),
    [(Encoding.gzip, gzip.decompress), (Encoding.zstd, zstandard.decompress), (Encoding.identity, bytes)],
)
def test_a_body_is_compressed_as_asked(made_from, encoding, inflate):
    (made,) = requests(made_from, 1, together=1, encoding=encoding)
    assert decoded(inflate(made.body))[0].report_id == made.reports[0]


def test_weeks_take_turns():
    weeks = [Week(2026, 46), Week(2026, 47)]
    made = requests(templates(weeks, SCHEMA, seed=1), 4, together=4, encoding=Encoding.identity)
    assert [report.week for report in decoded(next(made).body)] == weeks * 2


def test_without_a_number_there_is_no_end(made_from):
    endless = requests(made_from, None, together=1, encoding=Encoding.identity)
    assert len({each.reports for each in itertools.islice(endless, 500)}) == 500


@pytest.mark.parametrize("url", ["nonsense", "ftp://h", "http://", "http://h:99999", "http://[x", "http://hö"])
def test_an_address_that_is_none_is_told(url):
    with pytest.raises(CollectorError, match="is no address of a collector"):
        Target.parse(url, {})


def test_an_address_may_have_a_path_and_needs_no_port():
    plain = Target.parse("http://collector.example/under/", {})
    assert (plain.host, plain.port, plain.path, plain.tls) == ("collector.example", 80, "/under/v1/traces", None)
    assert b"Host: [::1]:8320\r\n" in Target.parse("http://[::1]:8320", {}).head()
    secured = Target.parse("https://collector.example", {})
    assert (secured.port, secured.tls is not None) == (443, True)


class Fake(ThreadingHTTPServer):
    """A collector that answers what it is told to: a status, headers and a body for each request, in order."""

    def __init__(self, answers: Iterator[tuple[int, dict[str, str], bytes]], *, keeps: bool = True) -> None:
        self.answers = answers
        self.received: list[bytes] = []
        self.authorizations: list[str | None] = []
        self.connections = 0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fake.received.append(body)
                fake.authorizations.append(self.headers["Authorization"])
                status, headers, answer = next(fake.answers)
                if status == 0:  # hang up
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                if not keeps:
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1  # here, for this is one thread, and each connection is served by another
        super().process_request(request, client_address)


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes], keeps: bool = True) -> Iterator[Fake]:
    """A fake that gives these answers, and then says 200 for ever."""
    fake = Fake(itertools.chain(answers, itertools.repeat((200, {}, b""))), keeps=keeps)
    thread = threading.Thread(target=fake.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield fake
    finally:
        fake.shutdown()
        thread.join()
        fake.server_close()


def rejecting(spans: int, message: str) -> tuple[int, dict[str, str], bytes]:
    partial = ExportTracePartialSuccess(rejected_spans=spans, error_message=message)
    return 200, SAID, ExportTraceServiceResponse(partial_success=partial).SerializeToString()


def some(number: int) -> list[Request]:
    return [Request(f"body {at}".encode(), (f"report {at}",), 4) for at in range(number)]


def loaded(fake: Fake, number: int, **how: object) -> tuple[Outcome, list[str]]:
    acknowledged: list[str] = []

    def add(request: Request) -> None:
        acknowledged.extend(request.reports)

    load = Load(Target.parse(fake.url, SAID), **{"connections": 1, "acknowledged": add, **how})
    return send(load, some(number)), acknowledged


def test_every_request_is_sent_once_over_as_many_connections_as_asked():
    with answering() as fake:
        outcome, acknowledged = loaded(fake, 40, connections=5)
        assert sorted(fake.received) == sorted(each.body for each in some(40))
        assert fake.connections == 1 + 5  # the first request goes alone
    assert (outcome.reports, outcome.spans, outcome.statuses) == (40, 160, {200: 40})
    assert sorted(acknowledged) == sorted(f"report {at}" for at in range(40))
    assert outcome.is_whole
    figures = outcome.figures()
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"] <= figures["latency_ms"]["max"]
    assert figures["spans_per_second"] == pytest.approx(160 / outcome.seconds, rel=0.01)


def test_what_is_rejected_in_part_is_counted_and_not_acknowledged():
    with answering((200, {}, b""), rejecting(3, "not taken: the week is closed (1 report)")) as fake:
        outcome, acknowledged = loaded(fake, 3)
    assert (outcome.reports, outcome.spans, outcome.rejected) == (2, 9, 3)
    assert acknowledged == ["report 0", "report 2"]
    assert "the week is closed" in outcome.message
    assert not outcome.is_whole


def test_a_first_request_that_is_not_taken_ends_the_load_with_the_collectors_reason():
    with answering(rejecting(4, "synthetic reports go to a sandbox")) as fake:
        with pytest.raises(CollectorError, match="synthetic reports go to a sandbox"):
            loaded(fake, 100)
        assert len(fake.received) == 1
    with answering((415, {}, b"")) as fake, pytest.raises(CollectorError, match="it answered 415"):
        loaded(fake, 100)


def test_who_is_away_is_told_and_who_goes_away_ends_the_load():
    with answering() as fake:
        pass
    with pytest.raises(CollectorError, match="it cannot be reached"):
        loaded(fake, 100)


def test_without_retry_what_was_not_taken_is_counted_and_left():
    with answering((200, {}, b""), (429, {"Retry-After": "1"}, b""), (503, {}, b"")) as fake:
        outcome, acknowledged = loaded(fake, 4)
        assert len(fake.received) == 4
    assert outcome.statuses == {200: 2, 429: 1, 503: 1}
    assert acknowledged == ["report 0", "report 3"]
    assert (outcome.again, outcome.is_whole) == (0, False)


def test_with_retry_it_waits_as_it_is_told_and_sends_the_same_again(monkeypatch):
    waited = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    refusals = [(status, {"Retry-After": "7"}, b"") for status in (429, 502, 503, 504)]
    with answering((200, {}, b""), *refusals, (0, {}, b"")) as fake:
        outcome, acknowledged = loaded(fake, 2, retry=60)
        assert fake.received == [b"body 0", *[b"body 1"] * 6]
    assert waited == [7, 7, 7, 7, 0.2]
    assert acknowledged == ["report 0", "report 1"]
    assert (outcome.again, outcome.unanswered, outcome.is_whole) == (5, 1, True)


def test_what_cannot_be_taken_before_the_patience_ends_is_left():
    with answering((200, {}, b""), (503, {"Retry-After": "30"}, b"")) as fake:
        outcome, _ = loaded(fake, 2, retry=20)
        assert len(fake.received) == 2
    assert not outcome.is_whole


def test_a_refusal_that_is_no_passing_one_is_not_tried_again():
    with answering((200, {}, b""), (400, {"Retry-After": "0"}, b""), (500, {}, b"")) as fake:
        outcome, acknowledged = loaded(fake, 3, retry=60)
        assert len(fake.received) == 3
    assert (outcome.statuses, acknowledged) == ({200: 1, 400: 1, 500: 1}, ["report 0"])


def test_a_connection_that_the_collector_closes_is_made_anew():
    with answering(keeps=False) as fake:
        outcome, acknowledged = loaded(fake, 5)
        assert fake.connections == 5
    assert (outcome.is_whole, outcome.unanswered, len(acknowledged)) == (True, 0, 5)


def test_an_answer_200_in_other_words_is_no_collectors():
    with answering((200, {}, b"<html>")) as fake, pytest.raises(CollectorError, match="this is no collector"):
        loaded(fake, 2)


def test_an_answer_that_does_not_come_is_given_up():
    async def waits(port: int) -> None:
        connection = await connect(Target.parse(f"http://127.0.0.1:{port}", {}), timeout=0.5)
        with pytest.raises(ConnectionError, match="before an answer"):
            await connection.post(b"")

    async def silent() -> None:
        over = asyncio.Event()

        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await over.wait()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            await waits(server.sockets[0].getsockname()[1])
            over.set()

    asyncio.run(silent())


def test_after_the_seconds_nothing_more_is_sent():
    endless = (Request(b"body", (f"report {at}",), 4) for at in itertools.count())
    few = itertools.islice(endless, 1_000_000)
    with answering() as fake:
        load = Load(Target.parse(fake.url, SAID), 2, seconds=0.3)
        outcome = send(load, (Request(bytes(2**20), each.reports, 4) for each in few))
    assert 0.3 <= outcome.seconds < PATIENCE
    assert outcome.is_whole


def test_the_verb_prints_figures_and_keeps_the_ids_of_what_was_acknowledged(tmp_path):
    words = ["load", "--week", "2026-W47", "--reports", "5", "--connections", "2"]
    with answering() as fake:
        asked = [*words, "--url", fake.url, "--ids", str(tmp_path / "ids"), "--json"]
        done = CliRunner().invoke(app_for(), asked)
        ids = {name for body in fake.received for name in (r.report_id for r in decoded(gzip.decompress(body)))}
        again = CliRunner().invoke(app_for(), asked)
        told = CliRunner().invoke(app_for(), [*words, "--url", fake.url])
    figures = json.loads(done.stdout)
    assert (figures["reports"], figures["spans"], figures["statuses"]) == (5, 20, {"200": 5})
    assert set((tmp_path / "ids").read_text(encoding="ascii").split()) == ids
    assert isinstance(again.exception, FileExistsError)
    assert told.exit_code == 0
    assert "20 cells of simulated reports acknowledged" in told.stdout


def test_the_verb_ends_with_status_1_when_not_all_was_taken():
    with answering((200, {}, b""), (429, {}, b"")) as fake:
        done = CliRunner().invoke(app_for(), ["load", "--url", fake.url, "--week", "2026-W47", "--reports", "3"])
    assert done.exit_code == 1
    assert "2 answered 200, 1 answered 429" in done.stdout
    assert "not all was taken" in done.stdout


def test_the_verb_shows_the_token_that_a_file_holds(tmp_path):
    words = ["load", "--week", "2026-W47", "--reports", "1", "--token-file", str(tmp_path / "token")]
    (tmp_path / "token").write_text("a fleet's token\nand more\n", encoding="ascii")
    with answering() as fake:
        assert CliRunner().invoke(app_for(), [*words, "--url", fake.url]).exit_code == 0
        assert fake.authorizations == ["Bearer a fleet's token"]
        (tmp_path / "token").write_text("\n", encoding="ascii")
        assert "is no token" in str(CliRunner().invoke(app_for(), [*words, "--url", fake.url]).exception)
        assert len(fake.received) == 1
