"""The seam: callers take an op from here, and here is decided which version of it runs.

The naive twins run on every device torch knows, and are all there is so far. A faster version is chosen
here, by the device of its first argument, when it exists.
"""

from metavox_kernels.attention import paged_attention_naive as paged_attention
from metavox_kernels.gated import gelu_tanh_and_mul_naive as gelu_tanh_and_mul
from metavox_kernels.gated import silu_and_mul_naive as silu_and_mul
from metavox_kernels.native.linear import pack_weight
from metavox_kernels.native.sample import greedy, mask_logits, penalize, sample, token_logprobs
from metavox_kernels.rms_norm import add_rms_norm_naive as add_rms_norm
from metavox_kernels.rms_norm import rms_norm_naive as rms_norm
from metavox_kernels.rotary import rotate_and_store_naive as rotate_and_store

__all__ = [
    "add_rms_norm",
    "gelu_tanh_and_mul",
    "greedy",
    "mask_logits",
    "pack_weight",
    "paged_attention",
    "penalize",
    "rms_norm",
    "rotate_and_store",
    "sample",
    "silu_and_mul",
    "token_logprobs",
]
