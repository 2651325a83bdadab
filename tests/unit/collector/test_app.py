from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from metavox_collector import app as app_module
from metavox_collector.admission import Admission
from metavox_collector.app import create_app
from metavox_collector.clock import fixed
from metavox_collector.observe import Metrics
from metavox_collector.settings import Settings
from metavox_collector.store import Database
from metavox_privacy.wire import encode
from tests.spans import WEEK, example_report
from tests.waiting import FOR_EVER, PATIENCE, soon

HEADERS = {"Content-Type": "application/x-protobuf"}


def ask(app: Any, method: str, path: str, **what: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://collector")
        async with app.router.lifespan_context(app), client:
            return await client.request(method, path, **what)

    return asyncio.run(go())


def post(app: Any, body: Any) -> httpx.Response:
    return ask(app, "POST", "/v1/traces", content=body, headers=HEADERS)


def during(app: Any, work: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """What a client does while the service runs."""

    async def go() -> Any:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector")
        async with app.router.lifespan_context(app), client:
            return await work(client)

    return asyncio.run(go())


def numbers(app: Any) -> str:
    """What Prometheus reads."""
    return str(ask(app.state.monitor, "GET", "/metrics").text)


def status(response: httpx.Response) -> tuple[int, int, str]:
    assert response.headers["content-type"] == HEADERS["Content-Type"]
    body = Status.FromString(response.content)
    return response.status_code, body.code, body.message


@pytest.fixture
def make_app():
    """``create_app`` for apps that are asked without being started, whose databases nobody else would close."""
    made = []

    def make(*arguments, **options):
        made.append(create_app(*arguments, **options))
        return made[-1]

    yield make
    for app in made:
        app.state.database.dispose()


def test_a_report_is_in_the_database_when_200_is_answered(make_app, settings, schema):
    report = example_report(schema=schema)
    app = make_app(settings, clock=fixed(WEEK.end), schema=schema)
    assert post(app, encode([report], schema)).status_code == 200
    database = Database.existing(settings.db, schema)
    with database.read() as transaction:
        assert list(transaction.staged_reports(WEEK, "publish")) == [report]
    database.dispose()


def test_the_clock_decides_whether_a_week_is_over(make_app, settings, schema):
    app = make_app(settings, clock=fixed(WEEK.end - timedelta(seconds=1)), schema=schema)
    response = post(app, encode([example_report(schema=schema)], schema))
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, partial.rejected_spans) == (200, 1)
    assert partial.error_message == "not taken: the week is not over (1 report)"


def test_a_busy_database_is_503_with_a_time_to_wait(make_app, url, schema):
    impatient = Settings(db=url, busy_timeout_s=0.05, retry_after_s=7)
    app = make_app(impatient, clock=fixed(WEEK.end), schema=schema)
    other = Database.existing(url, schema)
    with other.write():
        response = post(app, encode([example_report(schema=schema)], schema))
    other.dispose()
    assert status(response)[:2] == (503, 14)
    assert response.headers["retry-after"] == "7"
    patient = make_app(Settings(db=url), clock=fixed(WEEK.end), schema=schema)  # it expires what is old meanwhile
    assert post(patient, encode([example_report(schema=schema)], schema)).content == b""


def test_a_listing_from_a_database_that_fails_is_503(make_app, sqlite_url, schema, tmp_path):
    app = make_app(Settings(db=sqlite_url), schema=schema)
    assert ask(app, "GET", "/v1/datasets").json() == {"datasets": []}
    with closing(sqlite3.connect(tmp_path / "collector.db")) as other:
        other.execute("DROP TABLE released_cell")
    response = ask(app, "GET", "/v1/datasets")
    assert (response.status_code, response.headers["retry-after"]) == (503, "30")


def test_a_slow_body_is_given_up(make_app, url, schema):
    async def slow() -> AsyncIterator[bytes]:
        yield b"\n"
        await asyncio.sleep(PATIENCE)
        yield b"\0"

    app = make_app(Settings(db=url, body_timeout_s=0.05), schema=schema)
    assert status(post(app, slow()))[:2] == (408, 4)


def test_a_fault_of_ours_is_a_status_that_tells_the_sender_nothing(make_app, settings, schema, caplog):
    def broken() -> datetime:
        raise RuntimeError("a detail of ours")

    app = make_app(settings, clock=broken, schema=schema)
    with caplog.at_level(logging.ERROR):
        code, rpc, message = status(post(app, encode([example_report(schema=schema)], schema)))
    assert (code, rpc) == (500, 13)
    assert "detail" not in message
    assert "a detail of ours" in caplog.text


def test_the_operator_is_told_once_why_the_database_cannot_be_used(make_app, url, schema, caplog):
    impatient = Settings(db=url, busy_timeout_s=0.05)
    app = make_app(impatient, clock=fixed(WEEK.end), schema=schema)
    report = example_report(schema=schema)

    async def ask_three_times(client: httpx.AsyncClient) -> list[int]:
        what = {"content": encode([report], schema), "headers": HEADERS}
        return [(await client.post("/v1/traces", **what)).status_code for _ in range(3)]

    other = Database.existing(url, schema)
    with other.write():
        assert during(app, ask_three_times) == [503] * 3
    other.dispose()
    (said,) = [
        record.getMessage() for record in caplog.records if record.name == "metavox_collector.endpoints.refusals"
    ]
    assert "the database could not be used: " in said
    assert report.report_id not in caplog.text
    assert f'metavox_collector_database_errors_total{{kind="{said.split(": ")[1].split(";")[0]}"}} 3.0' in numbers(
        app
    )


def test_senders_that_wait_for_a_close_keep_nobody_from_reading(make_app, url, schema):
    app = make_app(Settings(db=url, busy_timeout_s=FOR_EVER), clock=fixed(WEEK.end), schema=schema)
    bodies = [encode([example_report(token=bytes([i]), schema=schema)], schema) for i in range(50)]
    monitor = httpx.AsyncClient(transport=httpx.ASGITransport(app.state.monitor), base_url="http://collector")

    async def all_wait() -> None:
        while "metavox_collector_reports_waiting 50.0" not in (await monitor.get("/metrics")).text:
            await asyncio.sleep(0.01)

    async def read_while_they_wait(client: httpx.AsyncClient) -> tuple[list[int], list[int]]:
        with closing_week.write():
            sent = [client.post("/v1/traces", content=body, headers=HEADERS) for body in bodies]
            senders = asyncio.gather(*sent)
            await asyncio.wait_for(all_wait(), PATIENCE)
            paths = ("/health", "/ready", "/v1/datasets")
            read = [await asyncio.wait_for(client.get(path), PATIENCE) for path in paths]
            assert not senders.done()
        return [response.status_code for response in read], [r.status_code for r in await senders]

    closing_week = Database.existing(url, schema)
    assert during(app, read_while_they_wait) == ([200, 200, 200], [200] * 50)
    closing_week.dispose()


def test_what_there_is_no_room_for_is_429_with_a_time_to_wait_and_the_rest_is_stored(make_app, url, schema):
    settings = Settings(db=url, max_waiting_reports=2, retry_after_s=7, busy_timeout_s=FOR_EVER)
    app = make_app(settings, clock=fixed(WEEK.end), schema=schema)
    bodies = [encode([example_report(token=bytes([i]), schema=schema)], schema) for i in range(9)]

    async def all_at_once(client: httpx.AsyncClient) -> tuple[list[int], set[str | None], int]:
        with closing_week.write():
            sent = [asyncio.ensure_future(client.post("/v1/traces", content=b, headers=HEADERS)) for b in bodies]
            assert await soon(lambda: sum(each.done() for each in sent) == 7)
            ready = await client.get("/ready")
        answers = await asyncio.gather(*sent)
        return (
            sorted(answer.status_code for answer in answers),
            {answer.headers.get("retry-after") for answer in answers},
            ready.status_code,
        )

    closing_week = Database.existing(url, schema)
    assert during(app, all_at_once) == ([200, 200] + [429] * 7, {None, "7"}, 503)
    closing_week.dispose()
    assert 'metavox_collector_throttled_total{reason="busy"} 7.0' in numbers(app)


def test_bodies_that_are_more_together_than_may_be_held_are_429(make_app, url, schema):
    app = make_app(Settings(db=url, max_waiting_bytes=2**20, max_body_bytes=2**20), schema=schema)

    async def two(client: httpx.AsyncClient) -> list[int]:
        is_held, goes_on = asyncio.Event(), asyncio.Event()

        async def stalled() -> AsyncIterator[bytes]:
            yield b"\0" * (2**20 - 100)
            is_held.set()  # for more is asked
            await goes_on.wait()
            yield b"\0"

        first = asyncio.ensure_future(client.post("/v1/traces", content=stalled(), headers=HEADERS))
        await asyncio.wait_for(is_held.wait(), PATIENCE)
        second = await client.post("/v1/traces", content=b"\0" * 200, headers=HEADERS)
        goes_on.set()
        return [second.status_code, (await first).status_code]

    assert during(app, two) == [429, 400]
    assert "metavox_collector_body_bytes 0.0" in numbers(app)


def test_what_waits_is_shown_again_and_again_for_who_asks_another_worker(make_app, settings, schema, monkeypatch):
    looks: list[None] = []
    monkeypatch.setattr("metavox_collector.app._SAMPLING", 0.01)
    monkeypatch.setattr(Metrics, "sample", lambda _: looks.append(None))

    async def wait(_: httpx.AsyncClient) -> bool:
        return await soon(lambda: len(looks) > 1)

    assert during(make_app(settings, schema=schema), wait)


def test_a_database_that_has_gone_makes_the_service_unready_and_not_dead(make_app, sqlite_url, schema, tmp_path):
    app = make_app(Settings(db=sqlite_url), schema=schema)

    async def probe(client: httpx.AsyncClient) -> list[int]:
        with closing(sqlite3.connect(tmp_path / "collector.db")) as other:
            other.execute("ALTER TABLE ledger RENAME TO elsewhere")
        return [(await client.get(path)).status_code for path in ("/health", "/ready")]

    assert during(app, probe) == [200, 503]


def test_a_process_that_is_about_to_end_is_not_ready(make_app, settings, schema):
    app = make_app(settings, schema=schema)
    app.state.health.is_draining = True
    response = ask(app, "GET", "/ready")
    assert (response.status_code, response.json()) == (503, {"status": "draining"})


def test_numbers_say_what_was_done_and_nothing_of_who_asked_for_it(make_app, settings, schema):
    app = make_app(settings, clock=fixed(WEEK.end), schema=schema)
    token = b"\7" * 32
    good = example_report(token=token, schema=schema)
    early = replace(example_report(token=b"early", schema=schema), week=replace(WEEK, number=WEEK.number + 1))

    async def a_little_of_everything(client: httpx.AsyncClient) -> None:
        headers = HEADERS | {"User-Agent": "telltale", "X-Forwarded-For": "192.0.2.77", "traceparent": "telltale"}
        await client.post("/v1/traces", content=encode([good, early], schema), headers=headers)
        await client.delete(f"/v1/reports/{token.hex()}", headers=headers)
        await client.get("/telltale", headers=headers)

    during(app, a_little_of_everything)
    said = numbers(app)
    for line in (
        'requests_total{code="200",route="traces"} 1.0',
        'requests_total{code="204",route="reports"} 1.0',
        'requests_total{code="404",route="other"} 1.0',
        "spans_accepted_total 1.0",
        'spans_rejected_total{reason="week_not_over"} 1.0',
        "deletions_total 1.0",
        "commit_reports_count 2.0",
    ):
        assert f"metavox_collector_{line}\n" in said
    assert "telltale" not in said
    assert "192.0.2.77" not in said
    assert token.hex() not in said


@pytest.fixture
def no_time_passes(monkeypatch):
    """For whoever counts how often somebody sends."""
    monkeypatch.setattr("metavox_collector.admission.admission.time", SimpleNamespace(monotonic=lambda: 1.0))


@pytest.mark.usefixtures("no_time_passes")
def test_a_proxy_that_is_trusted_says_whose_budget_is_used(make_app, url, schema):
    settings = Settings(db=url, sends_per_minute=1, trusted_proxies=("127.0.0.1",), unlimited_networks=())
    app = make_app(settings, clock=fixed(WEEK.end), schema=schema)

    async def three(client: httpx.AsyncClient) -> list[int]:
        clients = ("192.0.2.1", "192.0.2.1", "evil, 192.0.2.2")
        sent = [await client.post("/v1/traces", headers=HEADERS | {"X-Forwarded-For": who}) for who in clients]
        assert sent[1].headers["retry-after"] == "60"
        return [answer.status_code for answer in sent]

    assert during(app, three) == [200, 429, 200]


@pytest.mark.usefixtures("no_time_passes")
def test_nobody_else_says_whose_budget_is_used(make_app, url, schema):
    settings = Settings(db=url, sends_per_minute=1, unlimited_networks=())
    app = make_app(settings, clock=fixed(WEEK.end), schema=schema)

    async def two(client: httpx.AsyncClient) -> list[int]:
        clients = ("192.0.2.1", "192.0.2.2")
        sent = [await client.post("/v1/traces", headers=HEADERS | {"X-Forwarded-For": who}) for who in clients]
        return [answer.status_code for answer in sent]

    assert during(app, two) == [200, 429]


def test_what_was_counted_of_senders_is_forgotten_by_itself(make_app, url, schema, monkeypatch):
    monkeypatch.setattr(app_module, "HOUR", 0.01)
    forgotten = threading.Event()
    monkeypatch.setattr(Admission, "forget", lambda _admission: forgotten.set())
    app = make_app(Settings(db=url), clock=fixed(WEEK.end), schema=schema)

    async def nothing(_client: httpx.AsyncClient) -> bool:
        return await asyncio.to_thread(forgotten.wait, PATIENCE)

    assert during(app, nothing)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_another_method_is_405_and_says_which_is_right(make_app, settings, schema, method):
    response = ask(make_app(settings, schema=schema), method, "/v1/traces")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_nobody_is_sent_to_the_host_that_a_request_names(make_app, settings, schema):
    response = ask(make_app(settings, schema=schema), "POST", "/v1/traces/", headers={"Host": "elsewhere.example"})
    assert (response.status_code, "location" in response.headers) == (404, False)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/metrics"])
def test_there_is_no_page_that_loads_from_elsewhere_and_no_numbers_for_everybody(make_app, settings, schema, path):
    assert ask(make_app(settings, schema=schema), "GET", path).status_code == 404
