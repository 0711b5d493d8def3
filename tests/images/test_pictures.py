"""Images on disk: what is read, what is refused, and that nothing is opened twice or mistaken for
another."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import resource
import shutil
import struct
import tarfile
import warnings
import zlib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, create_dataset, create_loader
from timm.models.vision_transformer import VisionTransformer
from torchvision import transforms

from neuronpath_core.images import file_images
from neuronpath_core.images.classes import check_classes, class_numbers
from neuronpath_core.images.data_sets import load_dataset, load_part
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.index import PictureWarning, read_index
from neuronpath_core.images.wordnet import wordnet_classes
from neuronpath_core.models.preprocessing import check_preprocessing, model_preprocessing
from tests.rehearsal import make_images

SYNSETS = ImageNetInfo().label_names()
PREPROCESSING = {"input_size": [3, 32, 32], "interpolation": "bicubic", "mean": [0.5, 0.4, 0.3],
                 "std": [0.5, 0.6, 0.7], "crop_pct": 0.9,
                 "crop_mode": "center"}
ONE_LINE = r"^[^\n]*$"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy of the images, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "images"))


def held_out(root: Path | None, index: Path | None = None, **settings) -> FileImages:
    return load_part({"name": "files", "root": None if root is None else str(root), **settings},
                     "held_out", index_folder=index)


def files_of(root: Path) -> list[Path]:
    """The files in the order in which they are numbered."""
    return sorted((root / "val").rglob("*.JPEG"))


def one_class(root: Path, **pictures: Image.Image) -> Path:
    """Pictures saved as PNG, all of one class."""
    (root / "val" / "thing").mkdir(parents=True)
    for name, picture in pictures.items():
        picture.save(root / "val" / "thing" / f"{name}.png")
    return root


def damage(root: Path) -> dict[str, str]:
    """Four of the twelve images that cannot be read, and a word of what is to be said of each."""
    truncated, corrupt, empty, text = (files_of(root)[place] for place in (0, 4, 5, 9))
    truncated.write_bytes(truncated.read_bytes()[:-300])
    corrupt.write_bytes(b"\0" * 40 + corrupt.read_bytes()[40:])
    empty.write_bytes(b"")
    text.write_text("<html>404</html>")
    words = ("truncated", "not an image that Pillow knows", "the file is empty",
             "not an image that Pillow knows")
    return {path.relative_to(root / "val").as_posix(): word for path,
            word in zip((truncated, corrupt, empty, text), words, strict=True)}


# --- which images there are, and which class each is ---


@pytest.mark.parametrize("below", ["", "val"], ids=["the folder above", "the folder itself"])
def test_folders_named_by_wordnet_ids_have_the_numbers_of_the_model_outputs(made, below):
    images = held_out(made / below)
    files = files_of(made)
    assert len(images) == 12 and images.ids.tolist() == list(range(12))
    assert images.labels.tolist() == [SYNSETS.index(path.parent.name)
                                      for path in files] == [0] * 4 + [499] * 4 + [999] * 4
    assert len(images.class_names) == 1000 and images.class_names[0] == "tench"
    assert [entry.name
            for entry in images.checked().entries] == [path.relative_to(made / "val").as_posix()
                                                       for path in files]
    check_classes(images, 1000, "any")


def test_descriptions_that_two_classes_share_are_told_apart():
    numbers, names = wordnet_classes()
    assert len(set(names)) == len(names) == len(numbers) == 1000
    assert {names[numbers[each]] for each in ("n02012849", "n03126707")} == {"crane (n02012849)",
                                                                             "crane (n03126707)"}


def test_the_environment_names_the_folder_before_the_profile(made, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURONPATH_DATA", str(made))
    assert len(held_out(tmp_path / "elsewhere")) == len(held_out(None)) == 12


def test_a_relative_root_starts_at_the_given_folder(made):
    assert len(load_part({"name": "files", "root": made.name}, "held_out", base=made.parent)) == 12


def test_folders_in_their_order(made):
    images = held_out(made, class_names="folder")
    assert images.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert images.class_names == tuple(sorted(path.name for path in (made / "val").iterdir()))
    check_classes(images, 3, "any")


def test_any_folder_names_in_natural_order(folder):
    for path, name in zip(sorted((folder / "val").iterdir()), ("class 10", "class 9", "a cat"),
                          strict=True):
        path.rename(folder / "val" / name)
    images = held_out(folder)
    assert images.class_names == ("a cat", "class 9", "class 10")
    assert torch.bincount(images.labels).tolist() == [4, 4, 4]
    with pytest.raises(ValueError,
                       match="does not know a cat, class 9, class 10; accepted: folders named by "
                             "WordNet ids"):
        held_out(folder, class_names="timm")


def test_a_list_of_names(made):
    assert held_out(made, class_names=["x", "y", "z"]).labels.tolist() == [0] * 4 + [1] * 4 + [
        2] * 4
    # with all folders among them: positions in the list
    ids = [SYNSETS[999], "n00000000", SYNSETS[0], SYNSETS[499]]
    assert held_out(made, class_names=ids).labels.tolist() == [2] * 4 + [3] * 4 + [0] * 4
    for wrong in (["x", "y"], ["x", "y", "y"], ["x", "y", "z", "w"]):
        with pytest.raises(ValueError,
                           match=f"lists {len(wrong)} names for 3 classes; accepted: different "
                                 f"names"):
            held_out(made, class_names=wrong)


def test_a_class_map_numbers_some_folders_and_leaves_the_others_out(made, tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text(f"n00000000\n{SYNSETS[999]}\n{SYNSETS[0]}\n")
    for class_map in (str(file), {SYNSETS[999]: 1, SYNSETS[0]: 2}):
        images = held_out(made, class_map=class_map)
        assert images.labels.tolist() == [2] * 4 + [1] * 4
        assert images.class_names[1:] == ("toilet tissue", "tench")
        check_classes(images, 7, "any")  # other outputs may have no images
        with pytest.raises(ValueError, match="labels up to 2, but any has 2 outputs"):
            check_classes(images, 2, "any")


@pytest.mark.parametrize(("class_map", "message"), [
    ("none.txt", "class map none.txt not found .* accepted: a text file"), ({}, "empty"),
    ({"n01440764": -1}, "not class indices"),
    ({"cat": 0}, "Found 0 images"), ("map.pkl", "not found or not a .txt file"),
])
def test_class_maps_that_do_not_serve(folder, class_map, message):
    (folder / "map.pkl").write_bytes(pickle.dumps({"n01440764": 0}))
    with pytest.raises(ValueError, match=message):
        held_out(folder, class_map=class_map)


def test_a_wrong_number_of_classes_is_refused_with_the_way_out(made):
    with pytest.raises(ValueError,
                       match="images have 1000 classes .* but small has 3 outputs; accepted: "
                             ".*class_names: folder") as error:
        check_classes(held_out(made), 3, "small")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError,
                       match="images have 3 classes .* but large has 1000 outputs; accepted: "
                             ".*class_map"):
        check_classes(held_out(made, class_names="folder"), 1000, "large")


def test_class_numbers_without_names():
    targets = np.array([0, 3, 3])
    assert class_numbers({}, targets)[1] == ("class 0", "class 1", "class 2", "class 3")
    assert class_numbers({}, targets, "timm")[1] == wordnet_classes()[1]
    assert class_numbers({}, targets, ["a", "b", "c", "d"])[1] == ("a", "b", "c", "d")
    with pytest.raises(ValueError, match="lists 3 names for 4 classes"):
        class_numbers({}, targets, ["a", "b", "c"])
    with pytest.raises(ValueError, match="does not know a class number 1000"):
        class_numbers({}, np.array([1000]), "timm")
    with pytest.raises(ValueError,
                       match="class_names cannot be 'wordnet'; accepted: timm, folder, or a list"):
        class_numbers({}, targets, "wordnet")
    with pytest.raises(ValueError, match="timm has no classes 'nothing'"):
        class_numbers({}, targets, "timm/nothing")


# --- data that are not there ---


@pytest.mark.parametrize(("layout", "message"), [
    ([], "does not exist; accepted: .*/val/<class>/<image>.JPEG .*; ask the owner; the folder is "
         "named by --data DIR, by NEURONPATH_DATA"),
    ([""], "Found 0 images"), (["val/n01440764"], "Found 0 images"),
    (["val/n01440764/readme.txt"], "Found 0 images"),
    (["a.png"], "1 images lie in .* itself, in no folder that names their class"),
    (["val/a.png", "val/x/b.png"], "1 images lie in"),
    (["train/x/a.png", "dev/x/a.png"], "has no folder for the part 'validation' but train; "
                                       "accepted: a split of that name"),
])
def test_folders_that_do_not_serve(tmp_path, layout, message):
    for name in layout:
        place = tmp_path / "images" / name
        (place.parent if place.suffix else place).mkdir(parents=True, exist_ok=True)
        if place.suffix:
            place.write_bytes(b"x")
    with pytest.raises(ValueError, match=message) as error:
        held_out(tmp_path / "images", obtain="ask the owner")
    assert "\n" not in str(error.value)


def test_no_folder_at_all_and_a_file_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="no folder is named; accepted: DIR/val/"):
        held_out(None)
    (tmp_path / "images.zip").write_bytes(b"x")
    with pytest.raises(ValueError, match="neither a folder nor a .tar file"):
        held_out(tmp_path / "images.zip")


def test_training_images_only_where_they_are_named(folder):
    spec = {"name": "files", "root": str(folder)}
    with pytest.raises(ValueError, match="has no training images .*accepted: held_out"):
        load_part(spec, "train")
    for same in ("validation", "val"):
        with pytest.raises(ValueError, match="has no training images"):
            load_part({**spec, "train_split": same}, "train")
    with pytest.raises(ValueError, match="has no folder for the part 'train' but val"):
        load_part({**spec, "train_split": "train"}, "train")
    with pytest.raises(ValueError, match="has no folder train for the training images"):
        load_part({**spec, "root": str(folder / "val"), "train_split": "train"}, "train")
    make_images(folder, per_class=2, seed=5, split="train")
    train, held = load_dataset({**spec, "train_split": "train"})
    assert (len(train), len(held)) == (6, 12) and train.sha256() != held.sha256()


@pytest.mark.parametrize(("settings", "message"), [
    ({"unreadable": "ignore"}, "unreadable cannot be 'ignore'; accepted: fatal, skip"),
    ({"reader": "ftp/x"}, "unknown reader 'ftp/x'; accepted: .*hfds/"),
    ({"size": 3}, "unknown settings of image files: size; accepted: reader, root"),
    ({"index_folder": "x"}, "unknown settings of image files: index_folder"),
    ({"preprocessing": {"zoom": 2}}, "unknown preprocessing zoom; accepted: input_size"),
    ({"class_names": 3}, "class_names cannot be 3"),
], ids=str)
def test_settings_that_there_are_not(made, settings, message):
    with pytest.raises(ValueError, match=message):
        held_out(made, **settings)


@pytest.mark.skipif(find_spec("tensorflow_datasets") is not None, reason="the package is there")
def test_a_reader_whose_package_is_missing():
    with pytest.raises(ValueError,
                       match="needs the package tensorflow_datasets, which is not installed; "
                             "accepted: pip install tensorflow-datasets") as error:
        held_out(None, reader="tfds/mnist")
    assert "\n" not in str(error.value)


# --- what the images are ---


@pytest.mark.parametrize("changed", [
    {}, {"crop_mode": "squash", "crop_pct": 1.0, "interpolation": "bilinear"},
    {"crop_mode": "border"}, {"input_size": [3, 32, 48]}, {"crop_pct": 1.0},
], ids=str)
def test_loaded_images_are_those_of_the_timm_loader(made, changed):
    config = PREPROCESSING | changed
    images = held_out(made)
    found = images.loaded(config)
    loader = create_loader(create_dataset("", root=str(made), split="validation"), batch_size=5,
                           use_prefetcher=False, num_workers=0,
                           persistent_workers=False, **{key: tuple(value) if isinstance(value, list)
                                                        else value for key,
                                                        value in config.items()})
    expected = torch.cat([batch for batch, _ in loader])
    assert found.images.dtype == torch.float32 and torch.equal(found.images, expected)
    assert torch.equal(found.labels, images.labels) and torch.equal(found.ids,
                                                                    images.ids) and found.class_names == images.class_names
    assert found.loaded(None) is found and found.checked() is found


def test_the_whole_picture_squashed_as_torchvision_does_it(made):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    config = PREPROCESSING | {"crop_mode": "squash", "crop_pct": 1.0, "interpolation": "bilinear",
                              "mean": mean, "std": std}
    direct = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor(),
                                 transforms.Normalize(mean, std)])
    expected = torch.stack([direct(Image.open(path).convert("RGB")) for path in files_of(made)])
    assert torch.equal(held_out(made).loaded(config).images, expected)


def test_every_kind_of_picture_is_read_as_timm_reads_it(tmp_path):
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    # white: of other 16-bit values timm cuts off what is above 255
    deep = Image.fromarray(np.full((20, 30), 65535, np.uint16))
    tagged = Image.Exif()
    tagged[0x0112] = 6  # lies on its side
    one_class(tmp_path, alpha=colours.convert("RGBA"), bits=colours.convert("1"), deep=deep,
              grey=colours.convert("L"), pixel=colours.crop((0, 0, 1, 1)),
              palette=colours.quantize(8), strip=colours.crop((0, 0, 30, 1)),
              half=colours.convert("LA"))
    place = tmp_path / "val" / "thing"
    colours.convert("CMYK").save(place / "cmyk.jpg")
    colours.save(place / "rotated.jpg", exif=tagged)
    colours.save(place / "a jpeg.png", "JPEG")  # another format than the name says
    images = held_out(tmp_path)
    config = PREPROCESSING | {"crop_mode": "squash"}
    loader = create_loader(create_dataset("", root=str(tmp_path)), batch_size=11,
                           use_prefetcher=False, num_workers=0, persistent_workers=False,
                           **{key: tuple(value) if isinstance(value, list) else value for key,
                              value in config.items()})
    assert torch.equal(images.loaded(config).images, next(iter(loader))[0])
    found = {entry.name.split("/")[1]: (entry.mode, entry.width, entry.height)
             for entry in images.checked().entries}
    assert found == {"a jpeg.png": ("RGB", 30, 20), "alpha.png": ("RGBA", 30, 20),
                     "bits.png": ("1", 30, 20), "cmyk.jpg": ("CMYK", 30, 20),
                     "deep.png": ("I;16", 30, 20), "grey.png": ("L", 30, 20),
                     "half.png": ("LA", 30, 20), "palette.png": ("P", 30, 20),
                     "pixel.png": ("RGB", 1, 1), "rotated.jpg": ("RGB", 30, 20),
                     "strip.png": ("RGB", 30, 1)}


def test_grey_models_are_given_grey_pictures(made):
    config = PREPROCESSING | {"input_size": [1, 32, 32], "mean": [0.5], "std": [0.5],
                              "crop_mode": "squash", "crop_pct": 1.0}
    direct = transforms.Compose([transforms.Resize((32, 32), transforms.InterpolationMode.BICUBIC),
                                 transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    expected = torch.stack([direct(Image.open(path).convert("L")) for path in files_of(made)])
    assert torch.equal(held_out(made).loaded(config).images, expected)


def test_a_huge_picture(tmp_path):
    one_class(tmp_path, huge=Image.new("1", (12000, 9000), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of its size
        images = held_out(tmp_path)
        loaded = images.loaded(PREPROCESSING | {"mean": [0, 0, 0], "std": [1, 1, 1]})
    assert (loaded.images == 1).all() and (images.pixels == 255).all()
    assert (images.checked().entries[0].width, images.checked().entries[0].height) == (12000, 9000)


def test_a_picture_that_would_burst_memory(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I",
                                                                        zlib.crc32(kind + data))

    one_class(tmp_path)
    header = struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0)
    (tmp_path / "val" / "thing" / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n"
                                                          + chunk(b"IHDR", header)
                                                          + chunk(b"IDAT",
                                                                  zlib.compress(bytes(100))))
    with pytest.raises(ValueError,
                       match="1 of 1 images cannot be read: thing/bomb.png .*1600000000 pixels.* "
                             "exceeds limit"):
        held_out(tmp_path).checked()


def test_thumbnails_and_what_images_look_like(made):
    images = held_out(made).select([5, 0])
    assert images.pixels.shape == (2, 32, 32, 3) and images.pixels.dtype == np.uint8
    for place, path in enumerate((files_of(made)[5], files_of(made)[0])):
        picture = Image.open(path).convert("RGB")
        side = min(picture.size)
        middle = picture.crop(((picture.width - side) // 2, (picture.height - side) // 2,
                               (picture.width + side) // 2, (picture.height + side) // 2))
        assert abs(images.pixels[place].mean((0, 1)) - np.asarray(middle).mean((0, 1))).max() < 3
    seen = images.appearance()
    assert seen.shape == (2, 32 * 32 * 3)
    np.testing.assert_array_equal(seen, images.pixels.reshape(2, -1) / 255)
    assert np.array_equal(images.loaded(PREPROCESSING).pixels, images.pixels)
    assert images.select([]).pixels.shape == (0, 32, 32,
                                              3) and len(
        images.select([]).loaded(PREPROCESSING)) == 0


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_same_images_in_the_same_order_whatever_the_threads(made, threads):
    alone = held_out(made).loaded(PREPROCESSING)
    several = load_part({"name": "files", "root": str(made)}, "held_out", threads=threads)
    order = [11, 3, 3, 0, 7, 4, 5, 6, 8, 2]
    chosen = several.select(order)
    assert torch.equal(chosen.loaded(PREPROCESSING).images,
                       alone.images[order]) and torch.equal(several.loaded(PREPROCESSING).images,
                                                            alone.images)
    assert several.sha256() == held_out(made).sha256() and np.array_equal(chosen.pixels,
                                                                          alone.pixels[order])


# --- choosing ---


def test_choosing_opens_nothing(folder):
    for path in files_of(folder):
        path.write_bytes(b"no image")
    images = held_out(folder)
    chosen = images.balanced(7, seed=3).select(np.arange(7) < 4)
    assert len(chosen) == 4 and isinstance(chosen, FileImages)
    with pytest.raises(ValueError, match="4 of 4 images cannot be read"):
        chosen.checked()


def test_balanced_takes_its_share_of_the_classes_that_are_there(made):
    chosen = held_out(made).balanced(6)
    assert chosen.labels.tolist() == [0, 0, 499, 499, 999, 999]
    assert set(chosen.ids.tolist()) < set(held_out(made).balanced(9).ids.tolist())
    with pytest.raises(ValueError,
                       match=r"cannot be 2; accepted: a whole number from 3 \(one of each class\) "
                             r"to 12"):
        held_out(made).balanced(2, of_each=1)
    assert len(held_out(made).balanced(2)) == 2


def test_images_on_disk_have_no_tensor(made):
    images = held_out(made)
    for use in (lambda: images.images, lambda: replace(images, labels=images.labels)):
        with pytest.raises(ValueError, match="on disk.*accepted: images.loaded"):
            use()
    assert repr(images).startswith("FileImages(12 images of 1000 classes from ")


# --- images that cannot be read ---


def test_unreadable_images_are_named_and_fatal(folder):
    words = damage(folder)
    with pytest.raises(ValueError, match=ONE_LINE) as error:
        held_out(folder).checked()
    said = str(error.value)
    assert said.startswith("4 of 12 images cannot be read: ") and "unreadable: skip" in said
    for name, word in list(words.items())[:3]:
        assert f"{name} ({word}" in said or f"{name} (image file is {word}" in said
    assert list(words)[3] not in said  # the first few


def test_unreadable_images_are_counted_named_and_left_out(folder, tmp_path):
    words = damage(folder)
    images = held_out(folder, tmp_path / "index", unreadable="skip")
    with pytest.warns(PictureWarning, match="^4 of 12 images cannot be read: .* left out$"):
        kept = images.checked()
    assert kept.ids.tolist() == [1, 2, 3, 6, 7, 8, 10, 11]
    assert kept.labels.tolist() == images.labels[kept.ids].tolist() and len(
        kept.loaded(PREPROCESSING)) == len(kept.pixels) == 8
    recorded = read_index(next((tmp_path / "index").glob("*.parquet")))
    assert len(recorded) == 12 and {name for name, entry in recorded.items()
                                    if entry.error} == set(words)
    for name, word in words.items():
        assert word in recorded[name].error
    with pytest.warns(PictureWarning), pytest.raises(ValueError,
                                                     match=r"4 of these images cannot be read; "
                                                           r"accepted: images.checked\(\)"):
        images.sha256()  # not of other images than these


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.png"])
def test_of_several_pages_the_first_is_read_and_told_of(tmp_path, name):
    frames = [Image.new("RGB", (24, 24), colour) for colour in ("red", "blue", "white")]
    root = one_class(tmp_path / "set", b=frames[1].copy())
    frames[0].save(root / "val" / "thing" / name, save_all=True, append_images=frames[1:])
    settings = {"input_key": f"{Path(name).suffix};.png"}
    for _ in range(2):  # opened, and as the index has it
        images = held_out(root, tmp_path / "index", **settings)
        with pytest.warns(PictureWarning) as told:
            images = images.checked()
        assert [str(each.message) for each in told] == [
            f"1 of 2 pictures have several frames or pages, of which the first is read: "
            f"thing/{name} (3)"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            red, blue = (small.mean((0, 1)) for small in images.checked().pixels)
        assert red[0] > 200 > 100 > red[2] and blue[2] > 200 > 100 > blue[0]


def test_a_preview_behind_a_photograph_is_no_page(tmp_path):
    first, second = (Image.new("RGB", (24, 24), colour) for colour in ("red", "blue"))
    root = one_class(tmp_path, b=first)
    first.save(root / "val" / "thing" / "a.jpg", "MPO", save_all=True, append_images=[second])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(held_out(root).checked()) == 2


def test_skipping_leaves_something(folder):
    for path in files_of(folder)[:4]:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="4 of 4 images cannot be read"):
        held_out(folder, unreadable="skip").select(range(4)).checked()


def test_an_image_that_is_mended_is_read_again(folder, tmp_path):
    file = files_of(folder)[2]
    data, time = file.read_bytes(), file.stat().st_mtime_ns
    file.write_bytes(data[:-200] + bytes(200))
    file.write_bytes(bytes(len(data)))
    os.utime(file, ns=(time, time))
    with pytest.raises(ValueError, match="1 of 12 images cannot be read"):
        held_out(folder, tmp_path / "index").checked()
    file.write_bytes(data)
    os.utime(file, ns=(time, time))  # by size and time as before
    assert len(held_out(folder, tmp_path / "index").checked()) == 12


# --- what is known of the files ---


def test_files_are_opened_again_only_when_size_or_time_tell_of_a_change(folder, tmp_path):
    before = held_out(folder, tmp_path / "index").checked()
    file = files_of(folder)[3]
    status, data = file.stat(), file.read_bytes()
    file.write_bytes(data[::-1])  # the same size and time: nobody looks
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert held_out(folder, tmp_path / "index").sha256() == before.sha256()
    with pytest.raises(ValueError,
                       match="image .* has changed since it was checked; accepted: files that "
                             "stay as they are"):
        held_out(folder, tmp_path / "index").loaded(PREPROCESSING)  # whoever uses it does notice
    Image.new("RGB", (9, 9)).save(file, "JPEG")
    after = held_out(folder, tmp_path / "index").checked()
    assert after.sha256() != before.sha256()
    assert [place for place in range(12) if after.entries[place].sha256
            != before.entries[place].sha256] == [3]
    assert after.entries[3].sha256 == hashlib.sha256(
        file.read_bytes()).hexdigest() and after.entries[3].width == 9
    assert len(after.loaded(PREPROCESSING)) == 12


def test_a_file_that_vanishes_before_it_is_loaded(folder):
    images = held_out(folder).checked()
    files_of(folder)[1].unlink()
    with pytest.raises(ValueError,
                       match=rf"image {images.entries[1].name} was there when it was checked and "
                             rf"cannot be opened any more") as error:
        images.loaded(PREPROCESSING)
    assert "\n" not in str(error.value)


def test_a_file_that_vanishes_before_it_is_checked(folder):
    images = held_out(folder, unreadable="skip")
    files_of(folder)[1].unlink()
    with pytest.warns(PictureWarning, match="1 of 12 images cannot be read: .* No such file"):
        assert len(images.checked()) == 11


def test_the_index_holds_what_several_runs_have_found(made, tmp_path):
    first, second = (held_out(made, tmp_path) for _ in range(2))
    first.select(range(5)).checked()
    second.select(range(3, 9)).checked()  # it had read the index before the other wrote it
    [file] = tmp_path.glob("*.parquet")
    assert len(read_index(file)) == 9
    assert all(len(entry.thumbnail) == 3072 for entry in read_index(file, thumbnails=True).values())
    assert held_out(made, tmp_path).sha256() == held_out(made).sha256()
    assert np.array_equal(held_out(made, tmp_path).pixels, held_out(made).pixels)
    assert not list(tmp_path.glob(".*"))


def test_what_was_found_before_an_interruption_is_kept(made, tmp_path):
    images = held_out(made, tmp_path).select(range(12))
    read = images.source.read

    def interrupted(position: int) -> bytes:
        if position == 11:
            raise KeyboardInterrupt
        return read(position)

    object.__setattr__(images, "threads", 1)
    images.source.read = interrupted
    with pytest.raises(KeyboardInterrupt):
        images.checked()
    assert 6 <= len(read_index(next(tmp_path.glob("*.parquet")))) <= 11


@pytest.mark.parametrize("fault", ["truncated", "one byte", "another table"])
def test_a_damaged_index_is_made_again(made, tmp_path, fault):
    whole = held_out(made, tmp_path).checked()
    [file] = tmp_path.glob("*.parquet")
    data = bytearray(file.read_bytes())
    if fault == "truncated":
        file.write_bytes(data[:-100])
    elif fault == "one byte":
        place = data.index(whole.entries[7].sha256.encode()) + 5
        data[place] ^= 1
        file.write_bytes(data)
    else:
        import pandas as pd

        pd.DataFrame({"name": ["a"]}).to_parquet(file)
    with pytest.warns(PictureWarning,
                      match="image index .* cannot be used .*; the images are opened again"):
        assert held_out(made, tmp_path).sha256() == whole.sha256()
    assert len(read_index(file)) == 12


def test_thumbnails_outlive_their_index(made, tmp_path):
    held_out(made, tmp_path).checked()
    images = held_out(made, tmp_path).checked()
    next(tmp_path.glob("*.parquet")).unlink()
    assert np.array_equal(images.pixels, held_out(made).pixels)


def test_an_index_that_cannot_be_written(made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError,
                       match="image index .* cannot be written .*; accepted: a folder with write "
                             "permission") as error:
        held_out(made, tmp_path / "file").checked()
    assert "\n" not in str(error.value)


def test_an_index_that_the_disk_has_no_room_for(made, tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    held_out(made, tmp_path).select(range(1)).checked()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    try:
        # every larger file is refused by the kernel
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limit[1]))
        with pytest.raises(ValueError,
                           match="image index .* cannot be written .*File too large.*; accepted: "
                                 ".* 4 kB of space for every image") as error:
            held_out(made, tmp_path).checked()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "\n" not in str(error.value) and {path.name: path.read_bytes()
                                             for path in tmp_path.iterdir()} == before


def test_sha256_tells_every_change_and_no_other(folder, tmp_path):
    images = held_out(folder)
    digests = {images.sha256(), held_out(folder, class_names="folder").sha256(),
               images.select(range(11)).sha256(), images.select(range(11, -1, -1)).sha256()}
    files_of(folder)[0].rename(files_of(folder)[0].with_name("ILSVRC2012_val_00000000.JPEG"))
    digests.add(held_out(folder).sha256())
    Image.new("RGB", (9, 9)).save(files_of(folder)[0], "JPEG")
    digests.add(held_out(folder).sha256())
    assert len(digests) == 6
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    assert held_out(moved, tmp_path / "index").sha256() == held_out(folder).sha256()


def test_more_than_fits_in_memory_is_refused(made):
    with pytest.raises(ValueError,
                       match=r"12 images of 4800000.0 MB each do not fit in memory; accepted: up "
                             r"to \d+ at a time, such as images.select") as error:
        held_out(made).loaded(PREPROCESSING | {"input_size": [3, 10**6, 4 * 10**5]})
    assert "\n" not in str(error.value) and file_images.machine_memory() > 2**28


def test_a_set_travels_to_another_process(folder, tmp_path, monkeypatch):
    images = held_out(folder, tmp_path / "index").checked().select([4, 2])
    sent, expected = pickle.dumps(images), images.loaded(PREPROCESSING)
    there = pickle.loads(sent)
    assert not any(entry.thumbnail for entry in there.entries)
    assert there.sha256() == images.sha256() and torch.equal(there.loaded(PREPROCESSING).images,
                                                             expected.images)
    assert np.array_equal(there.pixels,
                          expected.pixels) and np.array_equal(there.loaded(PREPROCESSING).pixels,
                                                              expected.pixels)
    folder.rename(tmp_path / "elsewhere")  # as on another machine
    with pytest.raises(ValueError, match="does not exist"):
        pickle.loads(sent)
    monkeypatch.setenv("NEURONPATH_DATA", str(tmp_path / "elsewhere"))
    assert torch.equal(pickle.loads(sent).loaded(PREPROCESSING).images, expected.images)


# --- preprocessing ---


def test_preprocessing_of_a_model():
    model = timm.create_model("vit_tiny_patch16_224.augreg_in21k_ft_in1k", depth=1, img_size=96)
    expected = {"input_size": [3, 96, 96], "interpolation": "bicubic", "mean": [0.5] * 3,
                "std": [0.5] * 3, "crop_pct": 0.9, "crop_mode": "center"}
    assert model_preprocessing(model) == expected == check_preprocessing(expected)
    changed = {"crop_mode": "squash", "crop_pct": 1, "mean": (0.1, 0.2, 0.3)}
    assert model_preprocessing(model, changed) == expected | {"crop_mode": "squash",
                                                              "crop_pct": 1.0,
                                                              "mean": [0.1, 0.2, 0.3]}
    grey = model_preprocessing(VisionTransformer(img_size=(16, 24), patch_size=8, in_chans=1,
                                                 embed_dim=8, depth=1, num_heads=1))
    assert grey["input_size"] == [1, 16, 24] and len(grey["mean"]) == len(grey["std"]) == 1


@pytest.mark.parametrize(("changed", "message"), [
    ({"input_size": 32}, "input_size cannot be 32; accepted: channels"),
    ({"input_size": [2, 8, 8]}, "input_size cannot be"), ({"mean": [0.5]}, "mean and std"),
    ({"std": [1, 1, 0]}, "std above 0"), ({"std": [1, 1, math.nan]}, "3 finite numbers each"),
    ({"mean": [0, 0, math.inf]}, "3 finite numbers each"),
    ({"interpolation": "random"}, "interpolation cannot be 'random'; accepted: nearest"),
    ({"crop_mode": "corner"}, "crop_mode cannot be 'corner'; accepted: center, squash, border"),
    ({"crop_pct": 0}, "crop_pct cannot be 0"),
    ({"zoom": 1}, "unknown preprocessing zoom"),
], ids=str)
def test_preprocessing_that_there_is_not(made, changed, message):
    with pytest.raises(ValueError, match=message):
        held_out(made).loaded(PREPROCESSING | changed)


def test_preprocessing_is_needed(made):
    with pytest.raises(ValueError,
                       match="preprocessing cannot be None; accepted: a mapping with input_size"):
        held_out(made).loaded()


# --- other readers ---


def same_images(found: FileImages, images: FileImages) -> None:
    """Two sets of the same images, whatever the order in which they were read."""
    key = [sorted(zip(part.labels.tolist(),
                      (picture.numpy().tobytes() for picture in part.loaded(PREPROCESSING).images),
                      strict=True))
           for part in (found, images)]
    assert key[0] == key[1]
    again = found.select([7, 2, 2])
    assert torch.equal(again.loaded(PREPROCESSING).images,
                       found.loaded(PREPROCESSING).images[[7, 2, 2]])
    assert pickle.loads(pickle.dumps(found)).sha256() == found.sha256()


def test_a_tar_file_holds_the_same_images(made, tmp_path):
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(made / "val", "val")
    found = load_part({"name": "files", "root": str(tmp_path / "images.tar")}, "held_out",
                      threads=5, index_folder=tmp_path / "index")
    images = held_out(made)
    assert torch.equal(found.labels, images.labels) and found.class_names == images.class_names
    assert torch.equal(found.loaded(PREPROCESSING).images, images.loaded(PREPROCESSING).images)
    assert [entry.sha256 for entry in found.checked().entries] == [entry.sha256
                                                                   for entry in images.checked().entries]
    assert [entry.name for entry in found.checked().entries] == [f"val/{entry.name}"
                                                                 for entry in images.checked().entries]
    same_images(found, images)
    (tmp_path / "images.tar").write_bytes((tmp_path / "images.tar").read_bytes()[:15_000])
    with pytest.raises(ValueError, match="^[^\n]*(cannot be read|no images could be read)[^\n]*$"):
        held_out(tmp_path / "images.tar").checked()


def test_a_tar_file_without_folders_or_images(made, tmp_path):
    with tarfile.open(tmp_path / "flat.tar", "w") as archive:
        archive.add(files_of(made)[0], "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(ValueError, match="1 images lie in .*flat.tar itself"):
        held_out(tmp_path / "flat.tar")
    with tarfile.open(tmp_path / "twice.tar", "w") as archive:
        for _ in range(2):
            archive.add(made, arcname=".")
    with pytest.raises(ValueError,
                       match="twice.tar holds .* more than once; accepted: a tar file that was "
                             "made anew"):
        held_out(tmp_path / "twice.tar")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(ValueError, match="no images could be read from .*empty.tar") as error:
        held_out(tmp_path / "empty.tar")
    assert "\n" not in str(error.value)


def test_a_data_set_of_torchvision(made):
    found = held_out(made, reader="torch/image_folder")
    assert torch.equal(found.labels, held_out(made).labels)
    same_images(found, held_out(made))


def test_a_hugging_face_data_set(made, tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = held_out(tmp_path / "cache", tmp_path / "index", reader=f"hfds/{made / 'val'}")
    assert found.labels.tolist() == held_out(made).labels.tolist()
    same_images(found, held_out(made))
    same_images(held_out(tmp_path / "cache", reader=f"hfids/{made / 'val'}", num_samples=12),
                held_out(made))
    with pytest.raises(ValueError,
                       match="no images could be read from hfds/.*accepted: a data set and a split") as error:
        held_out(tmp_path / "cache", reader=f"hfds/{made / 'val'}", split="train")
    assert "\n" not in str(error.value)


def test_a_web_dataset(made, tmp_path):
    pytest.importorskip("webdataset")
    files, images = files_of(made), held_out(made, class_names="folder")
    with tarfile.open(tmp_path / "shard-0.tar", "w") as archive:
        for place, path in enumerate(files):
            (tmp_path / "class").write_text(str(int(images.labels[place])))
            archive.add(path, f"{place:04d}.jpg")
            archive.add(tmp_path / "class", f"{place:04d}.cls")
    found = held_out(tmp_path, reader="wds/any", split="shard-0.tar|12")
    assert torch.equal(found.labels, images.labels) and found.class_names == ("class 0", "class 1",
                                                                              "class 2")
    same_images(found, images)
    check_classes(found, 3, "any")


# --- the rehearsal's images ---


def test_rehearsal_images_are_the_same_every_time(made, tmp_path):
    def digest(root: Path) -> dict[str, str]:
        return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(root.rglob("*.JPEG"))}

    assert digest(make_images(tmp_path / "again")) == digest(made) != digest(
        make_images(tmp_path / "other", seed=1))
    assert sorted(path.name for path in files_of(made)) == [f"ILSVRC2012_val_{number:08d}.JPEG"
                                                            for number in range(1, 13)]
    entries = held_out(made).checked().entries
    assert sorted(entry.mode for entry in entries) == ["CMYK", "L"] + ["RGB"] * 10
    assert len({(entry.width, entry.height) for entry in entries}) == 4
