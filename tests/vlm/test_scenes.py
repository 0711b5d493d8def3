"""Composed scenes: seeds, pixels against attributes and masks, held-out pairs, one thing changed."""

import hashlib

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.stats import chisquare

from neuronpath_core.images.drawing import FILLS, OUTLINES
from neuronpath_core.images.shapes import BACKGROUNDS, COLOURS, TONES
from neuronpath_core.vlm.concepts import concept_coverage, scene_concepts
from neuronpath_core.vlm.scenes import (
    CELL,
    CELLS,
    GROUNDS,
    HELD_OUT_PAIRS,
    MASKS,
    REACH,
    TURN,
    compose,
    compose_many,
)
from tests.helpers import refused

TRAIN, HELD = compose_many("train", 240), compose_many("held_out", 240)
# of 24 scenes of each part with their masks: the weights were trained on these very pictures
PRESENT = "45c5b6ffbe332a8f01a526ee96645200e7d62c61254363e628b65547d93c078c"


def quarter(image, cell):
    down, across = divmod(CELLS.index(cell), 2)
    return image[CELL * down:CELL * (down + 1), CELL * across:CELL * (across + 1)]


def test_pictures_have_not_changed_by_a_bit():
    digest = hashlib.sha256()
    for scene in [*TRAIN[:24], *HELD[:24]]:
        for array in (scene.pixels, *(scene.masks[name] for name in MASKS)):
            digest.update(array.tobytes())
        digest.update(f"{scene.things} {scene.ground}".encode())
    assert digest.hexdigest() == PRESENT


def test_a_scene_is_its_seed_part_and_index_alone():
    again = compose("train", 7)
    np.testing.assert_array_equal(again.pixels, TRAIN[7].pixels)
    assert again.things == TRAIN[7].things
    assert not np.array_equal(again.pixels, compose("held_out", 7).pixels)
    assert not np.array_equal(again.pixels, compose("train", 7, seed=1).pixels)


def test_objects_lie_in_their_own_quarters_and_have_different_outlines():
    for scene in TRAIN:
        cells = [CELLS.index(thing.cell) for thing in scene.things]
        assert cells == sorted(set(cells)) and 1 <= len(cells) <= 3
        assert len({thing.outline for thing in scene.things}) == len(scene.things)
        for number, thing in enumerate(scene.things):
            mask = scene.masks["object"][number]
            assert mask.sum() == quarter(mask, thing.cell).sum() > 60


@pytest.mark.parametrize("outline", OUTLINES)
def test_no_outline_reaches_out_of_its_quarter(outline):
    """The largest one at the largest shift: whatever is beyond the reach is outside the edge."""
    steps = np.linspace(-1.2, 1.2, 481)
    for turn in np.linspace(-TURN, TURN, 25):
        x, y = np.meshgrid(steps, steps)
        beyond = np.maximum(abs(x), abs(y)) > REACH
        x, y = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
        assert (OUTLINES[outline](x, y)[beyond] > 0).all()


def test_masks_divide_the_object():
    for scene in HELD:
        whole, band, fill, painted = (scene.masks[name] for name in MASKS)
        np.testing.assert_array_equal(whole, band | fill)
        assert not (band & fill).any()
        for number, thing in enumerate(scene.things):
            share = painted[number][fill[number]].mean()
            assert {"solid": share == 1, "hollow": share < 0.15, "striped": 0.2 < share < 0.8,
                    "dotted": 0.1 < share < 0.75}[thing.fill], (thing, share)


def test_painted_pixels_have_the_colour_that_is_said():
    """Fading moves paint along the line to the grey behind: with the tone known, the line to each
    colour tells them apart, but for a few thin bands that lie on edges alone."""
    found = []
    for scene in HELD:
        tone = TONES[scene.ground[1]]
        for number, thing in enumerate(scene.things):
            inner = scene.masks["colour"][number] & ~binary_dilation(~scene.masks["colour"][number])
            if inner.sum() < 20:
                inner = scene.masks["colour"][number]
            mean = scene.pixels[inner].mean(0) / 255 - tone
            lines = {name: np.array(value) - tone for name, value in COLOURS.items()}
            error = {name: min(np.linalg.norm(mean - share * line) for share in
                               np.linspace(0.6, 1, 9)) for name, line in lines.items()}
            found.append(min(error, key=error.get) == thing.colour)
    assert np.mean(found) > 0.97


def test_the_background_has_the_tone_and_the_kind_that_are_said():
    for scene in HELD:
        outside = ~binary_dilation(scene.masks["object"].any(0), iterations=2)
        grey = scene.pixels.mean(2)
        light = grey[outside].mean() / 255
        nearest = min(TONES, key=lambda tone: abs(TONES[tone] - light))
        assert nearest == scene.ground[1]
        if scene.ground[1] == "grey":  # others are cut off at black and white
            sides = [grey[half][outside[half]].mean() for half in (
                np.s_[:32], np.s_[32:], np.s_[:, :32], np.s_[:, 32:])]
            sloped = max(abs(sides[0] - sides[1]), abs(sides[2] - sides[3])) / 255 > 0.06
            assert sloped == (scene.ground[0] == "graded")
            local = np.abs(np.diff(grey, axis=1))[outside[:, 1:] & outside[:, :-1]].mean() / 255
            assert (local > 0.022) == (scene.ground[0] == "noisy"), (scene.ground, local)


@pytest.mark.parametrize(("of", "values"), [
    ("outline", OUTLINES), ("fill", FILLS), ("cell", CELLS)])
def test_attributes_are_drawn_evenly(of, values):
    counts = [sum(getattr(thing, of) == value for scene in TRAIN + HELD for thing in scene.things)
              for value in values]
    assert chisquare(counts).pvalue > 0.001


def test_colours_numbers_and_backgrounds_are_drawn_evenly():
    for counts in (
            [sum(thing.colour == value for scene in HELD for thing in scene.things)
             for value in COLOURS],
            [sum(len(scene.things) == number for scene in HELD) for number in (1, 2, 3)],
            [sum(" ".join(scene.ground) == value for scene in TRAIN + HELD) for value in GROUNDS]):
        assert chisquare(counts).pvalue > 0.001


def test_held_out_pairs_are_in_no_training_scene_and_in_held_out_ones():
    def pairs(scenes):
        return [(thing.colour, thing.outline) for scene in scenes for thing in scene.things]

    assert not set(pairs(TRAIN)) & set(HELD_OUT_PAIRS)
    assert {pair for pair in pairs(HELD) if pair in HELD_OUT_PAIRS} == set(HELD_OUT_PAIRS)
    # the parts are met, only never together
    assert {colour for colour, _ in pairs(TRAIN)} == set(COLOURS)
    assert {outline for _, outline in pairs(TRAIN)} == set(OUTLINES)


# --- one thing changed ---


def changed(scene, change):
    return compose(scene.part, scene.index, scene.seed, change)


def test_a_change_touches_its_object_alone():
    scene = next(scene for scene in HELD if len(scene.things) == 3)
    cell = scene.things[1].cell
    other = next(name for name in COLOURS if name != scene.things[1].colour)
    after = changed(scene, {cell: {"colour": other}})
    differs = (after.pixels != scene.pixels).any(2)
    assert differs.any() and not (differs & ~binary_dilation(scene.masks["colour"][1])).any()
    assert after.things[1].colour == other and after.things[0] == scene.things[0]
    np.testing.assert_array_equal(after.masks["object"], scene.masks["object"])
    without = changed(scene, {cell: None})
    differs = (without.pixels != scene.pixels).any(2)
    assert differs.any() and not (differs & ~binary_dilation(scene.masks["object"][1])).any()
    assert without.things == (scene.things[0], scene.things[2])
    assert len(without.masks["fill"]) == 2


def test_an_empty_change_changes_nothing_and_a_background_moves_no_mask():
    scene = next(scene for scene in HELD if any(thing.fill == "solid" for thing in scene.things))
    np.testing.assert_array_equal(changed(scene, {}).pixels, scene.pixels)
    ground = next(name for name in GROUNDS if name != " ".join(scene.ground))
    after = changed(scene, {"background": ground})
    assert " ".join(after.ground) == ground
    np.testing.assert_array_equal(after.masks["colour"], scene.masks["colour"])
    full = next(number for number, thing in enumerate(scene.things) if thing.fill == "solid")
    inner = ~binary_dilation(~scene.masks["object"][full], iterations=2)
    assert inner.sum() > 30
    np.testing.assert_array_equal(after.pixels[inner], scene.pixels[inner])


# --- concepts ---


def test_concepts_are_where_masks_are():
    scenes = HELD[:40]
    found = scene_concepts(scenes)
    assert len(found.names) == len(set(found.names)) == 28
    assert set(found.names[4:]) == {*OUTLINES, *FILLS, *COLOURS, *BACKGROUNDS, *TONES}
    for place, scene in enumerate(scenes):
        for number, thing in enumerate(scene.things):
            own = scene.masks["object"][number]
            np.testing.assert_array_equal(found.mask(thing.outline)[place], own)
            assert not (scene.masks["colour"][number] & ~found.mask(thing.colour)[place]).any()
        outside = ~scene.masks["object"].any(0)
        np.testing.assert_array_equal(found.mask(scene.ground[1])[place], outside)
        absent = set(OUTLINES) - {thing.outline for thing in scene.things}
        assert not any(found.mask(name)[place].any() for name in absent)


def test_coverage_is_the_share_of_each_patch():
    scenes = HELD[:6]
    found, masks = concept_coverage(scenes), scene_concepts(scenes).masks
    assert found.shape == (6, 28, 64)
    for scene, concept, patch in ((0, 0, 9), (3, 2, 18), (5, 27, 63), (2, 24, 30)):
        rows, columns = 8 * (patch // 8), 8 * (patch % 8)
        slow = sum(masks[concept, scene, rows + down, columns + across]
                   for down in range(8) for across in range(8)) / 64
        assert found[scene, concept, patch] == slow


@pytest.mark.parametrize(("given", "words"), [
    ({"part": "test"}, "unknown part 'test'; accepted: train, held_out"),
    ({"index": -1}, "index cannot be -1; accepted: a whole number of at least 0"),
    ({"seed": True}, "seed cannot be True; accepted: a whole number of at least 0"),
    ({"change": {"nowhere": None}}, "accepted: a mapping from background, "),
    ({"change": {"background": "red"}}, "background cannot become 'red'; accepted: plain dark grey"),
    ({"change": 3}, "change cannot be 3; accepted: a mapping"),
])
def test_bad_input_is_refused_in_one_line(given, words):
    refused(lambda: compose(**{"part": "train", "index": 0, **given}), words)


def test_bad_changes_of_an_object_are_refused_in_one_line():
    scene = next(scene for scene in HELD if len(scene.things) == 2)
    one, two = scene.things
    for change, words in (
            ({one.cell: "red"}, "cannot become 'red'; accepted: a mapping from outline, fill"),
            ({one.cell: {"colour": "mauve"}}, "colour cannot become 'mauve'; accepted: red, "),
            ({one.cell: {"outline": two.outline}}, "accepted: outlines that differ")):
        refused(lambda change=change: changed(scene, change), words)
    refused(lambda: scene_concepts([]), "no scenes; accepted: at least one")
    refused(lambda: concept_coverage([scene], 7), "patch cannot be 7; accepted: a divisor of 64")
