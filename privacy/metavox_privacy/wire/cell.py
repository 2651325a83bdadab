"""A span's attributes -> a cell, by tables that are made of the schema."""

from __future__ import annotations

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from metavox_privacy.fields import Metric
from metavox_privacy.report import Histogram, ReportCell
from metavox_privacy.schema import Schema
from metavox_privacy.wire.histogram import histogram_of
from metavox_privacy.wire.rejected import Refusal, require


class CellReader:
    """Reads the cells of one schema. What it returns holds the schema's own words, none of the message's."""

    def __init__(self, schema: Schema) -> None:
        self._units = schema.units
        self._dimensions = {
            d.attribute: (place, {word: word for word in d.vocabulary}) for place, d in enumerate(schema.dimensions)
        }
        self._metrics = {metric.attribute: metric for metric in schema.metrics}
        self._most = len(self._dimensions) + len(self._metrics)

    def read(self, span: Span) -> ReportCell:
        """The cell that a span's attributes hold, in whichever order.

        Raises:
            Refusal: if an attribute is unknown, missing, repeated or out of its bounds.
        """
        # Lengths are looked at before lists are walked: a hostile one may hold millions.
        require(len(span.attributes) <= self._most, "unknown_attribute", "an attribute is not in the schema")
        words: dict[int, str] = {}
        histograms: dict[str, Histogram] = {}
        for item in span.attributes:
            name = item.key
            if name in self._dimensions:
                place, vocabulary = self._dimensions[name]
                if place in words:
                    raise Refusal("repeated_attribute", f"{name} is given twice")
                words[place] = _word(name, vocabulary, item.value)
            elif name in self._metrics:
                metric = self._metrics[name]
                if metric.name in histograms:
                    raise Refusal("repeated_attribute", f"{name} is given twice")
                histograms[metric.name] = self._histogram(metric, item.value)
            else:
                raise Refusal("unknown_attribute", "an attribute is not in the schema")
        for name, (place, _) in self._dimensions.items():
            if place not in words:
                raise Refusal("missing_attribute", f"{name} is missing")
        return ReportCell(
            tuple(words[place] for place in range(len(words))),
            {name: histograms[name] for metric in self._metrics.values() if (name := metric.name) in histograms},
        )

    def _histogram(self, metric: Metric, value: AnyValue) -> Histogram:
        values = value.array_value
        if len(values.values) != metric.buckets:
            raise Refusal("buckets", f"{metric.attribute} has not {metric.buckets} buckets")
        units = histogram_of(values, metric.buckets)
        if units is None or min(units) < 0 or sum(units) != self._units:
            raise Refusal("units", f"{metric.attribute} is not integers that sum to {self._units}")
        return units


def _word(name: str, vocabulary: dict[str, str], value: AnyValue) -> str:
    word = vocabulary.get(value.string_value)
    if word is None:
        raise Refusal("vocabulary", f"{name} is outside its vocabulary")
    return word
