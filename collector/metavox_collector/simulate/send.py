"""Reports -> HTTP: batches, as the SDK would send them, only many installations at a time."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from metavox_collector.errors import CollectorError
from metavox_collector.receive import PROTOBUF
from metavox_privacy.report import Report
from metavox_privacy.schema import Schema
from metavox_privacy.wire import encode

_BATCH = 100


@dataclass
class Outcome:
    """What the collector answered.

    Attributes:
        requests: Requests that were answered 200.
        reports: Reports in them.
        spans: Cells in them.
        rejected_spans: How many of those cells were not taken.
        message: The collector's reason, the last one.
    """

    requests: int = 0
    reports: int = 0
    spans: int = 0
    rejected_spans: int = 0
    message: str = ""

    def add(self, under_way: Future[ExportTraceServiceResponse] | None) -> None:
        """Wait for an answer and take note of what it rejects."""
        if under_way is not None:
            partial = under_way.result().partial_success
            self.rejected_spans += partial.rejected_spans
            self.message = partial.error_message or self.message


def send(reports: Iterable[Report], url: str, schema: Schema) -> Outcome:
    """Post all reports; raises CollectorError when the collector cannot be reached or refuses a request."""
    outcome = Outcome()
    with httpx.Client(trust_env=False, timeout=60) as client, ThreadPoolExecutor(1) as sender:
        under_way: Future[ExportTraceServiceResponse] | None = None
        for batch in _batches(reports):  # the next batch is made while the collector works on the last
            body = encode(batch, schema)
            outcome.add(under_way)
            under_way = sender.submit(_post, client, url, body)
            outcome.requests += 1
            outcome.reports += len(batch)
            outcome.spans += sum(len(report.cells) for report in batch)
        outcome.add(under_way)
    return outcome


def _batches(reports: Iterable[Report]) -> Iterator[Sequence[Report]]:
    remaining = iter(reports)
    while batch := list(itertools.islice(remaining, _BATCH)):
        yield batch


def _post(client: httpx.Client, url: str, body: bytes) -> ExportTraceServiceResponse:
    headers = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}
    try:
        response = client.post(
            f"{url.rstrip('/')}/v1/traces", content=gzip.compress(body, compresslevel=3), headers=headers
        )
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last: a host that DNS cannot name
        raise CollectorError(f"the collector at {url} cannot be reached: {error}") from None
    if response.status_code != httpx.codes.OK:
        raise CollectorError(f"the collector answered {response.status_code}: {_status_message(response)}")
    try:
        return ExportTraceServiceResponse.FromString(response.content)
    except DecodeError:
        raise CollectorError(f"{url} did not answer as a collector does") from None


def _status_message(response: httpx.Response) -> str:
    try:
        return str(Status.FromString(response.content).message)
    except DecodeError:
        return response.reason_phrase
