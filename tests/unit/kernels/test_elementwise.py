"""The small ops against formulas written out by hand."""

import math

import pytest
import torch

from metavox_kernels import LayerCache, rms_norm, silu_and_mul
from metavox_kernels.gated import gelu_tanh_and_mul_naive, silu_and_mul_naive
from metavox_kernels.native import elementwise as native
from metavox_kernels.native.build import load, reason
from metavox_kernels.rms_norm import add_rms_norm_naive, rms_norm_naive
from metavox_kernels.rotary import rotary_naive, rotate_and_store_naive

compiled = pytest.mark.skipif(load("elementwise") is None, reason=str(reason("elementwise")))


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


@compiled
@pytest.mark.parametrize("rows", [0, 1, 3, 300])
@pytest.mark.parametrize("d", [1, 7, 16, 100, 1024])
def test_compiled_norms_and_gates_equal_their_naive_twins(rows, d):
    torch.manual_seed(0)
    x, residual, weight, gate_up = (
        torch.randn(rows, d),
        torch.randn(rows, d),
        torch.rand(d),
        torch.randn(rows, 2 * d),
    )
    torch.testing.assert_close(native.rms_norm(x, weight, 1e-6), rms_norm_naive(x, weight, 1e-6))
    changed, expected = residual.clone(), residual.clone()
    norm = native.add_rms_norm(x, changed, weight, 1e-6)
    torch.testing.assert_close(norm, add_rms_norm_naive(x, expected, weight, 1e-6))
    assert torch.equal(changed, expected)
    gate_up *= 4
    torch.testing.assert_close(native.silu_and_mul(gate_up), silu_and_mul_naive(gate_up))
    # In float64: torch's own float32 loses the digits of gelu(x) where x is negative.
    exact = gelu_tanh_and_mul_naive(gate_up.double()).float()
    torch.testing.assert_close(native.gelu_tanh_and_mul(gate_up), exact, atol=1e-6, rtol=1e-5)


@compiled
def test_gates_hold_at_the_extremes():
    gate = torch.tensor([-1e30, -200.0, -90.0, -0.0, 0.0, 90.0, 200.0, 1e30, math.nan])
    gate_up = torch.cat((gate, torch.ones(9))).unsqueeze(0)
    for result in (native.silu_and_mul(gate_up), native.gelu_tanh_and_mul(gate_up)):
        torch.testing.assert_close(
            result[0], torch.where(gate < 0, 0.0, gate), equal_nan=True, atol=1e-6, rtol=1e-6
        )


def rotary_arguments(dtype, num_tokens, d, half, normed):
    torch.manual_seed(0)
    num_heads, num_kv_heads, block, num_blocks = 6, 2, 16, 40
    key = torch.zeros(num_blocks, num_kv_heads, d, block, dtype=dtype)
    scales = [torch.zeros(num_blocks, num_kv_heads, block) for _ in range(2 * (dtype == torch.int8))]
    cache = LayerCache(key, key.mT.contiguous(), *scales)
    qkv, positions = (
        torch.randn(num_tokens, (num_heads + 2 * num_kv_heads) * d),
        torch.randint(0, 100, (num_tokens,)),
    )
    qkv[0] = 0  # no int8 scale is right for it, and none may divide by zero
    angles, slots = torch.randn(100, half), torch.randperm(num_blocks * block)[:num_tokens]
    norms = (torch.rand(d) + 0.5, torch.rand(d) + 0.5) if normed else (None, None)
    return qkv, positions, angles.cos(), angles.sin(), *norms, 1e-6, cache, slots


def written(cache):
    return [x.float() for x in (cache.key, cache.value, cache.key_scale, cache.value_scale) if x is not None]


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int8])
@pytest.mark.parametrize(("d", "half"), [(128, 64), (80, 40), (64, 16), (10, 3)])
@pytest.mark.parametrize("normed", [True, False])
def test_compiled_rotate_and_store_equals_its_naive_twin(dtype, d, half, normed):
    ours, naive = (rotary_arguments(dtype, 200, d, half, normed) for _ in range(2))
    torch.testing.assert_close(native.rotate_and_store(*ours), rotate_and_store_naive(*naive))
    # A sum in another order may round to the neighbour: one integer, or one unit in the last place.
    unit = {torch.float32: 1e-6, torch.bfloat16: 2**-7, torch.float16: 2**-10, torch.int8: 0.0}[dtype]
    for stored, expected in zip(written(ours[7]), written(naive[7]), strict=True):
        wide = dtype == torch.int8 and stored.ndim == 4
        torch.testing.assert_close(stored, expected, rtol=unit or 1e-6, atol=1.0 if wide else 1e-6)
        assert (stored != expected).float().mean() < 0.3


@compiled
def test_a_row_has_the_same_bits_alone_in_a_batch_and_on_two_threads():
    torch.manual_seed(0)
    x, weight, gate_up = torch.randn(300, 1000), torch.rand(1000), torch.randn(300, 2000)
    ops = [
        lambda rows: native.rms_norm(x[rows], weight, 1e-6),
        lambda rows: native.add_rms_norm(x[rows], x[rows].clone(), weight, 1e-6),
        lambda rows: native.silu_and_mul(gate_up[rows]),
        lambda rows: native.gelu_tanh_and_mul(gate_up[rows]),
    ]
    threads = torch.get_num_threads()
    for op in ops:
        whole = op(slice(300))
        assert torch.equal(op(slice(7, 8)), whole[7:8])
        try:
            torch.set_num_threads(3 - min(threads, 2))
            assert torch.equal(op(slice(300)), whole)
        finally:
            torch.set_num_threads(threads)


@compiled
def test_a_token_is_rotated_and_stored_with_the_same_bits_alone_as_in_a_batch():
    batch, alone = (rotary_arguments(torch.float32, 200, 80, 40, normed=True) for _ in range(2))
    together = native.rotate_and_store(*batch)
    qkv, positions, *rest, slots = alone
    for token in range(200):
        at = slice(token, token + 1)
        assert torch.equal(native.rotate_and_store(qkv[at], positions[at], *rest, slots[at]), together[at])
    assert all(map(torch.equal, written(batch[7]), written(alone[7])))


def test_what_the_compiled_versions_do_not_read_is_left_to_the_naive_twins():
    half, strided = torch.randn(3, 8).bfloat16(), torch.randn(8, 3).T
    for x in (half, strided):
        weight = torch.ones(8, dtype=x.dtype)
        assert native.rms_norm(x, weight, 1e-6) is None
        assert torch.equal(rms_norm(x, weight, 1e-6), rms_norm_naive(x, weight, 1e-6))
        assert native.silu_and_mul(x) is None
        assert torch.equal(silu_and_mul(x), silu_and_mul_naive(x))
        assert native.add_rms_norm(x, x.clone(), weight, 1e-6) is None
    assert native.rms_norm(torch.randn(3, 8), torch.ones(4), 1e-6) is None
    arguments = list(rotary_arguments(torch.float32, 5, 8, 4, normed=True))
    arguments[1] = arguments[1].int()
    assert native.rotate_and_store(*arguments) is None
