"""Key neurons: planted value vectors, slow twins, chance, and what is refused."""

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.hooks import reading
from neuronpath_core.neurons import bright_dots as dots
from neuronpath_core.neurons import class_profiles as profiles
from neuronpath_core.neurons import key_neurons as keys
from neuronpath_core.neurons.keys import read_keys, value_norms
from neuronpath_core.neurons.saliency import predicting_patches, saliency
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.readings.memories import value_matrix
from neuronpath_core.readings.memory_nulls import largest_cosine_below
from neuronpath_core.readings.projection import PROJECTIONS, head_rows, project_vectors
from tests import helpers

READ = ["cls", "cls-layerscale-qknorm", "cls-registers-prenorm", "avg", "avg-without-class-token"]


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("pooled", [False, True])
def test_a_planted_value_vector_is_found(pooled, projection):
    """Neuron 5 of block 1 writes the row of class 3, and no other neuron does."""
    model = helpers.small_vit(4, **({"global_pool": "avg"} if pooled else {}))
    target = npc.TargetModel(model)
    with torch.no_grad():
        rows = head_rows(target)[0]
        planted = rows[3] - rows[3].mean()
        model.blocks[1].mlp.fc2.weight[:, 5] = 20 * planted / planted.norm()
    aligned = keys.alignment(target, projection)
    assert aligned.shape == (3, 16, 5) and not aligned.requires_grad
    assert keys.best_neurons(aligned)[3, 0].tolist() == [1, 5]
    by_block = keys.best_neurons(aligned, by_block=True, count=2)
    assert by_block.shape == (3, 5, 2, 2) and by_block[1, 3, 0].tolist() == [1, 5]
    assert keys.percentiles(aligned)[1, 5, 3] == 1


@pytest.mark.parametrize("name", READ)
def test_alignment_is_the_projection_of_every_value_vector(name):
    target, _, _ = helpers.network(name, 3)
    for projection in PROJECTIONS:
        found = keys.alignment(target, projection)
        for block in range(target.n_blocks):
            for neuron, vector in enumerate(value_matrix(target, block, "ffn")):
                np.testing.assert_allclose(
                    found[block, neuron], project_vectors(target, vector, projection), atol=1e-12)


def test_best_neurons_are_those_of_a_sorted_list():
    aligned = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0),
                          dtype=torch.float64).round(decimals=1)  # with ties
    found, by_block = keys.best_neurons(aligned, count=18), keys.best_neurons(aligned, True, 6)
    share = keys.percentiles(aligned)
    for label in range(4):
        every = sorted((-float(aligned[b, n, label]), b, n) for b in range(3) for n in range(6))
        assert found[label].tolist() == [[b, n] for _, b, n in every]
        for block in range(3):
            own = sorted((-float(aligned[block, n, label]), n) for n in range(6))
            assert by_block[block, label].tolist() == [[block, n] for _, n in own]
            values = aligned[block, :, label].tolist()
            for neuron, value in enumerate(values):
                below = sum(v < value for v in values) + (values.count(value) - 1) / 2
                assert share[block, neuron, label] == pytest.approx(below / 5)


def test_sharing_counts_the_other_classes_of_the_same_first_neuron():
    best = torch.tensor([[[0, 1], [2, 2]], [[0, 1], [1, 1]], [[1, 1], [0, 1]], [[0, 1], [0, 0]]])
    assert keys.sharing(best).tolist() == [2, 2, 0, 2]


def test_directions_drawn_at_random_exceed_a_cosine_as_often_as_said():
    """4,000 draws: shares within 4 standard errors, 0.03."""
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((4000, 20, 7))
    largest = (drawn[..., 0] / np.linalg.norm(drawn, axis=-1)).max(1)
    for cosine in (0.5, 0.7):
        share = float(largest_cosine_below(cosine, 20, 7))
        assert abs((largest <= cosine).mean() - share) < 0.03
    planted = float(largest_cosine_below(np.array([0.99]), 20, 7)[0])
    assert planted > 0.999


@pytest.mark.parametrize("name", READ)
def test_keys_are_what_enters_the_last_layer_at_every_token(name):
    target, images, _ = helpers.network(name, 2, 3)
    with torch.no_grad(), reading(target, everywhere=True) as store:
        target(images)
    found, grid = read_keys(target, images), grid_of(target, images)
    for block in range(target.n_blocks):
        np.testing.assert_allclose(found.maps[block], store[block][:, grid.tokens].mT, atol=1e-12)
        np.testing.assert_allclose(found.whole[block], store[block].mean(1), atol=1e-12)
        np.testing.assert_allclose(found.first[block], store[block][:, 0], atol=1e-12)
    assert found.norms.shape == (target.n_blocks, 3, grid.patches) and (found.norms > 0).all()
    vectors = value_matrix(target, 1, "ffn")
    np.testing.assert_allclose(value_norms(target)[1], [float(v.norm()) for v in vectors])


# --- profiles of classes ---


def test_two_planted_classes_lie_apart_by_what_was_planted():
    labels = np.repeat([0, 1, 2], 4)
    values = np.zeros((12, 5))
    values[labels == 1, 2] = 3
    values[labels == 2, 4] = 4
    means = profiles.class_means(values, labels, 3)
    top = profiles.is_key(np.array([[0], [2], [4]]), 5)
    for over in profiles.OVER:
        apart = profiles.profile_distances(means, top, over)
        np.testing.assert_allclose(apart, [[0, 3, 4], [3, 0, 5], [4, 5, 0]])
    # a neuron that is nobody's key neuron counts among all neurons only
    values[labels == 0, 1] = 12
    means = profiles.class_means(values, labels, 3)
    assert profiles.profile_distances(means, top)[0, 1] == 3
    assert profiles.profile_distances(means, over="all")[0, 1] == pytest.approx(np.hypot(3, 12))


def test_distances_and_spreads_are_those_of_slow_loops():
    rng = np.random.default_rng(2)
    labels = rng.permutation(np.arange(20) % 3)
    values = rng.standard_normal((20, 6))
    values[:, 5] = 1  # never varies
    means, spread = (each(values, labels, 3) for each in (profiles.class_means,
                                                           profiles.spread_within))
    top = profiles.is_key(np.array([[0, 1], [1, 2], [3, 5]]), 6)
    found = profiles.profile_distances(means, top, "union", spread)
    for n in range(6):
        about = [v - np.mean(values[labels == k, n]) for v, k in zip(values[:, n], labels,
                                                                    strict=True)]
        assert spread[n] == pytest.approx(np.sqrt(np.sum(np.square(about)) / 17))
    for c in range(3):
        for d in range(3):
            own = [n for n in range(5) if top[c, n] or top[d, n]]
            total = sum(((means[c, n] - means[d, n]) / spread[n]) ** 2 for n in own)
            assert found[c, d] == pytest.approx(np.sqrt(total))


def test_participation_is_one_over_n_of_one_neuron_and_one_of_all():
    assert profiles.participation_ratio(np.eye(4)[2]) == 0.25
    np.testing.assert_allclose(profiles.participation_ratio(np.full((2, 7), -3.0)), 1)
    noise = np.random.default_rng(0).standard_normal(200_000)
    assert profiles.participation_ratio(noise) == pytest.approx(1 / 3, abs=0.01)
    assert np.isnan(profiles.participation_ratio(np.zeros(3)))


# --- dots, and pixels that move a neuron ---


def test_dots_are_bright_patches_off_the_object():
    maps = np.zeros((3, 16))
    maps[0, 3], maps[1, 3], maps[2, 5] = 9, 9, 9
    free = np.ones((3, 16), bool)
    free[1, 3] = False  # on the object
    found = dots.bright_dots(maps, 0.0, 1.0, free)
    assert found.sum(1).tolist() == [1, 0, 1] and found[0, 3] and found[2, 5]
    values = np.tile(np.arange(16.0), (3, 1))
    place = dots.place_among(values, found, free)
    assert place[0] == 3 / 15 and np.isnan(place[1]) and place[2] == 5 / 15
    assert not dots.bright_dots(maps, 0.0, 4.0, free).any()


def test_dots_at_one_place_repeat_and_dots_anywhere_do_not():
    rng, free = np.random.default_rng(0), np.ones((400, 16), bool)
    fixed, anywhere = np.zeros((2, 400, 16), bool)
    fixed[:, 7] = True
    anywhere[np.arange(400), rng.integers(0, 16, 400)] = True
    assert dots.repeats(fixed, free) == {"value": 1.0, "expected": pytest.approx(1 / 16)}
    found = dots.repeats(anywhere, free)
    assert found["value"] == pytest.approx(1 / 16, abs=0.01)
    slow = [np.mean([(a & b).sum() for j, b in enumerate(anywhere[:30]) if i != j])
            for i, a in enumerate(anywhere[:30])]
    assert dots.repeats(anywhere[:30], free[:30])["value"] == pytest.approx(np.mean(slow))
    assert np.isnan(dots.repeats(fixed[:1], free[:1])["value"])


def test_saliency_is_the_difference_quotient_of_the_weighted_activations():
    """Central differences of step 1e-6: relative error 1e-6 is six digits above rounding."""
    target, images, labels = helpers.network("cls", 6)
    patches = predicting_patches(target, images, labels)
    neurons = torch.tensor([[1, 4], [2, 9]])
    found = saliency(target, images, neurons, patches)
    assert found.shape == (2, 8, 8) and (found >= 0).all()

    def told(pixels):
        keys_of = read_keys(target, pixels).maps
        maps = [keys_of[b, image, n] for image, (b, n) in enumerate(neurons.tolist())]
        return [sum(0.5 ** m * float(own[t]) for m, t in enumerate(each.tolist()))
                for own, each in zip(maps, patches, strict=True)]

    for row, column in ((0, 0), (5, 3)):
        total = np.zeros(2)
        for channel in range(3):
            step = torch.zeros_like(images)
            step[:, channel, row, column] = 1e-6
            total += np.abs(np.subtract(told(images + step), told(images - step)) / 2e-6)
        np.testing.assert_allclose(found[:, row, column], total, rtol=1e-5, atol=1e-9)


def test_without_attention_only_the_asked_patches_matter():
    model = helpers.without_attention(helpers.small_vit(2))
    target = npc.TargetModel(model)
    images, _ = helpers.small_batch(2)
    found = saliency(target, images, torch.tensor([[2, 0], [2, 0]]), torch.tensor([[0], [3]]))
    assert (found[0, :4, :4] > 0).any() and found[0, 4:].max() == 0 == found[0, :, 4:].max()
    assert (found[1, 4:, 4:] > 0).any() and found[1, :4].max() == 0


# --- refused ---


def test_what_is_refused():
    target, images, labels = helpers.network("cls", 1)
    aligned, one = keys.alignment(target), torch.zeros(2, 1, dtype=torch.int64)
    cases = [
        (lambda: keys.alignment(target, "none"), "accepted: normed"),
        (lambda: keys.best_neurons(aligned[0]), r"\(block, neuron, class\)"),
        (lambda: keys.best_neurons(aligned * float("nan")), "finite"),
        (lambda: keys.best_neurons(aligned, count=49), "1 to 48"),
        (lambda: keys.best_neurons(aligned, True, 17), "1 to 16"),
        (lambda: keys.best_neurons(aligned, count=True), "1 to 48"),
        (lambda: keys.sharing(torch.zeros(3, 2)), r"\(class, rank, 2\)"),
        (lambda: profiles.class_means(np.zeros((3, 2)), np.array([0, 1, 1]), 3), "0 to 2"),
        (lambda: profiles.spread_within(np.zeros((2, 2)), np.array([0, 1]), 2), "a class with two"),
        (lambda: profiles.profile_distances(np.zeros((3, 2)), over="some"), "union, all"),
        (lambda: profiles.profile_distances(np.zeros((3, 2))), "truth values"),
        (lambda: dots.bright_dots(np.zeros((2, 3)), 0, 1, np.ones((2, 4), bool)), "one shape"),
        (lambda: predicting_patches(target, images, labels, 5), "1 to 4"),
        (lambda: saliency(target, images, torch.tensor([[3, 0], [0, 0]]), one), "from 0 to 2, 15"),
        (lambda: saliency(target, images, torch.tensor([[0, 16], [0, 0]]), one), "from 0 to 2, 15"),
        (lambda: saliency(target, images, one, one), "from 0 to 2, 15"),
        (lambda: saliency(target, images, torch.zeros(2, 2), one), "whole numbers"),
        (lambda: saliency(target, images, torch.zeros(2, 2).long(), one + 4), "from 0 to 3"),
    ]
    for refused, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            refused()
        assert "\n" not in str(caught.value)
