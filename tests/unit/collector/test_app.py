from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from metavox_collector.app import create_app
from metavox_collector.clock import fixed
from metavox_collector.settings import Settings
from metavox_collector.stage import Stager
from metavox_collector.store import Database
from metavox_privacy.wire import encode
from tests.spans import WEEK, example_report

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


def test_a_listing_from_a_database_that_fails_is_503(make_app, url, schema, tmp_path):
    app = make_app(Settings(db=url), schema=schema)
    assert ask(app, "GET", "/v1/datasets").json() == {"datasets": []}
    with closing(sqlite3.connect(tmp_path / "collector.db")) as other:
        other.execute("DROP TABLE released_cell")
    response = ask(app, "GET", "/v1/datasets")
    assert (response.status_code, response.headers["retry-after"]) == (503, "30")


def test_a_slow_body_is_given_up(make_app, url, schema):
    async def slow() -> AsyncIterator[bytes]:
        yield b"\n"
        await asyncio.sleep(5)
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
    impatient = Settings(db=url, busy_timeout_s=0.01)
    app = make_app(impatient, clock=fixed(WEEK.end), schema=schema)
    report = example_report(schema=schema)

    async def ask_three_times() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
            what = {"content": encode([report], schema), "headers": HEADERS}
            return [(await client.post("/v1/traces", **what)).status_code for _ in range(3)]

    other = Database.existing(url, schema)
    with other.write():
        assert asyncio.run(ask_three_times()) == [503] * 3
    other.dispose()
    (said,) = [record.getMessage() for record in caplog.records if record.name == "metavox_collector.app"]
    assert "OperationalError" in said
    assert report.report_id not in caplog.text


def test_the_hourly_expiry_outlives_any_error(make_app, settings, schema, caplog, monkeypatch):
    asked: list[datetime] = []

    def expire(_stager: Stager, now: datetime) -> int:
        asked.append(now)
        raise RuntimeError("a word of somebody's")

    async def two_hours() -> None:
        transport = app.router.lifespan_context(app)
        async with transport:
            while len(asked) < 2:
                await asyncio.sleep(0.01)

    monkeypatch.setattr(Stager, "expire", expire)
    monkeypatch.setattr("metavox_collector.housekeeping.HOUR", 0.01)
    app = make_app(settings, clock=fixed(WEEK.end), schema=schema)
    asyncio.run(asyncio.wait_for(two_hours(), 20))
    assert "expired reports could not be destroyed (RuntimeError)" in caplog.text
    assert "somebody" not in caplog.text


def test_senders_that_wait_for_a_close_keep_nobody_from_reading(make_app, url, schema):
    app = make_app(Settings(db=url, busy_timeout_s=20), clock=fixed(WEEK.end), schema=schema)
    bodies = [encode([example_report(token=bytes([i]), schema=schema)], schema) for i in range(50)]

    async def read_while_they_wait() -> tuple[list[int], list[int]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
            with closing_week.write():
                sent = [client.post("/v1/traces", content=body, headers=HEADERS) for body in bodies]
                senders = asyncio.gather(*sent)
                while threading.active_count() <= 40:
                    await asyncio.sleep(0.01)
                read = [await asyncio.wait_for(client.get(path), 5) for path in ("/health", "/v1/datasets")]
                assert not senders.done()
            return [response.status_code for response in read], [r.status_code for r in await senders]

    closing_week = Database.existing(url, schema)
    assert asyncio.run(read_while_they_wait()) == ([200, 200], [200] * 50)
    closing_week.dispose()


def test_nobody_is_sent_to_the_host_that_a_request_names(make_app, settings, schema):
    response = ask(make_app(settings, schema=schema), "POST", "/v1/traces/", headers={"Host": "elsewhere.example"})
    assert (response.status_code, "location" in response.headers) == (404, False)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_there_is_no_page_that_loads_from_elsewhere(make_app, settings, schema, path):
    assert ask(make_app(settings, schema=schema), "GET", path).status_code == 404
