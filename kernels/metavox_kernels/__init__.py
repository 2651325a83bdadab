"""The operations of the decoder. Each has a naive twin in plain torch that is its specification."""

from metavox_kernels.attention import PagedBatch
from metavox_kernels.dispatch import paged_attention, rms_norm, rotary, sample, silu_and_mul, store_kv

__all__ = ["PagedBatch", "paged_attention", "rms_norm", "rotary", "sample", "silu_and_mul", "store_kv"]
