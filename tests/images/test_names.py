"""Images and classes whose names are not UTF-8, or that another locale reads: from an old disk, an
archive made elsewhere."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuronpath_core.images.files import load_files
from neuronpath_core.support.text import as_utf8

ROOT = Path(__file__).parents[2]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")


def picture(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        Image.fromarray(pixels).save(stream, "PNG")


@pytest.fixture
def folder(tmp_path):
    """Two classes and three images with names in Latin-1, one of them in UTF-8."""
    base = os.fsencode(tmp_path / "data") + b"/val/"
    for seed, name in enumerate((b"caf\xe9/1.png", b"caf\xe9/\xfc.png", "thé/3.png".encode())):
        picture(base + name, seed)
    return tmp_path / "data"


def archived(folder):
    with tarfile.open(f"{folder}.tar", "w") as archive:
        archive.add(folder / "val", "")
    return Path(f"{folder}.tar")


def known(root, index=None, **settings):
    images = load_files("held_out", root=str(root), index_folder=index, **settings).checked()
    return images, [entry.name for entry in images.entries]


@pytest.mark.parametrize("form", [lambda folder: folder, archived], ids=["folder", "tar"])
def test_such_images_are_known_read_and_remembered(folder, tmp_path, form):
    root = form(folder)
    images, names = known(root, tmp_path / "index")
    assert sorted(name.rpartition("/")[2] for name in names) == ["1.png", "3.png", r"\xfc.png"]
    assert sorted(images.class_names) == [r"caf\xe9", "thé"]
    digest = images.sha256()
    again, _ = known(root, tmp_path / "index")
    assert again.sha256() == digest and again.pixels.shape == (3, 32, 32, 3)
    assert all(entry.thumbnail == b"" for entry in again.entries)  # of the index, not opened again


@pytest.mark.parametrize("inside", ["folder", "above"])
def test_what_is_not_utf8_may_be_the_folder_itself(tmp_path, inside):
    root = os.fsencode(tmp_path) + (b"/d\xe9" if inside == "folder" else b"/d\xe9/deep")
    for seed, name in enumerate((b"/a/1.png", b"/b/2.png")):
        picture(root + name, seed)
    images, names = known(os.fsdecode(root), tmp_path / "index")
    assert names == ["a/1.png", "b/2.png"] and len(images.sha256()) == 64


def test_a_file_that_cannot_be_read_is_named(folder, tmp_path):
    with open(os.fsencode(folder) + b"/val/caf\xe9/bad\xe9.png", "wb") as stream:
        stream.write(b"no image")
    with pytest.raises(ValueError, match="1 of 4 images") as refused:
        known(folder, tmp_path / "index")
    assert r"caf\xe9/bad\xe9.png" in str(refused.value)
    str(refused.value).encode()


def test_another_locale_sees_the_same_images(folder, tmp_path):
    images, _ = known(folder)
    code = f"""
from neuronpath_core.images.files import load_files
for _ in range(2):
    images = load_files("held_out", root={str(folder)!r}, index_folder={str(tmp_path / "ünï")!r}.encode().decode("ascii", "surrogateescape")).checked()
    print(ascii(images.class_names), images.sha256())
"""
    done = subprocess.run([sys.executable, "-"], input=code, cwd=ROOT,
                          env={**os.environ, **ASCII, "PYTHONIOENCODING": "utf-8"},
                          capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 2 * f"{images.class_names!a} {images.sha256()}\n"


@pytest.mark.parametrize("text", [b"th\xc3\xa9\ncaf\xe9\n", b"\xef\xbb\xbfth\xc3\xa9\r\ncaf\xe9"],
                         ids=["lines", "mark and Windows"])
def test_a_class_map_holds_the_bytes_of_the_folders(folder, tmp_path, text):
    (tmp_path / "map.txt").write_bytes(text)
    images, _ = known(folder, class_map=str(tmp_path / "map.txt"))
    assert images.class_names[:2] == ("thé", r"caf\xe9")
    assert sorted(images.labels.tolist()) == [0, 1, 1]


def test_names_that_are_written_alike_are_refused(folder):
    picture(os.fsencode(folder) + rb"/val/caf\xe9/1.png", 5)  # a backslash, an x, an e and a nine
    with pytest.raises(ValueError, match=r"caf\\xe9.*accepted"):
        known(folder)


def test_names_as_text():
    assert as_utf8("thé") == "thé" and as_utf8("caf\udce9") == r"caf\xe9"
    # as an ASCII locale reads it
    assert as_utf8("th\udcc3\udca9") == "thé"
