"""What an operator sees of the service: numbers, logs and traces that hold nothing of a sender."""

from metavox_collector.observe.health import Health
from metavox_collector.observe.metrics import Metrics
from metavox_collector.observe.monitor import Counted, monitor, probes
from metavox_collector.observe.spans import Tracing, tracing

__all__ = ["Counted", "Health", "Metrics", "Tracing", "monitor", "probes", "tracing"]
