"""The small ops against formulas written out by hand."""

import math

import pytest
import torch

from metavox_kernels.attention import LayerCache
from metavox_kernels.gated import gelu_tanh_and_mul_naive, silu_and_mul_naive
from metavox_kernels.rms_norm import add_rms_norm_naive, rms_norm_naive
from metavox_kernels.rotary import rotary_naive, rotate_and_store_naive


def test_rms_norm_divides_by_the_root_mean_square():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    weight = torch.tensor([1.0, 2.0])
    rms = math.sqrt((9 + 16) / 2 + 1e-6)
    expected = torch.tensor([[3 / rms, 2 * 4 / rms], [0.0, 0.0]])
    torch.testing.assert_close(rms_norm_naive(x, weight, 1e-6), expected)


def test_add_rms_norm_leaves_the_sum_in_the_residual_stream():
    x, residual, weight = torch.randn(3, 8), torch.randn(3, 8), torch.randn(8)
    total = x + residual
    norm = add_rms_norm_naive(x, residual, weight, 1e-6)
    assert torch.equal(residual, total)
    torch.testing.assert_close(norm, total / (total.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight)


def test_rms_norm_in_bfloat16_takes_its_mean_in_float32():
    x = torch.full((1, 4096), 1.0, dtype=torch.bfloat16)
    x[0, 0] = 300.0  # in bfloat16 the sum of squares would stand still at 90112
    exact = x.double() / (x.double().square().mean() + 1e-6).sqrt()
    result = rms_norm_naive(x, torch.ones(4096, dtype=torch.bfloat16), 1e-6)
    torch.testing.assert_close(result, exact.to(torch.bfloat16))


@pytest.mark.parametrize(("dtype", "unit"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_rms_norm_in_half_precision_rounds_the_normalised_and_the_weighted_value_only(dtype, unit):
    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(0)).mul(3).to(dtype)
    weight = torch.linspace(0.5, 2, 256).to(dtype)
    exact = x.double() * (x.double().square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight.double()
    # Two roundings of half a unit each.
    torch.testing.assert_close(rms_norm_naive(x, weight, 1e-6).double(), exact, rtol=2.02 * unit, atol=1e-6)


def test_silu_and_mul_is_the_sigmoid_gate():
    gate, up = torch.randn(3, 5), torch.randn(3, 5)
    torch.testing.assert_close(silu_and_mul_naive(torch.cat((gate, up), -1)), gate / (1 + (-gate).exp()) * up)


def test_gelu_tanh_and_mul_is_the_gaussian_gate_within_its_approximation():
    gate, up = torch.randn(3, 5), torch.randn(3, 5)
    exact = gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2))) * up
    torch.testing.assert_close(gelu_tanh_and_mul_naive(torch.cat((gate, up), -1)), exact, atol=2e-3, rtol=0)


def test_rotary_is_a_complex_rotation_of_the_halves_and_leaves_the_rest():
    x, angles = torch.randn(6, 3, 10), torch.randn(6, 4)
    pairs = torch.complex(x[..., :4], x[..., 4:8])
    turned = pairs * torch.polar(torch.ones_like(angles), angles).unsqueeze(1)
    expected = torch.cat((turned.real, turned.imag, x[..., 8:]), dim=-1)
    torch.testing.assert_close(rotary_naive(x, angles.cos(), angles.sin()), expected)


@pytest.mark.parametrize("normed", [True, False])
def test_rotate_and_store_norms_turns_and_stores_each_head(normed):
    num_heads, num_kv_heads, d, block = 4, 2, 8, 4
    cache = LayerCache(torch.full((3, num_kv_heads, d, block), math.nan), torch.zeros(3, num_kv_heads, block, d))
    qkv, positions, slots = torch.randn(2, 8 * d), torch.tensor([7, 0]), torch.tensor([9, 2])
    angles = torch.outer(torch.arange(8.0), torch.tensor([1.0, 0.1, 0.01]))
    norms = (torch.rand(d) + 0.5, torch.rand(d) + 0.5) if normed else (None, None)
    heads = qkv.clone().view(2, -1, d)
    query = rotate_and_store_naive(qkv, positions, angles.cos(), angles.sin(), *norms, 1e-6, cache, slots)
    for t in range(2):
        cos, sin = angles[positions[t]].cos()[None], angles[positions[t]].sin()[None]
        for h in range(num_heads + num_kv_heads):
            head = heads[t, h]
            weight = norms[0] if h < num_heads else norms[1]
            if weight is not None:
                head = head / (head.square().mean() + 1e-6).sqrt() * weight
            expected = rotary_naive(head[None, None], cos, sin)[0, 0]
            at = int(slots[t])
            stored = cache.key[at // block, h - num_heads, :, at % block] if h >= num_heads else query[t, h]
            torch.testing.assert_close(stored, expected)
        for h in range(num_kv_heads):
            assert torch.equal(cache.value[at // block, h, at % block], heads[t, num_heads + num_kv_heads + h])
    assert cache.key.isnan().sum() == num_kv_heads * d * (12 - 2), "the slots of other tokens are untouched"
