"""The programs that are measured, each in a process of its own: ``python programs.py NAME WHO REQUESTS``.

WHO is "off" (nobody has answered), "on" (a yes in METAVOX_HOME), or "peer": OpenTelemetry's SDK with its OTLP
exporter, given the same attributes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from array import array
from collections.abc import Callable

ATTRIBUTES = {
    "gen_ai.operation.name": "text_completion",
    "gen_ai.provider.name": "metavox",
    "gen_ai.request.model": "metavox/tiny",
    "gen_ai.request.max_tokens": 64,
    "gen_ai.request.temperature": 1.0,
    "gen_ai.request.top_p": 1.0,
    "gen_ai.request.stream": False,
    "gen_ai.response.model": "metavox/tiny",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 20,
    "gen_ai.usage.output_tokens": 64,
    "gen_ai.server.time_to_first_token": 0.03,
    "gen_ai.server.time_per_output_token": 0.004,
    "gen_ai.server.request.duration": 0.43,
    "metavox.output_tokens_per_second": 250.0,
    "metavox.device.memory.peak": 2**28,
    "metavox.request.concurrency": 8,
    "metavox.engine.name": "metavox",
    "metavox.engine.version": "0.1.0",
    "metavox.model.architecture": "Qwen3ForCausalLM",
    "metavox.model.parameters": 3_476_224,
    "metavox.model.quantization": "bfloat16",
    "hw.model": "CPU x86-64 AVX-512",
    "metavox.hw.count": 1,
    "os.type": "linux",
    "host.arch": "amd64",
}

Request = Callable[[], object]


def our_request() -> Request:
    """What ``LLM`` does of telemetry at the end of a request."""
    from metavox.config import EngineInfo
    from metavox.outputs import CompletionOutput, RequestMetrics, RequestOutput
    from metavox.params import SamplingParams
    from metavox.telemetry.contribution import Contribution
    from metavox.telemetry.recorder import Recorder

    metrics = RequestMetrics(
        arrival_time_ns=time.time_ns(),
        arrival_time=10.0,
        first_scheduled_time=10.01,
        first_token_time=10.03,
        finished_time=10.43,
        token_times=(tuple(10.03 + 0.4 * at / 63 for at in range(64)),),
        num_prompt_tokens=20,
        num_cached_tokens=0,
        num_generation_tokens=64,
        max_concurrency=8,
        device_memory_bytes=2**28,
    )
    completion = CompletionOutput(0, "text", list(range(64)), None, None, "stop", None)
    output = RequestOutput("0", "prompt", list(range(20)), [completion], True, metrics)
    info = EngineInfo(
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
    contribution = Contribution.from_environment(os.environ)
    contribution.begin()  # as an LLM does before it loads its model
    recorder, params = Recorder(info, contribution), SamplingParams(max_tokens=64)
    return lambda: recorder.finished(((output, params),))


def peer_request() -> Request:
    """The same facts in a span of OpenTelemetry's SDK, on its way to METAVOX_COLLECTOR_URL."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(os.environ["METAVOX_COLLECTOR_URL"] + "/v1/traces"))
    )
    tracer = provider.get_tracer("peer")
    now = time.time_ns()
    return lambda: tracer.start_span("chat", attributes=ATTRIBUTES, start_time=now).end(now + 430_000_000)


def requests(who: str) -> Request:
    """One request of whoever is measured."""
    return peer_request() if who == "peer" else our_request()


def cost(who: str, number: int) -> None:
    """Seconds of the caller's time a request, and the memory that stays."""
    request, clock = requests(who), time.perf_counter
    times = array("d", bytes(8 * number))  # made before, so that it is no part of what is kept
    for _ in range(200):
        request()
    time.sleep(1.5)  # an upload begins, and fails
    loaded = resident()
    for at in range(number):
        began = clock()
        request()
        times[at] = clock() - began
    kept = resident() - loaded
    times = array("d", sorted(times))
    result = {
        "mean": sum(times) / number,
        "p50": times[number // 2],
        "p99": times[number * 99 // 100],
        "max": times[-1],
        "memory_bytes": kept,
    }
    print(json.dumps(result), flush=True)
    if who == "peer":
        os._exit(0)  # its end is measured elsewhere


def loop(who: str, number: int) -> None:
    """Seconds a request, of many without a clock between them: what is too short for a clock."""
    request = requests(who)
    request()
    best = float("inf")
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(number):
            request()
        best = min(best, (time.perf_counter() - began) / number)
    empty = int
    began = time.perf_counter()
    for _ in range(number):
        empty()
    print(json.dumps({"mean": best - (time.perf_counter() - began) / number}))


def end(who: str, number: int) -> None:
    """Some requests, a moment in which an upload may begin, and the time at which there is nothing left to do."""
    request = requests(who)
    for _ in range(number):
        request()
    time.sleep(0.2)
    print(time.time(), flush=True)


def resident() -> int:
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    {"cost": cost, "loop": loop, "end": end}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
