"""Each way to stretch the rotary frequencies does what its paper says."""

from __future__ import annotations

import math

import pytest
import torch

from metavox.layers.rotary import LinearScaling, Llama3Scaling, LongRopeScaling, Rope, YarnScaling, rotary_table

HEAD_DIM, THETA, LENGTH = 64, 10_000.0, 300
PLAIN = Rope(THETA)
YARN = YarnScaling(8.0, 128, attention_factor=1.0)


def angles(rope: Rope, length: int = LENGTH) -> torch.Tensor:
    """[32], of position 1."""
    cos, sin = rotary_table(rope, HEAD_DIM, length, torch.float64)
    assert cos.shape == sin.shape == (length, (rope.rotary_dim or HEAD_DIM) // 2)
    return torch.atan2(sin[1], cos[1])


def test_the_plain_angles_fall_from_one_by_the_base():
    expected = torch.tensor([THETA ** (-i / 32) for i in range(32)], dtype=torch.float64)
    assert torch.allclose(angles(PLAIN), expected, rtol=1e-5)


def test_linear_scaling_divides_every_position():
    cos, _ = rotary_table(Rope(THETA, LinearScaling(4.0)), HEAD_DIM, 101, torch.float32)
    plain, _ = rotary_table(PLAIN, HEAD_DIM, 26, torch.float32)
    assert torch.allclose(cos[::4], plain, atol=1e-5)


@pytest.mark.parametrize("scaling", [YARN, Llama3Scaling(8.0, 1.0, 32.0, 128)])
def test_fast_frequencies_are_kept_slow_ones_divided_and_those_between_blended(scaling):
    ratio = angles(Rope(THETA, scaling)) / angles(PLAIN)
    turns = 128 * angles(PLAIN) / (2 * math.pi)
    assert torch.allclose(ratio[turns > 32], torch.ones(1, dtype=torch.float64))
    assert torch.allclose(ratio[turns < 0.5], torch.full((1,), 1 / 8, dtype=torch.float64), rtol=1e-4)
    between = ratio[(turns < 32) & (turns > 1.5)]
    assert len(between) > 5
    assert (between.diff() < 0).all()


def test_yarn_blends_in_a_straight_line_over_the_index():
    # With these settings the ends lie at 32 ln(128 / (2 pi b)) / ln(10000): 32 turns are before 0, 1 is at 10.47.
    index = torch.arange(32, dtype=torch.float64)
    divided = (index / 10.4720).clamp(0, 1)
    exact = YarnScaling(8.0, 128, attention_factor=1.0, truncate=False)
    ratio = angles(Rope(THETA, exact)) / angles(PLAIN)
    assert torch.allclose(ratio, 1 - divided * 7 / 8, rtol=1e-3)
    ratio = angles(Rope(THETA, YARN)) / angles(PLAIN)
    assert torch.allclose(ratio, 1 - (index / 11).clamp(0, 1) * 7 / 8, rtol=1e-3)


def test_yarn_with_no_room_between_its_ends_is_a_step():
    step = YarnScaling(8.0, 128, attention_factor=1.0, beta_fast=2.0, beta_slow=2.0, truncate=False)
    ratio = angles(Rope(THETA, step)) / angles(PLAIN)
    assert torch.allclose(ratio, torch.where(torch.arange(32) < 8.07, 1.0, 1 / 8).double(), rtol=1e-4)


def test_longrope_takes_the_long_factors_where_sequences_may_outgrow_the_original_context():
    short, long = tuple(1.0 + i for i in range(32)), tuple(2.0 + i for i in range(32))
    rope = Rope(THETA, LongRopeScaling(short, long, 128, attention_factor=1.0))
    for length, factors in [(128, short), (129, long)]:
        ratio = angles(PLAIN) / angles(rope, length)
        assert torch.allclose(ratio, torch.tensor(factors, dtype=torch.float64), rtol=1e-4)


def test_a_part_of_a_head_has_the_frequencies_of_so_small_a_head():
    part, _ = rotary_table(Rope(THETA, rotary_dim=16), HEAD_DIM, LENGTH, torch.float32)
    small, _ = rotary_table(PLAIN, 16, LENGTH, torch.float32)
    assert torch.equal(part, small)


def test_the_attention_factor_multiplies_cosines_and_sines():
    twice = YarnScaling(8.0, 128, attention_factor=2.0)
    for one, two in zip(
        *(rotary_table(Rope(THETA, s), HEAD_DIM, 9, torch.float32) for s in (YARN, twice)), strict=True
    ):
        assert torch.allclose(2 * one, two)
