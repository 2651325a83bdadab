"""A vLLM of production's shape: the classes, fields and signatures that our instrumentation meets.

vLLM itself needs a device. Names and meanings were taken from its source, which is public: ``vllm.LLM``,
``vllm.outputs``, ``vllm.v1.metrics.stats.RequestStateStats`` and
the older engine's ``vllm.sequence.RequestMetrics``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class RequestStateStats:
    """The times of vLLM's engine since version 1: the arrival on the wall clock, the others on a monotonic one."""

    num_generation_tokens: int = 0
    arrival_time: float = 0.0
    queued_ts: float = 0.0
    scheduled_ts: float = 0.0
    first_token_ts: float = 0.0
    last_token_ts: float = 0.0
    first_token_latency: float = 0.0
    is_corrupted: bool = False


@dataclass
class RequestMetrics:
    """The times of the older engine, all on the wall clock."""

    arrival_time: float
    last_token_time: float
    first_scheduled_time: float | None
    first_token_time: float | None
    time_in_queue: float | None
    finished_time: float | None = None


@dataclass
class CompletionOutput:
    """One answer."""

    index: int
    text: str
    token_ids: list[int]
    finish_reason: str | None = "stop"


@dataclass
class RequestOutput:
    """One prompt's answers."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    outputs: list[CompletionOutput]
    finished: bool
    metrics: Any = None


@dataclass
class SamplingParams:
    """What is asked."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int | None = 16


class Offline:
    """A class that `LLM` inherits its methods from, which is harder to wrap than having them itself."""

    def generate(
        self, prompts: Any, sampling_params: Any = None, *, use_tqdm: bool = True, lora_request: Any = None
    ) -> list[RequestOutput]:
        """One output a prompt."""
        return self._run(prompts if isinstance(prompts, list) else [prompts], sampling_params)

    def chat(self, messages: Any, sampling_params: Any = None, use_tqdm: bool = True) -> list[RequestOutput]:
        """One output a conversation; it calls `generate`, as vLLM's did for long."""
        conversations = [messages] if isinstance(messages[0], dict) else messages
        return self.generate(["".join(m["content"] for m in each) for each in conversations], sampling_params)


@dataclass(eq=False)
class LLM(Offline):
    """A loaded model that answers with five tokens."""

    model: str = "Qwen/Qwen3-8B"
    dtype: str = "torch.bfloat16"
    quantization: str | None = None
    device_type: str = "cpu"
    world_size: int = 1
    metrics: Any = None
    error: BaseException | None = None
    seen: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        hf_config = SimpleNamespace(architectures=["Qwen3ForCausalLM"])
        model_config = SimpleNamespace(
            model=self.model, dtype=self.dtype, quantization=self.quantization, hf_config=hf_config
        )
        self.llm_engine = SimpleNamespace(
            vllm_config=SimpleNamespace(
                model_config=model_config,
                device_config=SimpleNamespace(device_type=self.device_type),
                parallel_config=SimpleNamespace(world_size=self.world_size),
            )
        )

    def _run(self, prompts: list[Any], sampling_params: Any) -> list[RequestOutput]:
        self.seen.append(sampling_params)
        time.sleep(0.01)
        if self.error is not None:
            raise self.error
        n = getattr(sampling_params, "n", 1) if not isinstance(sampling_params, list) else 1
        answers = [CompletionOutput(index, "", [1] * 5) for index in range(n)]
        return [
            RequestOutput(str(at), None, [1, 2, 3], answers, True, self.metrics) for at, _ in enumerate(prompts)
        ]
