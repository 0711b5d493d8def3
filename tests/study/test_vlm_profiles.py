"""Profiles of vision-language models: read beside those of classifiers, refused in one line, and
what a run with them looks for."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from neuronpath_core.runs.choice import not_run, notebook_names
from neuronpath_core.runs.inputs import inputs_sha256
from neuronpath_core.runs.parameters import check_parameters, parameter_checks
from neuronpath_core.runs.preflight import input_problems
from neuronpath_core.study.profiles import load_profile
from neuronpath_core.study.vlm_profiles import (
    any_profile,
    is_vlm_profile,
    load_vlm_profile,
    vlm_entries,
    vlm_profile_names,
)
from neuronpath_core.study.vlm_weights import vlm_problems, vlm_weights
from tests.helpers import refused

ROOT = Path(__file__).parents[2]
SPEC = {"kind": "llava", "weights": "data/weights/vlm/one.safetensors",
        "training": {"seed": 3, "steps": {"everything": 9}, "checkpoints": [4]}}
PROFILE = {"dataset": {"name": "scenes", "train_scenes": 5, "held_out_scenes": 4, "seed": 0},
           "models": {"one": SPEC}, "replicas": {"one": [7, 8]}, "notebooks": {}}


@pytest.fixture
def root(tmp_path):
    for folder in ("profiles", "notebooks", "neuronpath_core"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "profiles" / "digits.yml", tmp_path / "profiles")
    written(tmp_path, PROFILE)
    return tmp_path


def written(root, entries, name="mine"):
    (root / "profiles" / f"{name}.yml").write_text(yaml.safe_dump(entries, sort_keys=False))


def changed(*keys, to):
    found = copy.deepcopy(PROFILE)
    inner = found
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    return found


def test_both_kinds_are_told_apart_and_read(root):
    assert vlm_profile_names(root) == ["mine"]
    assert is_vlm_profile("mine", root) and not is_vlm_profile("digits", root)
    assert not is_vlm_profile("none", root) and not is_vlm_profile(["mine"], root)
    assert any_profile("mine", root) == load_vlm_profile("mine", root) == PROFILE
    assert any_profile("digits", root) == load_profile("digits", root)
    refused(lambda: load_profile("mine", root), "name cannot be", "accepted: digits, shapes, files")
    (root / "profiles" / "mine.yml").write_text("models: [")
    assert not is_vlm_profile("mine", root)
    refused(lambda: any_profile("mine", root), "it is not YAML", "accepted: YAML")


def test_replicas_and_checkpoints_have_weights_beside_the_models():
    found = vlm_entries(PROFILE)
    assert list(found) == ["one", "one seed 7", "one seed 8", "one step 4"]
    assert [spec["weights"].removeprefix("data/weights/vlm/") for spec in found.values()] == [
        "one.safetensors", "one.seed-7.safetensors", "one.seed-8.safetensors",
        "one.step-4.safetensors"]
    assert found["one seed 8"]["training"] == {"seed": 8, "steps": {"everything": 9}}
    assert found["one step 4"]["training"] == SPEC["training"]


@pytest.mark.parametrize(("entries", "said"), [
    (changed("models", "one", "kind", to="llawa"), "models.one.kind cannot be 'llawa'; accepted"),
    (changed("models", "one", "wieghts", to="x"), "wieghts is unknown, nearest is weights"),
    (changed("dataset", "name", to="shapes"), "dataset.name cannot be 'shapes'"),
    (changed("dataset", "held_out_scenes", to=1), "a whole number of at least 2"),
    (changed("models", "one", "training", "steps", "all", to=3), "all is unknown"),
    (changed("models", "one", "training", "rates", to={"words": -1}), "rates.words cannot be -1"),
    (changed("models", "one", "training", "checkpoints", to=[0]), "a list of whole numbers"),
    (changed("models", "one", "weights", to="/etc/passwd"), "accepted"),
    (changed("replicas", "one", to=[3]), "the model's own seed; accepted: different ones"),
    (changed("replicas", "one", to=[7, 7]), "there twice"),
    (changed("replicas", to={"two": [1]}), "replicas name 'two'; accepted: models with a training"),
    ({**PROFILE, "model": {}}, "model is unknown, nearest is models"),
])
def test_what_cannot_be_is_refused_in_one_line(root, entries, said):
    written(root, entries)
    refused(lambda: load_vlm_profile("mine", root), said, "accepted: ")


def test_other_names_are_refused(root):
    refused(lambda: load_vlm_profile("digits", root), "is one of classifiers; accepted: mine")
    refused(lambda: load_vlm_profile("mime", root), "unknown, nearest is mine; accepted: mine")


def test_weights_are_inputs_and_one_file_is_enough(root, monkeypatch):
    before = inputs_sha256(root, PROFILE)
    assert ["make weights PROFILE=mine" in line for line in vlm_problems("mine", root)] == [True]
    assert list(input_problems(root, "mine", ["one"])) == list(vlm_problems("mine", root))
    file = root / "data" / "weights" / "vlm" / "one.step-4.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert list(vlm_problems("mine", root)) == []
    assert inputs_sha256(root, PROFILE) != before
    assert vlm_weights(SPEC, root) is None
    elsewhere = root / "elsewhere" / SPEC["weights"]
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(b"others")
    monkeypatch.setenv("NEURONPATH_WEIGHTS", str(root / "elsewhere"))
    assert vlm_weights(SPEC, root) == elsewhere


def test_a_notebook_about_such_a_profile_accepts_its_models_and_no_others():
    checks = parameter_checks(ROOT, load_vlm_profile("vlm", ROOT))
    for value in ("staged", "staged seed 1", "staged seed 2"):
        check_parameters("32", ["model"], checks, {"model": value})
    refused(lambda: check_parameters("32", ["model"], checks, {"model": "tiny-B-16"}),
            "accepted: one of staged")


def test_the_shipped_profile_names_notebooks_that_there_are():
    profile = load_vlm_profile("vlm", ROOT)
    assert set(profile["notebooks"]) | set(not_run(ROOT, profile)) <= set(notebook_names(ROOT))
    assert all(spec["weights"].startswith("data/weights/vlm/")
               for spec in vlm_entries(profile).values())
