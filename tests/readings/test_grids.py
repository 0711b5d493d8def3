"""Token geometry: what a token covers, where it lies, and where its value is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.readings.grids import as_image, corners, coverage, grid_of
from neuronpath_core.readings.streams import read_streams
from tests import helpers


def grid(size=(8, 8), **overrides):
    model = helpers.small_vit(dynamic_img_size=size != (8, 8), **overrides)
    return grid_of(npc.TargetModel(model), torch.zeros(1, 3, *size, dtype=torch.float64))


@pytest.mark.parametrize("overrides", [{}, {"reg_tokens": 2},
                                       {"global_pool": "avg", "class_token": False}])
def test_the_token_that_a_changed_patch_changes_is_the_one_that_the_grid_names(overrides):
    """By the embedding, so that a shift of every map by a token would be seen."""
    target = npc.TargetModel(helpers.small_vit(**overrides))
    images, _ = helpers.small_batch(1)
    own = grid_of(target, images)
    for patch, (down, across) in enumerate(own.centres().astype(int)):
        changed = images.clone()
        changed[:, :, down, across] += 1
        moved = (read_streams(target, changed).embedded - read_streams(target, images).embedded)
        assert moved[0].abs().sum(-1).nonzero()[:, 0].tolist() == [own.prefix + patch]
        assert own.tokens.start + patch == own.prefix + patch


def test_coverage_is_the_share_of_pixels_on_a_rectangular_grid():
    own = grid((8, 12))
    assert (own.rows, own.columns, own.patches) == (2, 3, 6)
    masks = np.random.default_rng(0).random((4, 8, 12)) < 0.4
    slow = [[masks[image, 4 * row:4 * row + 4, 4 * column:4 * column + 4].mean()
             for row in range(2) for column in range(3)] for image in range(4)]
    np.testing.assert_allclose(coverage(own, masks), slow, rtol=0, atol=1e-15)
    first = [[masks[image, 4 * row, 4 * column] for row in range(2) for column in range(3)]
             for image in range(4)]
    assert corners(own, masks).tolist() == first


def test_what_a_patch_has_beyond_the_edge_is_outside():
    own = grid((6, 8), dynamic_img_pad=True)
    assert (own.rows, own.columns) == (2, 2)
    assert coverage(own, np.ones((1, 6, 8), bool)).tolist() == [[1, 1, 0.5, 0.5]]


@pytest.mark.parametrize("size", [(8, 12), (12, 8)])
def test_a_map_of_one_patch_is_a_bump_in_the_middle_of_that_patch(size):
    own = grid(size)
    for patch, middle in enumerate(own.centres()):
        values = torch.zeros(own.patches, dtype=torch.float64)
        values[patch] = 1
        drawn = as_image(own, values)
        assert drawn.shape == size
        peak = torch.nonzero(drawn == drawn.max()).double().mean(0) + 0.5
        # at the border the bump is a plateau up to the edge, on both sides of the middle or not
        assert (abs(peak.numpy() - middle) <= own.height / 2).all()
        assert drawn[int(middle[0]), int(middle[1])] > 0.7
    torch.testing.assert_close(as_image(own, torch.ones(2, own.patches)), torch.ones(2, *size))


def test_rings_share_a_distance():
    own = grid((12, 12))
    assert own.rings().tolist() == [2, 1, 2, 1, 0, 1, 2, 1, 2]
    assert own.from_middle()[4] == 0


def test_masks_and_maps_of_another_size_are_refused():
    own = grid()
    for masks in (np.ones((1, 16, 16), bool), np.ones((1, 8, 8)), None):
        with pytest.raises(ValueError, match=r"truth values \(image, 8, 8\)"):
            coverage(own, masks)
    with pytest.raises(ValueError, match="without the 1 tokens before them"):
        as_image(own, torch.zeros(5))
