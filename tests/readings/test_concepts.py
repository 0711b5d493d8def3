"""Concepts of images, and which of them a patch token shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.shape_pairs import shape_pairs
from neuronpath_core.images.shapes import load_shapes, render
from neuronpath_core.readings.concepts import concepts, foreground, positions
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.readings.token_labels import (
    APART,
    BACKGROUND,
    BAND,
    FILL,
    class_tokens,
    regions,
)
from tests import helpers

DATA = {"name": "shapes", "train_images": 100, "held_out_images": 100, "difficulty": 0.3}


@pytest.fixture(scope="module")
def scenes():
    return load_shapes("held_out", 96, 0, 0.3)


def test_concepts_are_what_was_drawn(scenes):
    found = concepts(scenes)
    assert len(found.names) == len(set(found.names)) == 28
    assert {kind: found.kinds.count(kind) for kind in found.kinds} == {
        "part": 4, "outline": 6, "fill": 4, "colour": 8, "background": 3, "tone": 3}
    for index in range(len(scenes)):
        scene = render("held_out", index, 0, 0.3)
        kind, _, tone = scene.attributes["background"].partition(" ")
        there = {scene.attributes["outline"], scene.attributes["fill"], scene.attributes["colour"],
                 kind, tone}
        for name, of, mask in zip(found.names, found.kinds, found.masks, strict=True):
            whole = {"outline": "object", "colour": "colour", "fill": "fill"}
            drawn = (scene.masks[whole[of]] if of in whole else ~scene.masks["object"])
            if of != "part":
                assert np.array_equal(mask[index], drawn & (name in there)), (index, name)
    band, fill = found.mask("outline band"), found.mask("fill area")
    assert np.array_equal(band | fill, found.mask("object")) and not (band & fill).any()
    assert np.array_equal(found.present, found.masks.any((2, 3)))
    with pytest.raises(ValueError, match="unknown concept"):
        found.mask("hexagon")


def test_a_scene_without_its_object_has_the_background_alone():
    found = concepts(shape_pairs(DATA, [3, 4], "object"))
    kinds = np.array(found.kinds)
    assert not found.present[np.isin(kinds, ["part", "outline", "fill", "colour"])].any()
    assert (found.present[kinds == "tone"].sum(0) == 1).all()


def test_the_ink_of_digits_is_darker_than_mid_grey():
    digits = load_part({"name": "digits", "image_size": 16, "train_images": 400, "split_seed": 0},
                       "held_out").select(torch.arange(20))
    found = concepts(digits)
    assert found.names == ("ink",) and found.mask("ink").shape == (20, 16, 16)
    # the scans are half as large: ink lies where they are dark
    dark = (digits.pixels < 128).repeat(2, 1).repeat(2, 2)
    assert (found.mask("ink") == dark).mean() > 0.85
    assert np.array_equal(foreground(digits), found.mask("ink"))


def test_images_that_do_not_say_what_they_show_are_refused(scenes):
    bare = replace(scenes, masks=None, captions=None)
    for function in (concepts, foreground):
        with pytest.raises(ValueError, match="accepted:"):
            function(bare)


def test_positions_are_the_same_in_every_image(scenes):
    found = positions(scenes)
    assert found.names[-1] == "border ring" and set(found.kinds) == {"position"}
    assert (found.masks == found.masks[:, :1]).all()
    assert (found.masks[:-1].sum(0) == 1).all()  # nine cells, each pixel in one
    assert found.masks[-1][0, 0].all() and not found.masks[-1][0, 16, 16]


def test_kinds_of_tokens_by_hand():
    target = npc.TargetModel(helpers.small_vit())
    grid = grid_of(target, torch.zeros(1, 3, 8, 8, dtype=torch.float64))
    mask = np.zeros((1, 8, 8), bool)
    mask[0, :4, :4] = True      # patch 0: whole
    mask[0, :4, 6:] = True      # patch 1: right half
    mask[0, 4, 0] = True        # patch 2: its corner alone
    assert class_tokens(grid, mask).tolist() == [[True, True, False, False]]
    assert class_tokens(grid, mask, "published").tolist() == [[True, False, True, False]]
    band, fill = np.zeros((2, 1, 8, 8), bool)
    band[0, :4, 0], fill[0, :4, 1:4] = True, True      # patch 0: a quarter band, the rest fill
    band[0, :2, 4:], fill[0, 2:3, 4:] = True, True     # patch 1: more band than fill
    band[0, 4, 0:3] = True                             # patch 2: too little of either
    found = regions(grid, {"outline": band, "fill": fill})
    assert found.tolist() == [[FILL, BAND, APART, BACKGROUND]]
    with pytest.raises(ValueError, match="published, corrected"):
        class_tokens(grid, mask, "nearest")
    with pytest.raises(ValueError, match="no mask fill"):
        regions(grid, {"outline": band})
