"""How fast the engine is on a CPU, beside its peers and what the machine allows, all in one run.

``make bench-engine`` runs everything on two threads: a checkpoint in the shape of Qwen3-0.6B with random weights
(1.19 GB, kept in a cache folder), prompts of 128 tokens, 64 tokens of output, 1, 8 and 32 sequences. transformers'
`generate` is measured beside it, and llama.cpp where its `llama-bench`, `llama-batched-bench` and `llama-quantize`
are on the PATH. It prints tables and writes ``out/engine_cpu.json``. Options: ``--help``.

The peers want the machine for themselves: each measurement first waits for an idle one (``--patience``), and its
record says what share of the processors others took meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from engine import accuracy, features, start
from engine.checkpoint import write_checkpoint
from engine.limits import Limits, measure_limits
from engine.llama_cpp import LlamaCpp, NotOnThePath
from engine.machine import describe_machine
from engine.ours import MetaVox
from engine.quiet import wait_until_idle
from engine.report import print_report
from engine.shape import QWEN3_0_6B, Shape
from engine.speed import Contender, Prompts, Workload, take_turns
from engine.targets import read_targets
from engine.transformers_peer import Transformers
from platformdirs import user_cache_path
from rich.console import Console

Make = Callable[[], Contender]


class Benchmark:
    """The sections, each a method that returns its results."""

    def __init__(self, options: argparse.Namespace, shape: Shape, console: Console) -> None:
        self.options = options
        self.shape = shape
        self.console = console
        self.failures: dict[str, str] = {}
        self._prompts = Prompts(shape.vocab_size)

    @property
    def random(self) -> Path:
        """A checkpoint with random weights."""
        return write_checkpoint(self.options.cache / "random", self.shape)

    def machine_limits(self) -> dict[str, Any]:
        """How fast the machine reads and multiplies, and the least time of a step that follows."""
        limits, measured = measure_limits(self.shape)
        return {"measured": measured, "steps": [self._least(limits, workload) for workload in self._workloads()]}

    def _least(self, limits: Limits, workload: Workload) -> dict[str, float]:
        num_seqs, length = workload.num_seqs, workload.input_len
        tpot = limits.decode_seconds(self.shape, num_seqs, length + workload.output_len / 2)
        prefill = limits.prefill_seconds(self.shape, num_seqs, length)
        return {
            "num_seqs": num_seqs,
            "prefill": num_seqs * length / prefill,
            "decode": num_seqs / tpot,
            "tpot": tpot,
        }

    def speed(self) -> list[dict[str, Any]]:
        """bf16 against the peers; transformers also in float32, which processors without bf16 products prefer."""
        return self._compare(
            {
                "metavox bf16": partial(MetaVox, "metavox bf16", self.random),
                "transformers bf16": partial(Transformers, "transformers bf16", self.random, torch.bfloat16),
                "transformers float32": partial(Transformers, "transformers float32", self.random, torch.float32),
                "llama.cpp bf16": self._llama("BF16"),
            }
        )

    def quantized(self) -> list[dict[str, Any]]:
        """int8 and int4, the output matrix as it is and quantized too, against our bf16 and llama.cpp's."""
        makes: dict[str, Make] = {"metavox bf16": partial(MetaVox, "metavox bf16", self.random)}
        for kind in ("int8", "int4"):
            for name, head in ((f"metavox {kind}", False), (f"metavox {kind} + head", True)):
                settings = {"quantization": kind, "quantize_lm_head": head}
                makes[name] = partial(MetaVox, name, self.random, **settings)
        makes |= {f"llama.cpp {kind}": self._llama(kind) for kind in ("Q8_0", "Q4_0", "Q4_0 --pure")}
        return self._compare(makes)

    def _llama(self, kind: str) -> Make:
        name = f"llama.cpp {kind.lower() if kind == 'BF16' else kind}"
        return partial(LlamaCpp, name, self.options.cache, self.shape, kind, self.options.threads)

    def _compare(self, makes: dict[str, Make]) -> list[dict[str, Any]]:
        with ExitStack() as stack:
            contenders = list(self._made(makes, stack))
            return take_turns(
                contenders,
                self._workloads(),
                self._prompts,
                rounds=self.options.rounds,
                patience=self.options.patience,
                progress=self._say,
            )

    def _made(self, makes: dict[str, Make], stack: ExitStack) -> Iterator[Contender]:
        for name, make in makes.items():
            if self.options.skip and any(part in name for part in self.options.skip):
                continue
            try:
                contender = make()
            except NotOnThePath as error:
                self._say(f"without {name}: {error}")
                continue
            except Exception as error:  # the others go on
                self.failures[name] = f"{type(error).__name__}: {error}"
                continue
            if isinstance(contender, MetaVox):
                stack.callback(contender.close)
            yield contender

    def _workloads(self) -> list[Workload]:
        options = self.options
        return [Workload(num_seqs, options.input_len, options.output_len) for num_seqs in options.num_seqs]

    def prefix(self) -> dict[str, Any]:
        """32 requests that share 512 tokens."""
        return features.shared_prefix(self.random, self._prompts, num_seqs=32, rounds=self.options.rounds)

    def speculative(self) -> dict[str, Any]:
        """Weights that loop, so that every draft is right, and weights that do not."""
        looping = write_checkpoint(self.options.cache / "looping", self.shape, looping=True)
        draw = partial(self._prompts.draw, 1, self.options.input_len)
        measure = partial(features.speculative, output_len=self.options.output_len, rounds=self.options.rounds)
        return {
            "loop": measure(looping, draw),
            "random": measure(self.random, draw),
        }

    def overhead(self) -> dict[str, Any]:
        """Everything outside the model's forward pass, at 32 sequences."""
        lengths = {"input_len": self.options.input_len, "output_len": self.options.output_len}
        return features.overhead(self.random, self._prompts, num_seqs=32, **lengths)

    def load(self) -> dict[str, Any]:
        """Loading the weights, and the memory of the process."""
        return start.load(self.random, self.shape)

    def ready(self) -> dict[str, Any]:
        """The bundled model in a fresh process."""
        return start.ready()

    def perplexity(self) -> list[dict[str, Any]]:
        """What int8, int4 and the int8 KV cache cost."""
        return accuracy.perplexities(self.options.perplexity_tokens)

    def run(self) -> dict[str, Any]:
        """Every section that was asked for; one that fails is told and spoils no other."""
        results: dict[str, Any] = {"machine": describe_machine()}
        for name in self.options.only:
            self._say(name)
            wait_until_idle(self.options.patience)
            try:
                results[name] = SECTIONS[name](self)
            except Exception as error:  # the others go on
                self.failures[name] = f"{type(error).__name__}: {error}"
            self._write(results)
        return self._write(results)

    def _write(self, results: dict[str, Any]) -> dict[str, Any]:
        """Write what there is so far, so that an interruption loses one section; returns it."""
        whole = {**results, "targets": read_targets(results), "failures": self.failures}
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        self.options.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        return whole

    def _say(self, what: str) -> None:
        self.console.print(f"[dim]{what}[/]", highlight=False)


SECTIONS: dict[str, Callable[[Benchmark], Any]] = {
    "limits": Benchmark.machine_limits,
    "speed": Benchmark.speed,
    "quantized": Benchmark.quantized,
    "prefix": Benchmark.prefix,
    "speculative": Benchmark.speculative,
    "overhead": Benchmark.overhead,
    "load": Benchmark.load,
    "ready": Benchmark.ready,
    "perplexity": Benchmark.perplexity,
}


def parse() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description="The engine on a CPU, beside its peers and the machine's limits.")
    add = parser.add_argument
    add("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="the sections to run")
    add("--skip", nargs="+", metavar="NAME", help="engines to leave out, by a part of their names")
    add("--num-seqs", nargs="+", type=int, default=[1, 8, 32])
    add("--input-len", type=int, default=128)
    add("--output-len", type=int, default=64)
    add("--rounds", type=int, default=3, help="of every measurement; the best counts")
    add("--threads", type=int, default=2)
    add("--patience", type=float, default=30, help="seconds to wait for an idle machine before each measurement")
    add("--perplexity-tokens", type=int, default=16384)
    add("--cache", type=Path, default=user_cache_path("metavox") / "bench", help="for checkpoints")
    add("--out", type=Path, default=Path("out/engine_cpu.json"))
    return parser.parse_args()


def main() -> None:
    """Run, print the tables and write the JSON."""
    options = parse()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of child processes; torch here has begun already
    torch.set_num_threads(options.threads)
    console = Console()
    results = Benchmark(options, QWEN3_0_6B, console).run()
    print_report(console, results)
    console.print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
