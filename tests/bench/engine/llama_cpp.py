"""llama.cpp as a contender, by its own `llama-bench` for one sequence and `llama-batched-bench` for more."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .gguf import write_gguf
from .shape import Shape
from .speed import Speed, Workload


class NotOnThePath(RuntimeError):
    """A program of llama.cpp that is needed is not there."""


class LlamaCpp:
    """`quantization` is "BF16", or what `llama-quantize` knows ("Q8_0", "Q4_0"), with " --pure" behind it where the
    output matrix is to have no more bits than the others; files are kept in `cache`.
    """

    def __init__(self, name: str, cache: Path, shape: Shape, quantization: str, num_threads: int) -> None:
        self.name = name
        self._bench = program("llama-bench")
        self._threads = str(num_threads)
        plain = write_gguf(cache / "BF16.gguf", cache / "random", shape)
        self._model = plain if quantization == "BF16" else _quantize(plain, quantization, self._threads)

    def measure(self, workload: Workload, prompts: list[list[int]]) -> Speed:
        """See `Contender.measure`. The programs draw random prompts themselves."""
        if workload.num_seqs == 1:
            return self._one(workload)
        return self._many(workload)

    def _one(self, workload: Workload) -> Speed:
        length, output = str(workload.input_len), str(workload.output_len)
        prefill = self._bench_one("-p", length, "-n", "0")
        decode = self._bench_one("-p", "0", "-n", output, "-d", length)
        return Speed(prefill, decode)

    def _bench_one(self, *test: str) -> float:
        text = _run(self._bench, "-m", str(self._model), "-t", self._threads, "-r", "1", "-o", "json", *test)
        (record,) = json.loads(text)
        return float(record["avg_ts"])

    def _many(self, workload: Workload) -> Speed:
        context = workload.num_seqs * (workload.input_len + workload.output_len)
        sizes: dict[str, Any] = {
            "-c": context,
            "-npp": workload.input_len,
            "-ntg": workload.output_len,
            "-npl": workload.num_seqs,
            "-t": self._threads,
            "-tb": self._threads,
        }
        options = [str(part) for pair in sizes.items() for part in pair]
        text = _run(program("llama-batched-bench"), "-m", str(self._model), "--output-format", "jsonl", *options)
        (record,) = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return Speed(record["speed_pp"], record["speed_tg"])


def program(name: str) -> str:
    """Where it lies. Raises NotOnThePath."""
    path = shutil.which(name)
    if path is None:
        raise NotOnThePath(f"{name} is not on the PATH; build llama.cpp and put its bin folder there.")
    return path


def _quantize(plain: Path, quantization: str, num_threads: str) -> Path:
    kind, *options = quantization.split()
    path = plain.with_name("".join((kind, *options)) + ".gguf")
    if not path.exists():
        partial = path.with_suffix(".partial")
        _run(program("llama-quantize"), *options, str(plain), str(partial), kind, num_threads)
        partial.rename(path)
    return path


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
