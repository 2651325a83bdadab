"""A resource's attributes -> what a report says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.schema import Schema
from metavox_privacy.wire import names
from metavox_privacy.wire.frame import Frame, Frames
from metavox_privacy.wire.rejected import BESIDE, require

_KNOWN = {names.REPORT_ID, names.VERSION, names.WEEK, names.PURPOSES, names.SYNTHETIC}
_UNKNOWN = "a resource attribute is not a report's own; what relays add must be switched off"
_ODD_PURPOSES = "a report names at least one known purpose, each once"
_REPORT_ID = re.compile("[0-9a-f]{64}")
_NOTHING = AnyValue()


@dataclass(frozen=True, slots=True)
class Header:
    """What a report says of itself."""

    report_id: str
    frame: Frame
    purposes: frozenset[Purpose]
    synthetic: bool


class HeaderReader:
    """Reads the headers of one schema's reports."""

    def __init__(self, schema: Schema) -> None:
        self._version = schema.version
        self._frames = Frames(schema)

    def read(self, resource_spans: ResourceSpans) -> Header:
        """The header; raises Refusal."""
        resource = resource_spans.resource
        beside = resource_spans.schema_url or resource.dropped_attributes_count or len(resource.entity_refs)
        require(not beside, "beside_schema", BESIDE)
        values = _named(resource.attributes)
        version = values.get(names.VERSION, _NOTHING).int_value
        require(version == self._version, "schema_version", f"this collector takes schema version {self._version}")
        return Header(
            _report_id(values.get(names.REPORT_ID, _NOTHING).string_value),
            self._frames.of(values.get(names.WEEK, _NOTHING).string_value),
            _purposes(values.get(names.PURPOSES, _NOTHING).array_value.values),
            _synthetic(values.get(names.SYNTHETIC)),
        )


def _named(attributes: Sequence[KeyValue]) -> Mapping[str, AnyValue]:
    """The attributes by name. Their number is looked at before they are walked: it may be millions."""
    require(len(attributes) <= len(_KNOWN), "unknown_attribute", _UNKNOWN)
    values = {item.key: item.value for item in attributes}
    require(values.keys() <= _KNOWN, "unknown_attribute", _UNKNOWN)
    require(len(values) == len(attributes), "repeated_attribute", "a resource attribute is given twice")
    return values


def _report_id(text: str) -> str:
    require(bool(_REPORT_ID.fullmatch(text)), "report_id", f"{names.REPORT_ID} is not a hex SHA-256")
    return text


def _purposes(listed: Sequence[AnyValue]) -> frozenset[Purpose]:
    require(0 < len(listed) <= len(PURPOSES), "purposes", _ODD_PURPOSES)
    named = {value.string_value for value in listed}
    purposes = frozenset(purpose for purpose in PURPOSES if purpose in named)
    require(len(purposes) == len(listed), "purposes", _ODD_PURPOSES)
    return purposes


def _synthetic(value: AnyValue | None) -> bool:
    """A mark of another type must not be read as no mark."""
    known = value is None or value.WhichOneof("value") == "bool_value"
    require(known, "vocabulary", f"{names.SYNTHETIC} is not a boolean")
    return value is not None and value.bool_value
