"""What the senders of a load were answered, counted."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from metavox_collector.errors import CollectorError
from metavox_collector.load.bodies import Request
from metavox_collector.load.connection import Answer

OK = 200


@dataclass
class Outcome:
    """Grows while a load is under way.

    Attributes:
        statuses: Answers by HTTP status.
        unanswered: Requests whose connection ended before the answer.
        again: Requests that were sent once more.
        reports: Reports in requests that were answered 200 with nothing rejected.
        spans: Cells that were acknowledged: the collector has committed them.
        rejected: Cells in requests answered 200 that it did not take.
        message: Why something was not taken: the collector's words or what came in place of an answer, the last.
        seconds: From the first request to the last answer.
        latencies: Seconds from a request to its answer 200.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    again: int = 0
    reports: int = 0
    spans: int = 0
    rejected: int = 0
    message: str = ""
    seconds: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))

    def take(self, request: Request, answer: Answer, seconds: float) -> bool:
        """Count an answer; whether all of the request was acknowledged.

        Raises:
            CollectorError: if it is an answer 200 that is not OTLP's.
        """
        self.statuses[answer.status] += 1
        if answer.status != OK:
            self.message = f"it answered {answer.status}"
            return False
        self.latencies.append(seconds)
        rejected = self._rejected(answer.body) if answer.body else 0
        self.spans += request.spans - rejected
        self.rejected += rejected
        self.reports += 0 if rejected else len(request.reports)
        return not rejected

    def _rejected(self, body: bytes) -> int:
        try:
            partial = ExportTraceServiceResponse.FromString(body).partial_success
        except DecodeError:
            raise CollectorError("an answer 200 is not OTLP's; this is no collector") from None
        self.message = partial.error_message or self.message
        return partial.rejected_spans

    @property
    def is_whole(self) -> bool:
        """Whether everything was acknowledged, at the last try at least."""
        others = sum(number for status, number in self.statuses.items() if status != OK) + self.unanswered
        return not self.rejected and others <= self.again

    def figures(self) -> dict[str, Any]:
        """As JSON: counts, acknowledged spans a second, and milliseconds."""
        each = sorted(self.latencies)
        return {
            "reports": self.reports,
            "spans": self.spans,
            "seconds": round(self.seconds, 3),
            "spans_per_second": round(self.spans / self.seconds, 1) if self.seconds else 0.0,
            "statuses": {str(status): number for status, number in sorted(self.statuses.items())},
            "unanswered": self.unanswered,
            "sent_again": self.again,
            "rejected_spans": self.rejected,
            "message": self.message,
            "latency_ms": {name: round(_at(each, share) * 1e3, 2) for name, share in _SHARES.items()},
        }


_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def _at(values: list[float], share: float) -> float:
    """The nearest-rank quantile; 0 when there is none."""
    return values[max(math.ceil(share * len(values)), 1) - 1] if values else 0.0
