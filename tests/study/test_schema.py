"""What people write into profiles: wrong types, unknown keys, sizes that do not fit each other, and
files that are no profiles. Each is refused in one line that names file, key and what is accepted.
"""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from neuronpath_core.images.data_sets import load_part
from neuronpath_core.runs.parameters import check_parameters, parameter_checks
from neuronpath_core.study.profiles import load_profile, profile_names
from neuronpath_core.study.vlm_profiles import any_profile
from tests import rehearsal, small_study
from tests.helpers import refused

SIZES = {"img_size": 16, "patch_size": 4, "in_chans": 1, "num_classes": 10, "embed_dim": 24,
         "depth": 2, "num_heads": 2}
GOOD = {"dataset": {"name": "digits", "train_images": 400, "split_seed": 0},
        "models": {"mine": {"architecture": SIZES, "weights": "w.safetensors",
                            "training": {"seed": 1, "epochs": 9}}},
        "notebooks": {"01_sum": {"steps": 3}}}


@pytest.fixture
def study(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "neuronpath_core").mkdir()
    return tmp_path


def written(study, content, name="mine"):
    path = study / "profiles" / f"{name}.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load(study, content, name="mine"):
    text = content if isinstance(content, (str, bytes)) else yaml.safe_dump(content)
    written(study, text, name)
    return load_profile(name, study)


def changed(keys: str, value: object) -> dict:
    """The good profile with another value, or without one, at the keys."""
    entries = deepcopy(GOOD)
    *above, last = keys.split("/")
    place = entries
    for key in above:
        place = place.setdefault(key, {})
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return entries


# --- types, keys, ranges ---


FILES = {"name": "files", "root": None}
WRONG = [
    ("dataset/split_seed", None, "a whole number"), ("dataset/split_seed", True, "a whole number"),
    ("dataset/split_seed", -1, "of at least 0"), ("dataset/split_seed", 2**40, "up to"),
    ("dataset/split_seed", 1.0, "1.0"), ("dataset/train_images", "1e3", "'1e3'"),
    ("dataset/train_images", 400.0, "400.0"), ("dataset/train_images", float("nan"), "nan"),
    ("dataset/train_images", float("inf"), "inf"), ("dataset/train_images", 0, "of at least 10"),
    ("dataset/train_images", 1790, "up to 1787"), ("dataset/train_images", KeyError, "lacks"),
    ("dataset/image_size", 0, "0"), ("dataset/image_size", 10**9, "up to"),
    ("dataset/image_size", [16, 16], "[16, 16]"),
    ("dataset/name", "digit", "digits, shapes, files"), ("dataset/name", ["digits"], "['digits']"),
    ("dataset/name", KeyError, "accepted: digits"), ("dataset", ["digits"], "a mapping"),
    ("dataset/train_image", 4, "nearest is train_images"),
    ("dataset", {"name": "shapes", "train_images": 48}, "lacks held_out_images"),
    ("dataset", {"name": "shapes", "train_images": 48, "held_out_images": 24, "difficulty": True},
     "from 0 to 1"),
    ("dataset", FILES | {"preprocessing": {"crop_pct": "0.9"}}, "up to 1"),
    ("dataset", FILES | {"preprocessing": {"mean": [0.5, float("nan"), 0.5]}}, "finite"),
    ("dataset", FILES | {"preprocessing": {"std": [0.5, 0, 0.5]}}, "above 0"),
    ("dataset", FILES | {"preprocessing": {"crop": 1.0}}, "nearest is crop_pct"),
    ("dataset", FILES | {"unreadable": "skipp"}, "fatal, skip"),
    ("dataset", FILES | {"root": 12}, "a path"), ("dataset", FILES | {"class_names": [True]}, "list"),
    ("dataset", FILES | {"num_samples": -3}, "whole number"),
    ("dataset", FILES | {"class_map": {"a": "1"}}, "whole numbers"),
    ("modles", {}, "nearest is models"), ("models", KeyError, "lacks models"),
    ("models/mine/wieghts", "x", "nearest is weights"), ("models/mine/weights", 3, "a text"),
    ("models/mine/weights", "", "''"), ("models/mine/pretrained", "yes", "true, false"),
    ("models/mine/bytes", 3e8, "a whole number"), ("models/mine/format", "mea", "timm, mae"),
    ("models/mine/sha256", "abc", "64 hexadecimal"), ("models/mine/sha256_prefix", 83001655, "quotes"),
    ("models/mine/architecture", KeyError, "names no model, or two"),
    ("models/mine/timm", "test_vit", "names no model, or two"),
    ("models/mine/architecture", [16, 4], "a mapping"), ("models/mine/scope", "class", "auto, cls"),
    ("models/mine/architecture/img_size", "16", "'16'"),
    ("models/mine/architecture/img_size", -16, "-16"),
    ("models/mine/architecture/img_sise", 16, "nearest is img_size"),
    ("models/mine/architecture/depth", True, "True"),
    ("models/mine/architecture/depth", 10**6, "up to"),
    ("models/mine/architecture/mlp_ratio", float("inf"), "inf"),
    ("models/mine/architecture/drop_rate", 1.5, "from 0 to 1"),
    ("models/mine/architecture/qkv_bias", 1, "true, false"),
    ("models/mine/training/epochs", 0, "of at least 1"),
    ("models/mine/training/epoch", 3, "nearest is epochs"),
    ("models/mine/training/rate", float("nan"), "nan"), ("models/mine/training", None, "a mapping"),
    ("models/mine/data_config", {"mean": 0.5}, "a list"),
    ("models", {"mine": {"timm": "vit", "arguments": {"img_sise": 224}}}, "nearest is img_size"),
    ("models", {"mine": {"timm": "vit", "arguments": {"img_size": "224"}}}, "'224'"),
    ("notebooks", ["01_sum"], "a mapping"), ("notebooks/01_sum", 3, "a mapping"),
    ("notebooks/01_sum/steps", 0, "of at least 1"), ("notebooks/01_sum/steps", "1e3", "'1e3'"),
    ("notebooks/01_sum/steps", 10**12, "up to"), ("notebooks/01_sum/steps", True, "True"),
    ("notebooks/01_sum/tops", [5, 5], "each once"), ("notebooks/01_sum/tops", 5, "a list"),
    ("notebooks/01_sum/tops", [], "a list"), ("notebooks/01_sum/shares", [True], "0 to 1"),
    ("notebooks/01_sum/shares", [float("nan")], "0 to 1"),
    ("notebooks/01_sum/n_images", "many", "a whole number"),
    ("notebooks/01_sum/pool_images", -1, "a whole number"),
    ("notebooks/01_sum/seed", None, "a whole number"),
    ("notebooks/01_sum/strength", float("inf"), "positive"),
    ("notebooks/01_sum/device", "gpu", "cpu, cuda"), ("notebooks/01_sum/progress", "no", "true"),
    ("replicas", {"mine": [11, 11]}, "different"), ("replicas", {"mine": [1]}, "the seed 1"),
    ("replicas", {"mine": [1e3]}, "whole numbers"), ("checkpoints", {"mine": [10]}, "9 epochs"),
    ("replicas", {"mine": [2**70]}, "whole numbers"),
]


@pytest.mark.parametrize(("keys", "value", "words"), WRONG, ids=str)
def test_a_value_that_cannot_be_is_named_with_its_file_and_keys(study, keys, value, words):
    load(study, GOOD)
    said = refused(lambda: load(study, changed(keys, value)), words, "profiles/mine.yml",
                   keys.split("/")[-1] if value is not KeyError else keys.split("/")[0])
    assert len(said) < 600


@pytest.mark.parametrize(("keys", "value", "words"), [
    ("models/mine/architecture/img_size", 32, "the images of digits are 16 x 16; accepted: 16"),
    ("models/mine/architecture/img_size", [16, 32], "accepted: 16"),
    ("dataset/image_size", 8, "models.mine.architecture.img_size is 16 x 16"),
    ("models/mine/architecture/img_size", KeyError, "is 224 x 224"),
    ("models/mine/architecture/patch_size", 5, "a number that divides it"),
    ("models/mine/architecture/patch_size", [4, 32], "a number that divides it"),
    ("models/mine/architecture/num_heads", 5, "cannot be 5 with embed_dim 24"),
    ("models/mine/architecture/embed_dim", 25, "num_heads cannot be 2 with embed_dim 25"),
    ("models/mine/architecture/in_chans", 3, "accepted: 1"),
    ("models/mine/architecture/num_classes", 9, "accepted: 10"),
    ("models/mine/architecture/num_classes", KeyError, "is 1000"),
], ids=str)
def test_sizes_that_do_not_fit_each_other(study, keys, value, words):
    refused(lambda: load(study, changed(keys, value)), words, "profiles/mine.yml")


def test_long_values_and_long_lists_are_cut(study):
    said = refused(lambda: load(study, changed("models/mine/weights", ["x" * 5000] * 50)), "…")
    assert len(said) < 400
    models = {f"model {number}": {} for number in range(400)}
    assert len(refused(lambda: load(study, changed("models", models)), "model 0")) < 400


def test_the_file_named_is_the_one_that_gives_the_value(study):
    load(study, GOOD, "base")
    child = {"extends": "base", "models": {"mine": {"architecture": {"depth": "two"}}}}
    refused(lambda: load(study, child), "architecture.depth", "the file is profiles/mine.yml")
    written(study, yaml.safe_dump(changed("dataset/split_seed", None)), "base")
    child["models"]["mine"]["architecture"]["depth"] = 3
    refused(lambda: load(study, child), "split_seed", "the file is profiles/base.yml")


@pytest.mark.parametrize(("spec", "words"), [
    ({"split_seed": None}, "split_seed"), ({"image_size": "16"}, "image_size"),
    ({"train_images": True}, "train_images"), ({"seed": 3}, "seed is unknown"),
], ids=str)
def test_a_data_set_opened_without_a_profile_takes_no_less_care(spec, words):
    refused(lambda: load_part(GOOD["dataset"] | spec, "held_out"), words)


def test_the_same_held_out_images_every_time():
    spec = {"name": "digits", "train_images": 400}
    assert load_part(spec, "held_out").ids.equal(load_part(spec, "held_out").ids)


# --- YAML ---


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi",
                                                                         strict=True))
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{place + 1}: &a{place + 1} [*a{place}]\n"
                                  for place in range(3000))
TEXT = yaml.safe_dump(GOOD)


@pytest.mark.parametrize(("content", "words"), [
    ("", "empty"), ("# nothing\n", "empty"), ("- dataset\n- models", "accepted: a mapping"),
    ("digits", "accepted: a mapping"), ("null", "empty"), (b"\xff\xfe" + TEXT.encode("utf-16-le"), "UTF-8"),
    (b"\x89PNG\r\n\x1a\n" + bytes(200), "UTF-8"), (bytes(200), "not YAML"),
    ("dataset: \xe4".encode("latin-1"), "UTF-8"), (TEXT + "dataset: {}\n", "'dataset' is given twice"),
    ("models: {a: 1, a: 2}", "'a' is given twice"), ("a: &a [*a]", "what it is part of"),
    ("models: &m\n  mine: {<<: *m}", "what it is part of"), (BOMB, "repeat values"),
    (CHAIN, "deeper than"), ("a: " + "[" * 200_000, "nested deeper"),
    ("a: " + "{b: " * 200_000, "nested deeper"), ("a: 0400", "would be read as 256"),
    ("a: 1:30", "would be read as 90"), ("1: 2", "no text: '1'"), ("on: 2", "no text: 'on'"),
    ("2024-01-01: 2", "no text"), ("? [a]\n: 1", "no text"), ("~: 1", "no text"),
    ("a: " + "9" * 5000, "cannot be read"), ("a: 2024-13-45", "cannot be read"),
    ("a: !!python/object/apply:os.getcwd []", "not YAML"), ("a: 1\n---\nb: 2", "not YAML"),
    ("a: [1", "not YAML"), ("a:\t1\n\tb: 2", "not YAML"), ("a: *b", "not YAML"),
    ("a: " + "x" * 2_000_000, "longer than"), ("extends: mine", "extends itself"),
    ("extends: nobody", "unknown profile 'nobody'"), ("extends: [mine]", "['mine']"),
    ("extends: ../profiles/mine", "unknown profile"), ('extends: "a\\0b"', "unknown profile"),
], ids=lambda value: None if isinstance(value, str) and len(value) < 60 else "content")
def test_files_that_are_no_profiles(study, content, words):
    said = refused(lambda: load(study, content), words, "profiles/mine.yml")
    assert len(said) < 600


def test_a_byte_order_mark_and_other_ends_of_lines_do_not_matter(study):
    assert load(study, b"\xef\xbb\xbf" + TEXT.encode()) == GOOD
    assert load(study, TEXT.replace("\n", "\r\n")) == GOOD


def test_aliases_and_merges_that_end_are_fine(study):
    text = ("dataset: {name: digits, train_images: 400}\nmodels:\n  one:\n    architecture: &base "
            + str(SIZES).replace("'", "") + "\n  two:\n    architecture: {<<: *base, depth: 3}\n"
            "notebooks: {01_sum: &sum {steps: 3}, 02_list: *sum}\n")
    assert load(study, text)["models"]["two"]["architecture"] == {**SIZES, "depth": 3}


# --- what lies about in profiles/ ---


def stray(study):
    folder = study / "profiles"
    (folder / ".#digits.yml").symlink_to("somebody@host.1234:1700000000")
    for name in ("digits.yml~", "#digits.yml#", ".digits.yml.swp", "._digits.yml", "~$digits.yml",
                 ".DS_Store", "#other.yml", "notes.txt"):
        (folder / name).write_bytes(b"\0\1")
    (folder / "x.yml").mkdir()
    (folder / "gone.yml").symlink_to("nowhere.yml")
    os.mkfifo(folder / "pipe.yml")
    os.close(os.open(os.fsencode(folder) + b"/\xff.yml", os.O_CREAT))


def test_what_editors_and_systems_leave_is_no_profile(study):
    load(study, GOOD, "digits")
    stray(study)
    assert profile_names(study) == ["digits"]
    assert load_profile("digits", study) == GOOD
    refused(lambda: load_profile("x", study), "profiles/x.yml is a folder", "accepted: digits")
    refused(lambda: load_profile("gone", study), "a link to nothing")
    refused(lambda: load_profile("pipe", study), "no regular file")
    refused(lambda: load_profile("digit", study), "nearest is digits")
    for name in ("", ".", "..", "a\0b", "../profiles/digits", "\udcff", 3, None, ["digits"]):
        refused(lambda name=name: load_profile(name, study), "unknown profile")


def test_a_run_among_them_warns_once_of_what_could_be_meant(tmp_path):
    root = small_study.make_study(tmp_path / "study")
    stray(root)
    status, output, errors = rehearsal.command(root, "run", "--check")
    assert status == 0, errors
    (line,) = [line for line in errors.splitlines() if "profiles/" in line]
    for words in ("gone.yml (a link to nothing)", "pipe.yml", "x.yml (a folder)", "passed over"):
        assert words in line
    assert "digits.yml" not in line and "DS_Store" not in line


# --- on the command line ---


@pytest.mark.parametrize(("arguments", "words"), [
    (["-p", "steps", "1e3"], "'1e3'"), (["-p", "steps", "0400"], "would be read as 256"),
    (["-p", "steps", "[" * 100_000], "nested deeper"), (["-p", "steps", "true"], "True"),
    (["-p", "steps", "-2"], "-2"), (["-p", "steps", ".inf"], "inf"),
    (["-p", "steps", "9" * 5000], "cannot be read"), (["-p", "seed", "99999999999"], "up to"),
    (["-p", "steps", "3", "-p", "steps", "4"], "given twice"),
    (["-p", "models", "[one, one]"], "each once"), (["-p", "models", "[&a one, *a]"], "each once"),
    (["-p", "n_images", "1e3"], "1e3"), (["-p", "n_images", "true"], "True"),
    (["-p", "models", "{a: 1, a: 2}"], "given twice"), (["-p", "stesp", "3"], "steps"),
], ids=lambda value: value[-1][:20] if isinstance(value, list) else value)
def test_parameters_that_are_typed_are_held_to_the_same(tmp_path, arguments, words):
    root = small_study.make_study(tmp_path / "study")
    status, _, errors = rehearsal.command(root, "run", *arguments)
    assert status == 2 and len(errors.splitlines()) == 1 and words in errors
    assert "accepted" in errors and len(errors) < 600
    assert not (root / "results").exists()


def test_counts_of_images_are_held_to_their_type_where_there_are_no_images(tmp_path):
    root = small_study.make_study(tmp_path / "study")
    checks = parameter_checks(root, {"models": {"one": {}}, "dataset": {"name": "files",
                                                                        "root": "nowhere"}})
    for value in ("1e3", True, -5, 0, 2.0, [3]):
        refused(lambda value=value: check_parameters("02_list", ["n_images"], checks,
                                                     {"n_images": value}), "n_images")
    check_parameters("02_list", ["n_images"], checks, {"n_images": 20})


def test_every_shipped_profile_is_one():
    root = Path(__file__).parents[2]
    for name in profile_names(root):
        assert any_profile(name, root)["models"]
