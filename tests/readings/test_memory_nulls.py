"""What memories show by chance, against draws, enumeration and planted neurons."""

from itertools import combinations

import numpy as np
import pytest
import torch

from neuronpath_core.readings import memory_nulls
from neuronpath_core.readings.memories import class_value_agreement
from tests import helpers


@pytest.mark.parametrize(("memories", "width", "median"), [
    (3072, 768, 0.126), (768, 768, 0.112), (4096, 1024, 0.112), (1024, 1024, 0.100),
    (144, 36, 0.420), (36, 36, 0.342), (192, 48, 0.379), (48, 48, 0.313)])
def test_medians_of_the_largest_cosine(memories, width, median):
    assert memory_nulls.largest_cosine(memories, width)["median"] == pytest.approx(median, abs=6e-4)


@pytest.mark.parametrize(("memories", "width"), [(1, 3), (5, 2), (20, 8)])
def test_the_largest_cosine_against_draws(memories, width):
    rng, draws = np.random.default_rng(0), 20_000
    directions = rng.standard_normal((draws, memories, width))
    found = (directions[..., 0] / np.linalg.norm(directions, axis=-1)).max(1)
    for threshold in (-0.5, 0.0, 0.3, 0.7):
        expected = float(memory_nulls.largest_cosine_below(threshold, memories, width))
        error = np.sqrt(expected * (1 - expected) / draws) + 1e-4
        assert abs((found <= threshold).mean() - expected) < 3.5 * error
    told = memory_nulls.largest_cosine(memories, width)
    assert abs(found.mean() - told["mean"]) < 3.5 * found.std() / np.sqrt(draws)
    assert told["low"] < told["median"] < told["high"]


def test_the_law_begins_at_zero_and_ends_at_one():
    found = memory_nulls.largest_cosine_below(np.array([-1.0, 1.0]), 7, 5)
    np.testing.assert_allclose(found, [0, 1], atol=1e-12)
    assert float(memory_nulls.largest_cosine_below(0.0, 3, 9)) == pytest.approx(1 / 8)


def test_rotations_keep_what_the_half_can_write_and_are_uniform():
    vectors = torch.randn(12, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    turns = torch.stack([*memory_nulls.rotations(12, 400, seed=2)])
    turned = torch.stack([memory_nulls.rotated(vectors, turn) for turn in turns])
    torch.testing.assert_close(turned.mT @ turned, (vectors.T @ vectors).expand(400, -1, -1))
    # entries of a uniform rotation have mean 0 and variance 1/M; of a bare QR decomposition the
    # diagonal of Q does not
    diagonal = turns.diagonal(dim1=-2, dim2=-1)
    assert abs(diagonal.mean()) < 4 / np.sqrt(12 * diagonal.numel())
    bare = torch.linalg.qr(torch.randn(400, 12, 12, dtype=torch.float64))[0]
    assert abs(bare.diagonal(dim1=-2, dim2=-1).mean()) > 4 / np.sqrt(12 * diagonal.numel())
    assert torch.equal(turns[:3], torch.stack([*memory_nulls.rotations(12, 3, seed=2)]))


def test_a_planted_neuron_stands_out_and_a_rotated_one_does_not():
    """With the class among the neurons the agreement is above that of 199 rotations; of a half that
    writes the same by mixed neurons it is not."""
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(24, 8, generator=generator, dtype=torch.float64)
    row = torch.randn(1, 8, generator=generator, dtype=torch.float64)
    vectors[4] = 3 * row[0]
    turns = [*memory_nulls.rotations(24, 199)]

    def level(of):
        return class_value_agreement(row, torch.stack([memory_nulls.rotated(of, turn)
                                                       for turn in turns]))[:, 0]

    chance = level(vectors)
    assert class_value_agreement(row, vectors)[0] == pytest.approx(1) and chance.max() < 0.999
    ranks = []
    for seed in range(40):
        mixed = memory_nulls.rotated(vectors, next(memory_nulls.rotations(24, 1, 100 + seed)))
        reached = level(mixed) >= class_value_agreement(row, mixed)[0]
        ranks.append(float(reached.double().mean()))
    # p-values of what is true: about one in twenty below 0.05
    assert np.mean(np.array(ranks) < 0.05) <= 0.15 and 0.3 < np.mean(ranks) < 0.7


@pytest.mark.parametrize(("owned", "memories", "count"), [(0, 6, 2), (2, 6, 3), (6, 6, 5), (3, 7, 5)])
def test_chance_by_enumeration(owned, memories, count):
    drawn = [sum(memory < owned for memory in each)
             for each in combinations(range(memories), count)]
    assert memory_nulls.any_by_chance(owned, memories, count) == pytest.approx(
        np.mean([number > 0 for number in drawn]))
    assert memory_nulls.all_by_chance(owned, memories, count) == pytest.approx(
        np.mean([number == count for number in drawn]))


def test_published_chance_levels():
    levels = memory_nulls.any_by_chance(5, 3072), memory_nulls.any_by_chance(5, 768)
    np.testing.assert_allclose(levels, [0.008, 0.032], atol=5e-4)
    np.testing.assert_allclose([memory_nulls.any_by_chance(5, 144), memory_nulls.any_by_chance(
        5, 36)], [0.164, 0.549], atol=5e-4)


def test_bad_input_is_refused():
    helpers.refused(lambda: memory_nulls.largest_cosine_below(0, 0, 3), "0 memories")
    helpers.refused(lambda: memory_nulls.largest_cosine(3, 1), "1 dimensions")
    helpers.refused(lambda: memory_nulls.any_by_chance(7, 6), "at most all")
    helpers.refused(lambda: memory_nulls.all_by_chance(2, 4), "at most all")
