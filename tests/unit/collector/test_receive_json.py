"""OTLP in JSON: the same reports as in protobuf, and nothing that JSON could hide."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metavox_collector.receive import Code, Coding, Headers, Limits, Media, Receiver, Refused, understand
from metavox_collector.receive.otlp_json import MOST
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import Rejected, encode
from tests.otlp import in_json
from tests.spans import example_report, example_span

RECEIVER = Receiver(SCHEMA, Limits(2**20, 2**22, 1000))
HEADERS = Headers(Media.JSON, Coding.IDENTITY)
REPORT = example_report(example_span(), example_span(metavox__model__quantization="int8"), synthetic=True)


def otlp(*reports: Report) -> dict[str, Any]:
    return in_json(encode(reports, SCHEMA))


def spans_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    spans: list[dict[str, Any]] = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    return spans


def read(document: object) -> list[Report | Rejected]:
    return understand(HEADERS, json.dumps(document).encode(), RECEIVER)


def refused(body: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        understand(HEADERS, body, RECEIVER)
    return caught.value


def test_a_report_in_json_is_the_same_report():
    assert read(otlp(REPORT, example_report(token=b"other"))) == [REPORT, example_report(token=b"other")]


def test_numbers_may_be_written_as_numbers_or_as_words_and_ids_in_either_case():
    document = otlp(REPORT)
    for span in spans_of(document):
        span["traceId"], span["spanId"] = span["traceId"].upper(), span["spanId"].upper()
        span["kind"] = 1
        span["startTimeUnixNano"] = int(span["startTimeUnixNano"])
        for attribute in span["attributes"]:
            for value in attribute["value"].get("arrayValue", {}).get("values", []):
                value["intValue"] = int(value["intValue"])
    assert read(document) == [REPORT]


def test_unknown_keys_and_nulls_are_ignored():
    document = otlp(REPORT)
    document |= {"user": "ada", "resourceSpans": [*document["resourceSpans"]]}
    document["resourceSpans"][0] |= {"host": {"name": ["ada"]}, "schemaUrl": None}
    spans_of(document)[0] |= {"flags": 256, "traceState": "", "events": [], "comment": "ada"}
    assert read(document) == [REPORT]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"name": "ada"}, "beside_schema"),
        ({"events": [{"name": "ada"}]}, "beside_schema"),
        ({"traceState": "ada"}, "beside_schema"),
        ({"status": {"message": "ada"}}, "beside_schema"),
        ({"spanId": "00" * 8}, "span_ids"),
        ({"startTimeUnixNano": "1"}, "times"),
        ({"attributes": [{"key": "user", "value": {"stringValue": "ada"}}]}, "unknown_attribute"),
    ],
)
def test_known_fields_that_could_carry_a_word_reject_the_report(field, reason):
    document = otlp(REPORT)
    spans_of(document)[0] |= field
    (result,) = read(document)
    assert isinstance(result, Rejected)
    assert result.reason == reason


DEEP = b'{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":' + b" " * 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"null",
        b"[]",
        b"7",
        b'"ada"',
        b'{"resourceSpans":7}',
        b'{"resourceSpans":{}}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"ada"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":7}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1.5}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1e999}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":NaN}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":18446744073709551616}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":' + b"1" * 5000 + b"}]}]}]}",
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":18446744073709551616}]}]}]}',
        b'{"resourceSpans":[{"resource":{"attributes":[{"value":{"intValue":1,"boolValue":true}}]}}]}',
        b'\xef\xbb\xbf{"resourceSpans":[]}',
        '{"resourceSpans":[]}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"resourceSpans":[' + b",".join([b"{}"] * 300_000) + b"]}",
        DEEP + b'{"arrayValue":{"values":[' * 500 + b"]}}" * 500 + b"}]}}]}",
        DEEP + b"[" * 5000 + b"]" * 5000 + b"}]}}]}",
    ],
    ids=lambda body: repr(body[-40:]),
)
def test_what_is_no_otlp_in_json_is_refused(body):
    error = refused(body)
    assert (error.code, "ada" in str(error)) == (Code.INVALID, False)


def test_a_word_in_place_of_a_report_is_a_report_of_nothing():
    (result,) = read({"resourceSpans": ["ada"]})
    assert isinstance(result, Rejected)
    assert "ada" not in result.message


@pytest.mark.parametrize("field", [{"name": "\ud800"}, {"\ud800": 1}, {"status": "\ud800"}])
def test_a_surrogate_on_its_own_is_no_word(field):
    document = otlp(REPORT)
    spans_of(document)[0] |= field
    assert refused(json.dumps(document).encode()).code is Code.INVALID


def test_escapes_are_understood():
    document = otlp(REPORT)
    document["comment"] = "\u00e4 \U0001f600"
    assert "\\u" in json.dumps(document)
    assert read(document) == [REPORT]


def test_json_has_a_limit_of_its_own_since_it_costs_so_much_more():
    assert understand(HEADERS, b"{}" + b" " * (MOST - 2), RECEIVER) == []
    assert refused(b"{}" + b" " * (MOST - 1)).code is Code.TOO_LARGE


def test_the_longest_body_of_real_reports_passes():
    document = otlp(*(example_report(token=bytes([number])) for number in range(140)))
    assert len(json.dumps(document, separators=(",", ":"))) > 0.6 * MOST
    assert all(isinstance(item, Report) for item in read(document))
