"""Where a step of the engine goes: the time of each operation while all sequences decode, printed and as JSON.

    .venv/bin/python tests/bench/step.py --num-seqs 1

The model is that of `engine_cpu.py`. The clock is read around each operation in Python: the cost of a call counts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from engine.checkpoint import write_checkpoint
from engine.shape import QWEN3_0_6B
from platformdirs import user_cache_path

import metavox.models.attention
import metavox.models.decoder
from metavox import LLM, SamplingParams
from metavox_kernels.native.linear import NativeWeight

OPERATIONS = {
    metavox.models.attention: ("paged_attention", "rotate_and_store"),
    metavox.models.decoder: ("add_rms_norm", "rms_norm"),
}


class Clock:
    """Seconds and calls by name; only steps that decode count."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.nbytes: dict[str, int] = defaultdict(int)
        self.steps = 0

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments, **named)
            self.seconds[name] += time.perf_counter() - began
            return result

        return call

    def product(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(weight: NativeWeight, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
            name = f"product {weight.shape[0]} x {weight.shape[1]}"
            began = time.perf_counter()
            result: torch.Tensor = function(weight, x, bias)
            self.seconds[name] += time.perf_counter() - began
            self.nbytes[name] += weight.nbytes
            return result

        return call

    def step(self, run: Callable[..., Any], num_seqs: int) -> Callable[..., Any]:
        def call(inputs: Any, *rest: Any) -> Any:
            decodes = len(inputs.ids) == num_seqs
            before = dict(self.seconds), dict(self.nbytes)
            began = time.perf_counter()
            result = run(inputs, *rest)
            if decodes:
                self.seconds["step"] += time.perf_counter() - began
                self.steps += 1
            else:
                self.seconds, self.nbytes = defaultdict(float, before[0]), defaultdict(int, before[1])
            return result

        return call


def measure(folder: Path, num_seqs: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of a step by operation, and of products the bytes of weights a second."""
    clock = Clock()
    for module, names in OPERATIONS.items():
        for name in names:
            setattr(module, name, clock.timed(name, getattr(module, name)))
    NativeWeight.linear = clock.product(NativeWeight.linear)  # type: ignore[method-assign]
    with LLM(folder, max_num_seqs=num_seqs, **settings) as llm:
        runner = llm._driver.engine.runner
        runner._sampler.sample = clock.timed("sampling", runner._sampler.sample)
        runner._run = clock.step(runner._run, num_seqs)
        draw = torch.Generator().manual_seed(0)
        ids = torch.randint(1000, QWEN3_0_6B.vocab_size, (num_seqs, 128), generator=draw).tolist()
        params = SamplingParams(temperature=0, max_tokens=34, ignore_eos=True)
        llm.generate([{"prompt_token_ids": one} for one in ids], params)
    whole = clock.seconds.pop("step")
    named = sum(clock.seconds.values())
    parts = {**clock.seconds, "everything else": whole - named, "step": whole}
    return {
        "num_seqs": num_seqs,
        "milliseconds": {name: seconds / clock.steps * 1e3 for name, seconds in parts.items()},
        "gigabytes_per_second": {name: size / clock.seconds[name] / 1e9 for name, size in clock.nbytes.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-seqs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quantization", choices=["int8", "int4"])
    parser.add_argument("--cache", type=Path, default=user_cache_path("metavox") / "bench")
    parser.add_argument("--out", type=Path, default=Path("out/step.json"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    settings = {"quantization": asked.quantization, "quantize_lm_head": True} if asked.quantization else {}
    result = measure(write_checkpoint(asked.cache / "random", QWEN3_0_6B), asked.num_seqs, settings)
    speeds = result["gigabytes_per_second"]
    for name, value in sorted(result["milliseconds"].items(), key=lambda pair: -pair[1]):
        print(f"{name:24} {value:8.2f} ms" + (f"  {speeds[name]:5.1f} GB/s" if name in speeds else ""))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
