"""A loaded transformers model -> Model: name, architecture, size, number format and device, looked up once."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from metavox.telemetry.hardware import Hardware, detect, undescribed
from metavox.telemetry.instrument.described import Model, hub_name, local_name

_FORMATS = {"awq": "awq", "gptq": "gptq", "mxfp4": "fp4", "fp8": "fp8", "fbgemm_fp8": "fp8", "gguf": "gguf"}
_known: WeakKeyDictionary[Any, tuple[str, Model]] = WeakKeyDictionary()


def describe(model: Any) -> Model:
    """What is loaded; from memory until the model is moved or cast, as counting parameters takes milliseconds."""
    state = f"{model.device} {model.dtype}"
    if model not in _known or _known[model][0] != state:
        _known[model] = state, _describe(model)
    return _known[model][1]


def _describe(model: Any) -> Model:
    config = model.config
    name = str(getattr(config, "_name_or_path", "") or "")  # empty for a model that was made and not loaded
    architectures = getattr(config, "architectures", None) or [type(model).__name__]
    return Model(
        name=hub_name(name) if name else local_name("unnamed"),
        architecture=str(architectures[0]),
        num_parameters=int(model.num_parameters()),
        number_format=number_format(getattr(config, "quantization_config", None), str(model.dtype)),
        hardware=_hardware(model),
    )


def number_format(quantization: Any, dtype: str) -> str:
    """The schema's word for how weights are stored.

    Args:
        quantization: The configuration's `quantization_config`, a mapping or an object; None for none.
        dtype: PyTorch's name, such as "torch.bfloat16".
    """
    if quantization is None:
        return dtype.removeprefix("torch.")
    settings = quantization if isinstance(quantization, dict) else vars(quantization)
    method = settings.get("quant_method", "")
    method = str(getattr(method, "value", method)).lower()  # an enumeration in objects, text in mappings
    if method in ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit"):
        in_4_bit = settings.get("load_in_4bit") or settings.get("_load_in_4bit")
        return "int4" if in_4_bit else "int8"
    return _FORMATS.get(method, method)


def _hardware(model: Any) -> Hardware:
    """Of all devices that a model is spread over; weights that wait elsewhere make it nobody's."""
    placed = getattr(model, "hf_device_map", None) or {"": model.device}
    devices = sorted({f"cuda:{place}" if isinstance(place, int) else str(place) for place in placed.values()})
    if {"disk", "meta"} & set(devices):
        return undescribed()
    return detect(devices if len(devices) > 1 else devices[0])
