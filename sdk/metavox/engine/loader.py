"""From a folder with config.json and safetensors files to a decoder with its weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from metavox.errors import InvalidCheckpoint, UnsupportedModel, shown
from metavox.models.config import DecoderConfig
from metavox.models.decoder import Decoder

STORED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises InvalidCheckpoint when there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidCheckpoint(f"{path.parent} is no model: it has no {path.name}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidCheckpoint(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(data, dict):
        raise InvalidCheckpoint(f"{path} must hold a JSON object, and holds a {type(data).__name__}.")
    return data


def choose_dtype(requested: str, raw: dict[str, Any]) -> torch.dtype:
    """`requested`, or for "auto" what config.json says the weights are, float32 if it does not say."""
    name = requested if requested != "auto" else raw.get("dtype") or raw.get("torch_dtype") or "float32"
    if not isinstance(name, str) or name not in DTYPES:
        raise UnsupportedModel(
            f"config.json: dtype {shown(name)} is not supported; pass dtype='float32' or another."
        )
    return DTYPES[name]


def load_decoder(folder: Path, config: DecoderConfig, dtype: torch.dtype, device: torch.device) -> Decoder:
    """Build the decoder on the meta device and put each tensor in its place as it is read.

    At no time are there two copies of more than one tensor, and of the output matrix of a tied model.

    Raises:
        InvalidCheckpoint: a file is missing or damaged; a tensor is missing, superfluous or of another shape;
            a tied model has an output matrix of its own.
        UnsupportedModel: a tensor is stored in a quantized type.
    """
    decoder = _empty(config)
    missing = {name: tuple(parameter.shape) for name, parameter in decoder.named_parameters()}
    superfluous, head = [], None
    for name, tensor in _read_tensors(folder):
        if name in missing:
            _check(name, tensor, missing.pop(name))
            _put(decoder, name, tensor.to(device=device, dtype=dtype))
        elif config.tie_word_embeddings and name == "lm_head.weight":
            head = tensor
        elif not name.endswith("rotary_emb.inv_freq"):  # old checkpoints carry what the model computes
            superfluous.append(name)
    if missing:
        raise InvalidCheckpoint(f"{folder} lacks {len(missing)} tensor(s) of the model: {_some(missing)}.")
    if superfluous:
        raise InvalidCheckpoint(
            f"{folder} holds {len(superfluous)} tensor(s) that config.json does not account for: "
            f"{_some(superfluous)}."
        )
    if head is not None and not _is_same(head, decoder.model.embed_tokens.weight):
        raise InvalidCheckpoint(
            f"{folder} holds an lm_head.weight that is not the embedding table, which config.json says it is; "
            'set "tie_word_embeddings": false there.'
        )
    return decoder.eval()


def _empty(config: DecoderConfig) -> Decoder:
    try:
        with torch.device("meta"):
            return Decoder(config)
    except (RuntimeError, TypeError) as error:  # torch's two ways to say that a size is beyond 64 bits
        reason = str(error).partition("\n")[0]
        raise InvalidCheckpoint(f"config.json describes an impossible model: {reason}.") from error


def _read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in weight_files(folder):
        yield from _read_file(path)


def _read_file(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            for name in file.keys():  # noqa: SIM118 - the handle is no mapping
                yield name, file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise InvalidCheckpoint(f"{path} is damaged or no safetensors file ({error}); fetch it again.") from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: the single file, or those its index names."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise InvalidCheckpoint(
            f"{folder} has neither {single.name} nor {index.name}; give a checkpoint that is stored as safetensors."
        )
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(_is_file_name(name) for name in names.values()):
        raise InvalidCheckpoint(f"{index} must map each tensor to the name of a file beside it.")
    paths = [folder / name for name in sorted(set(names.values()))]
    lost = [path.name for path in paths if not path.is_file()]
    if lost:
        raise InvalidCheckpoint(f"{folder} lacks {_some(lost)}, which {index.name} names.")
    return paths


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors")


def _is_same(stored: Tensor, loaded: Tensor) -> bool:
    return stored.shape == loaded.shape and torch.equal(stored.to(loaded), loaded)


def _check(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise InvalidCheckpoint(
            f"The tensor {name} has the shape {list(tensor.shape)}, and config.json asks for {list(shape)}."
        )
    if tensor.dtype not in STORED_DTYPES:
        raise UnsupportedModel(
            f"The tensor {name} is stored as {str(tensor.dtype).removeprefix('torch.')}; "
            "quantized checkpoints are not supported."
        )


def _put(decoder: Decoder, name: str, tensor: Tensor) -> None:
    owner, _, attribute = name.rpartition(".")
    parameter = torch.nn.Parameter(tensor, requires_grad=False)
    setattr(decoder.get_submodule(owner), attribute, parameter)


def _some(names: Any, limit: int = 3) -> str:
    names = sorted(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
