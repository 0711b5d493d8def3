"""The image sets that models are trained on and experiments see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as load_scans

from neuronpath_core.images import data_sets, shapes
from neuronpath_core.images.classes import check_classes
from neuronpath_core.images.data_sets import load_dataset, load_part
from neuronpath_core.images.digits import load_digits
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shapes import load_shapes

SCANS = load_scans()
TRAIN, HELD_OUT = load_digits(400)


def small_set():
    """Twelve images whose pixels, label, mask, caption and position all tell which one they are."""
    numbers = torch.arange(12)
    pictures = numbers.double()[:, None, None, None].expand(-1, 1, 2, 2).clone()
    return ImageSet(images=pictures, labels=numbers % 3, ids=100 + numbers,
                    class_names=("a", "b", "c"),
                    pixels=pictures[:, 0].numpy().astype(np.uint8),
                    taxonomy={"vowel": ("yes", "no", "no")},
                    masks={"bits": (numbers.numpy()[:, None, None] >> np.arange(4).reshape(2, 2))
                           % 2 == 1}, captions=tuple(f"number {n}" for n in range(12)))


def test_shapes_and_types():
    for part, count in ((TRAIN, 400), (HELD_OUT, 1397)):
        assert len(part) == count
        assert part.images.shape == (count, 1, 16, 16)
        assert part.pixels.shape == (count, 8, 8)
        assert part.labels.shape == part.ids.shape == (count,)
        assert (part.images.dtype, part.labels.dtype,
                part.ids.dtype) == (torch.float64, torch.int64, torch.int64)
        assert part.pixels.dtype == np.uint8
        assert part.class_names == tuple("0123456789")


@pytest.mark.parametrize("part", [TRAIN, HELD_OUT], ids=["train", "held out"])
def test_every_image_is_the_scan_that_its_id_names(part):
    ids = part.ids.numpy()
    np.testing.assert_array_equal(part.labels.numpy(), SCANS.target[ids])
    # dark ink on white paper, 17 grey levels
    np.testing.assert_array_equal(part.pixels, np.round(255 - SCANS.images[ids] * 255 / 16))
    assert (np.diff(ids) > 0).all()
    # bilinear doubling weighs the nearest four scanned pixels 9 : 3 : 3 : 1
    scan = SCANS.images[ids] / 16
    inner = (9 * scan[:, 3, 4] + 3 * scan[:, 2, 4] + 3 * scan[:, 3, 3] + scan[:, 2, 3]) / 16
    np.testing.assert_allclose(part.images[:, 0, 6, 8].numpy(), 2 * inner - 1, rtol=0, atol=1e-15)
    np.testing.assert_allclose(part.images[:, 0, 0, 0].numpy(), 2 * scan[:, 0, 0] - 1, rtol=0,
                               atol=1e-15)


def test_values_are_normalised():
    for part in (TRAIN, HELD_OUT):
        assert part.images.min() == -1
        assert part.images.max() == 1
    _, plain = load_digits(400, image_size=8)  # not enlarged, an image is its scan
    np.testing.assert_array_equal(plain.images[:, 0].numpy(), SCANS.images[plain.ids.numpy()] / 8
                                  - 1)


def test_the_split_is_the_same_every_time_and_has_no_image_twice():
    again = load_digits(400)
    assert [part.sha256() for part in again] == [TRAIN.sha256(), HELD_OUT.sha256()]
    assert sorted(torch.cat([TRAIN.ids, HELD_OUT.ids]).tolist()) == list(range(1797))
    other = load_digits(400, split_seed=1)
    assert other[0].sha256() != TRAIN.sha256()
    assert sorted(torch.cat([other[0].ids, other[1].ids]).tolist()) == list(range(1797))


@pytest.mark.parametrize("count", [0, 9, 1788, 1797, -1])
def test_training_images_that_leave_too_few(count):
    with pytest.raises(ValueError, match=f"between 10 and 1787, got {count}"):
        load_digits(count)


@pytest.mark.parametrize("name", ["mnist", "", None])
def test_unknown_data_sets(name):
    with pytest.raises(ValueError, match="unknown data set .*accepted: digits, shapes, files"):
        load_dataset({"name": name, "train_images": 400})
    with pytest.raises(ValueError, match="unknown data set None"):
        load_dataset({"train_images": 400})


def test_load_dataset_passes_its_settings_on_and_leaves_them():
    settings = {"name": "digits", "train_images": 100, "split_seed": 2, "image_size": 8}
    before = dict(settings)
    train, _ = load_dataset(settings)
    assert train.sha256() == load_digits(100, 2, 8)[0].sha256()
    assert settings == before


def test_one_part_alone():
    spec = {"name": "digits", "train_images": 400}
    assert [load_part(spec, part).sha256()
            for part in ("train", "held_out")] == [TRAIN.sha256(), HELD_OUT.sha256()]
    with pytest.raises(ValueError, match="unknown part 'test'; accepted: train, held_out"):
        load_part(spec, "test")


# --- scenes ---


def test_scenes_as_images():
    data = load_shapes("held_out", 30, seed=3, difficulty=0.2)
    assert data.images.shape == (30, 3, 32, 32)
    assert data.pixels.shape == (30, 32, 32, 3)
    assert (data.images.dtype, data.pixels.dtype, data.labels.dtype) == (torch.float64, np.uint8,
                                                                         torch.int64)
    np.testing.assert_allclose(data.images.permute(0, 2, 3, 1).numpy(), (data.pixels / 255 - 0.5)
                               / 0.5, rtol=0, atol=1e-15)
    assert data.ids.tolist() == list(range(30))
    assert data.class_names == shapes.CLASS_NAMES
    for number in (0, 17, 29):
        scene = shapes.render("held_out", number, 3, 0.2)
        assert (data.labels[number], data.captions[number]) == (scene.label, scene.caption)
        for name in shapes.MASKS:
            np.testing.assert_array_equal(data.masks[name][number], scene.masks[name])
    for axis in ("outline", "fill"):
        assert len(data.taxonomy[axis]) == 24
        for name, value in zip(data.class_names, data.taxonomy[axis], strict=True):
            assert value in name.split()


def test_held_out_scenes_come_without_rendering_the_others(monkeypatch):
    rendered, render = [], shapes.render
    monkeypatch.setattr(shapes, "render", lambda *arguments: rendered.append(arguments)
                        or render(*arguments))
    spec = {"name": "shapes", "train_images": 48, "held_out_images": 24, "seed": 1,
            "difficulty": 0.1}
    assert len(load_part(spec, "held_out")) == 24
    assert {arguments[0] for arguments in rendered} == {"held_out"}
    train, held_out = load_dataset(spec)
    assert (len(train), len(held_out)) == (48, 24)


@pytest.mark.parametrize(("changed", "message"), [
    ({"held_out_images": 23}, "held_out_images cannot be 23; accepted: a whole number of at least 24"),
    ({"held_out_images": 24.0}, "cannot be 24.0"),
    ({"difficulty": 2}, "difficulty cannot be 2; accepted: a number from 0 to 1"),
    ({"seed": -1}, "seed cannot be -1"),
], ids=str)
def test_bad_settings_of_scenes(changed, message):
    with pytest.raises(ValueError, match=message):
        load_part({"name": "shapes", "train_images": 24, "held_out_images": 24, **changed},
                  "held_out")


def test_every_data_set_has_both_parts():
    assert set(data_sets.DATASETS) == {"digits", "shapes", "files"}


# --- selecting ---


@pytest.mark.parametrize("index", [torch.tensor([7, 2, 2, 11]), np.array([7, 2, 2, 11]),
                                   [7, 2, 2, 11]],
                         ids=["tensor", "array", "list"])
def test_select_keeps_everything_together(index):
    chosen = small_set().select(index)
    assert len(chosen) == 4
    for place, number in enumerate([7, 2, 2, 11]):
        assert (chosen.images[place] == number).all()
        assert (chosen.pixels[place] == number).all()
        assert (chosen.labels[place], chosen.ids[place]) == (number % 3, 100 + number)
        assert (chosen.masks["bits"][place].reshape(-1) * 2 ** np.arange(4)).sum() == number
        assert chosen.captions[place] == f"number {number}"
    assert chosen.class_names == ("a", "b", "c")
    assert chosen.taxonomy == {"vowel": ("yes", "no", "no")}


def test_selecting_from_images_without_masks():
    assert (TRAIN.taxonomy, TRAIN.masks, TRAIN.captions) == ({}, {}, ())
    chosen = TRAIN.balanced(20)
    assert (chosen.taxonomy, chosen.masks, chosen.captions) == ({}, {}, ())


def test_balanced_carries_everything():
    chosen = small_set().balanced(7, seed=2)
    assert [f"number {n - 100}" for n in chosen.ids.tolist()] == list(chosen.captions)
    assert (chosen.masks["bits"].reshape(7, 4) @ (2 ** np.arange(4)) == chosen.ids.numpy()
            - 100).all()


def test_select_copies():
    whole = small_set()
    before = whole.sha256()
    chosen = whole.select([0, 1])
    chosen.images.zero_()
    chosen.pixels[:] = 9
    assert whole.sha256() == before
    assert (whole.pixels[1] == 1).all()


def test_select_nothing():
    assert len(small_set().select([])) == 0


def test_balanced_takes_its_share_of_every_class():
    for count in range(1, 13):
        chosen = small_set().balanced(count, seed=4)
        counts = torch.bincount(chosen.labels, minlength=3)
        assert counts.sum() == count
        assert counts.max() - counts.min() <= 1
        # 100 is one more than a multiple of three
        assert torch.equal(chosen.ids % 3, (chosen.labels + 1) % 3)
    assert set(small_set().balanced(12).ids.tolist()) == set(range(100, 112))


def test_which_class_gets_one_more_depends_on_the_seed():
    favoured = {int(torch.bincount(small_set().balanced(4, seed).labels, minlength=3).argmax())
                for seed in range(20)}
    assert favoured == {0, 1, 2}


@pytest.mark.parametrize("count", [13, 0, -3, True, 6.0, "6", None])
def test_balanced_says_what_it_accepts(count):
    with pytest.raises(ValueError, match=r"cannot be .*; accepted: a whole number from 1 to 12$"):
        small_set().balanced(count)


def test_fewer_images_than_classes_are_of_so_many_classes_that_the_seed_draws():
    drawn = {tuple(small_set().balanced(2, seed).labels.tolist()) for seed in range(20)}
    assert drawn == {(0, 1), (0, 2), (1, 2)}
    for seed in range(5):  # fewer are a subset of more
        ids = [set(small_set().balanced(count, seed).ids.tolist()) for count in range(1, 8)]
        assert all(less < more for less, more in zip(ids, ids[1:], strict=False))


def test_where_every_class_is_needed_it_says_how_many_images_that_are():
    assert len(small_set().balanced(6, of_each=2)) == 6
    for count, of_each, told in ((2, 1, r"3 \(one of each class\)"),
                                 (5, 2, r"6 \(2 of each class\)")):
        with pytest.raises(ValueError, match=rf"from {told} to 12"):
            small_set().balanced(count, of_each=of_each)


def test_balanced_takes_the_classes_that_are_there():
    rest = small_set().select([0, 1, 3, 4, 6])  # no class c
    assert rest.balanced(3,
                         seed=2).labels.bincount().max() == 2 and rest.balanced(
        4).labels.tolist() == [0, 0, 1, 1]
    assert set(rest.balanced(2, seed=1).ids.tolist()) < set(rest.balanced(4, seed=1).ids.tolist())
    with pytest.raises(ValueError,
                       match=r"cannot be 5; accepted: a whole number from 1 to 4"):
        rest.balanced(5)
    with pytest.raises(ValueError, match="cannot be 0; accepted"):
        small_set().select([]).balanced(0)


def test_balanced_chooses_as_it_always_did():
    """Positions that an earlier version chose: path tables refer to them."""
    assert TRAIN.balanced(12, 3).ids.tolist() == [1153, 1737, 1783, 1160, 483, 910, 451, 680, 559,
                                                  508, 1324, 1412]


def test_in_memory_a_set_is_checked_and_loaded_already():
    whole = small_set()
    assert whole.checked() is whole and whole.loaded({"input_size": [3, 8, 8]}) is whole
    assert whole.appearance().shape == (12, 4) and (whole.appearance()
                                                    == np.arange(12)[:, None]).all()


@pytest.mark.parametrize("outputs", [2, 4])
def test_classes_must_be_as_many_as_outputs(outputs):
    check_classes(small_set(), 3, "any")
    with pytest.raises(ValueError,
                       match=f"the images have 3 classes .* but any has {outputs} outputs; "
                             f"accepted: as many classes as outputs"):
        check_classes(small_set(), outputs, "any")


# --- digests ---


def test_sha256_tells_every_change():
    whole, digests = small_set(), set()
    digests.add(whole.sha256())
    for name in ("images", "labels", "ids"):
        changed = small_set()
        getattr(changed, name)[-1] += 1
        digests.add(changed.sha256())
    digests.add(whole.select(list(range(11))).sha256())
    digests.add(whole.select(list(range(11, -1, -1))).sha256())
    nudged = small_set()
    nudged.images[0, 0, 0, 0] = 5e-324
    digests.add(nudged.sha256())
    assert len(digests) == 7
    assert small_set().sha256() == whole.sha256()


def test_sha256_does_not_depend_on_the_memory_layout():
    whole = small_set()
    strided = replace(whole, images=whole.images.transpose(2, 3).contiguous().transpose(2, 3))
    assert strided.sha256() == whole.sha256()
