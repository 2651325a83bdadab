"""Reports of a simulated week -> requests' bodies, so cheaply that who makes them does not slow what is measured.

Some reports are made and encoded as the SDK does it; of them only the ids are new in each copy. A report's id, and
the trace and span ids that follow from it, have fixed lengths, so they are put into the encoded bytes.
"""

from __future__ import annotations

import gzip
import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import zstandard

from metavox_collector.simulate.fleet import fleet
from metavox_privacy.report import Report
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week
from metavox_privacy.wire import encode
from metavox_privacy.wire.names import span_id, trace_id

_TEMPLATES = 64
_HABITS = (8, 9, 10)
"""Kinds of requests that an installation makes, so many that K of them, the most a report holds, nearly always are
cells of their own."""


class Encoding(str, Enum):
    """How a body is compressed."""

    gzip = "gzip"
    identity = "identity"
    zstd = "zstd"


@dataclass(frozen=True, slots=True)
class Request:
    """One request's body.

    Attributes:
        body: As it is sent.
        reports: Hex ids of the reports in it.
        spans: How many cells they have together.
    """

    body: bytes
    reports: tuple[str, ...]
    spans: int


@dataclass(frozen=True, slots=True)
class Template:
    """An encoded report without its ids.

    Attributes:
        pieces: The bytes before, between and after the ids.
        spans: How many cells it has.
    """

    pieces: tuple[bytes, ...]
    spans: int

    @classmethod
    def of(cls, report: Report, schema: Schema) -> Template:
        """Take the ids out of a report's message."""
        body, pieces, end = encode([report], schema), [], 0
        for name in _ids(report.report_id, len(report.cells)):
            start = body.index(name, end)
            pieces.append(body[end:start])
            end = start + len(name)
        return cls((*pieces, body[end:]), len(report.cells))

    def body(self, report_id: str) -> bytes:
        """The message of the same report under another id; what follows it is a further report of the request."""
        ids = (*_ids(report_id, self.spans), b"")
        return b"".join(itertools.chain.from_iterable(zip(self.pieces, ids, strict=True)))


def _ids(report_id: str, spans: int) -> Iterator[bytes]:
    """The ids in the order in which :func:`metavox_privacy.wire.encode` writes them."""
    yield report_id.encode()
    for position in range(spans):
        yield trace_id(report_id)
        yield span_id(report_id, position)


def templates(weeks: Sequence[Week], schema: Schema, *, seed: int | None = None) -> list[Template]:
    """Reports of K cells each for each of the weeks, in turn."""
    each = [_of_week(week, schema, seed) for week in weeks]
    return [template for together in zip(*each, strict=True) for template in together]


def _of_week(week: Week, schema: Schema, seed: int | None) -> list[Template]:
    reports = fleet(2 * _TEMPLATES, week, schema, seed=seed, habits=_HABITS)
    full = (report for report in reports if len(report.cells) == schema.cells_per_report)
    return [Template.of(report, schema) for report in itertools.islice(full, _TEMPLATES)]


def requests(
    made_from: Sequence[Template], reports: int | None, *, together: int, encoding: Encoding
) -> Iterator[Request]:
    """Requests of ``together`` reports each, every report with an id of its own; without an end if None."""
    compress = _compress(encoding)
    source = itertools.cycle(made_from)
    left = reports
    while left is None or left > 0:
        part = list(itertools.islice(source, together if left is None else min(together, left)))
        ids = tuple(secrets.token_hex(32) for _ in part)
        body = b"".join(template.body(name) for template, name in zip(part, ids, strict=True))
        yield Request(compress(body), ids, sum(template.spans for template in part))
        left = None if left is None else left - len(part)


def _compress(encoding: Encoding) -> Callable[[bytes], bytes]:
    if encoding is Encoding.gzip:
        return lambda body: gzip.compress(body, 1, mtime=0)  # level 9 is 5 % smaller and takes twice the time
    if encoding is Encoding.zstd:
        return zstandard.ZstdCompressor(level=1).compress
    return lambda body: body
