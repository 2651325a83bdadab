"""The random numbers: uniform, and a function of seed and place alone."""

import numpy as np

from metavox.engine.uniform import uniform


def numbers(seeds, places):
    return uniform(np.array(seeds, dtype=np.uint64), np.array(places, dtype=np.int64))


def test_a_number_depends_on_its_seed_and_place_alone():
    together = numbers([5, 9, 5], [0, 3, 7])
    assert together.tolist() == [float(numbers([seed], [place])[0]) for seed, place in ((5, 0), (9, 3), (5, 7))]
    assert len(set(together.tolist())) == 3


def test_they_are_uniform_over_places_and_over_seeds():
    count = 100_000
    for drawn in (numbers([7] * count, range(count)), numbers(range(count), [0] * count)):
        assert 0 <= drawn.min() <= drawn.max() < 1
        observed, _ = np.histogram(drawn, bins=100, range=(0, 1))
        chi_square = ((observed - count / 100) ** 2 / (count / 100)).sum()
        assert chi_square < 99 + 5 * (2 * 99) ** 0.5


def test_neighbours_are_not_correlated():
    count = 100_000
    grid = numbers(np.repeat(range(count // 100), 100), np.tile(range(100), count // 100)).reshape(-1, 100)
    for one, other in ((grid[:, :-1], grid[:, 1:]), (grid[:-1], grid[1:])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.015


def test_the_sequences_of_different_seeds_are_not_one_another_shifted():
    golden = 0x9E3779B97F4A7C15
    seeds = [0, golden, 1, 2**64 - 1, 2**63]
    drawn = {float(number) for seed in seeds for number in numbers([seed] * 50, range(50))}
    assert len(drawn) == 50 * len(seeds)


def test_they_have_53_bits():
    drawn = numbers([3] * 10_000, range(10_000)) * 2.0**53
    assert np.array_equal(drawn, drawn.astype(np.int64))
    assert (drawn.astype(np.int64) & 1).mean() > 0.45
