"""Installations -> Spans -> Reports: requests that agree with themselves, through the real anonymizer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from metavox_collector.simulate.profiles import PROFILES, Profile
from metavox_privacy.anonymize import anonymize
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.report import Report, count, make_report
from metavox_privacy.schema import Schema
from metavox_privacy.span import AttributeValue, Span
from metavox_privacy.week import Week

_ERROR_RATE = 0.01
_BOTH: frozenset[Purpose] = frozenset(PURPOSES)
_IMPROVE: frozenset[Purpose] = frozenset(("improve",))


def fleet(
    installations: int,
    week: Week,
    schema: Schema,
    *,
    seed: int | None = None,
    habits: Sequence[int] = (1, 1, 1, 2, 2, 3),
) -> Iterator[Report]:
    """The reports of a synthetic fleet's week; the same seed makes the same fleet.

    Each installation has one of the numbers of ``habits``, kinds of requests, all equally likely.
    """
    chance = random.Random(seed)  # noqa: S311  # a simulation, in which nothing is secret
    weights = [profile.weight for profile in PROFILES]
    for _ in range(installations):
        profile = chance.choices(PROFILES, weights)[0]
        report = _report(_week_of_spans(profile, week, chance, habits), week, schema, chance)
        if report is not None:
            yield report


def _report(spans: Sequence[Span], week: Week, schema: Schema, chance: random.Random) -> Report | None:
    records = [record for span in spans if (record := anonymize(span, schema)) is not None]
    purposes = _BOTH if chance.random() < 0.9 else _IMPROVE
    counts = count(records, week, schema)
    return make_report(counts, schema, token=chance.randbytes(32), purposes=purposes, synthetic=True)


def _week_of_spans(profile: Profile, week: Week, chance: random.Random, habits: Sequence[int]) -> list[Span]:
    """One of the numbers of habits, each of 5 to 30 requests of one size beside a number of others."""
    machine = chance.lognormvariate(0, 0.15)  # this machine is so much slower than its kind's median
    spans: list[Span] = []
    for _ in range(chance.choice(habits)):
        habit = (
            chance.choice((40, 180, 700, 2500)),
            chance.choice((48, 200, 800)),
            chance.choice((1, 1, 1, 24)),  # alone as a rule, or as a server beside others
        )
        spans.extend(_span(profile, week, machine, habit, chance) for _ in range(chance.randint(5, 30)))
    return spans


def _span(profile: Profile, week: Week, machine: float, habit: tuple[int, int, int], chance: random.Random) -> Span:
    prompt, answer, beside = habit
    crowd = beside**0.35
    first = profile.first_token * (0.3 + 0.7 * prompt / 256) * crowd * machine * chance.lognormvariate(0, 0.25)
    each = profile.per_token * crowd * machine * chance.lognormvariate(0, 0.12)
    duration = first + each * (answer - 1)
    cache = prompt * profile.parameters**0.5 * beside * 2
    end = int((week.start.timestamp() + chance.uniform(0, 7 * 86400 - 1)) * 1e9)
    attributes: dict[str, AttributeValue] = {
        **_static(profile),
        "metavox.request.concurrency": beside,
        "gen_ai.usage.input_tokens": prompt,
        "gen_ai.usage.output_tokens": answer,
        "gen_ai.server.time_to_first_token": first,
        "gen_ai.server.time_per_output_token": each,
        "metavox.device.memory.peak": (profile.weights_bytes + cache) * 1.15 + 2e8,
    }
    if chance.random() < _ERROR_RATE:
        attributes["error.type"] = "timeout"
    return Span(f"chat {profile.model}", end - int(duration * 1e9), end, attributes)


def _static(profile: Profile) -> dict[str, AttributeValue]:
    driver: dict[str, AttributeValue] = {"hw.driver_version": profile.driver} if profile.driver else {}
    return {
        "gen_ai.request.model": profile.model,
        "metavox.model.architecture": profile.architecture,
        "metavox.model.parameters": profile.parameters,
        "metavox.model.quantization": profile.quantization,
        "hw.model": profile.accelerator,
        "hw.vendor": profile.vendor,
        "metavox.hw.count": 1,
        "metavox.hw.memory.size": profile.memory,
        "metavox.engine.name": profile.engine,
        "metavox.engine.version": profile.engine_version,
        "os.type": profile.os,
        "host.arch": profile.arch,
        "gen_ai.request.stream": True,
        **driver,
    }
