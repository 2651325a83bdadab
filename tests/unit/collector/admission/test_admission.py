from __future__ import annotations

import os
import sys
import time
import tracemalloc
from datetime import timedelta
from ipaddress import ip_network

import pytest

from metavox_collector.admission import (
    REASONS,
    Action,
    Admission,
    Limits,
    Throttled,
    Tokens,
    Unauthorized,
    shared_counts,
)
from metavox_collector.admission.rates import DAY
from metavox_collector.clock import fixed
from tests.spans import WEEK

NOW = WEEK.start + timedelta(days=2)
LIMITS = Limits(3, 2, 10, (ip_network("127.0.0.0/8"), ip_network("2001:db8:ffff::/48")))
HERE, BESIDE, ELSEWHERE = "203.0.113.7", "203.0.113.8", "198.51.100.1"


@pytest.fixture
def admission():
    return Admission(LIMITS, None, fixed(NOW))


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch):
    """Between two requests of a test, for their rates are counted by the second."""
    monkeypatch.setattr(time, "monotonic", lambda: 1.0)


def told(admit, *words):
    with pytest.raises(Throttled) as throttled:
        admit(*words)
    return throttled.value


def test_a_sender_beyond_its_rate_is_told_for_how_long_to_wait(admission):
    for _ in range(3):
        admission.admit_request(HERE, Action.SEND)
    throttled = told(admission.admit_request, HERE, Action.SEND)
    assert throttled.reason == "too_many_requests"
    assert throttled.retry_after_s == 20
    admission.admit_request(BESIDE, Action.SEND)


def test_deletions_have_a_budget_of_their_own(admission):
    for _ in range(3):
        admission.admit_request(HERE, Action.SEND)
    for _ in range(2):
        admission.admit_request(HERE, Action.DELETE)
    assert told(admission.admit_request, HERE, Action.DELETE).reason == "too_many_deletions"


def test_a_block_beyond_its_cap_is_told_to_come_back_in_an_hour(admission):
    admission.admit(HERE, 6)
    admission.admit(BESIDE, 4)
    throttled = told(admission.admit, "203.0.113.9", 1)
    assert (throttled.reason, throttled.retry_after_s) == ("too_many_from_block", 3600)
    admission.admit(ELSEWHERE, 10)


def test_when_the_week_ends_sooner_than_that_it_is_told_to_come_back_then():
    admission = Admission(LIMITS, None, fixed(WEEK.end - timedelta(seconds=90)))
    assert told(admission.admit, HERE, 11).retry_after_s == 90


def test_the_next_week_takes_what_this_one_did_not():
    moment = [NOW]
    admission = Admission(LIMITS, None, lambda: moment[0])
    admission.admit(HERE, 10)
    told(admission.admit, HERE, 1)
    moment[0] = WEEK.end
    admission.admit(HERE, 10)


@pytest.mark.parametrize("client", [None, "no address", "127.0.0.1", "::ffff:127.0.0.1", "2001:db8:ffff:7::1"])
def test_nothing_limits_a_relay_the_machine_itself_or_a_socket_without_an_address(admission, client):
    for _ in range(10):
        admission.admit_request(client, Action.SEND)
        admission.admit(client, 1000)


def test_every_reason_is_in_the_closed_list(admission):
    assert {action.value for action in Action} < set(REASONS)
    assert told(admission.admit, HERE, 11).reason in REASONS


def test_what_is_told_names_no_address(admission):
    for _ in range(3):
        admission.admit_request(HERE, Action.SEND)
    words = [told(admission.admit_request, HERE, Action.SEND), told(admission.admit, HERE, 11)]
    assert not any(HERE in f"{word} {word.args} {word!r}" for word in words)


def test_without_tokens_nobody_has_to_show_one(admission):
    admission.authorize(None)
    admission.authorize("Bearer whatever")


def test_with_tokens_only_a_good_one_lets_reports_in():
    admission = Admission(LIMITS, Tokens((bytes(32),)), fixed(NOW))
    for header in (None, "Bearer wrong"):
        with pytest.raises(Unauthorized, match="fleet's token"):
            admission.authorize(header)


def test_no_address_is_kept_anywhere_in_memory(admission):
    """What is allocated once the requests are over is no more than before, and the tables hold numbers alone."""
    admission.admit(HERE, 1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1000):
        admission.admit_request(f"2001:db8:{number:x}::1", Action.SEND)
        admission.admit(f"2001:db8:{number:x}::1", 1)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="shared memory without a name is Linux's")
def test_a_day_and_a_week_that_are_over_are_forgotten_though_nobody_comes(monkeypatch):
    moment, seconds = [NOW], [1.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    descriptor = shared_counts()
    assert descriptor is not None
    admission = Admission(LIMITS, None, lambda: moment[0], descriptor)
    for action in Action:
        admission.admit_request(HERE, action)
    admission.admit(HERE, 1)
    admission.forget()
    held = count_bytes(descriptor)
    seconds[0] += DAY
    admission.forget()
    assert 0 < count_bytes(descriptor) < held / 2
    moment[0] += timedelta(weeks=1)
    admission.forget()
    assert count_bytes(descriptor) == 0
    os.close(descriptor)


def count_bytes(descriptor: int) -> int:
    """How many bytes of shared memory hold something."""
    held = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return len(held) - held.count(0)


def test_workers_that_share_their_counts_share_a_senders_budget():
    memory = shared_counts()
    first, second = (Admission(LIMITS, None, fixed(NOW), memory) for _ in range(2))
    first.admit(HERE, 10)
    assert told(second.admit, HERE, 1).reason == "too_many_from_block"
    for admission in (first, second, first):
        admission.admit_request(HERE, Action.SEND)
    told(second.admit_request, HERE, Action.SEND)
    assert memory is not None
    os.close(memory)
