"""Listening, connections, workers: what stands between the network and the application."""

from metavox_collector.serve.listen import listen, url_of
from metavox_collector.serve.supervise import supervise
from metavox_collector.serve.task import Task

__all__ = ["Task", "listen", "supervise", "url_of"]
