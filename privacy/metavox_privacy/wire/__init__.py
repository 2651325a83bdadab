"""Report <-> OTLP: one trace for a report, one span for a cell, in OpenTelemetry's protobuf."""

from metavox_privacy.wire.canonical import Canonical
from metavox_privacy.wire.decode import Decoder, decode
from metavox_privacy.wire.encode import encode
from metavox_privacy.wire.names import SCOPE, SPAN_NAME
from metavox_privacy.wire.rejected import REASONS, Rejected

__all__ = ["REASONS", "SCOPE", "SPAN_NAME", "Canonical", "Decoder", "Rejected", "decode", "encode"]
