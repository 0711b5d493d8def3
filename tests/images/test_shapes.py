"""Rendered scenes: what a picture shows is what its class, masks and caption say."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation
from scipy.ndimage import label as connected

from neuronpath_core.images import shapes
from neuronpath_core.images.shapes import load_shapes

RECORDED = ("an orange dotted star on a graded dark grey background",
            [0, 0, 10, 17, 0, 0, 0, 0, 1, 15, 14, 30, 12, 9, 23, 13, 15, 12, 28, 23, 6, 28, 30, 35,
             37, 17, 25, 109, 63, 16, 188, 121, 8, 36, 36, 44, 25, 32,
             39, 30, 47, 46, 47, 33, 53, 30, 37, 54])
EASY = [shapes.render("train", index, difficulty=0.0) for index in range(96)]
MIDDLE = [shapes.render("train", index, difficulty=0.4) for index in range(96)]


def words(scene):
    """Colour, fill, outline and the two words of the background, from the caption."""
    front, back = scene.caption.split(" on a ")
    _, colour, fill, outline = front.split(" ")
    kind, tone = back.removesuffix(" background").split(" ", 1)
    return colour, fill, outline, kind, tone


# --- seeds ---


def test_a_scene_depends_on_its_own_numbers_only():
    again = shapes.render("train", 37, difficulty=0.4)
    np.testing.assert_array_equal(again.pixels, MIDDLE[37].pixels)
    assert again.caption == MIDDLE[37].caption
    few, many = load_shapes("train", 24, 0, 0.4), load_shapes("train", 60, 0, 0.4)
    assert few.sha256() == many.select(list(range(24))).sha256()
    np.testing.assert_array_equal(many.pixels[37], MIDDLE[37].pixels)


def test_seed_part_and_index_each_make_another_scene():
    pictures = [shapes.render(part, index, seed).pixels.tobytes() for part in shapes.PARTS
                for index in (0, 24, 48) for seed in (0, 1)]
    assert len(set(pictures)) == 12


def test_train_and_held_out_have_no_scene_in_common():
    train, held_out = ({scene.tobytes() for scene in load_shapes(part, 240, 0, 0.2).pixels}
                       for part in shapes.PARTS)
    assert len(train) == len(held_out) == 240
    assert not train & held_out


def test_a_recorded_scene():
    """The weights were trained on these very pictures."""
    scene = shapes.render("held_out", 15, seed=0, difficulty=0.3)
    assert scene.caption == RECORDED[0]
    assert scene.pixels[::8, ::8].reshape(-1).tolist() == RECORDED[1]


# --- classes ---


def test_classes_are_all_pairs_of_an_outline_and_a_fill():
    assert len(set(shapes.CLASS_NAMES)) == 24
    assert {name: tuple(set(values)) and len(set(values)) for name,
            values in shapes.TAXONOMY.items()} == {"outline": 6, "fill": 4}
    for name, outline, fill in zip(shapes.CLASS_NAMES, shapes.TAXONOMY["outline"],
                                   shapes.TAXONOMY["fill"], strict=True):
        assert name == f"{fill} {outline}"


@pytest.mark.parametrize("count", [24, 48, 61])
def test_classes_are_balanced(count):
    share = torch.bincount(load_shapes("held_out", count).labels, minlength=24)
    assert share.max() - share.min() <= 1
    assert share.sum() == count


def test_nuisance_does_not_tell_the_class():
    """Every colour, kind and tone of background occurs, and none is tied to an outline or a fill.
    """
    scenes = [words(shapes.render("train", index)) for index in range(480)]
    for place, values in ((0, shapes.COLOURS), (3, shapes.BACKGROUNDS), (4, shapes.TONES)):
        assert {scene[place] for scene in scenes} == set(values)
        for axis, groups in ((1, 4), (2, 6)):
            pairs = {(scene[axis], scene[place]) for scene in scenes}
            assert len(pairs) == groups * len(values)


# --- masks and captions against the pixels ---


def test_captions_name_class_and_colour():
    for scene in MIDDLE:
        colour, fill, outline, _, _ = words(scene)
        assert f"{fill} {outline}" == shapes.CLASS_NAMES[scene.label]
        assert scene.caption.startswith("an " if colour == "orange" else "a ")
        assert colour in shapes.COLOURS


def test_the_painted_pixels_have_the_colour_of_the_caption():
    for scene in EASY:
        colour, _, _, kind, tone = words(scene)
        near = {name: np.abs(np.array(value) - np.median(scene.pixels[scene.masks["colour"]],
                                                         axis=0) / 255).sum() for name,
                value in shapes.COLOURS.items()}
        assert min(near, key=near.get) == colour
        if kind == "plain":
            light = np.median(scene.pixels[~scene.masks["object"]]) / 255
            assert min(shapes.TONES, key=lambda name: abs(shapes.TONES[name] - light)) == tone


@pytest.mark.parametrize("scenes", [EASY, MIDDLE], ids=["easy", "middle"])
def test_masks_lie_within_the_object(scenes):
    for scene in scenes:
        whole, outline, fill, colour = (scene.masks[name] for name in shapes.MASKS)
        assert whole.dtype == bool and whole.shape == (32, 32)
        np.testing.assert_array_equal(outline | fill, whole)
        assert not (outline & fill).any()
        assert not (colour & ~whole).any()
        # the band is painted, whatever the fill
        assert (colour & outline).sum() >= 0.95 * outline.sum()
        assert connected(whole, np.ones((3, 3)))[1] == 1
        assert 60 < whole.sum() < 600 and outline.sum() > 30 and fill.sum() > 15


def test_the_fill_mask_shows_the_fill():
    """Painted share of the inside: all of a solid object, nothing of a hollow one, about half of a
    striped one, a third of a dotted one."""
    shares = {fill: [] for fill in shapes.FILLS}
    for scene in EASY + MIDDLE:
        inside = scene.masks["fill"]
        shares[words(scene)[1]].append((scene.masks["colour"] & inside).sum() / inside.sum())
    assert min(shares["solid"]) == 1 and max(shares["hollow"]) < 0.15
    assert 0.4 < np.mean(shares["striped"]) < 0.65
    assert 0.15 < np.mean(shares["dotted"]) < 0.4


def test_outlines_differ_in_area_and_reach():
    """Area of the object over the area of the circle around its middle: what tells the six outlines
    apart whatever the fill."""
    filled = {}
    for scene in EASY:
        rows, columns = np.nonzero(scene.masks["object"])
        reach = np.hypot(rows - rows.mean(), columns - columns.mean()).max()
        filled.setdefault(words(scene)[2], []).append(len(rows) / (np.pi * reach**2))
    means = {name: np.mean(values) for name, values in filled.items()}
    assert sorted(means, key=means.get) == ["crescent", "triangle", "star", "square", "cross",
                                            "circle"]
    for low, high in (("triangle", "star"), ("star", "square"), ("cross", "circle")):
        assert max(filled[low]) <= min(filled[high]) + 0.01


def test_painted_pixels_differ_from_the_background():
    for scene in MIDDLE:
        ground = np.median(scene.pixels[~scene.masks["object"]], axis=0)
        painted = np.median(scene.pixels[scene.masks["colour"]], axis=0)
        assert np.abs(painted - ground).max() > 25


def test_an_easy_scene_is_paint_on_a_background():
    """No noise, no distractor, no turn: outside the object a plain background is one colour, inside
    a solid object too."""
    seen = 0
    for scene in EASY:
        _, fill, _, kind, _ = words(scene)
        if kind == "plain":
            clear = ~binary_dilation(scene.masks["object"], iterations=2)
            _, counts = np.unique(scene.pixels[clear], axis=0, return_counts=True)
            assert counts.max() >= counts.sum() - 3  # but for the very tip of a star
            seen += 1
    assert seen > 20


# --- difficulty ---


def test_difficulty_leaves_the_draws_and_changes_what_it_says():
    def sizes(scenes):
        return [scene.masks["object"].sum() for scene in scenes]

    def middle(scene):
        return np.mean(np.nonzero(scene.masks["object"]), axis=1)

    def contrast(scene):
        ground = np.median(scene.pixels[~scene.masks["object"]], axis=0)
        return np.abs(np.median(scene.pixels[scene.masks["colour"]], axis=0) - ground).max()

    hard = [shapes.render("train", index, difficulty=1.0) for index in range(96)]
    assert [scene.caption for scene in hard] == [scene.caption for scene in EASY]
    assert all(small <= 1.05 * large for small, large in zip(sizes(hard), sizes(EASY), strict=True))
    assert np.mean(sizes(hard)) < 0.7 * np.mean(sizes(EASY))
    assert np.mean([contrast(scene) for scene in hard]) < 0.8 * np.mean(
        [contrast(scene) for scene in EASY])
    spread = [np.std([middle(scene) for scene in scenes if words(scene)[2] == "circle"],
                     axis=0).max() for scenes in (EASY, MIDDLE, hard)]
    assert spread[0] < 0.3 < spread[1] < spread[2]
    # noise: neighbouring pixels of the same solid object
    rough = [np.mean([np.abs(np.diff(scene.pixels[14:19, 14:19].astype(float), axis=1)).mean()
                      for scene in scenes if words(scene)[1:3] == ("solid", "circle")])
             for scenes in (EASY, MIDDLE, hard)]
    assert rough[0] < 1 < rough[1] < rough[2]


@pytest.mark.parametrize(("difficulty", "expected"), [(0.0, 0), (1.0, 6)])
def test_distractors(difficulty, expected, monkeypatch):
    painted, paint = [], shapes.paint
    monkeypatch.setattr(shapes, "paint", lambda *arguments: painted.append(1) or paint(*arguments))
    shapes.render("train", 3, difficulty=difficulty)
    assert len(painted) == expected + 1  # and the object


# --- bad input ---


@pytest.mark.parametrize(("arguments", "message"), [
    (("test", 0), "unknown part 'test'; accepted: train, held_out"),
    (("train", -1), "index cannot be -1; accepted: a whole number"),
    (("train", 1.0), "index cannot be 1.0"),
    (("train", 0, -3), "seed cannot be -3; accepted: a whole number"),
    (("train", 0, True), "seed cannot be True"),
    (("train", 0, 0, 1.01), "difficulty cannot be 1.01; accepted: a number from 0 to 1"),
    (("train", 0, 0, -0.1), "difficulty cannot be -0.1"),
    (("train", 0, 0, "hard"), "difficulty cannot be 'hard'"),
    (("train", 0, 0, float("nan")), "difficulty cannot be nan"),
], ids=str)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        shapes.render(*arguments)
