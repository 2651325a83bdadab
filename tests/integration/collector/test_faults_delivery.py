"""Deliveries come twice, in any order, half, at once, after a deletion, and while the clock is wrong."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from metavox_collector.errors import StoreUnavailable
from metavox_collector.store import Database
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.integration.collector.running import OVER, PATIENCE, PATIENT, Collector, collector, staged
from tests.postgres import Server, server
from tests.spans import WEEK, example_report, example_span

TOO_LATE = "2027-01-10T00:00:00Z"
FORMATS = ("bfloat16", "float16", "int8", "int4")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as started:
        yield started


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('delivery')}/collector.db"
    return str(request.getfixturevalue("postgres").new_database())


@pytest.fixture(scope="module")
def running(db: str) -> Iterator[Collector]:
    """Two workers: whatever comes twice may come to both at the same moment."""
    with collector(db, "--workers", "2", **PATIENT) as started:
        yield started
        assert started.stop() == (0, "")


def report(token: bytes, cells: int = 4, **changes: object) -> Report:
    spans = [example_span(metavox__model__quantization=name, **changes) for name in FORMATS[:cells]]
    return example_report(*spans, token=token, synthetic=True)


def rejected(answer: httpx.Response) -> tuple[int, str]:
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    return partial.rejected_spans, partial.error_message


def post_all(running: Collector, deliveries: Sequence[Sequence[Report]]) -> list[tuple[int, str]]:
    """Many at a time; what was rejected of each."""
    bodies = [encode(list(reports), SCHEMA) for reports in deliveries]
    with ThreadPoolExecutor(8) as pool:
        return [rejected(answer) for answer in pool.map(running.post, bodies)]


def kept(db: str) -> dict[str, Report]:
    database = Database.existing(db, SCHEMA)
    with database.read() as transaction:
        found = {each.report_id: each for each in transaction.staged_reports(WEEK, "publish")}
    database.dispose()
    return found


def test_whatever_comes_again_and_in_whichever_order_is_stored_once_and_accepted_each_time(running):
    reports = [report(b"again %d" % number, 1 + number % 4) for number in range(60)]
    alone = [[each] for each in reports]
    batches = [reports[start : start + 12] for start in range(0, 60, 12)]
    backwards = [[*reversed(batch), batch[0]] for batch in batches]
    deliveries = [*alone, *batches, *backwards, *alone]
    random.Random(1).shuffle(deliveries)
    assert set(post_all(running, deliveries)) == {(0, "")}
    found = staged(running.db)
    assert {each.report_id: found[each.report_id] for each in reports} == {
        each.report_id: len(each.cells) for each in reports
    }


def test_two_contents_under_one_name_at_the_same_moment_are_never_mixed(running):
    one = [report(b"name %d" % number) for number in range(60)]
    other = [
        replace(report(b"", 2, gen_ai__request__model="Qwen/Qwen3-0.6B"), report_id=each.report_id) for each in one
    ]
    deliveries = [[each] for pair in zip(one, other, strict=True) for each in pair]
    assert set(post_all(running, deliveries)) == {(0, "")}
    found = kept(running.db)
    for first, second in zip(one, other, strict=True):
        assert found[first.report_id] in (first, second)


def test_a_sender_that_leaves_before_the_answer_and_tries_again_is_counted_once(running):
    each = report(b"left")
    body = encode([each], SCHEMA)
    place = urlsplit(running.url)
    lines = ["POST /v1/traces HTTP/1.1", "Host: x", "Content-Type: application/x-protobuf"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "\r\n"]).encode()
    for _ in range(5):
        with socket.create_connection((place.hostname, place.port)) as sender:
            sender.sendall(head + body)
    assert rejected(running.post(body)) == (0, "")
    assert staged(running.db)[each.report_id] == 4


def test_after_a_deletion_no_delivery_that_was_on_its_way_is_stored(running):
    tokens = [b"%032d" % number for number in range(40)]
    bodies = {token: encode([report(token)], SCHEMA) for token in tokens}
    work = [(running.post, bodies[token]) for token in tokens for _ in range(3)]
    work += [(running.delete, token) for token in tokens]
    random.Random(1).shuffle(work)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda job: job[0](job[1]), work))
    assert {answer for answer in answers if isinstance(answer, int)} <= {204, 404}
    assert not {report(token).report_id for token in tokens} & set(staged(running.db))
    assert rejected(running.post(bodies[tokens[0]])) == (4, "not taken: the report was deleted (1 report)")


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/collector.db"
    return request.getfixturevalue("postgres").new_database()


def test_a_clock_that_goes_forth_and_back_keeps_no_report_too_long_and_counts_none_twice(fresh):
    early, late = [encode([report(token)], SCHEMA) for token in (b"early", b"late")]
    with collector(fresh) as running:
        assert rejected(running.post(early)) == (0, "")
    with collector(fresh, now=TOO_LATE) as running:
        assert rejected(running.post(late)) == (4, "not taken: the week is too old (1 report)")
        wait_until_nothing_is_staged(fresh)
    with collector(fresh, now=OVER) as running:
        for _ in range(2):
            assert rejected(running.post(late)) == (0, "")
    assert list(staged(fresh).values()) == [4]


def wait_until_nothing_is_staged(db: str) -> None:
    deadline, is_empty = time.monotonic() + PATIENCE, False
    while not is_empty:
        assert time.monotonic() < deadline
        with suppress(StoreUnavailable):  # the week is dropped between two looks of the reader
            is_empty = not staged(db)
