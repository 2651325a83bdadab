"""A loaded ``vllm.LLM`` -> Model, from its engine's configuration."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from metavox.telemetry.hardware import Hardware, detect, undescribed
from metavox.telemetry.instrument.described import Model, hub_name

_FORMATS = {
    "awq": "awq",
    "awq_marlin": "awq",
    "fbgemm_fp8": "fp8",
    "fp8": "fp8",
    "gguf": "gguf",
    "gptq": "gptq",
    "gptq_marlin": "gptq",
    "modelopt_fp4": "fp4",
    "mxfp4": "fp4",
}
_known: WeakKeyDictionary[Any, Model] = WeakKeyDictionary()


def describe(llm: Any) -> Model:
    """What is loaded; looked up once. How many parameters it has, vLLM does not tell."""
    found = _known.get(llm)
    if found is None:
        found = _known[llm] = _describe(llm.llm_engine)
    return found


def _describe(engine: Any) -> Model:
    config = engine.vllm_config.model_config
    architectures = getattr(config.hf_config, "architectures", None) or [None]
    method = config.quantization
    return Model(
        name=hub_name(str(config.model)),
        architecture=architectures[0],
        num_parameters=None,
        number_format=_FORMATS.get(str(method), str(method))
        if method
        else str(config.dtype).removeprefix("torch."),
        hardware=_hardware(engine.vllm_config),
    )


def _hardware(config: Any) -> Hardware:
    kind = str(getattr(config.device_config, "device_type", ""))
    if kind not in ("cpu", "cuda", "xpu"):
        return undescribed()
    count = int(config.parallel_config.world_size)
    return detect([f"{kind}:{index}" for index in range(count)] if kind != "cpu" and count > 1 else kind)
