"""Why a report is not taken: a short name for counting, and words for whoever sent it."""

from __future__ import annotations

from dataclasses import dataclass

REASONS = (
    "unknown_attribute",
    "repeated_attribute",
    "schema_version",
    "report_id",
    "week",
    "purposes",
    "scope",
    "beside_schema",
    "times",
    "span_ids",
    "no_cells",
    "too_many_cells",
    "missing_cells",
    "repeated_cell",
    "conflicting_report",
    "missing_attribute",
    "vocabulary",
    "buckets",
    "units",
    "expired_field",
)
"""Every reason for which the decoder rejects a report."""

BESIDE = "the report holds something beside the schema's fields"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A report that was not understood or not allowed.

    Attributes:
        reason: One of a closed set of names, so that it can be counted.
        message: What is wrong, in our words and never one of the sender's.
        spans: How many spans of the request that were.
    """

    reason: str
    message: str
    spans: int


class Refusal(Exception):
    """Carries the reason out of the decoder's depth; never leaves this package."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def require(holds: bool, reason: str, message: str) -> None:
    """Raise a Refusal unless something holds."""
    if not holds:
        raise Refusal(reason, message)
