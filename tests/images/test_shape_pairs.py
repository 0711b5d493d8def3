"""Counterfactual pairs of scenes: one thing changed, everything else the same numbers."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation
from scipy.stats import chisquare

from neuronpath_core.images import shape_pairs as pairing
from neuronpath_core.images import shapes
from neuronpath_core.images.digits import load_digits
from neuronpath_core.images.shape_pairs import (
    CHANGES,
    may_differ,
    other_value,
    pairs_for,
    shape_pairs,
)
from neuronpath_core.images.shapes import load_shapes
from tests.helpers import refused
from tests.images.test_shapes import words

DATASET = {"name": "shapes", "train_images": 60, "held_out_images": 72, "seed": 0,
           "difficulty": 0.15}
HELD_OUT = load_shapes("held_out", 72, 0, 0.15)
EVERY_CLASS = list(range(24))
OF_PAINT = ("object", "outline", "fill")  # changes of where paint is
# digests of 48 scenes each, with masks and words, taken before scenes could be changed: the weights
# were trained on these very pictures
PRESENT = {
    ("train", 0, 0.15): "1967cd405f7644755a4a98eb507f2b00d3eb16704fe046ca0e77bd7d86a48933",
    ("held_out", 0, 0.15): "f25ab98c2ea4d04e238f51a5e8d483035447afb26e3a3f8c73e733597bb63c41",
    ("held_out", 7, 1.0): "61da4edcf777fe5ec42f23b629cf0bd779b2181a390ba209aa02ff7ed399b333",
    ("train", 3, 0.0): "01f119605cf3eed02a548d22d9ae6b31d7bf369ef759a9056b5ef2a19ebfed97",
}
SET_DIGEST = "3015de111889981fb2143635e27474732eb2902698ee2ffe31fa74691e4aad7a"


def at(difficulty):
    return {**DATASET, "difficulty": difficulty}


# --- the pictures that there were ---


@pytest.mark.parametrize("scenes", PRESENT, ids=str)
def test_the_present_pictures_have_not_changed_by_a_bit(scenes):
    digest = hashlib.sha256()
    for index in range(48):
        scene = shapes.render(scenes[0], index, *scenes[1:])
        for array in (scene.pixels, *(scene.masks[name] for name in shapes.MASKS)):
            digest.update(array.tobytes())
        digest.update(f"{scene.label} {scene.caption}".encode())
    assert digest.hexdigest() == PRESENT[scenes]


def test_the_present_set_has_not_changed_by_a_bit():
    assert load_shapes("held_out", 48, 0, 0.3).sha256() == SET_DIGEST


def test_attributes_are_those_of_the_caption():
    for index in range(48):
        scene = shapes.render("train", index)
        colour, fill, outline, kind, tone = words(scene)
        assert scene.attributes == {"outline": outline, "fill": fill, "colour": colour,
                                    "background": f"{kind} {tone}"}


def test_a_change_to_what_is_there_changes_nothing():
    for index in EVERY_CLASS:
        scene = shapes.render("train", index, 0, 0.6)
        again = shapes.render("train", index, 0, 0.6, change=scene.attributes)
        assert again.caption == scene.caption and again.label == scene.label
        np.testing.assert_array_equal(again.pixels, scene.pixels)
        np.testing.assert_array_equal(again.painted, scene.painted)


# --- a pair against the generator, told to draw something else ---


class Told:
    """A generator of random numbers of which some of the twenty of a scene are set."""

    def __init__(self, key, told):
        self.rng, self.told = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))), told

    def random(self, size):
        numbers = self.rng.random(size)
        if size == 20:
            for place, value in self.told.items():
                numbers[place] = value
        return numbers

    def standard_normal(self, size):
        return self.rng.standard_normal(size)


def told_to_draw(monkeypatch, part, index, difficulty, change, value):
    """The scene by the unchanged ``render``: the number that decides is set, or what it decides
    on."""
    own = np.random.default_rng([0, shapes.PARTS.index(part), index]).random(20)
    told = {}
    with monkeypatch.context() as patch:
        if change == "colour":
            told[0] = (list(shapes.COLOURS).index(value) + 0.5) / 8
        if change == "background":
            kind, tone = value.split(" ", 1)
            told[1] = (list(shapes.TONES).index(tone) + 0.5) / 3
            told[2] = (shapes.BACKGROUNDS.index(kind) + 0.5) / 3
            level = list(shapes.TONES.values())[int(3 * own[1])] + 0.08 * (own[3] - 0.5)
            paint = shapes.paint
            patch.setattr(shapes, "paint", lambda image, share, colour, contrast, _level:
                          paint(image, share, colour, contrast, level))
        if change in ("outline", "fill"):
            patch.setitem(shapes.TAXONOMY, change, (value,) * 24)
        if change == "object":
            patch.setitem(shapes.OUTLINES, shapes.TAXONOMY["outline"][index % 24],
                          lambda x, _y: np.full_like(x, np.inf))
        patch.setattr(shapes.np.random, "default_rng", lambda key: Told(key, told))
        return shapes.render(part, index, 0, difficulty)


def drawn_values(pairs, change):
    return [caption.rsplit(" to ", 1)[1] if change != "object" else None
            for caption in pairs.captions]


def check_against_generator(monkeypatch, difficulty, change, indices):
    pairs = shape_pairs(at(difficulty), indices, change, seed=3)
    for place, (index, value) in enumerate(zip(indices, drawn_values(pairs, change), strict=True)):
        twin = told_to_draw(monkeypatch, "held_out", index, difficulty, change, value)
        np.testing.assert_array_equal(pairs.pixels[place], twin.pixels)
        for name in shapes.MASKS:
            np.testing.assert_array_equal(pairs.masks[name][place], twin.masks[name])
        if change != "object":
            assert pairs.captions[place].startswith(f"{twin.caption}, {change} changed from ")
            assert f"{words(twin)[1]} {words(twin)[2]}" == shapes.CLASS_NAMES[pairs.labels[place]]


@pytest.mark.parametrize("difficulty", [0.15, 1.0])
@pytest.mark.parametrize("change", CHANGES)
def test_a_pair_is_what_the_generator_would_have_drawn(monkeypatch, change, difficulty):
    check_against_generator(monkeypatch, difficulty, change, EVERY_CLASS)


# --- a pair against its original ---


def check_nothing_else_moved(difficulty, change, indices):
    """Outside the mask bit for bit the same; the mask no larger than old and new object."""
    originals = [shapes.render("held_out", index, 0, difficulty) for index in indices]
    pairs = shape_pairs(at(difficulty), indices, change, seed=5)
    for place, scene in enumerate(originals):
        changed = pairs.masks["changed"][place]
        moved = (pairs.pixels[place] != scene.pixels).any(-1)
        assert not (moved & ~changed).any()
        assert (pairs.images[place] != torch.from_numpy(scene.pixels).permute(2, 0, 1).double()
                / 127.5 - 1).any(0).numpy().sum() == moved.sum() > 0
        if change != "background":
            # an edge reaches half a pixel beyond the mask, the tip of a star a pixel further
            near = binary_dilation(scene.masks["object"] | pairs.masks["object"][place],
                                   np.ones((3, 3)), iterations=2)
            assert not (changed & ~near).any()
        if change == "fill":  # the band is painted before and after
            band = shapes.render("held_out", indices[place], 0, difficulty, change={"fill": "hollow"})
            assert (band.painted == 1).sum() > 5 and not (changed & (band.painted == 1)).any()


@pytest.mark.parametrize("difficulty", [0.15, 1.0])
@pytest.mark.parametrize("change", CHANGES)
def test_pixels_are_equal_where_nothing_changed(change, difficulty):
    check_nothing_else_moved(difficulty, change, EVERY_CLASS)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_in_most_of_its_mask(change):
    """So that a mask of everything would not pass."""
    scenes = HELD_OUT.select(EVERY_CLASS)
    pairs = pairs_for(DATASET, scenes, change)
    moved = (pairs.pixels != scenes.pixels).any(-1)
    changed = pairs.masks["changed"]
    assert changed.sum() < 0.9 * changed.size
    assert moved.sum() > 0.8 * changed.sum()


def test_only_painted_pixels_change_their_colour():
    scenes = HELD_OUT.select(EVERY_CLASS)
    pairs = pairs_for(DATASET, scenes, "colour")
    for place in EVERY_CLASS:
        painted = scenes.masks["colour"][place]
        assert (painted <= pairs.masks["changed"][place]).all()
        for name in shapes.MASKS:
            np.testing.assert_array_equal(scenes.masks[name][place], pairs.masks[name][place])


@pytest.mark.parametrize("index", EVERY_CLASS)
def test_a_background_shows_through_an_edge_in_proportion(index):
    """Covered pixels stay; along an edge of coverage s the picture moves by 1 - s of what the bare
    background moves, to the rounding of four pictures to whole levels: half of one each."""
    dataset = at(0.0)  # there is no noise
    scene = shapes.render("held_out", index, 0, 0.0)
    pair = shape_pairs(dataset, [index], "background")
    ground = drawn_values(pair, "background")[0]
    bare = [shapes.render("held_out", index, 0, 0.0, change=change).pixels.astype(float)
            for change in ({"object": None}, {"object": None, "background": ground})]
    moved = pair.pixels[0].astype(float) - scene.pixels
    rest = (1 - scene.painted)[..., None]
    seen = np.stack([scene.pixels, pair.pixels[0], *bare])
    clear = ((seen > 0) & (seen < 255)).all(0)  # not clipped in any of the four
    edge = clear & (rest > 0) & (rest < 1)
    assert clear.mean() > 0.3 and edge.sum() > 30
    assert np.abs(moved - rest * (bare[1] - bare[0]))[clear].max() <= 2
    assert not moved[scene.painted == 1].any()
    # a wrong coverage would be seen, where the backgrounds differ by enough
    assert np.abs(moved - rest**2 * (bare[1] - bare[0]))[edge].max() > 2 or np.abs(
        bare[1] - bare[0]).max() < 20


def test_without_its_object_a_scene_is_its_background():
    for difficulty in (0.0, 1.0):
        pairs = shape_pairs(at(difficulty), EVERY_CLASS, "object")
        for name in shapes.MASKS:
            assert not pairs.masks[name].any()
        assert all(caption.startswith("no object on a ") for caption in pairs.captions)
        assert pairs.labels.tolist() == EVERY_CLASS
    # an outline of no object changes nothing more
    plain = shapes.render("train", 5, change={"object": None})
    other = shapes.render("train", 5, change={"object": None, "outline": "star", "fill": "solid"})
    np.testing.assert_array_equal(plain.pixels, other.pixels)
    assert plain.label == other.label == 5 and plain.attributes.keys() == {"background"}


# --- a planted slip ---


class Slipping(Told):
    """Draws another random number before the background."""

    def random(self, size):
        if np.ndim(size) and size[0] == shapes.SIZE // 2:
            self.rng.random()
        return super().random(size)


@pytest.mark.parametrize("change", CHANGES)
def test_another_random_number_before_the_background_is_noticed(monkeypatch, change):
    render = shapes.render

    def slipping(*arguments, change=None, **settings):
        with monkeypatch.context() as patch:
            if change is not None:
                patch.setattr(shapes.np.random, "default_rng", lambda key: Slipping(key, {}))
            return render(*arguments, change=change, **settings)

    check_nothing_else_moved(0.15, change, EVERY_CLASS[:3])
    check_against_generator(monkeypatch, 0.15, change, EVERY_CLASS[:3])
    monkeypatch.setattr(pairing, "render", slipping)
    with pytest.raises(AssertionError):
        check_nothing_else_moved(0.15, change, EVERY_CLASS[:3])
    with pytest.raises(AssertionError):
        check_against_generator(monkeypatch, 0.15, change, EVERY_CLASS[:3])


# --- labels and values ---


@pytest.mark.parametrize("change", CHANGES)
def test_the_class_follows_outline_and_fill_and_nothing_else(change):
    pairs, axes = pairs_for(DATASET, HELD_OUT, change), shapes.TAXONOMY
    for old, new in zip(HELD_OUT.labels.tolist(), pairs.labels.tolist(), strict=True):
        for axis in axes:
            assert (axes[axis][old] == axes[axis][new]) == (axis != change)
    assert pairs.class_names == HELD_OUT.class_names and pairs.taxonomy == HELD_OUT.taxonomy
    assert pairs.ids.tolist() == HELD_OUT.ids.tolist()


@pytest.mark.parametrize("change", CHANGES)
def test_captions_tell_the_pair(change):
    pairs = pairs_for(DATASET, HELD_OUT, change)
    for old, new in zip(HELD_OUT.captions, pairs.captions, strict=True):
        now, told = new.split(", ")
        before, after = told.removeprefix(f"{change} changed from ").split(" to ")
        if change == "object":
            assert after == "none" and old.startswith(f"{before} on ")
            assert now == f"no object on {old.split(' on ')[1]}"
        else:
            there = old.replace(before, after, 1).split(" ", 1)[1]
            assert now in (f"a {there}", f"an {there}") and before != after


@pytest.mark.parametrize("change", CHANGES[1:])
def test_new_values_are_uniform_over_the_other_ones(change):
    values = shapes.ATTRIBUTES[change]
    own = values[1]
    scene = SimpleNamespace(attributes={change: own})
    found = [other_value(scene, "held_out", index, change, 0) for index in range(2000)]
    counts = [found.count(value) for value in values]
    assert counts[1] == 0 and sum(counts) == 2000
    assert chisquare(counts[:1] + counts[2:]).pvalue > 1e-3


def test_choices_of_seeds_parts_and_changes_are_not_tied():
    """Quarters of the values to choose from: two ways to ask agree as often as chance has it."""
    scene, values = SimpleNamespace(attributes={}), shapes.ATTRIBUTES
    asked = [("held_out", "colour", 0), ("held_out", "colour", 1), ("train", "colour", 0),
             ("held_out", "fill", 0)]
    found = [[4 * values[change].index(other_value(scene, part, index, change, seed))
              // len(values[change]) for index in range(800)] for part, change, seed in asked]
    for first in range(4):
        for second in range(first):
            same = np.mean(np.equal(found[first], found[second]))
            assert abs(same - 0.25) < 4 * (0.25 * 0.75 / 800) ** 0.5  # four standard errors


@pytest.mark.parametrize("change", CHANGES)
def test_a_pair_depends_on_its_own_scene_and_seed_only(change):
    many = shape_pairs(DATASET, list(range(48)), change, seed=2)
    few = shape_pairs(DATASET, torch.tensor([40, 7, 40]), change, seed=2)
    assert few.sha256() == many.select([40, 7, 40]).sha256()
    assert few.captions == many.select([40, 7, 40]).captions
    np.testing.assert_array_equal(few.masks["changed"], many.masks["changed"][[40, 7, 40]])
    assert shape_pairs(DATASET, list(range(48)), change, seed=2).sha256() == many.sha256()
    other = shape_pairs(DATASET, list(range(48)), change, seed=3)
    assert (other.sha256() == many.sha256()) == (change == "object")  # it has one way to be gone


def test_the_parts_have_other_scenes():
    held_out = shape_pairs(DATASET, EVERY_CLASS, "fill")
    assert held_out.sha256() == shape_pairs(DATASET, EVERY_CLASS, "fill", part="held_out").sha256()
    assert held_out.sha256() != shape_pairs(DATASET, EVERY_CLASS, "fill", part="train").sha256()


def test_settings_that_a_profile_leaves_out_are_those_of_the_loader():
    short = {"name": "shapes", "train_images": 24, "held_out_images": 24}
    full = {**short, "seed": 0, "difficulty": 0.5}
    assert shape_pairs(short, EVERY_CLASS, "fill").sha256() == shape_pairs(full, EVERY_CLASS,
                                                                          "fill").sha256()
    assert len(pairs_for(short, load_shapes("train", 24), "fill")) == 24


# --- pairs of images at hand ---


@pytest.mark.parametrize("part", shapes.PARTS)
def test_scenes_are_found_by_their_ids(part):
    images = load_shapes(part, 60, 0, 0.15).balanced(30, seed=1)
    pairs = pairs_for(DATASET, images, "outline", seed=4)
    assert pairs.sha256() == shape_pairs(DATASET, images.ids, "outline", 4, part).sha256()
    assert pairs.images.dtype == torch.float64


def test_images_in_single_precision_and_with_other_labels():
    single = replace(HELD_OUT, images=HELD_OUT.images.float()).select([9, 2])
    pairs = pairs_for(DATASET, single.relabelled(torch.tensor([0, 0])), "fill")
    assert pairs.images.dtype == torch.float32
    assert torch.equal(pairs.images, shape_pairs(DATASET, [9, 2], "fill").images.float())
    assert pairs.labels.tolist() == shape_pairs(DATASET, [9, 2], "fill").labels.tolist()


def test_images_that_are_not_the_scenes_of_their_ids_are_refused():
    few = HELD_OUT.select([3, 4, 5])
    noisy = few.images.clone()
    noisy[1, 0, 0, 0] += 1e-9
    mixed = replace(few, images=torch.cat([few.images[:2], load_shapes("train", 24, 0, 0.15).images[5:6]]),
                    pixels=np.concatenate([few.pixels[:2], load_shapes("train", 24, 0, 0.15).pixels[5:6]]))
    for images, place, number in ((replace(few, images=noisy), 1, 4), (mixed, 2, 5),
                                  (replace(few, ids=few.ids + 1), 0, 4),
                                  (replace(few, ids=few.ids + 1000), 0, 1003),
                                  (shape_pairs(DATASET, [3], "fill"), 0, 3),
                                  (load_digits(400)[1], 0, 1)):
        number = int(images.ids[place])
        refused(lambda images=images: pairs_for(DATASET, images, "fill"),
                f"image {place} (id {number}) is not the scene", "accepted: scenes of one part")
    for settings in ({"seed": 1}, {"difficulty": 0.2}):
        refused(lambda settings=settings: pairs_for({**DATASET, **settings}, few, "fill"),
                "image 0 (id 3) is not the scene")


# --- bad input ---


@pytest.mark.parametrize(("call", "message"), [
    (lambda: shape_pairs({"name": "digits", "train_images": 400}, [0], "fill"),
     "data set 'digits' has no counterfactual pairs; accepted: .* shapes"),
    (lambda: shape_pairs({"name": "files", "root": "x"}, [0], "fill"), "data set 'files' has no"),
    (lambda: pairs_for({"name": "digits", "train_images": 400}, HELD_OUT, "fill"), "data set 'digits'"),
    (lambda: shape_pairs({}, [0], "fill"), "data set None has no counterfactual pairs"),
    (lambda: shape_pairs({"name": ["shapes"]}, [0], "fill"), "data set .*shapes.* has no"),
    (lambda: shape_pairs(HELD_OUT, [0], "fill"), "data set ImageSet has no .*accepted: the dataset entry"),
    (lambda: shape_pairs({**DATASET, "hardness": 1}, [0], "fill"), "dataset.hardness"),
    (lambda: shape_pairs(DATASET, [0], "size"), "unknown change 'size'; accepted: object, outline"),
    (lambda: shape_pairs(DATASET, [0], ["fill"]), "unknown change"),
    (lambda: shape_pairs(DATASET, [0], "fill", -1), "seed cannot be -1; accepted: a whole number"),
    (lambda: shape_pairs(DATASET, [0], "fill", True), "seed cannot be True"),
    (lambda: shape_pairs(DATASET, [0], "fill", 0, "test"), "unknown part 'test'; accepted: train"),
    (lambda: shape_pairs(DATASET, [], "fill"), "accepted: at least one whole number from 0 to 71"),
    (lambda: shape_pairs(DATASET, [0.0], "fill"), "indices of scenes cannot be"),
    (lambda: shape_pairs(DATASET, [[0], [1, 2]], "fill"), "indices of scenes cannot be"),
    (lambda: shape_pairs(DATASET, [True], "fill"), "indices of scenes cannot be"),
    (lambda: shape_pairs(DATASET, 3, "fill"), "indices of scenes cannot be 3"),
    (lambda: shape_pairs(DATASET, [0, 72], "fill"), "lie in 0..72; accepted: .* 0 to 71"),
    (lambda: shape_pairs(DATASET, [-1], "fill"), "lie in -1..-1"),
    (lambda: shape_pairs(DATASET, [60], "fill", 0, "train"), "lie in 60..60; accepted: .* to 59"),
    (lambda: pairs_for(DATASET, HELD_OUT.select([]), "fill"), "got none; accepted: at least one"),
    (lambda: pairs_for(DATASET, HELD_OUT.images, "fill"), "got Tensor; accepted: at least one"),
    (lambda: shapes.render("train", 0, change="red"), "change cannot be 'red'; accepted: a mapping"),
    (lambda: shapes.render("train", 0, change=[]), "change cannot be"),
    (lambda: shapes.render("train", 0, change={"size": 1}), "unknown attribute 'size'"),
    (lambda: shapes.render("train", 0, change={"colour": "mauve"}),
     "colour cannot become 'mauve'; accepted: red, orange"),
    (lambda: shapes.render("train", 0, change={"colour": None}), "colour cannot become None"),
    (lambda: shapes.render("train", 0, change={"object": "star"}), "accepted: None"),
    (lambda: shapes.render("train", 0, change={"background": "noisy"}), "cannot become 'noisy'"),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_may_differ_is_the_place_of_paint():
    """By hand, on four pixels: bare, an edge, covered, covered before and bare after."""
    before = SimpleNamespace(painted=np.array([[0, 0.5, 1, 1]]))
    after = SimpleNamespace(painted=np.array([[0, 0.25, 1, 0]]))
    for change, expected in {"object": [0, 1, 0, 1], "outline": [0, 1, 0, 1], "fill": [0, 1, 0, 1],
                             "colour": [0, 1, 1, 1], "background": [1, 1, 0, 0]}.items():
        assert may_differ(before, after, change).astype(int).tolist() == [expected]
