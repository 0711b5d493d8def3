"""Images that are declared: the digest is that of the shell's commands, and one that is changed,
missing, added or renamed is refused in a line."""

import hashlib
import json
import os
import shutil

import pytest

from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.declared import check_declared, declared, digests, record_file
from neuronpath_core.runs.inputs import inputs_sha256
from tests import photos


@pytest.fixture
def root(tmp_path):
    photos.write_pictures(tmp_path, each=3)
    return tmp_path


def load(root):
    return load_part(photos.DATASET, "held_out", base=root)


def refusal(root) -> str:
    with pytest.raises(ValueError) as caught:
        check_declared(load(root), photos.DATASET, root)
    message = str(caught.value)
    assert "\n" not in message and "accepted: those of photos.json, git clone https://" in message
    return message


def test_the_digest_is_that_of_sha256sum_over_sorted_names(root):
    folder = root / "data" / "photos" / "test"
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  cat/{path.name}\n"
             for path in sorted((folder / "cat").iterdir())]
    assert digests(load(root))["cat"] == {
        "images": 3, "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}


def test_the_declared_images_are_given_back(root):
    images = load(root)
    assert check_declared(images, photos.DATASET, root) is images
    assert sorted(declared(photos.DATASET, root)) == photos.CLASSES


def test_one_that_is_changed_missing_added_or_renamed_is_refused(root):
    folder = root / "data" / "photos" / "test"
    first = folder / "cat" / "0000.jpg"
    content = first.read_bytes()
    first.write_bytes(content + b"\0")
    assert "an image of cat is another, or has another name" in refusal(root)
    first.write_bytes(content)
    check_declared(load(root), photos.DATASET, root)
    first.rename(folder / "cat" / "0009.jpg")
    assert "an image of cat is another, or has another name" in refusal(root)
    (folder / "cat" / "0009.jpg").unlink()
    assert "cat has 2 images, not 3" in refusal(root)
    first.write_bytes(content)
    shutil.copy(first, folder / "dog" / "0003.jpg")
    assert "dog has 4 images, not 3" in refusal(root)
    (folder / "dog" / "0003.jpg").unlink()
    shutil.copytree(folder / "dog", folder / "zebra")
    assert "zebra has 3 images, not 0" in refusal(root)


def test_two_images_of_two_classes_that_change_places_are_refused(root):
    folder = root / "data" / "photos" / "test"
    one, two = folder / "cat" / "0000.jpg", folder / "dog" / "0000.jpg"
    contents = one.read_bytes(), two.read_bytes()
    one.write_bytes(contents[1])
    two.write_bytes(contents[0])
    assert "an image of cat is another" in refusal(root) and "of dog is" in refusal(root)


def test_what_is_not_declared_is_not_checked(root):
    (root / "data" / "photos.json").unlink()
    assert record_file(photos.DATASET, root) is None and declared(photos.DATASET, root) is None
    check_declared(load(root), photos.DATASET, root)
    assert record_file({"name": "digits"}, root) is None
    assert record_file({**photos.DATASET, "root": None}, root) is None


@pytest.mark.parametrize("text", ["{", "{}", '{"test": []}', '{"test": {"cat": {"images": "x"}}}'])
def test_a_damaged_declaration_is_refused(root, text):
    (root / "data" / "photos.json").write_text(text)
    with pytest.raises(ValueError, match="does not declare the images of 'test'; accepted: "):
        declared(photos.DATASET, root)


def test_a_hash_of_inputs_takes_what_is_declared_and_no_times(root):
    entries = {"dataset": photos.DATASET, "models": {}}
    before = inputs_sha256(root, entries)
    os.utime(root / "data" / "photos" / "test" / "cat" / "0000.jpg", (1, 1))
    assert inputs_sha256(root, entries) == before
    shutil.rmtree(root / "data" / "photos")
    assert inputs_sha256(root, entries) == before
    file = root / "data" / "photos.json"
    record = json.loads(file.read_text())
    record["test"]["cat"]["sha256"] = "0" * 64
    file.write_text(json.dumps(record))
    assert inputs_sha256(root, entries) != before


def test_without_a_declaration_times_count(root):
    (root / "data" / "photos.json").unlink()
    entries = {"dataset": photos.DATASET, "models": {}}
    before = inputs_sha256(root, entries)
    os.utime(root / "data" / "photos" / "test" / "cat" / "0000.jpg", (1, 1))
    assert inputs_sha256(root, entries) != before
