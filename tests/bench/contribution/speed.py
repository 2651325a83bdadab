"""The speed of the bundled model with contributions off and on."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch

from metavox import LLM, SamplingParams
from metavox.telemetry.contribution import Contribution
from metavox.telemetry.home.folders import Home
from metavox.telemetry.recorder import Recorder
from metavox_privacy.consent import off as never

PROMPTS = ["Once upon a time", "The little fox", "In the morning", "The old baker"] * 4
PARAMS = SamplingParams(max_tokens=64, ignore_eos=True, seed=7)


def compare_speed(home: Path, rounds: int) -> dict[str, Any]:
    """Tokens a second, off and on in turns: where the fastest tenth of each begins, and the part lost.

    What disturbs a run only ever slows it, so the fastest tenth is the steadiest: medians moved by 2 % either way.

    Args:
        home: Of somebody who said yes.
        rounds: A twelfth of how often each is measured.
    """
    torch.set_num_threads(1)
    with LLM("metavox/tiny") as llm:
        recorders = {
            "off": Recorder(llm.info, Contribution(lambda: never("it is measured without"), _no_journal)),
            "on": Recorder(llm.info, Contribution.from_environment({}, Home(home, home))),
        }
        speeds: dict[str, list[float]] = {name: [] for name in recorders}
        _tokens_a_second(llm)
        for at in range(12 * rounds):
            for name in ("off", "on") if at % 2 else ("on", "off"):
                llm.recorder = recorders[name]
                speeds[name].append(_tokens_a_second(llm))
    fastest = {name: statistics.quantiles(values, n=10)[-1] for name, values in speeds.items()}
    return {**fastest, "lost": 1 - fastest["on"] / fastest["off"]}


def _tokens_a_second(llm: LLM) -> float:
    began = time.perf_counter()
    outputs = llm.generate(PROMPTS, PARAMS)
    return sum(len(output.outputs[0].token_ids) for output in outputs) / (time.perf_counter() - began)


def _no_journal(consent: object) -> Any:
    raise AssertionError(consent)
