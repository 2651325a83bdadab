from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox.telemetry.compare.released import LONGEST, NotARelease, parse_release
from metavox_privacy.week import Week
from tests.unit.sdk.telemetry.compare.releases import CPU_TINY, as_bytes, cell, document, nothing


def test_a_release_is_read_with_every_bucket_in_its_place():
    read = parse_release(as_bytes(document()))

    assert (read.week, read.synthetic, len(read.cells)) == (Week(2026, 47), False, 1)
    (found,) = read.cells
    assert (found.key, found.contributors) == (CPU_TINY, 312)
    given_ = cell()["time_to_first_token"]
    measured = found.measured["time_to_first_token"]
    assert len(measured.histogram) == len(read.edges["time_to_first_token"]) + 1 == 64
    first = given_["first_bucket"]
    assert list(measured.histogram[first : first + len(given_["histogram"])]) == given_["histogram"]
    assert sum(measured.histogram) == sum(given_["histogram"])
    assert measured.quantiles["p50"] == pytest.approx(0.02, rel=0.02)


def test_what_the_noise_hides_is_absent():
    read = parse_release(as_bytes(document(cell(time_per_output_token=nothing()))))
    assert set(read.cells[0].measured) == {"time_to_first_token"}


def test_what_a_later_collector_adds_is_not_looked_at():
    assert len(parse_release(as_bytes(document(cell(more=[1]), more={"a": "b"}))).cells) == 1


def test_words_of_a_stranger_obey_no_terminal():
    evil = "NVIDIA\x1b[2J\x07 H100\u202e\u2066\r\nok"
    read = parse_release(as_bytes(document(cell((evil, *CPU_TINY[1:])), note=f"n{evil}")))
    assert read.cells[0].key[0] == "NVIDIA [2J  H100    ok"
    assert (read.note + "".join(read.cells[0].key)).isprintable()


def _changed(path: str, value: Any) -> bytes:
    whole = copy.deepcopy(document())
    *way, last = [int(part) if part.isdecimal() else part for part in path.split("/")]
    at: Any = whole
    for part in way:
        at = at[part]
    at[last] = value
    return as_bytes(whole)


TTFT = "cells/0/time_to_first_token"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("format", value) for value in (True, "1", None, 1.0, 0)),
        *(("week", value) for value in ("2026-47", "2026-W60", 202647, "9999-W01", "2026-W47\n")),
        *(("synthetic", value) for value in (0, "false", None)),
        ("dimensions", ["accelerator", "model"]),
        ("note", "n" * 2001),
        *(("metrics", value) for value in ([], {}, None)),
        ("metrics/time_to_first_token/unit", "ms"),
        *(("metrics/time_to_first_token/bucket_edges", value) for value in ([], [1], [2, 1], [1, 1], [0, 1])),
        *(("metrics/time_to_first_token/bucket_edges", value) for value in ([1, 10**400], ["1", 2], [1, True])),
        ("metrics/time_to_first_token/bucket_edges", list(range(1, 2000))),
        *(("cells", value) for value in ({}, None, [1], [[]], [{}])),
        ("cells", [{"key": list(CPU_TINY)}] * 20_001),
        *(("cells/0/key", value) for value in ([], ["a"] * 3, ["a"] * 5, "abcd", [1, 2, 3, 4], ["a" * 101] * 4)),
        *(("cells/0/contributors", value) for value in (-1, 1.5, "312", True, None, 10**30)),
        *((f"{TTFT}/p50", value) for value in (-1, 0, "x", True, None, 10**30, [1])),
        *((f"{TTFT}/first_bucket", value) for value in (-1, 60, None, 1.0, True, 10**20)),
        *((f"{TTFT}/histogram", value) for value in ([], [0], [-1, 2], [1.5], None, "11", [1] * 65, [True])),
        (f"{TTFT}/p90", 0.000001),
        (TTFT, None),
        (TTFT, {**nothing(), "p50": 1.0}),
        (TTFT, {**nothing(), "first_bucket": 1}),
    ],
)
def test_what_is_out_of_its_bounds_is_refused(path, value):
    with pytest.raises(NotARelease) as refused:
        parse_release(_changed(path, value))
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff\xfe", b"[]", b"1", b"null", b"<html>", b"{", b"\x1f\x8b\x08", b'{"format": 1',
        b'{"format": NaN}', b"[" * 100_000, b'{"format": ' + b"1" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(data):
    with pytest.raises(NotARelease):
        parse_release(data)


def test_a_newer_format_says_to_update():
    with pytest.raises(NotARelease, match="update metavox"):
        parse_release(as_bytes(document(format=2)))


def test_what_is_too_long_is_not_read():
    with pytest.raises(NotARelease, match="longer than"):
        parse_release(as_bytes(document()) + b" " * LONGEST)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_anything_at_any_place_is_a_release_or_is_refused(data):
    whole: Any = document()
    at = whole
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            at[key] = data.draw(values)
            break
        at = at[key]
    with contextlib.suppress(NotARelease):
        parse_release(json.dumps(whole).encode())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    with pytest.raises(NotARelease):
        parse_release(data)
