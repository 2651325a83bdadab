"""What the simulated fleet runs on: devices and models that exist, with speeds that are plausible, not measured."""

from __future__ import annotations

from dataclasses import dataclass

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of installation.

    Attributes:
        weight: Its share of the fleet, in any unit.
        model: Hub id.
        architecture: Class name in the model's configuration.
        parameters: Number of parameters.
        quantization: Number format of the weights.
        accelerator: Name as the device gives it.
        vendor: Who makes it.
        memory: The device's memory, in bytes.
        driver: Driver version, empty when it has none.
        engine: Name of the engine.
        engine_version: Its version.
        os: ``os.type``.
        arch: ``host.arch``.
        first_token: Median time to first token, in seconds, for a prompt of 256 tokens.
        per_token: Median time per output token, in seconds.
    """

    weight: float
    model: str
    architecture: str
    parameters: float
    quantization: str
    accelerator: str
    vendor: str
    memory: int
    driver: str
    engine: str
    engine_version: str
    os: str
    arch: str
    first_token: float
    per_token: float

    @property
    def weights_bytes(self) -> float:
        """How much memory the weights take."""
        return self.parameters * {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1, "int8": 1}.get(
            self.quantization, 0.6
        )


def _nvidia(name: str, gib: int) -> tuple[str, str, int, str]:
    return name, "nvidia", gib * _GIB, "580.65.06"


def _apple(name: str, gib: int) -> tuple[str, str, int, str]:
    return name, "apple", gib * _GIB, ""


_AVX512 = ("CPU x86-64 AVX-512", "intel", 32 * _GIB, "")
_QWEN3, _QWEN2, _LLAMA = "Qwen3ForCausalLM", "Qwen2ForCausalLM", "LlamaForCausalLM"
_LINUX = ("linux", "amd64")

_MIX: tuple[
    tuple[tuple[str, str, float, str], tuple[str, str, int, str], tuple[str, str, str, str], float, float], ...
] = (
    # (model, architecture, parameters, format), device, (engine, version, os, arch), first token, per token
    (("metavox/tiny", _QWEN3, 3.5e6, "float32"), _AVX512, ("metavox", "0.1.0", *_LINUX), 0.006, 0.0016),
    (
        ("Qwen/Qwen3-8B", _QWEN3, 8.2e9, "bfloat16"),
        _nvidia("NVIDIA GeForce RTX 4090", 24),
        ("vllm", "0.11.0", *_LINUX),
        0.045,
        0.0185,
    ),
    (
        ("meta-llama/Llama-3.1-8B-Instruct", _LLAMA, 8.0e9, "gguf"),
        _nvidia("NVIDIA GeForce RTX 3060", 12),
        ("llama.cpp", "0.1", "windows", "amd64"),
        0.19,
        0.021,
    ),
    (("Qwen/Qwen3-0.6B", _QWEN3, 0.6e9, "bfloat16"), _AVX512, ("metavox", "0.1.0", *_LINUX), 0.42, 0.032),
    (
        ("google/gemma-3-4b-it", "Gemma3ForCausalLM", 4.3e9, "gguf"),
        _apple("Apple M4", 16),
        ("ollama", "0.12.3", "darwin", "arm64"),
        0.38,
        0.029,
    ),
    (
        ("meta-llama/Llama-3.1-8B-Instruct", _LLAMA, 8.0e9, "fp8"),
        _nvidia("NVIDIA H100 80GB HBM3", 80),
        ("vllm", "0.11.0", *_LINUX),
        0.018,
        0.0062,
    ),
    (
        ("Qwen/Qwen2.5-7B-Instruct", _QWEN2, 7.6e9, "awq"),
        _nvidia("NVIDIA L4", 24),
        ("vllm", "0.10.2", *_LINUX),
        0.12,
        0.024,
    ),
    (
        ("openai/gpt-oss-20b", "GptOssForCausalLM", 20.9e9, "fp4"),
        _apple("Apple M3 Max", 64),
        ("mlx", "0.29.0", "darwin", "arm64"),
        0.55,
        0.0165,
    ),
    (
        ("mistralai/Mistral-7B-Instruct-v0.3", "MistralForCausalLM", 7.2e9, "gguf"),
        _nvidia("NVIDIA GeForce RTX 4070", 12),
        ("ollama", "0.12.3", "windows", "amd64"),
        0.11,
        0.0125,
    ),
    (
        ("Qwen/Qwen3-0.6B", _QWEN3, 0.6e9, "bfloat16"),
        _nvidia("NVIDIA GeForce RTX 4060 Laptop GPU", 8),
        ("metavox", "0.1.0", *_LINUX),
        0.016,
        0.0068,
    ),
    (
        ("openai/gpt-oss-120b", "GptOssForCausalLM", 116.8e9, "fp4"),
        _nvidia("NVIDIA H200", 141),
        ("sglang", "0.5.3", *_LINUX),
        0.035,
        0.0058,
    ),
    (
        ("microsoft/phi-4", "Phi3ForCausalLM", 14.7e9, "int4"),
        _nvidia("NVIDIA GeForce RTX 5090", 32),
        ("transformers", "5.2.0", *_LINUX),
        0.07,
        0.026,
    ),
)


def _profiles() -> tuple[Profile, ...]:
    """Weights after Zipf: the n-th kind is as frequent as 1/n says."""
    return tuple(
        Profile(1 / rank, *model, *device, *software, first, each)
        for rank, (model, device, software, first, each) in enumerate(_MIX, start=1)
    )


PROFILES: tuple[Profile, ...] = _profiles()
"""Twelve kinds, most frequent first."""
