"""Limits and tokens on a real service of two workers, behind a proxy that says who its clients are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from google.rpc.status_pb2 import Status

from metavox_collector.admission import mint
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.integration.collector.running import PATIENT, PROTOBUF, Collector, collector, get
from tests.spans import example_report

SENDS, DELETIONS, REPORTS = 5, 3, 20
LIMITS = {
    "METAVOX_COLLECTOR_SENDS_PER_MINUTE": str(SENDS),
    "METAVOX_COLLECTOR_DELETIONS_PER_MINUTE": str(DELETIONS),
    "METAVOX_COLLECTOR_REPORTS_PER_BLOCK": str(REPORTS),
    "METAVOX_COLLECTOR_MONITOR_PORT": "0",
}
SECRET, LINE = mint()
SHOWN = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("limits")
    (folder / "tokens").write_text(LINE)
    (folder / "tokens").chmod(0o600)
    words = ("--workers", "2", "--trusted-proxies", "127.0.0.1", "--require-token", str(folder / "tokens"))
    with collector(f"sqlite:///{folder}/collector.db", *words, **LIMITS, **PATIENT) as started:
        yield started
        status, said = started.stop()
    assert status == 0
    assert not any(word in said for word in ("203.0.113", "2001:db8", SECRET))


def send(running: Collector, client: str, *tokens: bytes, **headers: str) -> httpx.Response:
    body = encode([example_report(token=token, synthetic=True) for token in tokens], SCHEMA)
    named = {**PROTOBUF, **SHOWN, "X-Forwarded-For": client, **headers}
    return running.client.post("/v1/traces", content=body, headers=named)


def told(response: httpx.Response, status: int, code: int) -> str:
    assert response.status_code == status
    said = Status.FromString(response.content)
    assert said.code == code
    return str(said.message)


def test_a_sender_beyond_its_rate_is_answered_429_by_whichever_worker_and_others_are_served(running):
    for number in range(SENDS):
        assert send(running, "203.0.113.1", b"rate %d" % number).status_code == 200
    for _ in range(4):
        refused = send(running, "203.0.113.1", b"rate again")
        assert told(refused, 429, 8) == "too many requests from one address"
        assert 1 <= int(refused.headers["retry-after"]) <= 12
    assert send(running, "203.0.113.2", b"other").status_code == 200


def test_what_a_client_says_of_itself_gets_it_no_further_budget(running):
    answers = [send(running, f"198.51.100.{number}, 203.0.114.1", b"made up").status_code for number in range(8)]
    assert answers == [200] * SENDS + [429] * (8 - SENDS)


def test_a_block_beyond_its_cap_is_answered_429_for_all_of_a_request(running):
    first = [b"block %d" % number for number in range(REPORTS - 2)]
    assert send(running, "2001:db8:1:1::1", *first).status_code == 200
    refused = send(running, "2001:db8:1:2::1", b"one", b"two", b"three")
    assert "one address block" in told(refused, 429, 8)
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert send(running, "2001:db8:1:3::1", b"one", b"two").status_code == 200
    assert send(running, "2001:db8:2:1::1", b"three").status_code == 200


def delete(running: Collector, client: str, token: bytes) -> httpx.Response:
    return running.client.delete(f"/v1/reports/{token.hex()}", headers={"X-Forwarded-For": client})


def test_deletions_need_no_fleets_token_and_have_a_budget_of_their_own(running):
    token = bytes(32)
    assert send(running, "203.0.115.1", token).status_code == 200
    assert delete(running, "203.0.115.1", token).status_code == 204
    for _ in range(DELETIONS - 1):
        assert delete(running, "203.0.115.1", token).status_code == 404
    refused = delete(running, "203.0.115.1", token)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert send(running, "203.0.115.1", b"after deletions").status_code == 200


@pytest.mark.parametrize(
    "shown", ["", "Bearer wrong", f"Basic {SECRET}", f"Bearer {LINE}"], ids=["none", "wrong", "scheme", "hash"]
)
def test_reports_without_the_fleets_token_are_answered_401(running, shown):
    refused = send(running, "203.0.116.1", b"stranger", Authorization=shown)
    assert "fleet's token" in told(refused, 401, 16)
    assert refused.headers["www-authenticate"] == "Bearer"


def test_refusals_are_counted_and_neither_addresses_nor_tokens_are_among_the_numbers_or_in_the_database(running):
    assert running.process.stdout is not None
    monitor = running.process.stdout.readline().split()[-1]
    numbers = get(f"{monitor}/metrics").text
    for reason in ("too_many_requests", "too_many_deletions", "too_many_from_block"):
        assert re.search(rf'throttled_total{{reason="{reason}"}} [1-9]', numbers)
    kept = b"".join(path.read_bytes() for path in running.file.parent.glob("collector.db*"))
    for word in ("203.0.11", "2001:db8", "198.51.100", SECRET, SECRET[:8], "Bearer", "orwarded"):
        assert word not in numbers
        assert word.encode() not in kept
