from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_collector.admission.addresses import block_of, client_of, host_of, parse_address

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7:4711 ", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_read_however_a_socket_or_a_proxy_writes_it(text, address):
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text", ["", "unknown", "_hidden", "testclient", "203.0.113", "256.1.1.1", "[", "::1::", "%"]
)
def test_what_is_no_address_is_none(text):
    assert parse_address(text) is None


@given(st.text())
def test_reading_an_address_never_fails(text):
    parse_address(text)


def test_without_a_trusted_proxy_what_a_sender_says_of_itself_is_not_looked_at():
    assert client_of("203.0.113.7", ["198.51.100.1"], PROXIES) == "203.0.113.7"
    assert client_of("10.0.0.1", ["198.51.100.1"], []) == "10.0.0.1"


def test_the_client_is_the_last_address_that_is_no_proxy_of_ours():
    assert client_of("10.0.0.1", ["198.51.100.1"], PROXIES) == "198.51.100.1"
    assert client_of("10.0.0.1", ["198.51.100.1, 10.0.0.2"], PROXIES) == "198.51.100.1"
    assert client_of("fd00::1", ["198.51.100.1", "fd00::2,10.0.0.2"], PROXIES) == "198.51.100.1"


def test_an_address_that_a_client_made_up_is_not_reached():
    assert client_of("10.0.0.1", ["192.0.2.1, 198.51.100.1"], PROXIES) == "198.51.100.1"
    assert client_of("10.0.0.1", ["127.0.0.1, 10.9.9.9, 198.51.100.1, 10.0.0.2"], PROXIES) == "198.51.100.1"


def test_a_proxy_that_says_nothing_or_no_address_is_taken_for_the_client():
    assert client_of("10.0.0.1", [], PROXIES) == "10.0.0.1"
    assert client_of("10.0.0.1", ["198.51.100.1, unknown"], PROXIES) == "10.0.0.1"
    assert client_of("10.0.0.1", ["198.51.100.1, , 10.0.0.2"], PROXIES) == "10.0.0.2"


def test_when_all_are_proxies_the_first_one_is_the_client():
    assert client_of("10.0.0.1", ["10.0.0.3, 10.0.0.2"], PROXIES) == "10.0.0.3"


def test_a_socket_without_an_address_has_no_client():
    assert client_of(None, ["198.51.100.1"], PROXIES) is None
    assert client_of("testclient", ["198.51.100.1"], PROXIES) is None


def same(neighbourhood, first, second):
    return neighbourhood(parse_address(first)) == neighbourhood(parse_address(second))


def test_a_sender_is_an_ipv4_address_or_an_ipv6_64():
    assert not same(host_of, "203.0.113.7", "203.0.113.8")
    assert same(host_of, "2001:db8::1", "2001:db8::ffff:1")
    assert not same(host_of, "2001:db8:0:1::1", "2001:db8:0:2::1")


def test_a_block_is_an_ipv4_24_or_an_ipv6_48():
    assert same(block_of, "203.0.113.7", "203.0.113.255")
    assert not same(block_of, "203.0.113.7", "203.0.114.7")
    assert same(block_of, "2001:db8:1:1::1", "2001:db8:1:2::1")
    assert not same(block_of, "2001:db8:1::1", "2001:db8:2::1")


def test_an_ipv4_address_is_never_taken_for_an_ipv6_one():
    four, six = "50.1.13.184", "3201:db8::1"  # whose first bytes are the same
    assert not same(host_of, four, six)
    assert not same(block_of, four, six)
