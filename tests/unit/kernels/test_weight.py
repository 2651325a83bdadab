"""Packed weights: what the naive twin says, to the last bits that a sum's order leaves open."""

from __future__ import annotations

import pytest
import torch

from metavox_kernels import pack_weight
from metavox_kernels.native import build
from metavox_kernels.native.linear import NativeWeight
from metavox_kernels.weight import LARGEST, TorchWeight, pack_weight_naive, quantize

CPU = torch.device("cpu")
STORED = [(None, torch.float32), (None, torch.float16), (None, torch.bfloat16), ("int8", None), ("int4", None)]
IDS = ["float32", "float16", "bfloat16", "int8", "int4"]
SHAPES = [(1, 1), (7, 5), (33, 31), (64, 64), (100, 97), (97, 330), (300, 1000)]

native = pytest.mark.skipif(build.load("linear") is None, reason=str(build.reason("linear")))
each_kind = pytest.mark.parametrize(("quantization", "dtype"), STORED, ids=IDS)
each_shape = pytest.mark.parametrize(("n", "k"), SHAPES)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def both(parts, quantization, dtype) -> tuple[NativeWeight, TorchWeight]:
    arguments = (parts, quantization, dtype or torch.bfloat16, CPU)
    packed = pack_weight(*arguments)
    assert isinstance(packed, NativeWeight)
    return packed, pack_weight_naive(*arguments)


def dense(weight) -> torch.Tensor:
    return weight.rows(torch.arange(weight.shape[0]), torch.float32)


def error(got: torch.Tensor, exact: torch.Tensor) -> float:
    return float((got.double() - exact).norm() / exact.norm())


@native
@each_kind
@each_shape
def test_the_rows_are_those_of_the_naive_twin_bit_for_bit(quantization, dtype, n, k):
    for source in (torch.float32, torch.bfloat16, torch.float16):
        weight = normal(n, k).to(source)
        packed, naive = both([weight[: n // 3], weight[n // 3 :]], quantization, dtype)
        ids = torch.randint(n, (2 * n,), generator=torch.Generator().manual_seed(1))
        assert packed.shape == naive.shape == (n, k)
        assert torch.equal(packed.rows(ids, torch.float32), naive.rows(ids, torch.float32))
        assert torch.equal(packed.rows(ids, torch.bfloat16), naive.rows(ids, torch.bfloat16))


@native
@each_kind
@each_shape
def test_a_product_is_that_with_the_dense_matrix(quantization, dtype, n, k):
    packed, naive = both([normal(n, k)], quantization, dtype)
    x, bias = normal(40, k, seed=1), normal(n, seed=2)
    exact = x.double() @ dense(naive).double().T + bias
    # integers may meet an x of 8 bits; bf16 one of bf16, where the machine has such dot products
    bound = 1e-2 if quantization else 4e-3 if dtype == torch.bfloat16 else 1e-5
    assert error(packed.linear(x, bias), exact) < bound
    assert error(packed.linear(x) + bias, exact) < bound
    if dtype == torch.float32:
        torch.testing.assert_close(packed.linear(x), naive.linear(x), rtol=1e-5, atol=1e-5 * k**0.5)


@native
def test_products_with_bf16_weights_are_exact_where_x_is_bf16():
    packed, naive = both([normal(70, 300)], None, torch.bfloat16)
    x = normal(20, 300, seed=1).bfloat16().float()
    assert error(packed.linear(x), x.double() @ dense(naive).double().T) < 1e-5


@native
@each_kind
@pytest.mark.parametrize(("n", "k"), [(100, 97), (330, 800), (1100, 256)])
def test_a_row_has_the_same_bits_alone_in_any_batch_and_with_any_threads(quantization, dtype, n, k, threads):
    packed, _ = both([normal(n, k)], quantization, dtype)
    x, bias = normal(600, k, seed=1), normal(n, seed=2)
    threads(2)
    together = packed.linear(x, bias)
    for count in (1, 2):
        threads(count)
        alone = torch.cat([packed.linear(x[i : i + 1], bias) for i in range(65)])
        assert torch.equal(alone, together[:65])
        for rows in [*range(2, 66), 130, 300]:
            assert torch.equal(packed.linear(x[:rows], bias), together[:rows])
            assert torch.equal(packed.linear(x[-rows:], bias), together[-rows:])


@native
@each_kind
def test_what_a_row_is_does_not_reach_the_rows_beside_it(quantization, dtype):
    packed, _ = both([normal(64, 64)], quantization, dtype)
    x = normal(5, 64, seed=1)
    clean = packed.linear(x)
    x[1], x[3, 7] = float("nan"), float("inf")
    y = packed.linear(x)
    assert torch.equal(y[[0, 2, 4]], clean[[0, 2, 4]])
    assert y[1].isnan().all()
    assert not y[3].isfinite().any()


@native
@each_kind
def test_x_may_be_empty_strided_or_of_another_dtype(quantization, dtype):
    packed, _ = both([normal(48, 40)], quantization, dtype)
    wide = normal(6, 80, seed=1)
    assert packed.linear(wide[:0, :40]).shape == (0, 48)
    expected = packed.linear(wide[:, :40].contiguous())
    assert torch.equal(packed.linear(wide[:, :40]), expected)
    assert torch.equal(packed.linear(wide[:, :40].T.contiguous().T), expected)
    half = wide[:, :40].bfloat16()
    assert torch.equal(packed.linear(half), packed.linear(half.float()).bfloat16())
    assert torch.equal(
        packed.linear(wide[:, 40:], normal(48).bfloat16()),
        packed.linear(wide[:, 40:], normal(48).bfloat16().float()),
    )


@native
def test_parts_may_be_strided_or_of_double_precision():
    weight = normal(30, 20)
    packed, _ = both(
        [weight[:10].double(), weight.T.contiguous().T[10:25], torch.cat([weight, weight], 1)[25:, :20]],
        None,
        torch.float32,
    )
    assert torch.equal(dense(packed), weight)


@native
def test_shapes_and_rows_that_do_not_fit_are_refused():
    packed, _ = both([normal(6, 4)], None, torch.float32)
    with pytest.raises(ValueError, match=r"multiplies x \[num_tokens, 4\]"):
        packed.linear(normal(2, 5))
    with pytest.raises(ValueError, match=r"takes a bias \[6\]"):
        packed.linear(normal(2, 4), normal(5))
    for row in (-1, 6):
        with pytest.raises(IndexError, match="0 to 5"):
            packed.rows(torch.tensor([0, row]), torch.float32)


@native
@each_kind
def test_its_size_is_that_of_its_numbers(quantization, dtype):
    packed, _ = both([normal(960, 1024)], quantization, dtype)
    bits = {"int8": 8.5, "int4": 4.5}.get(quantization) or 8 * dtype.itemsize
    assert packed.nbytes == 960 * 1024 * bits / 8


@pytest.mark.parametrize(("quantization", "expected"), [("int8", 0.0056), ("int4", 0.088)])
def test_quantizing_normal_weights_costs_what_the_specification_says(quantization, expected):
    weight = normal(400, 1024)
    naive = pack_weight_naive([weight], quantization, torch.bfloat16, CPU)
    assert 0.9 * expected < error(dense(naive), weight.double()) < expected


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_integers_stay_in_range_and_zeros_stay_zeros(quantization):
    weight = torch.cat(
        [normal(20, 96) * 10.0 ** torch.arange(-10, 10).view(-1, 1), torch.zeros(1, 96), -torch.ones(1, 96)]
    )
    integers, scale = quantize(weight, quantization)
    assert scale.dtype == torch.bfloat16
    assert integers.min() >= -LARGEST[quantization] - 1
    assert integers.max() <= LARGEST[quantization]
    assert (integers[20] == 0).all()
    naive = pack_weight_naive([weight], quantization, torch.bfloat16, CPU)
    torch.testing.assert_close(dense(naive)[20:], weight[20:], rtol=4e-3, atol=0)


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_a_group_with_a_nan_is_nan_and_no_other(quantization):
    weight = normal(3, 64)
    weight[1, 40] = float("nan")
    for pack in (pack_weight, pack_weight_naive):
        broken = dense(pack([weight], quantization, torch.bfloat16, CPU)).isnan()
        assert broken[1, 32:].all()
        assert broken.sum() == 32


@each_kind
def test_without_compiled_code_the_naive_twin_serves(quantization, dtype, monkeypatch):
    monkeypatch.setattr("metavox_kernels.native.linear.load", lambda name: None)
    weight = pack_weight([normal(5, 8)], quantization, dtype or torch.bfloat16, CPU)
    assert isinstance(weight, TorchWeight)
    assert weight.linear(normal(2, 8)).shape == (2, 5)
