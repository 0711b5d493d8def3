"""What people's folders, tar files and class maps hold besides what one expects: counted, named or
refused, never a wrong label without a word."""

from __future__ import annotations

import io
import os
import socket
import tarfile
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from neuronpath_core.images.classes import check_classes
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.file_images import FileImages


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8))


def made(root: Path, *files: str) -> Path:
    """A folder with these pictures, each another one."""
    for seed, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(root / file, None if Path(file).suffix in (".webp", ".bmp", ".tif")
                           else "PNG")
    return root


def packed(file: Path, *members: str) -> Path:
    """A tar file with these pictures."""
    with tarfile.open(file, "w") as archive:
        for seed, name in enumerate(members):
            stream = io.BytesIO()
            picture(seed).save(stream, "PNG")
            entry = tarfile.TarInfo(name)
            entry.size = len(stream.getvalue())
            archive.addfile(entry, io.BytesIO(stream.getvalue()))
    return file


def opened(root: Path, part: str = "held_out", **settings) -> tuple[FileImages, str]:
    """The images and what is warned of, which is one line at most."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        images = load_part({"name": "files", "root": str(root), **settings}, part)
    said = [str(each.message) for each in told if not issubclass(each.category, ResourceWarning)]
    assert len(said) <= 1 and "\n" not in "".join(said)
    return images, "".join(said)


def names(images: FileImages) -> list[str]:
    return [entry.name for entry in images.checked().entries]


def refused(root: Path, message: str, part: str = "held_out", **settings) -> str:
    with pytest.raises(ValueError, match=message) as error:
        opened(root, part, **settings)
    assert "\n" not in str(error.value) and "accepted: " in str(error.value)
    return str(error.value)


# --- folders within folders ---

NESTED = {
    "years": ["val/cat/2023/a.png", "val/cat/2024/b.png", "val/dog/2023/c.png",
              "val/dog/2024/d.png"],
    "kinds": ["val/animal/cat/a.png", "val/animal/dog/b.png", "val/thing/cup/c.png"],
    "some": ["val/cat/a.png", "val/cat/more/b.png", "val/dog/c.png"],
    "sources": ["web/cat/a.png", "web/dog/b.png", "own/cat/c.png", "own/dog/d.png"],
}


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("archive", [False, True], ids=["folder", "tar"])
def test_nested_class_folders_are_refused_until_one_says_which_is_the_class(tmp_path, kind,
                                                                            archive):
    root = (packed(tmp_path / "images.tar", *NESTED[kind]) if archive
            else made(tmp_path / "images", *NESTED[kind]))
    said = refused(root, "lie in folders within folders")
    assert "class_folder: first, as torchvision" in said
    below = [file.removeprefix("val/").split("/")[:-1] for file in NESTED[kind]]
    for choice, place in (("first", 0), ("last", -1)):
        images, _ = opened(root, class_folder=choice)
        expected = [parts[place] for parts in below]
        assert images.class_names == tuple(sorted(set(expected)))
        assert sorted(images.class_names[label] for label in images.labels) == sorted(expected)
    refused(root, "class_folder cannot be 'leaf'; accepted: first, last", class_folder="leaf")


def test_the_refusal_names_folders_and_both_answers(tmp_path):
    assert (r"4 images in") in (said := refused(made(tmp_path, *NESTED["years"]), "nested|within"))
    assert "cat/2023, cat/2024, dog/2023, …" in said
    assert "first (2 classes: cat, dog) or the last of them (2: 2023, 2024)" in said


def test_one_folder_around_all_is_told_of(tmp_path):
    images, said = opened(made(tmp_path, "mine/cat/a.png", "mine/dog/b.png"))
    assert images.class_names == ("cat", "dog") and "all pictures lie in mine, whose" in said
    for stem, member in (("mine", "mine"), ("x", "./val"), ("mine", "mine/val")):
        images, said = opened(packed(tmp_path / f"{stem}.tar", f"{member}/cat/a.png",
                                     f"{member}/dog/b.png"))
        assert (images.class_names, said) == (("cat", "dog"), "")


def test_pictures_beside_class_folders_are_in_none(tmp_path):
    refused(made(tmp_path / "a", "val/cat/a.png", "val/b.png"), "1 images lie in .* itself")
    refused(packed(tmp_path / "b.tar", "b/cat/a.png", "b/b.png"), "1 images lie in .* itself")


# --- parts ---


@pytest.mark.parametrize("files", [
    ("train/cat/a.png", "test/cat/b.png"), ("train/a.png", "test/b.png"), ("Train/cat/a.png",),
    ("all/train/cat/a.png", "all/test/cat/b.png"),
], ids=str)
def test_other_parts_are_never_taken_for_the_one_that_is_asked_for(tmp_path, files):
    refused(made(tmp_path / "images", *files), "has no folder for the part 'validation' but")
    refused(packed(tmp_path / "images.tar", *files), "has no folder for the part 'validation' but")


def test_a_tar_file_of_several_parts_is_refused(tmp_path):
    both = packed(tmp_path / "both.tar", "train/cat/a.png", "val/cat/b.png", "val/dog/c.png")
    refused(both, "has no folder for the part 'validation' but train, val")
    refused(packed(tmp_path / "train.tar", "train/cat/a.png", "train/dog/a.png"), "but train")
    refused(packed(tmp_path / "two.tar", "d/train/cat/a.png", "d/val/cat/b.png"), "but train, val")


def test_two_folders_for_one_part(tmp_path):
    root = made(tmp_path, "val/cat/a.png", "valid/cat/b.png")
    refused(root, "has 2 folders for the part 'validation': val, valid; accepted: split: one")
    assert names(opened(root, split="valid")[0]) == ["cat/b.png"]


def test_parts_that_are_one_folder(tmp_path):
    made(tmp_path, "train/cat/a.png", "train/dog/b.png")
    (tmp_path / "val").symlink_to("train")
    for part in ("held_out", "train"):
        refused(tmp_path, "are one folder, so that no image would be held out", part,
                train_split="train")


def test_a_class_may_be_called_train(tmp_path):
    images, said = opened(made(tmp_path, "val/bus/a.png", "val/train/b.png"))
    assert (images.class_names, said) == (("bus", "train"), "")


# --- links and what is no file ---


def test_links_that_go_round_in_circles_end(tmp_path):
    root = made(tmp_path, "val/a/1.png", "val/b/1.png")
    (root / "val/a/back").symlink_to("..", target_is_directory=True)
    (root / "val/b/top").symlink_to(tmp_path, target_is_directory=True)
    (root / "val/b/self").symlink_to(".", target_is_directory=True)
    (root / "val/b/again.png").symlink_to("1.png")
    (root / "val/c").symlink_to("a", target_is_directory=True)
    for follow in (None, True, False):
        images, said = opened(root, follow_links=follow)
        assert names(images) == ["a/1.png", "b/1.png"] and images.class_names == ("a", "b")
        assert "links, not followed: 5 (a/back, b/again.png, b/self, …)" in said


def test_links_to_other_places_are_followed_when_one_says_so_each_file_once(tmp_path):
    root = made(tmp_path / "set", "val/a/1.png")
    made(tmp_path / "store", "b/1.png", "b/2.png", "x.png")
    (root / "val/b").symlink_to(tmp_path / "store/b", target_is_directory=True)
    (root / "val/bb").symlink_to(tmp_path / "store/b", target_is_directory=True)
    (root / "val/a/2.png").symlink_to(tmp_path / "store/x.png")
    (root / "val/a/3.png").symlink_to("2.png")
    said = refused(root, "4 links in .* lead to other places: a/2.png, a/3.png, b, …; accepted: "
                         "follow_links: true")
    assert "or false, which leaves them out" in said
    assert names(opened(root, follow_links=False)[0]) == ["a/1.png"]
    assert names(opened(root, follow_links=True)[0]) == ["a/1.png", "a/2.png", "b/1.png", "b/2.png"]
    refused(root, "follow_links cannot be 'yes'; accepted: true, false", follow_links="yes")


def test_followed_links_do_not_lead_to_the_other_part(tmp_path):
    root = made(tmp_path, "val/a/1.png", "train/a/2.png")
    (root / "val/a/up").symlink_to("../..", target_is_directory=True)
    assert names(opened(root, follow_links=True)[0]) == ["a/1.png"]


def test_a_link_that_leads_nowhere_is_a_picture_that_cannot_be_read(tmp_path):
    root = made(tmp_path, "val/a/1.png")
    (root / "val/a/2.png").symlink_to("gone.png")
    (root / "val/a/3.png").symlink_to("3.png")
    images, _ = opened(root)
    with pytest.raises(ValueError, match="2 of 3 images cannot be read: a/2.png .*No such file"):
        images.checked()


def test_one_file_under_two_names_is_read_once(tmp_path):
    root = made(tmp_path, "val/a/1.png", "val/b/1.png")
    os.link(root / "val/a/1.png", root / "val/b/2.png")
    images, said = opened(root)
    assert names(images) == ["a/1.png", "b/1.png"]
    assert "hard links to a picture that is read: 1 (b/2.png)" in said


def test_what_is_no_file_is_not_opened(tmp_path, monkeypatch):
    root = made(tmp_path, "val/a/1.png", "val/b/1.png")
    os.mkfifo(root / "val/a/2.png")
    (root / "val/b/3.png").symlink_to("/dev/zero")
    monkeypatch.chdir(root / "val/b")  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("2.png")
        images, said = opened(root)
    assert names(images) == ["a/1.png", "b/1.png"]
    assert "no regular files: 3 (" in said


def test_links_and_devices_in_a_tar_file(tmp_path):
    file = packed(tmp_path / "images.tar", "a/1.png", "b/1.png")
    with tarfile.open(file, "a") as archive:
        for name, kind in (("a/2.png", tarfile.SYMTYPE), ("b/2.png", tarfile.LNKTYPE),
                           ("b/3.png", tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "1.png"
            archive.addfile(entry)
    images, said = opened(file)
    assert names(images) == ["a/1.png", "b/1.png"]
    assert "no regular files: 1 (b/3.png); links, not followed: 2 (a/2.png, b/2.png)" in said


# --- hidden files, other endings ---


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints/1-checkpoint.png", "@eaDir/1.png/x.png",
                                    "__MACOSX/1.png", "._1.png", ".cache/deep/x.png",
                                    "$RECYCLE.BIN/1.png", "lost+found/1.png"])
@pytest.mark.parametrize("archive", [False, True], ids=["folder", "tar"])
def test_hidden_files_and_folders_are_left_out_and_told_of(tmp_path, hidden, archive):
    files = ["val/a/1.png", f"val/a/{hidden}", "val/b/1.png", "val/.x/2.png"]
    root = packed(tmp_path / "i.tar", *files) if archive else made(tmp_path / "i", *files)
    images, said = opened(root)
    assert images.class_names == ("a", "b") and len(images) == 2
    assert "hidden or of a file system's own: 2 (" in said and hidden in said


def test_other_endings_are_counted(tmp_path):
    files = ["val/a/1.png", "val/a/2.webp", "val/a/3.bmp", "val/b/1.png", "val/b/2.tif",
             "val/b/3.webp"]
    images, said = opened(made(tmp_path, *files))
    assert len(images) == 2
    assert "pictures of other endings, not read: 4, .webp 2, .bmp 1, .tif 1" in said
    listed = "input_key: .bmp;.jpeg;.jpg;.png;.tif;.webp"
    assert listed in said
    images, said = opened(tmp_path, input_key=listed.removeprefix("input_key: "))
    assert names(images) == [file.removeprefix("val/") for file in files] and not said
    refused(tmp_path, "input_key cannot be 'png,jpg'", input_key="png,jpg")


@pytest.mark.parametrize("file", ["a/1.webp", "a/1.heic", "a/1.jpg.part"])
def test_a_folder_of_other_endings_alone(tmp_path, file):
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_bytes(b"x")
    refused(tmp_path, f"Found 0 images .*pictures of other endings, not read: 1, .*{Path(file).suffix} 1")


def test_class_folders_without_pictures_are_named(tmp_path):
    root = made(tmp_path, "val/b/1.png", "val/c/1.png", "val/d/1.bmp")
    (root / "val/a").mkdir()
    assert "folders without a picture that is read: 2 (a, d)" in opened(root)[1]


def test_an_ordinary_folder_is_not_spoken_of(tmp_path):
    root = made(tmp_path, "val/a/1.png", "val/b/1.png", "train/a/1.png", "readme.txt.png.d/x.png")
    (root / "val/a/notes.txt").write_text("x")
    (root / "val/Thumbs.db").write_text("x")
    assert opened(root)[1] == ""


# --- the order of the classes ---


@pytest.mark.parametrize("classes", [["class 10", "class 9"], ["Zebra", "apple"],
                                     ["1", "10", "2"]], ids=str)
def test_orders_of_timm_and_torchvision(tmp_path, classes):
    root = made(tmp_path, *(f"val/{name}/1.png" for name in classes))
    images, said = opened(root)
    assert set(images.class_names) == set(classes) and images.class_names != tuple(sorted(classes))
    assert "class_order: natural or alphabetical" in said
    natural, said = opened(root, class_order="natural")
    assert not said and natural.class_names == images.class_names
    other, said = opened(root, class_order="alphabetical")
    assert not said and other.class_names == tuple(sorted(classes))
    assert names(other) == names(images)
    for images in (natural, other):
        assert [images.class_names[label] for label in images.labels] == [
            name.split("/")[0] for name in names(images)]
    # not where the order does not decide
    assert not opened(root, class_names=classes)[1]
    assert not opened(root, class_map={name: at for at, name in enumerate(classes)})[1]
    refused(root, "class_order cannot be 'timm'; accepted: natural, alphabetical",
            class_order="timm")


def test_names_that_are_equal_to_timm_have_one_order(tmp_path):
    root = made(tmp_path, *(f"val/{name}/1.png" for name in ("01", "1", "001", "a", "A")))
    assert opened(root)[0].class_names == ("001", "01", "1", "A", "a")


# --- class maps ---


def mapped(tmp_path: Path, content: bytes, *folders: str) -> tuple[Path, str]:
    (tmp_path / "classes.txt").write_bytes(content)
    return made(tmp_path / "set", *(f"val/{name}/1.png" for name in folders)), str(
        tmp_path / "classes.txt")


@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_class_maps_in_every_common_form(tmp_path, code, end):
    text = end.join(["no", "grün", "maybe", ""])
    root, file = mapped(tmp_path, text.encode(code), "maybe", "no", "grün")
    images, said = opened(root, class_map=file)
    assert images.class_names == ("no", "grün", "maybe") and not said
    assert images.labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize(("content", "message"), [
    ("no\nyes\n".encode("utf-16-le"), "holds zero bytes, as UTF-16 without"),
    (b"", "is empty"), (b"\n\n", "is empty"),
    (b"no\n\nyes\n", "is blank in line 2"), (b"no\nyes\nno\n", "has no more than once"),
    (b"nn\nyess\n", r"Found 0 images of the class map: names .* without a folder: 2, nn, "
                    r"yess \(nearest folder: yes\); folders .*: 2 with 2 pictures \(no, yes\)"),
    (b"no,0\nyes,1\n", "Found 0 images of the class map"),
])
def test_class_maps_that_cannot_be_meant(tmp_path, content, message):
    root, file = mapped(tmp_path, content, "no", "yes")
    refused(root, message, class_map=file)


def test_a_class_map_that_makes_one_class_of_several_folders(tmp_path):
    root = made(tmp_path, *(f"val/{name}/1.png" for name in ("cat", "dog", "bird", "fox")))
    images, said = opened(root, class_map={"cat": 0, "dog": 1, "fox": 1, "bird": 1})
    assert images.labels.tolist() == [1, 0, 1, 1]
    assert "one number to several folders, which become one class: 1 for dog, fox and bird" in said
    assert "cat" not in said.partition("one number")[2]
    assert not opened(root, class_map={"cat": 0, "dog": 1, "fox": 3, "bird": 2})[1]


def test_what_a_class_map_leaves_out_is_named(tmp_path):
    root, file = mapped(tmp_path, b"no\nyes\nmaybee\n", "no", "yes", "maybe")
    images, said = opened(root, class_map=file)
    assert len(images) == 2
    assert "names of the class map without a folder: 1, maybee (nearest folder: maybe)" in said
    assert "folders that are not in the class map, left out: 1 with 1 pictures (maybe)" in said


@pytest.mark.parametrize(("written", "message"), [
    ("{no: 0, yes: 1}", "2 names of class_map are no text but False, True"),
    ("{~: 0, on: 1}", "no text but None, True"), ("{1.10: 0, no: 1}", r"no text but 1.1, False"),
    ("{2020-01-01: 0}", "no text but datetime.date"), ("{010: 0}", "Found 0 images .*8"),
    ("{a: '0'}", "not class indices .a: '0'."), ("{a: 0.0}", "not class indices"),
])
def test_names_that_yaml_reads_as_something_else(tmp_path, written, message):
    root = made(tmp_path, "val/010/1.png", "val/a/1.png")
    refused(root, message, class_map=yaml.safe_load(written))


def test_whole_numbers_are_names_where_there_are_such_folders(tmp_path):
    root = made(tmp_path, "val/1/1.png", "val/2/1.png")
    images, said = opened(root, class_map=yaml.safe_load("{1: 1, 2: 0}"))
    assert images.labels.tolist() == [1, 0] and not said


@pytest.mark.parametrize("folder", ["NFC", "NFD"])
@pytest.mark.parametrize("file", ["NFC", "NFD"])
def test_names_are_compared_in_one_unicode_form(tmp_path, folder, file):
    name = unicodedata.normalize(file, "café")
    root, path = mapped(tmp_path, f"{name}\ntea\n".encode(), unicodedata.normalize(folder, "café"),
                        "tea")
    for settings in ({"class_map": path}, {"class_map": {name: 0, "tea": 1}},
                     {"class_names": [name, "tea"]}, {}):
        images, said = opened(root, **settings)
        assert images.labels.tolist() == [0, 1] and not said
        assert images.class_names == ("café", "tea")


def test_two_folders_of_one_name_in_two_forms(tmp_path):
    root = made(tmp_path, *(f"val/{unicodedata.normalize(form, 'é')}/1.png"
                            for form in ("NFC", "NFD")))
    refused(root, "one name in two Unicode forms")


def test_a_list_of_names_that_has_some_of_the_folders(tmp_path):
    root = made(tmp_path, "val/cat/1.png", "val/dog/1.png")
    refused(root, "class_names has some folders' names and lacks 1: cat",
            class_names=["dog", "catt"])
    refused(root, "names of class_names are no text but False", class_names=["cat", False])
    assert opened(root, class_names=["dog", "cat"])[0].labels.tolist() == [1, 0]
    assert opened(root, class_names=["Katze", "Hund"])[0].labels.tolist() == [0, 1]


@pytest.mark.parametrize("names", [["Dog", "Cat"], ["dog ", "CAT"], ["Cat", "Hund"]])
def test_a_list_of_names_that_are_nearly_the_folders_is_refused(tmp_path, names):
    """Taken as other names they would be given in the folders' order: cats would be called dogs."""
    root = made(tmp_path, "val/cat/1.png", "val/dog/1.png")
    refused(root, "class_names are not the folders' names but nearly: cat and ", class_names=names)


def test_names_of_odd_folders_stay_on_one_line(tmp_path):
    root = made(tmp_path, "val/a\nb/1.png", "val/\x1b[31mred/1.png", "val/\u202egnp/1.png")
    images, _ = opened(root)
    assert set(images.class_names) == {"a\\nb", "\\x1b[31mred", "\\u202egnp"}
    with pytest.raises(ValueError, match="3 classes .* but any has 2 outputs") as error:
        check_classes(images, 2, "any")
    assert str(error.value).isprintable()


def test_tar_files_in_a_tar_file(tmp_path):
    inner = [packed(tmp_path / f"{name}.tar", "1.png", "2.png") for name in ("cat", "dog")]
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for file in inner:
            archive.add(file, file.name)
    images, said = opened(tmp_path / "all.tar")
    assert names(images) == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"] and not said
    assert images.labels.tolist() == [0, 0, 1, 1]
    digests = [entry.sha256 for entry in images.checked().entries]
    assert digests[:2] == digests[2:] and digests[0] != digests[1]


def test_every_image_tells_the_name_of_its_file(tmp_path):
    files = ["a/1.png", "a/2.png", "b/1.png"]
    for root in (made(tmp_path / "i", *files), packed(tmp_path / "i.tar", *files)):
        images, _ = opened(root)
        assert images.files() == files and images.select([2, 0]).files() == [files[2], files[0]]
        assert images.files() == names(images)


def test_tables_of_classes_with_dollar_signs_are_no_mathematics(tmp_path):
    root = made(tmp_path, "val/cost $5 or $6/1.png", "val/b/1.png")
    with pd.option_context("display.html.use_mathjax", True):
        opened(root)
        assert not pd.get_option("display.html.use_mathjax")
