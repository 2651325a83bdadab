"""Engines, results and homes for the telemetry tests, of production's own types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from metavox.config import EngineInfo
from metavox.outputs import CompletionOutput, RequestMetrics, RequestOutput
from metavox.telemetry.contribution import Contribution
from metavox.telemetry.hardware import Hardware
from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal
from metavox.telemetry.journal.tally import Tally
from metavox.telemetry.upload.uploader import Outcome
from metavox.telemetry.upload.weekly import upload
from metavox_privacy.anonymize import Record, anonymize
from metavox_privacy.consent import Answer, Consent
from metavox_privacy.fields import Purpose
from metavox_privacy.notice import notice_hash
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import Span
from metavox_privacy.week import Week
from tests.spans import BOTH, START, example_span

CHOICES = (
    *("DO_NOT_TRACK", "METAVOX_TELEMETRY", "METAVOX_TELEMETRY_RECEIPT", "METAVOX_COLLECTOR_URL"),
    *("LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE"),
)
"""The variables by which whoever runs the tests may have decided for themselves, or named their language."""

YES = datetime.fromtimestamp(START // 10**9, timezone.utc) - timedelta(minutes=5)
NOW = YES + timedelta(hours=1)
NEXT_WEEK = YES + timedelta(days=8)
CONSENT = Consent(BOTH, YES, "the recorded consent", notice_hash(SCHEMA))

INFO = EngineInfo(
    requested_model="metavox/tiny",
    model_id="metavox/tiny",
    architecture="Qwen3ForCausalLM",
    num_parameters=3_476_224,
    dtype="bfloat16",
    device="cpu",
    max_model_len=1024,
    num_kv_blocks=64,
    engine_version="0.1.0",
)
CPU = Hardware("CPU x86-64 AVX-512", None, 1, None, None, "linux", "amd64")
GPU = Hardware("NVIDIA H100 80GB HBM3", "nvidia", 1, 80 * 2**30, "535.129.03", "linux", "amd64")


def example_output(*, prompt: str = "Hello", text: str = " world", tokens: int = 3) -> RequestOutput:
    """A finished request of 0.5 s whose first token came after 0.1 s."""
    metrics = RequestMetrics(
        arrival_time_ns=START,
        arrival_time=10.0,
        first_scheduled_time=10.01,
        first_token_time=10.1,
        finished_time=10.5,
        token_times=(tuple(10.1 + 0.4 * at / max(1, tokens - 1) for at in range(tokens)),),
        num_prompt_tokens=2,
        num_cached_tokens=0,
        num_generation_tokens=tokens,
        max_concurrency=4,
        device_memory_bytes=2**27,
    )
    completion = CompletionOutput(0, text, list(range(tokens)), None, None, "stop", None)
    return RequestOutput("7", prompt, [1, 2], [completion], True, metrics)


def local_info(path: str) -> EngineInfo:
    """An engine that runs a model from a folder."""
    return replace(INFO, requested_model=path, model_id=None)


def home_in(folder: Path) -> Home:
    """A home that nobody has used."""
    return Home(folder / "config", folder / "state", folder / "no-policy.json")


def agree(home: Home, *, since: datetime = YES, purposes: frozenset[Purpose] = BOTH) -> None:
    """Record a yes, to everything unless told."""
    home.record(Answer(purposes, since, notice_hash(SCHEMA), SCHEMA.version))


def journal_in(home: Home, *, consent: Consent = CONSENT, now: datetime = NOW) -> Journal:
    """The journal of a home, opened with a clock of our own."""
    return Journal(home.journal_file, consent, SCHEMA, now)


def contribution_to(home: Home) -> Contribution:
    """The pipeline into a home's journal, with a clock of our own."""
    return Contribution(lambda: home.consent({}), lambda consent: journal_in(home, consent=consent))


def tally_of(records: Iterable[Record]) -> Tally:
    """The counts of some records."""
    tally = Tally()
    for record in records:
        tally.add(record)
    return tally


def tried(home: Home, outcome: Outcome, *, now: datetime = NEXT_WEEK) -> list[Week]:
    """Send what a journal holds of completed weeks to a collector that gives this answer; which weeks that were."""
    outcomes = upload(
        *(journal_in(home, now=now), CONSENT, SCHEMA, now, "https://collector.example"),
        decide=lambda: CONSENT,
        send=lambda body, address: outcome,
        force=True,
    )
    return [report.week for report, _ in outcomes]


def record_of(span: Span | None = None) -> Record:
    """The record of a span."""
    record = anonymize(span or example_span(), SCHEMA)
    assert record is not None
    return record
