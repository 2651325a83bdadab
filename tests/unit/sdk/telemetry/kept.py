"""A contribution that is on, and keeps what it is given."""

from __future__ import annotations

from typing import Any

from metavox_privacy.span import Span


class Kept:
    """What the pipeline's entrance is to an engine, without the journal behind it.

    Attributes:
        on: Whether it wants anything.
        spans: What it was given, in order.
        flushed: How often it was told to write.
    """

    def __init__(self, *, on: bool = True) -> None:
        self.on = on
        self.spans: list[Span] = []
        self.flushed = 0

    def begin(self) -> None: ...

    def wants(self) -> bool:
        return self.on

    def on_span(self, span: Span) -> None:
        self.spans.append(span)

    def on_spans(self, spans: list[Span]) -> None:
        self.spans.extend(spans)

    def flush(self) -> None:
        self.flushed += 1


def only(kept: Kept) -> dict[str, Any]:
    """The attributes of the one request that was told."""
    (span,) = kept.spans
    return dict(span.attributes)
