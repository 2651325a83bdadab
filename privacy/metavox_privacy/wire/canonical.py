"""The quick way from bytes to reports, for what :func:`encode` writes, in the order in which it writes it.

Nearly all that a collector is sent is that. Through protobuf's Python objects a cell costs two to four times as
much, most of it for objects that are looked at once; here its 2 KB are compared with what they have to be, in some
40 us (``tests/bench/reading.py``). Whatever differs is left to protobuf and :class:`Decoder`: what is accepted here
is accepted there, and is the same report.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from metavox_privacy.anonymize import CellKey
from metavox_privacy.fields import Dimension, Metric
from metavox_privacy.report import Report, ReportCell
from metavox_privacy.wire import histogram, names
from metavox_privacy.wire.decode import Decoder
from metavox_privacy.wire.encode import encode_header
from metavox_privacy.wire.header import Header
from metavox_privacy.wire.rejected import Refusal

_FIRST, _SECOND = 0x0A, 0x12  # tags of the first and second field of a message, each with a length
_ID = re.compile(rb"[0-9a-f]{64}")
_LONGEST_TAIL = 256


class _Odd(Exception):
    """The bytes are not what encode writes."""


class _Known(NamedTuple):
    """A header, its report's id aside, and what every span of the report says because of it."""

    header: Header
    span: bytes


class Canonical:
    """Reads the reports of a decoder's schema from their bytes."""

    def __init__(self, decoder: Decoder) -> None:
        schema = decoder.schema
        self._decoder = decoder
        self._schema = schema
        self._words = [_words_of(dimension) for dimension in schema.dimensions]
        self._metrics = [(metric.name, metric.buckets, _forms_of(metric)) for metric in schema.metrics]
        self._resource = Resource(attributes=[_text(names.REPORT_ID, "0" * 64)]).SerializeToString()[:-64]
        self._scope = ScopeSpans(scope=InstrumentationScope(name=names.SCOPE)).SerializeToString()
        self._known = lru_cache(maxsize=64)(self._know)
        self._keys = lru_cache(maxsize=4096)(self._key)  # few are common, and what is no key is not kept

    def read(self, body: bytes) -> list[Report] | None:
        """The reports of a request, or None if any of it is not as encode writes it."""
        reports, at = [], 0
        try:
            while at < len(body):
                at, end = _open(body, at, _FIRST)
                reports.append(self._report(body, at, end))
                at = end
        except (_Odd, Refusal, IndexError):
            return None
        whole = at == len(body) and len({report.report_id for report in reports}) == len(reports)
        return reports if whole else None

    def _report(self, body: bytes, at: int, end: int) -> Report:
        at, resource_end = _open(body, at, _FIRST)
        _expect(body, at, self._resource)
        at += len(self._resource)
        digits = body[at : at + 64]
        if not _ID.fullmatch(digits) or resource_end - at > _LONGEST_TAIL:
            raise _Odd
        report_id = digits.decode()
        known = self._known(body[at + 64 : resource_end])
        at, scope_end = _open(body, resource_end, _SECOND)
        _expect(body, at, self._scope)
        cells = self._cells(body, at + len(self._scope), scope_end, report_id, known)
        if scope_end != end or len({cell.key for cell in cells}) != len(cells) or not cells:
            raise _Odd
        header = known.header
        return Report(report_id, header.frame.week, self._schema.version, header.purposes, cells, header.synthetic)

    def _cells(self, body: bytes, at: int, end: int, report_id: str, known: _Known) -> tuple[ReportCell, ...]:
        trace_id = names.trace_id(report_id)
        cells: list[ReportCell] = []
        while at < end:
            at, span_end = _open(body, at, _SECOND)
            ids = b"\n\x10" + trace_id + b"\x12\x08" + names.span_id(report_id, len(cells))
            _expect(body, at, ids + known.span)
            cells.append(self._cell(body, at + len(ids) + len(known.span), span_end))
            known.header.frame.check(cells[-1])
            at = span_end
        if at != end or len(cells) > self._schema.cells_per_report:
            raise _Odd
        return tuple(cells)

    def _cell(self, body: bytes, at: int, end: int) -> ReportCell:
        first = at
        for _ in self._words:
            at += 2 + body[at + 1]  # one byte says how long it is; a longer one's bytes are no word's
        key = self._keys(body[first:at])
        histograms = {}
        for name, buckets, forms in self._metrics:
            for start, size in forms:
                if body.startswith(start, at):
                    at += len(start) + size
                    units = histogram.read(body[at - size : at], buckets)
                    if units is None or sum(units) != self._schema.units:
                        raise _Odd
                    histograms[name] = units
                    break
        if at != end:
            raise _Odd
        return ReportCell(key, histograms)

    def _key(self, data: bytes) -> CellKey:
        """A cell's words, each by the bytes of its attribute."""
        key, at = [], 0
        for words in self._words:
            size = 2 + data[at + 1]
            word = words.get(data[at : at + size])
            if word is None:
                raise _Odd
            key.append(word)
            at += size
        return tuple(key)

    def _know(self, tail: bytes) -> _Known:
        """What follows from the bytes after a report's id; of them nothing is kept that encode would not write."""
        try:
            resource = Resource.FromString(self._resource + b"0" * 64 + tail)
        except DecodeError:
            raise _Odd from None
        header = self._decoder.headers.read(ResourceSpans(resource=resource))
        week, version = header.frame.week, self._schema.version
        report = Report(header.report_id, week, version, header.purposes, (), header.synthetic)
        if encode_header(report).SerializeToString() != self._resource + b"0" * 64 + tail:
            raise _Odd
        span = Span(
            name=names.SPAN_NAME,
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=header.frame.start,
            end_time_unix_nano=header.frame.end,
        )
        return _Known(header, span.SerializeToString())


def _open(body: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the content of a field with a length begins and ends."""
    if body[at] != tag:
        raise _Odd
    size = 0
    for shift in (0, 7, 14, 21):
        at += 1
        size |= (body[at] & 127) << shift
        if body[at] < 128:
            return at + 1, at + 1 + size
    raise _Odd


def _expect(body: bytes, at: int, what: bytes) -> None:
    if not body.startswith(what, at):
        raise _Odd


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def _words_of(dimension: Dimension) -> dict[bytes, str]:
    """Each word of a dimension by the bytes of its attribute in a span."""
    spans = ((word, Span(attributes=[_text(dimension.attribute, word)])) for word in dimension.vocabulary)
    return {span.SerializeToString(): word for word, span in spans}


def _forms_of(metric: Metric) -> list[tuple[bytes, int]]:
    """What a metric's attribute begins with, and how many bytes its units are, by how many of them are large."""
    forms = []
    for large in range(histogram.LARGEST + 1):
        numbers = [128] * large + [0] * (metric.buckets - large)
        values = ArrayValue(values=[AnyValue(int_value=number) for number in numbers])
        attribute = KeyValue(key=metric.attribute, value=AnyValue(array_value=values))
        size = len(values.SerializeToString())
        forms.append((Span(attributes=[attribute]).SerializeToString()[:-size], size))
    return forms
