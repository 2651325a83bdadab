"""How a process begins: loading weights, the memory that takes, and the time until the small model answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .checkpoint import FILE
from .shape import Shape

BLOCK_SIZE = 16
READ_BYTES = 16 << 20

LOAD = """
import json, sys, time
from pathlib import Path

from metavox import LLM, SamplingParams

LLM("metavox/tiny", device="cpu").close()  # whatever is imported or compiled on first use is no part of a load

folder, num_seqs, length, num_blocks, fill = sys.argv[1], *map(int, sys.argv[2:])

def peak():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

imported = peak()
began = time.perf_counter()
llm = LLM(folder, device="cpu", max_model_len=length + 1, num_kv_blocks=num_blocks, max_num_seqs=num_seqs)
seconds = time.perf_counter() - began
loaded = peak()
prompts = [{"prompt_token_ids": [300 + at] * length} for at in range(num_seqs if fill else 0)]
llm.generate(prompts, SamplingParams(temperature=0, max_tokens=1, ignore_eos=True))
print(json.dumps({"seconds": seconds, "imported": imported, "loaded": loaded, "peak": peak()}))
"""
READY = """
from metavox import LLM

llm = LLM("metavox/tiny", device="cpu")
print("ready", flush=True)
"""


def load(folder: Path, shape: Shape, *, num_seqs: int = 32, length: int = 128, rounds: int = 3) -> dict[str, Any]:
    """Load the checkpoint in a fresh process, all imports done, beside a plain read of its file, from the disk and
    from the system's cache.

    The first process then fills its whole KV pool, so that all of it counts. Memory is the kernel's high-water mark
    (VmHWM), in which pages of a mapped file count too.

    Returns:
        Seconds `cold` and `warm`, of the LLM and of the `read` of the file; bytes of `weights` and `kv`; the
        high-water marks after the imports, after loading and in all, `imported`, `loaded`, `peak`.
    """
    file = folder / FILE
    num_blocks = num_seqs * -(-(length + 1) // BLOCK_SIZE)
    kv = shape.kv_bytes(num_blocks * BLOCK_SIZE)
    found: dict[str, Any] = {"weights": shape.weight_bytes(), "kv": kv, "cold": {}, "warm": {}}
    arguments = [str(folder), str(num_seqs), str(length), str(num_blocks)]
    for name in ("cold", "warm"):
        for turn in range(rounds):
            fill = name == "cold" and turn == 0
            _forget(file, name == "cold")
            read = _read_seconds(file)
            _forget(file, name == "cold")
            record = json.loads(_python(LOAD, *arguments, str(int(fill))).splitlines()[-1])
            for key, seconds in (("read", read), ("llm", record["seconds"])):
                found[name][key] = min(seconds, found[name].get(key, seconds))
            found |= {key: max(record[key], found.get(key, 0)) for key in ("imported", "loaded", "peak")}
    return found


def ready(rounds: int = 5) -> dict[str, Any]:
    """Seconds from the start of a process until ``LLM("metavox/tiny")`` stands: the best and the worst of the
    rounds, and `first`, with nothing compiled yet."""
    with tempfile.TemporaryDirectory() as empty:
        first = _ready_seconds({"XDG_CACHE_HOME": empty})
    seconds = [_ready_seconds({}) for _ in range(rounds)]
    return {"first": first, "best": min(seconds), "worst": max(seconds)}


def _ready_seconds(environment: dict[str, str]) -> float:
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", READY], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - began
    if line != "ready\n":
        raise RuntimeError(f"The process printed {line!r} and ended with {process.returncode}.")
    return seconds


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-1000:])
    return done.stdout


def _forget(file: Path, cold: bool) -> None:
    """Ask the kernel to drop the file from its cache, if `cold`."""
    if cold:
        with file.open("rb") as source:
            os.fsync(source.fileno())
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read_seconds(file: Path) -> float:
    buffer = bytearray(READ_BYTES)
    began = time.perf_counter()
    with file.open("rb", buffering=0) as source:
        while source.readinto(buffer):
            pass
    return time.perf_counter() - began
