"""How long a sequence may be and how many blocks the KV cache has."""

from __future__ import annotations

import os

import torch

from metavox.config import EngineConfig
from metavox.errors import InvalidArgument
from metavox.models.config import DecoderConfig
from metavox_kernels import LayerCache

HOST_POOL_BYTES = 1 << 30  # what the pool takes of a host's memory unless one full sequence needs more
HOST_SHARE = 0.5  # of the host's memory, the most the pool takes unasked


def context_length(config: EngineConfig, model: DecoderConfig) -> int:
    """`max_model_len`, or all of the model's context. Raises InvalidArgument if the model's is shorter."""
    longest = model.max_position_embeddings
    if config.max_model_len is not None and config.max_model_len > longest:
        raise InvalidArgument(
            f"max_model_len ({config.max_model_len}) is more than the model's context of {longest} tokens."
        )
    return config.max_model_len or longest


def block_bytes(config: EngineConfig, model: DecoderConfig, dtype: torch.dtype) -> int:
    """The bytes of one block: keys and values of `block_size` tokens in all layers, with an int8 cache's scales."""
    per_head = model.head_dim * dtype.itemsize if config.kv_cache_dtype == "auto" else model.head_dim + 4
    return config.block_size * 2 * model.num_hidden_layers * model.num_key_value_heads * per_head


def make_caches(
    config: EngineConfig, model: DecoderConfig, num_blocks: int, dtype: torch.dtype, device: torch.device
) -> list[LayerCache]:
    """One cache for each layer. Left unwritten: on a host, pages nobody uses then take no memory."""
    heads, width, size = model.num_key_value_heads, model.head_dim, config.block_size
    integers = config.kv_cache_dtype == "int8"
    kept = torch.int8 if integers else dtype

    def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(num_blocks, heads, *shape, dtype=dtype, device=device)

    return [
        LayerCache(
            key=empty(width, size, dtype=kept),
            value=empty(size, width, dtype=kept),
            key_scale=empty(size, dtype=torch.float32) if integers else None,
            value_scale=empty(size, dtype=torch.float32) if integers else None,
        )
        for _ in range(model.num_hidden_layers)
    ]


def count_blocks(
    config: EngineConfig, model: DecoderConfig, dtype: torch.dtype, device: torch.device, max_num_seqs: int
) -> int:
    """`num_kv_blocks`, or what `kv_cache_memory_bytes` holds, or what is needed and may be taken.

    Call it when the weights are loaded.

    Raises:
        InvalidArgument: there is no room for one sequence of the `max_model_len` that was asked for, or for
            one block.
    """
    size = block_bytes(config, model, dtype)
    full_sequence = -(-context_length(config, model) // config.block_size)
    if config.num_kv_blocks is not None:
        num_blocks = config.num_kv_blocks
    elif config.kv_cache_memory_bytes is not None:
        num_blocks = config.kv_cache_memory_bytes // size
    else:
        limit = _available_bytes(config, device)
        wanted = full_sequence * max_num_seqs
        if device.type != "cuda":
            # A host gives memory to pages only when they are written; MPS may give it at once.
            least = full_sequence if device.type == "cpu" else 0
            wanted = min(wanted, max(HOST_POOL_BYTES // size, least))
        num_blocks = min(wanted, limit // size)
    _check(config, num_blocks, full_sequence, size)
    return num_blocks


def _available_bytes(config: EngineConfig, device: torch.device) -> int:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return max(0, int(total * config.gpu_memory_utilization) - (total - free))
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * HOST_SHARE)


def _check(config: EngineConfig, num_blocks: int, full_sequence: int, size: int) -> None:
    """A context nobody asked for may exceed the pool (long requests are refused one by one); one asked for
    may not."""
    if num_blocks >= full_sequence or (num_blocks >= 1 and config.max_model_len is None):
        return
    raise InvalidArgument(
        f"The KV cache has room for {num_blocks} blocks of {config.block_size} tokens, and one sequence of "
        f"max_model_len needs {full_sequence} ({full_sequence * size} bytes). Lower max_model_len, or raise "
        "num_kv_blocks, kv_cache_memory_bytes or gpu_memory_utilization."
    )
