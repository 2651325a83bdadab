"""A made-up request, for whoever wants to see the bytes before anything has run."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from typing import NamedTuple

from metavox_privacy.consent import Consent
from metavox_privacy.fields import Purpose
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import AttributeValue, Span


class Platform(NamedTuple):
    """Where the made-up request ran, in the words of OpenTelemetry's ``os.type`` and ``host.arch``."""

    os_type: str
    host_arch: str


def example(purposes: frozenset[Purpose]) -> bytes | None:
    """The bytes of a made-up request to the bundled model on this machine's kind of processor."""
    from metavox.telemetry.hardware import host_arch, os_type

    where = Platform(os_type(), host_arch() or "")
    return made_up(purposes, datetime.now(timezone.utc), where, secrets.token_bytes(32))


def made_up(purposes: frozenset[Purpose], now: datetime, where: Platform, token: bytes) -> bytes | None:
    """The same for a given moment, platform and token, from which the same bytes follow each time."""
    from metavox.telemetry.upload.weekly import sample

    moment = int(now.timestamp()) * 10**9
    attributes: dict[str, AttributeValue] = {
        "gen_ai.request.model": "metavox/tiny",
        "metavox.model.architecture": "Qwen3ForCausalLM",
        "metavox.model.parameters": 3_476_224,
        "metavox.model.quantization": "float32",
        "metavox.engine.name": "metavox",
        "metavox.engine.version": "0.1.0",
        "metavox.request.concurrency": 1,
        "gen_ai.request.stream": False,
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 101,
        "gen_ai.server.time_to_first_token": 0.03,
        "gen_ai.server.time_per_output_token": 0.004,
        "gen_ai.server.request.duration": 0.43,
        "metavox.output_tokens_per_second": 234.9,
        "os.type": where.os_type,
        "host.arch": where.host_arch,
    }
    spans = [Span("example", moment, moment, attributes)]
    return sample(spans, Consent(purposes, now, "an example"), SCHEMA, token)
