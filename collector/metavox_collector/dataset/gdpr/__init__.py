"""The GDPR file of a release: what the law asks a controller to be able to show, from what the pipeline did."""

from metavox_collector.dataset.gdpr.emit import FOLDER, emit
from metavox_collector.dataset.gdpr.operations import Operations, Processor, operations_of

__all__ = ["FOLDER", "Operations", "Processor", "emit", "operations_of"]
