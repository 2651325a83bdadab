"""Bytes -> reports, or a refusal; and what came of them -> the answer's bytes. Follows OTLP/HTTP 1.x."""

from metavox_collector.receive.answer import answer
from metavox_collector.receive.headers import Headers, Limits
from metavox_collector.receive.inflate import Coding, inflate
from metavox_collector.receive.media import JSON, PROTOBUF, Media
from metavox_collector.receive.receiver import Receiver, understand
from metavox_collector.receive.refused import Code, Refused, no_such_method, no_such_path

__all__ = [
    "JSON",
    "PROTOBUF",
    "Code",
    "Coding",
    "Headers",
    "Limits",
    "Media",
    "Receiver",
    "Refused",
    "answer",
    "inflate",
    "no_such_method",
    "no_such_path",
    "understand",
]
