"""Rates of tokens: the published numbers, slow twins, hand-set arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuronpath_core.readings.class_space import (
    by_image,
    chance,
    chance_of_one,
    difference,
    logit_rises,
    read_classes,
    within_rings,
)
from neuronpath_core.readings.projection import project_vectors
from neuronpath_core.readings.streams import read_streams
from neuronpath_core.support.memory import copy_bytes, memory_limit
from tests import helpers
from tests.readings.spaces import SPACES, space


@pytest.mark.parametrize("name", SPACES)
def test_published_rates(name):
    target, images, labels, expected, _ = space(name)
    found = read_classes(target, images, labels)
    identified = found.identified()[-1, :, 1:]
    # through float32 in the published code
    np.testing.assert_allclose(100 * identified.mean(), expected["rate_last"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(100 * identified.any(1).mean(), expected["images_with_one"],
                               rtol=0, atol=1e-9)
    value = found.identifiability()
    np.testing.assert_allclose(value[..., 0].mean(1), expected["identifiability_mean_cls"],
                               rtol=0, atol=1e-9)
    np.testing.assert_allclose(value[..., 1:].mean((1, 2)), expected["identifiability_mean_image"],
                               rtol=0, atol=1e-9)
    risen = logit_rises(found.logit)[..., 1:].mean((1, 2))
    np.testing.assert_allclose(risen, expected["logit_increment_rate"], rtol=0, atol=1e-9)
    own = expected["token_mask"].reshape(len(images), -1) == 1
    np.testing.assert_allclose(difference(value[..., 1:], own, "published"),
                               expected["context_difference"], rtol=0, atol=1e-9)
    corrected = np.nanmean(difference(value[..., 1:], own), 1)
    assert np.abs(corrected - expected["context_difference"]).max() > 1e-3  # they do differ


def test_groups_are_ranked_by_the_sum_of_their_probabilities():
    target, images, labels = helpers.network("cls", 5, batch=3)
    groups = {"pairs": np.array([0, 0, 1, 1, 2]), "halves": np.array([1, 1, 1, 0, 0])}
    found = read_classes(target, images, labels, groups)
    for block, stream in enumerate(read_streams(target, images).blocks):
        probability = project_vectors(target, stream).softmax(-1)
        for name, group in groups.items():
            for image, label in enumerate(labels.tolist()):
                for token in range(stream.shape[1]):
                    sums = [probability[image, token][torch.from_numpy(group == one)].sum()
                            for one in range(group.max() + 1)]
                    rank = sum(bool(value > sums[group[label]]) for value in sums)
                    assert found.groups[name][block, image, token] == rank
                    wanted = 1 - rank / (len(sums) - 1)
                    assert found.of_group(name)[block, image, token] == wanted
    with pytest.raises(ValueError, match="accepted: pairs, halves"):
        found.of_group("thirds")
    for group in (np.zeros(5, int), np.arange(4), np.arange(5.0)):
        with pytest.raises(ValueError, match="at least two groups"):
            read_classes(target, images, labels, {"bad": group})
    with memory_limit(target, copy_bytes(target)):
        again = read_classes(target, images, labels, groups)
    assert np.array_equal(again.rank, found.rank)


def test_chance_levels():
    assert chance(10) == pytest.approx(0.55) and chance(24) == pytest.approx(0.5 + 1 / 48)
    assert chance(10, "full") == 0.5
    assert chance_of_one(0.1, 64) == pytest.approx(0.9988, abs=1e-4)
    drawn = np.random.default_rng(0).random((20_000, 5)) < 0.2
    assert drawn.any(1).mean() == pytest.approx(chance_of_one(0.2, 5), abs=0.011)  # 3 s.e.


def test_means_of_images_leave_out_those_without_a_token():
    values = np.arange(12.0).reshape(2, 2, 3)
    where = np.array([[True, False, True], [False, False, False]])
    found = by_image(values, where)
    assert found[:, 0].tolist() == [1, 7] and np.isnan(found[:, 1]).all()


def test_a_difference_between_places_is_none_within_rings():
    """A value that depends on the distance alone differs between the kinds, but not within rings;
    what is planted on the kind itself is found in both."""
    rng = np.random.default_rng(1)
    rings = np.repeat([0, 1, 2], [4, 6, 6])
    own = rng.random((30, 16)) < np.array([0.9, 0.5, 0.1])[rings]
    place = np.tile(1.0 - rings / 2, (2, 30, 1))
    assert np.nanmean(difference(place, own)) > 0.3
    np.testing.assert_allclose(np.nan_to_num(within_rings(place, own, rings)), 0, atol=1e-15)
    planted = place + 0.25 * own
    np.testing.assert_allclose(np.nanmean(within_rings(planted, own, rings), 1), 0.25)


def test_within_rings_is_the_weighted_mean_of_its_rings():
    rng = np.random.default_rng(2)
    values, own, rings = rng.random((1, 5, 9)), rng.random((5, 9)) < 0.5, np.arange(9) % 3
    found = within_rings(values, own, rings)
    for image in range(5):
        rows = []
        for ring in range(3):
            first = [values[0, image, token] for token in range(9)
                     if rings[token] == ring and own[image, token]]
            second = [values[0, image, token] for token in range(9)
                      if rings[token] == ring and not own[image, token]]
            if first and second:
                weight = len(first) * len(second) / (len(first) + len(second))
                rows.append((weight, sum(first) / len(first) - sum(second) / len(second)))
        total = sum(weight for weight, _ in rows)
        wanted = sum(weight * gap for weight, gap in rows) / total if rows else np.nan
        np.testing.assert_allclose(found[0, image], wanted, rtol=1e-12)


def test_kinds_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="truth values"):
        difference(np.zeros((2, 3, 4)), np.ones((3, 5), bool))
    with pytest.raises(ValueError, match="published, corrected"):
        difference(np.zeros((2, 3, 4)), np.ones((3, 4), bool), "written")
