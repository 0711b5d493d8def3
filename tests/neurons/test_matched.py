"""Matched neurons against a search by hand, and properties with a planted effect and without."""

from __future__ import annotations

import numpy as np
import pytest

from neuronpath_core.neurons.matched import drawn, matched, of_path, over_matches

RNG = np.random.default_rng(0)
ACTIVE, LENGTH = RNG.random((3, 40)), RNG.random((3, 40))
PATHS = RNG.integers(0, 40, (5, 3))


def slow(neurons, values, width, least):
    found = np.zeros((*neurons.shape, 40), bool)
    for image, layer in np.ndindex(neurons.shape):
        own = neurons[image, layer]
        ranks = [each[layer].argsort().argsort() for each in values]
        far = {other: max(abs(rank[other] - rank[own]) for rank in ranks)
               for other in range(40) if other != own}
        edge = max(sorted(far.values())[least - 1], width * 40 / 2)
        for other, distance in far.items():
            found[image, layer, other] = distance <= edge
    return found


@pytest.mark.parametrize("width, least", [(0.1, 4), (0.5, 1), (0, 2)])
def test_matched_neurons_are_the_nearest_by_both_ranks(width, least):
    found = matched(PATHS, ACTIVE, LENGTH, width=width, least=least)
    assert np.array_equal(found, slow(PATHS, (ACTIVE, LENGTH), width, least))
    assert (found.sum(-1) >= least).all()
    assert not np.take_along_axis(found, PATHS[..., None], -1).any()


def test_each_image_can_have_activations_of_its_own():
    own = RNG.random((5, 3, 40))
    found = matched(PATHS, own, LENGTH)
    for image in range(5):
        alone = matched(PATHS[image:image + 1], own[image], LENGTH)
        assert np.array_equal(found[image], alone[0])


def test_a_property_of_activity_alone_is_matched_away_and_a_planted_one_stays():
    """What follows the activation differs from the mean of the neurons around it by little; what
    path neurons alone have does not vanish."""
    rng = np.random.default_rng(1)
    active = rng.random((2, 200))
    paths = active.argsort(-1)[:, -60:-20:4].T.copy()
    matches = matched(paths, active, rng.random((2, 200)))
    follows = of_path(active, paths) - over_matches(active, matches)
    unmatched = of_path(active, paths) - active.mean(-1)
    assert unmatched.mean() > 0.25 and abs(follows.mean()) < 0.05
    planted = np.zeros((2, 200))
    np.put_along_axis(planted, paths.T, 1.0, -1)
    assert (of_path(planted, paths) == 1).all()
    assert over_matches(planted, matches).mean() < 0.4


def test_means_over_matches_leave_out_what_is_not_defined():
    matches = np.zeros((1, 2, 4), bool)
    matches[0, 0, :3] = True
    matches[0, 1, 3] = True
    values = np.array([[1.0, np.nan, 3.0, 9.0], [0.0, 0.0, 0.0, np.nan]])
    found = over_matches(values, matches)
    assert found[0, 0] == 2 and np.isnan(found[0, 1])
    assert of_path(values, np.array([[2, 0]])).tolist() == [[3, 0]]


def test_draws_are_matched_neurons_and_uniform():
    matches = matched(PATHS, ACTIVE, LENGTH)
    for seed in range(3):
        own = drawn(matches, seed)
        assert np.take_along_axis(matches, own[..., None], -1).all()
        assert np.array_equal(own, drawn(matches, seed))
    many = np.broadcast_to([True, False, True, True], (3000, 1, 4))
    counts = np.bincount(drawn(many).ravel(), minlength=4)
    assert counts[1] == 0 and (abs(counts[[0, 2, 3]] - 1000) < 4 * 26).all()  # four sd


@pytest.mark.parametrize("call, words", [
    (lambda: matched(PATHS), "at least one likeness"),
    (lambda: matched(PATHS.astype(float), ACTIVE), "whole numbers"),
    (lambda: matched(PATHS, ACTIVE[:2]), "a likeness"),
    (lambda: matched(PATHS, ACTIVE[None]), "a likeness"),
    (lambda: matched(PATHS + 40, ACTIVE), "accepted: 0..39"),
    (lambda: matched(PATHS, np.where(ACTIVE > 0.5, np.nan, ACTIVE)), "not finite"),
    (lambda: matched(PATHS, ACTIVE, width=2), "a share in 0..1"),
    (lambda: matched(PATHS, ACTIVE, least=0), "at least 1"),
])
def test_bad_input_is_refused_in_one_line(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)
