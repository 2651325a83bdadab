"""Content codings: whole, cut, damaged, in members, and bombs."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard

from metavox_collector.receive import Code, Coding, Refused
from metavox_collector.receive.inflate import MEMBERS, inflate
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.spans import example_report


def zstd_stream(data: bytes) -> bytes:
    """As a streaming encoder writes it, which does not know the length when it begins."""
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


DEFLATERS: dict[str, tuple[Coding, Callable[[bytes], bytes]]] = {
    "gzip": (Coding.GZIP, gzip.compress),
    "deflate": (Coding.DEFLATE, zlib.compress),
    "zstd": (Coding.ZSTD, zstandard.compress),
    "zstd of unknown length": (Coding.ZSTD, zstd_stream),
}
each = pytest.mark.parametrize(("coding", "deflate"), DEFLATERS.values(), ids=DEFLATERS)


def refused(code: Code, body: bytes, coding: Coding, limit: int) -> Refused:
    with pytest.raises(Refused) as caught:
        inflate(body, coding, limit)
    assert caught.value.code is code
    return caught.value


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (None, Coding.IDENTITY),
        ("", Coding.IDENTITY),
        ("Identity", Coding.IDENTITY),
        ("GZip", Coding.GZIP),
        ("x-gzip", Coding.GZIP),
        (" gzip , identity", Coding.GZIP),
        ("identity,deflate", Coding.DEFLATE),
        ("zstd", Coding.ZSTD),
    ],
)
def test_a_coding_is_named_in_any_case_and_among_identities(header, coding):
    assert Coding.of(header) is coding


@pytest.mark.parametrize("header", ["br", "gzip, gzip", "gzip, zstd", "gzip;q=1", "compress"])
def test_another_coding_is_unsupported_and_says_which_are_not(header):
    with pytest.raises(Refused) as caught:
        Coding.of(header)
    assert caught.value.code is Code.UNSUPPORTED
    assert caught.value.headers == {"Accept-Encoding": "identity, gzip, deflate, zstd"}


@each
def test_a_bomb_is_refused_within_bounded_memory(coding, deflate):
    bomb = deflate(b"\0" * 100_000_000)
    tracemalloc.start()
    error = refused(Code.TOO_LARGE, bomb, coding, 40_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "after inflation" in str(error)
    assert peak < 1_000_000


@each
def test_inflation_takes_exactly_the_limit_and_not_one_byte_more(coding, deflate):
    assert inflate(deflate(b"x" * 100), coding, 100) == b"x" * 100
    refused(Code.TOO_LARGE, deflate(b"x" * 101), coding, 100)


def test_what_is_not_encoded_has_the_same_limit():
    assert inflate(b"x" * 100, Coding.IDENTITY, 100) == b"x" * 100
    refused(Code.TOO_LARGE, b"x" * 101, Coding.IDENTITY, 100)


@each
def test_every_truncation_is_a_client_error(coding, deflate):
    whole = deflate(encode([example_report()], SCHEMA))
    for length in range(1, len(whole)):
        refused(Code.INVALID, whole[:length], coding, 1_000_000)


@each
def test_what_follows_a_body_or_is_none_is_refused(coding, deflate):
    refused(Code.INVALID, deflate(b"a") + b"b", coding, 1000)
    refused(Code.INVALID, b"not encoded at all", coding, 1000)


@pytest.mark.parametrize(("coding", "deflate"), [DEFLATERS["gzip"], DEFLATERS["deflate"]], ids=["gzip", "deflate"])
def test_a_damaged_body_is_refused(coding, deflate):
    damaged = bytearray(deflate(b"some words that are checked"))
    damaged[-3 if coding is Coding.DEFLATE else -5] ^= 1
    refused(Code.INVALID, bytes(damaged), coding, 1000)


def test_gzip_may_come_in_members_that_share_the_limit():
    members = gzip.compress(b"a" * 60) + gzip.compress(b"b" * 40)
    assert inflate(members, Coding.GZIP, 100) == b"a" * 60 + b"b" * 40
    refused(Code.TOO_LARGE, members, Coding.GZIP, 99)
    refused(Code.INVALID, members[:-1], Coding.GZIP, 100)


def test_members_are_few_so_that_none_costs_more_than_it_holds():
    member = gzip.compress(b"x")
    assert inflate(member * MEMBERS, Coding.GZIP, 1000) == b"x" * MEMBERS
    refused(Code.INVALID, member * (MEMBERS + 1), Coding.GZIP, 1000)


def test_a_window_larger_than_a_decoder_should_have_is_refused():
    wide = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=0)
    body = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    refused(Code.INVALID, body.compress(b"x" * 100) + body.flush(), Coding.ZSTD, 1000)
