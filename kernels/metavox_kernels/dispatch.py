"""The seam: callers take an op from here, and here is decided which version of it runs.

The naive twins run on every device torch knows, and are all there is so far. A faster version is chosen
here, by the device of its first argument, when it exists.
"""

from metavox_kernels.attention import paged_attention_naive as paged_attention
from metavox_kernels.attention import store_kv_naive as store_kv
from metavox_kernels.rms_norm import rms_norm_naive as rms_norm
from metavox_kernels.rotary import rotary_naive as rotary
from metavox_kernels.sample import sample_naive as sample
from metavox_kernels.silu_and_mul import silu_and_mul_naive as silu_and_mul

__all__ = ["paged_attention", "rms_norm", "rotary", "sample", "silu_and_mul", "store_kv"]
