"""What came of a request that was understood -> the body of an answer 200."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from metavox_collector.receive.media import Media
from metavox_privacy.wire import Rejected


def answer(rejected: Sequence[Rejected], media: Media) -> bytes:
    """An ``ExportTraceServiceResponse``: empty when everything was taken, else how many spans were not, and why."""
    response = ExportTraceServiceResponse()
    if rejected:
        numbers = Counter(item.message for item in rejected)
        words = (
            f"{message} ({number} {'report' if number == 1 else 'reports'})" for message, number in numbers.items()
        )
        response.partial_success.rejected_spans = sum(item.spans for item in rejected)
        response.partial_success.error_message = "not taken: " + "; ".join(words)
    return media.write(response)
