"""The small ops against formulas written out by hand."""

import math

import pytest
import torch

from metavox_kernels import rms_norm, rotary, silu_and_mul


def test_rms_norm_divides_by_the_root_mean_square():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    weight = torch.tensor([1.0, 2.0])
    rms = math.sqrt((9 + 16) / 2 + 1e-6)
    expected = torch.tensor([[3 / rms, 2 * 4 / rms], [0.0, 0.0]])
    torch.testing.assert_close(rms_norm(x, weight, 1e-6), expected)


def test_rms_norm_in_bfloat16_takes_its_mean_in_float32():
    x = torch.full((1, 4096), 1.0, dtype=torch.bfloat16)
    x[0, 0] = 300.0  # in bfloat16 the sum of squares would stand still at 90112
    exact = x.double() / (x.double().square().mean() + 1e-6).sqrt()
    result = rms_norm(x, torch.ones(4096, dtype=torch.bfloat16), 1e-6)
    torch.testing.assert_close(result, exact.to(torch.bfloat16))


@pytest.mark.parametrize(("dtype", "unit"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_rms_norm_in_half_precision_rounds_the_normalised_and_the_weighted_value_only(dtype, unit):
    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(0)).mul(3).to(dtype)
    weight = torch.linspace(0.5, 2, 256).to(dtype)
    exact = x.double() * (x.double().square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight.double()
    # Two roundings of half a unit each.
    torch.testing.assert_close(rms_norm(x, weight, 1e-6).double(), exact, rtol=2.02 * unit, atol=1e-6)


def test_silu_and_mul_is_the_sigmoid_gate():
    gate, up = torch.randn(3, 5), torch.randn(3, 5)
    torch.testing.assert_close(silu_and_mul(gate, up), gate / (1 + (-gate).exp()) * up)


def test_rotary_is_a_complex_rotation_of_the_halves():
    x, angles = torch.randn(6, 3, 8), torch.randn(6, 4)
    pairs = torch.complex(x[..., :4], x[..., 4:])
    turned = pairs * torch.polar(torch.ones_like(angles), angles).unsqueeze(1)
    torch.testing.assert_close(rotary(x, angles.cos(), angles.sin()), torch.cat((turned.real, turned.imag), dim=-1))
