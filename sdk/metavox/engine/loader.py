"""From a folder with config.json and safetensors files to a decoder with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metavox.engine.tensors import TensorFiles, some
from metavox.errors import InvalidCheckpoint, UnsupportedModel, shown
from metavox.layers.reader import Part, Role
from metavox.models.config import DecoderConfig
from metavox.models.decoder import Decoder
from metavox_kernels import PackedWeight, Quantization, pack_weight
from metavox_kernels.weight import TorchWeight

STORED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PIECE_ELEMENTS = 1 << 23  # of what is packed at once, which takes several times its bytes for a moment


def choose_dtype(requested: str, raw: dict[str, Any]) -> torch.dtype:
    """`requested`, or for "auto" what config.json says the weights are, float32 if it does not say."""
    name = requested if requested != "auto" else raw.get("dtype") or raw.get("torch_dtype") or "float32"
    if not isinstance(name, str) or name not in DTYPES:
        raise UnsupportedModel(
            f"config.json: dtype {shown(name)} is not supported; pass dtype='float32' or another."
        )
    return DTYPES[name]


def load_decoder(
    folder: Path,
    config: DecoderConfig,
    dtype: torch.dtype,
    device: torch.device,
    *,
    quantization: Quantization | None = None,
    quantize_lm_head: bool = False,
) -> Decoder:
    """Check that the files hold what the decoder asks for, then build it from them.

    At no time is more than one of its matrices there twice.

    Args:
        folder: the checkpoint.
        config: its shape.
        dtype: of the weights; on the CPU everything else is float32, elsewhere of the same dtype.
        device: where the weights will live.
        quantization: of the matrices of the layers.
        quantize_lm_head: whether the embedding and the output matrix are quantized as well.

    Raises:
        InvalidCheckpoint: a file is missing or damaged; a tensor is missing, superfluous or of another shape;
            a tied model has an output matrix of its own.
        UnsupportedModel: a tensor is stored in a quantized type.
    """
    files = TensorFiles(folder)
    _check_files(files, config)
    return Decoder(config, _Reader(files, dtype, device, quantization, quantize_lm_head))


class _Counter:
    """The part of a `WeightReader` that counts."""

    def __init__(self, weight_dtype: torch.dtype, activation_dtype: torch.dtype) -> None:
        self.weight_dtype, self.activation_dtype = weight_dtype, activation_dtype
        self.num_parameters = self.nbytes = 0

    def _count(self, shape: Sequence[int], nbytes: int) -> None:
        self.num_parameters += prod(shape)
        self.nbytes += nbytes


class _Reader(_Counter):
    """A `WeightReader` of files that were checked."""

    def __init__(
        self,
        files: TensorFiles,
        dtype: torch.dtype,
        device: torch.device,
        quantization: Quantization | None,
        quantize_lm_head: bool,
    ) -> None:
        super().__init__(dtype, torch.float32 if device.type == "cpu" else dtype)
        self._files, self._device = files, device
        tables = quantization if quantize_lm_head else None
        self._quantization = {"projection": quantization, "vocabulary": tables, "router": None}

    def matrix(self, parts: Sequence[Part], in_features: int, role: Role = "projection") -> PackedWeight:
        rows = max(1, PIECE_ELEMENTS // in_features)
        pieces = [piece for name, _ in parts for piece in torch.split(self._files.read(name), rows)]
        weight = pack_weight(pieces, self._quantization[role], self.weight_dtype, self._device)
        self._count(weight.shape, weight.nbytes)
        return weight

    def vector(self, parts: Sequence[Part], add: float = 0.0) -> Tensor:
        whole = torch.cat([self._files.read(name).float() for name, _ in parts]).add_(add)
        vector = whole.to(device=self._device, dtype=self.activation_dtype)
        self._count(vector.shape, vector.nbytes)
        return vector


class _Manifest(_Counter):
    """A `WeightReader` that gives nothing and notes the shapes that it is asked for."""

    def __init__(self) -> None:
        super().__init__(torch.float32, torch.float32)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def matrix(self, parts: Sequence[Part], in_features: int, role: Role = "projection") -> PackedWeight:
        self.shapes.update({name: (rows, in_features) for name, rows in parts})
        data = torch.empty(sum(rows for _, rows in parts), in_features, device="meta")
        return TorchWeight(data, None, in_features)

    def vector(self, parts: Sequence[Part], add: float = 0.0) -> Tensor:
        self.shapes.update({name: (size,) for name, size in parts})
        return torch.empty(sum(size for _, size in parts), device="meta")


def _check_files(files: TensorFiles, config: DecoderConfig) -> None:
    """Say what is wrong before gigabytes are read."""
    expected = expected_shapes(config)
    for name, shape in expected.items():
        if name in files:
            _check(name, files.view(name), shape)
    missing = [name for name in expected if name not in files]
    if missing:
        raise InvalidCheckpoint(f"{files.folder} lacks {len(missing)} tensor(s) of the model: {some(missing)}.")
    superfluous = files.twice + [name for name in files if name not in expected and not _is_known(name, config)]
    if superfluous:
        raise InvalidCheckpoint(
            f"{files.folder} holds {len(superfluous)} tensor(s) that config.json does not account for: "
            f"{some(superfluous)}."
        )
    if config.tie_word_embeddings and "lm_head.weight" in files:
        _check_tied(files)


def expected_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the tensors that a decoder asks for. Raises InvalidCheckpoint if none can be."""
    manifest = _Manifest()
    try:
        Decoder(config, manifest)
    except (RuntimeError, TypeError) as error:  # torch's two ways to say that a size is beyond 64 bits
        reason = str(error).partition("\n")[0]
        raise InvalidCheckpoint(f"config.json describes an impossible model: {reason}.") from error
    return manifest.shapes


def _is_known(name: str, config: DecoderConfig) -> bool:
    """Old checkpoints carry what the model computes, and tied ones the embedding again."""
    return name.endswith("rotary_emb.inv_freq") or (config.tie_word_embeddings and name == "lm_head.weight")


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


def _check_tied(files: TensorFiles) -> None:
    head, table = files.read("lm_head.weight"), files.read("model.embed_tokens.weight")
    if head.shape != table.shape or not torch.equal(head.to(table.dtype), table):
        raise InvalidCheckpoint(
            f"{files.folder} holds an lm_head.weight that is not the embedding table, which config.json says it "
            'is; set "tie_word_embeddings": false there.'
        )
