"""The operations of the decoder. Each has a naive twin in plain torch that is its specification."""

from metavox_kernels.attention import LayerCache, PagedBatch
from metavox_kernels.dispatch import (
    add_rms_norm,
    gelu_tanh_and_mul,
    greedy,
    mask_logits,
    pack_weight,
    paged_attention,
    penalize,
    prepare_device,
    rms_norm,
    rotate_and_store,
    sample,
    silu_and_mul,
    token_logprobs,
)
from metavox_kernels.weight import PackedWeight, Quantization

__all__ = [
    "LayerCache",
    "PackedWeight",
    "PagedBatch",
    "Quantization",
    "add_rms_norm",
    "gelu_tanh_and_mul",
    "greedy",
    "mask_logits",
    "pack_weight",
    "paged_attention",
    "penalize",
    "prepare_device",
    "rms_norm",
    "rotate_and_store",
    "sample",
    "silu_and_mul",
    "token_logprobs",
]
