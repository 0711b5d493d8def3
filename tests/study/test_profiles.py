"""Profiles: how one extends another, what each must hold, and that the paper's own fits the
notebooks."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import timm
import yaml

from neuronpath_core.images.data_sets import load_part
from neuronpath_core.models.checkpoints import check_entry, locate
from neuronpath_core.models.preprocessing import model_preprocessing
from neuronpath_core.runs import parameters
from neuronpath_core.runs.choice import chosen_notebooks, not_run, notebook_names
from neuronpath_core.runs.inputs import inputs_sha256
from neuronpath_core.runs.notebooks import plan
from neuronpath_core.study.profiles import load_profile, profile_names
from neuronpath_core.study.targets import outline
from neuronpath_core.study.vlm_profiles import is_vlm_profile
from tests import rehearsal, small_study
from tests.helpers import refused

ROOT = Path(__file__).parents[2]
PAPER = ("imagenet", "imagenet_as_published")
COMPANION = "imagenet_class_space"  # other networks than the paper's four
CLASSIFIERS = [name for name in profile_names(ROOT) if not is_vlm_profile(name, ROOT)]
MODELS = ["ViT-B-16", "ViT-B-32", "ViT-L-32", "MAE-B-16"]


@pytest.fixture
def write(tmp_path):
    """Writes profiles into an empty study and reads one of them."""
    (tmp_path / "profiles").mkdir()

    def read(wanted, **profiles):
        for name, entries in profiles.items():
            (tmp_path / "profiles"
             / f"{name}.yml").write_text(yaml.safe_dump(entries, sort_keys=False))
        return load_profile(wanted, tmp_path)
    return read


SMALL = {"img_size": 16, "in_chans": 1, "num_classes": 10, "embed_dim": 24}
BASE = {"dataset": {"name": "digits", "train_images": 400, "image_size": 16},
        "models": {"one": {"architecture": {"depth": 2, **SMALL}},
                   "two": {"timm": "test_vit"}},
        "notebooks": {"01_sum": {"steps": 3, "tops": [1, 2]}, "02_list": None},
        "not_run": {"03_device": "it needs a device"}}


# --- one profile extends another ---


def test_entries_are_merged_as_deep_as_there_are_mappings(write):
    above = {"extends": "base", "models": {"one": {"architecture": {"depth": 4}}},
             "notebooks": {"01_sum": {"tops": [5]}, "04_new": {"seed": 1}}}
    assert write("mine", base=BASE, mine=above) == {
        **BASE, "models": {"one": {"architecture": {"depth": 4, **SMALL}},
                           "two": {"timm": "test_vit"}},
        "notebooks": {"01_sum": {"steps": 3, "tops": [5]}, "02_list": None, "04_new": {"seed": 1}}}
    assert list(write("mine")["models"]) == ["one", "two"]  # in the order of the one below
    assert write("base") == BASE  # which stays as it was


def test_null_removes_an_entry_wherever_it_is(write):
    above = {"extends": "base", "models": {"two": None, "three": {"timm": "test_vit", "url": None}},
             "not_run": None, "dataset": {"image_size": None}}
    assert write("mine", base=BASE, mine=above) == {
        "dataset": {"name": "digits", "train_images": 400}, "models": {"one": BASE["models"]["one"],
                                                  "three": {"timm": "test_vit"}},
        "notebooks": BASE["notebooks"]}
    refused(lambda: write("empty", empty={"extends": "base", "dataset": None}),
            "'empty' lacks dataset")


def test_a_mapping_replaces_what_is_none_and_the_other_way_round(write):
    base = {**BASE, "dataset": {"name": "files", "class_map": "classes.txt"},
            "notebooks": {"01_sum": {"steps": 3}, "02_list": None}}
    found = write("mine", base=base, mine={"extends": "base", "dataset": {"class_map": {"a": 1}},
                                           "notebooks": {"02_list": {"seed": 2}}})
    assert found["dataset"] == {"name": "files", "class_map": {"a": 1}}
    assert found["notebooks"]["02_list"] == {"seed": 2}


def test_extending_may_go_on(write):
    found = write("third", base=BASE, second={"extends": "base", "dataset": {"train_images": 300}},
                  third={"extends": "second", "dataset": {"split_seed": 3}})
    assert found["dataset"] == {"name": "digits", "train_images": 300, "image_size": 16,
                                "split_seed": 3}


@pytest.mark.parametrize(("profiles", "words"), [
    ({"mine": {"extends": "mine"}}, ["'mine' extends itself", "accepted: another profile"]),
    ({"mine": {"extends": "other"}, "other": {"extends": "mine"}}, ["extends itself"]),
    ({"mine": {"extends": "other"}, "other": {"extends": "third"}, "third": {"extends": "other"}},
     ["extends itself"]),
    ({"mine": {"extends": "nobody"}}, ["'nobody'", "accepted: base, mine"]),
    ({"mine": {"extends": ["base"]}}, ["['base']", "accepted: base, mine"]),
    ({"mine": {"extends": None}}, ["None", "accepted: base, mine"]),
], ids=["itself", "two in a circle", "a circle behind", "unknown", "list", "null"])
def test_what_cannot_be_extended(write, profiles, words):
    refused(lambda: write("mine", base=BASE, **profiles), *words)


@pytest.mark.parametrize(("entries", "words"), [
    ({"dataset": "digits"}, ["profile 'mine': dataset", "'digits'", "accepted: a mapping"]),
    ({"models": ["one"]}, ["profile 'mine': models", "['one']", "accepted: a mapping"]),
    ({"models": {}}, ["profile 'mine': models", "at least one"]),
    ({"models": {"one": "test_vit"}}, ["models.one cannot be 'test_vit'",
                                       "accepted: a mapping"]),
    ({"models": {"one": None}}, ["models.one cannot be None", "accepted: a mapping"]),
    ({"notebooks": None}, ["profile 'mine': notebooks", "None"]),
    ({"notebooks": {"01_sum": 3}}, ["profile 'mine'", "notebooks.01_sum cannot be 3",
                                    "accepted: a mapping"]),
], ids=str)
def test_entries_of_another_kind(write, entries, words):
    refused(lambda: write("mine", mine={**BASE, **entries}), *words)


# --- chapters that a profile lacks something for ---


def test_chapters_that_are_not_run_are_left_out_unless_they_are_asked_for(tmp_path):
    root = small_study.make_study(tmp_path / "study")
    small_study.write_profile(root,
                              {**small_study.PROFILE, "not_run": {"02_list": "it needs a list"}})
    assert not_run(root, load_profile("digits", root)) == {"02_list": "it needs a list"}
    assert [run.notebook for run in plan(root, "digits", [], {},
                                         tmp_path / "results")] == ["01_sum", "03_device"]
    refused(lambda: plan(root, "digits", ["01", "02"], {}, tmp_path / "results"),
            "notebook 02_list cannot be run with profile 'digits'", "it needs a list",
            "accepted: 01_sum, 03_device")
    refused(lambda: plan(root, "digits", [], {"n_images": 20}, tmp_path / "results"),
            "no chosen notebook has a parameter 'n_images'")


@pytest.mark.parametrize("lacking", [["02_list"], {"02_lits": "it needs a list"}, {"02_list": None},
                                     {"02_list": ["a", "list"]}], ids=str)
def test_a_malformed_list_of_them(tmp_path, lacking):
    root = small_study.make_study(tmp_path / "study")
    small_study.write_profile(root, {**small_study.PROFILE, "not_run": lacking})
    refused(lambda: plan(root, "digits", [], {}, tmp_path / "results"), "not_run",
            "accepted: a mapping from notebooks (01_sum, 02_list, 03_device)")


# --- a notebook's own values and those of a profile ---


def test_own_values_that_do_not_fit_another_profile_are_refused_before_any_work(tmp_path):
    root = small_study.make_study(tmp_path / "study")
    small_study.write_notebook(root, "02_list",
                               'profile = "digits"\nn_images = 2000\nmodels = ["one"]', "profile")
    small_study.write_profile(root, small_study.PROFILE, "other")
    assert plan(root, "other", ["01"], {}, tmp_path / "results")[0].parameters == {}
    refused(lambda: plan(root, "other", ["02"], {}, tmp_path / "results"), "n_images", "02_list",
            "2000", "accepted")
    assert plan(root, "other", ["02"], {"n_images": 20},
                tmp_path / "results")[0].parameters == {"profile": "other", "n_images": 20}


def test_a_notebook_is_executed_again_after_a_change_of_images_or_weights(tmp_path, monkeypatch):
    root = rehearsal.make_study(tmp_path / "study", ROOT, classes=2, per_class=2)
    entries = load_profile("rehearsal", root)
    monkeypatch.setenv("NEURONPATH_DATA", str(root / "data-set"))
    monkeypatch.setenv("NEURONPATH_WEIGHTS", str(root / "w"))
    seen = [inputs_sha256(root, entries)]
    (root / "w").rename(root / "elsewhere")  # where they lie is no matter
    (root / "data-set").rename(root / "pictures")
    monkeypatch.setenv("NEURONPATH_DATA", str(root / "pictures"))
    monkeypatch.setenv("NEURONPATH_WEIGHTS", str(root / "elsewhere"))
    assert inputs_sha256(root, entries) == seen[0]
    picture = next((root / "pictures").rglob("*.JPEG"))
    for change in (lambda: picture.write_bytes(picture.read_bytes() + b"\0"),
                   lambda: picture.rename(picture.with_stem("another")),
                   lambda: (root / "elsewhere" / "mae_finetuned_vit_base.pth").touch(),
                   lambda: monkeypatch.delenv("NEURONPATH_DATA"),
                   lambda: monkeypatch.delenv("NEURONPATH_WEIGHTS")):
        change()
        seen.append(inputs_sha256(root, entries))
    assert len(set(seen)) == len(seen)
    # whose weights have their digests recorded in the project
    digits = load_profile("digits", ROOT)
    before = inputs_sha256(ROOT, digits)
    monkeypatch.setenv("NEURONPATH_DATA", str(root / "pictures"))
    assert inputs_sha256(ROOT, digits) == before


def test_a_chapter_that_compares_models_wants_two(tmp_path):
    refused(lambda: plan(ROOT, "digits", ["01"], {"models": ["tiny-B-16"]}, tmp_path),
            "01_knowledge_neurons compares 2 models", "accepted: 2 or more")
    assert plan(ROOT, "digits", ["01"], {"models": ["tiny-B-16", "tiny-B-32"]}, tmp_path)


# --- the paper's own ---


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_shipped_profile_can_be_loaded_and_names_notebooks_that_there_are(name):
    profile = load_profile(name, ROOT)
    stands_for = [spec.get("stands_for", each) for each, spec in profile["models"].items()]
    if name == "places":  # a control of where tokens and neurons look
        assert stands_for == MODELS[:2]
    elif name != COMPANION:
        assert stands_for == MODELS
    assert set(profile["notebooks"]) | set(not_run(ROOT, profile)) <= set(notebook_names(ROOT))
    for spec in profile["models"].values():
        check_entry(spec)
        assert outline(spec).n_blocks in (12, 24)


@pytest.mark.parametrize("name", PAPER)
def test_the_notebooks_have_and_accept_what_the_papers_profile_gives_them(name):
    profile = load_profile(name, ROOT)
    checks = parameters.parameter_checks(ROOT, profile)
    for notebook in notebook_names(ROOT):
        if notebook in profile["not_run"]:
            assert notebook not in profile["notebooks"]
            continue
        own = parameters.own_parameters(ROOT, notebook)
        given = parameters.profile_parameters(name, profile, notebook, own)
        parameters.check_parameters(notebook, list(own), checks, {**own, **given})
        # all that works on models works on a GPU, in single precision
        if {"profile", "profiles"} & set(own) and notebook != "08_benchmarks":
            assert (given["device"], given["dtype"],
                    given["progress"]) == ("cuda", "float32", True), notebook


def test_counts_of_the_papers_profile_are_those_of_a_thousand_classes_with_fifty_images():
    notebooks = load_profile("imagenet", ROOT)["notebooks"]
    for values in notebooks.values():
        for count in ("n_images", "agreement_images", "pool_images"):
            assert values.get(count, 1000) % 1000 == 0 and values.get(count, 0) <= 50_000
    assert {notebooks[name]["n_images"] for name in notebooks
            if name[:2] in ("01", "02", "03", "04", "05", "06")} == {50_000}
    for name in ("02_table1", "03_probability_deviation", "04_class_paths", "05_class_similarity",
                 "06_pruning"):
        assert {key: notebooks[name][key] for key in ("context", "quadrature",
                                                      "steps")} == {"context": "full",
                                                                    "quadrature": "left",
                                                                    "steps": 20}
    # one table of paths for all of them: no chapter asks for other nodes than the rule's own
    assert all(values.get("nodes") is None for values in notebooks.values())
    assert len(notebooks["04_class_paths"]["shown"]) == 10 and max(
        notebooks["04_class_paths"]["shown"]) < 1000


def test_the_papers_models_are_those_that_the_profile_says():
    models = load_profile("imagenet", ROOT)["models"]
    for name, layout in {"ViT-B-16": (12, 768, 16, 196), "ViT-B-32": (12, 768, 32, 49),
                         "ViT-L-32": (24, 1024, 32, 49), "MAE-B-16": (12, 768, 16, 196)}.items():
        target = outline(models[name])
        model = target.model
        assert (len(model.blocks), model.embed_dim, model.patch_embed.patch_size[0],
                model.patch_embed.num_patches) == layout
        assert (model.patch_embed.img_size, target.n_classes,
                target.n_neurons) == ((224, 224), 1000, 4 * layout[1])
        assert target.scope == ("patch" if name == "MAE-B-16" else "cls")
    for name, spec in models.items():
        if spec.get("pretrained"):
            known = timm.models.get_pretrained_cfg(spec["timm"])
            assert known is not None and known.has_weights and known.num_classes == 1000, name
            assert "orig" in known.tag and "augreg" not in spec["timm"]


def test_what_is_known_of_the_files_is_in_the_profile():
    models = load_profile("imagenet", ROOT)["models"]
    assert {
        name: (spec.get("sha256_prefix"), spec.get("md5_prefix"), spec.get("format"))
        for name, spec in models.items()
    } == {
        "ViT-B-16": (None, None, None),
        "ViT-B-32": ("830016f5", None, None),
        "ViT-L-32": (None, None, None),
        "MAE-B-16": (None, "1b25e9", "mae"),
    }
    for name, spec in models.items():
        assert spec["bytes"] > 3e8, name
        assert bool(spec.get("pretrained")) != {"weights", "url"}.issubset(spec), name
        if "url" in spec:
            assert spec["url"].startswith("https://") and spec["url"].endswith(
                "/" + spec["weights"])
    # timm names the file by it
    assert models["ViT-B-32"]["sha256_prefix"] in models["ViT-B-32"]["weights"]


def test_bytes_are_those_of_the_weights():
    for name, spec in load_profile("imagenet", ROOT)["models"].items():
        numbers = sum(value.numel() for value in outline(spec).model.state_dict().values())
        assert abs(4 * numbers / spec["bytes"] - 1) < 0.02, name


def test_preprocessing_is_each_models_own_and_as_published_one_for_all():
    plain, published = (load_profile(name, ROOT) for name in PAPER)
    assert published.pop("dataset") == {**plain.pop("dataset"), "preprocessing": {
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "crop_mode": "squash",
        "crop_pct": 1.0, "interpolation": "bilinear"}}
    assert published == plain  # and nothing else differs
    overrides = load_profile("imagenet_as_published", ROOT)["dataset"]["preprocessing"]
    half, channels = [0.5] * 3, [0.485, 0.456, 0.406]
    for name, spec in plain["models"].items():
        model, own = outline(spec).model, spec.get("data_config") or {}
        config = model_preprocessing(model, own)
        assert config["input_size"] == [3, 224,
                                        224] and config["interpolation"] == "bicubic" and config[
            "crop_mode"] == "center"
        assert config["mean"] == (channels if name == "MAE-B-16" else half)
        assert model_preprocessing(model, {**own, **overrides}) == {"input_size": [3, 224, 224],
                                                                    **overrides}


@pytest.mark.parametrize("name", PAPER)
def test_without_images_and_weights_the_message_says_how_to_get_them(tmp_path, monkeypatch, name):
    profile = load_profile(name, ROOT)
    for variable in ("NEURONPATH_DATA", "NEURONPATH_WEIGHTS"):
        monkeypatch.delenv(variable, raising=False)
    refused(lambda: load_part(profile["dataset"], "held_out", base=tmp_path), "no images", "--data",
            "NEURONPATH_DATA", "image-net.org", "DIR/val/n01440764/")
    refused(lambda: load_part(profile["dataset"], "train", base=tmp_path), "no training images")
    refused(lambda: locate(profile["models"]["MAE-B-16"], tmp_path, name),
            "mae_finetuned_vit_base.pth", str(tmp_path),
            f"neuronpath download --profile {name} --weights DIR",
            "https://dl.fbaipublicfiles.com/")


@pytest.mark.parametrize("notebook", ["02_table1", "03_probability_deviation"])
def test_the_published_rule_has_all_its_nodes_where_fewer_places_lose_paths(notebook):
    """What 8 of 20 places keep was found good enough for the models of digits alone
    (benchmarks/agreement.json)."""
    kept = pd.DataFrame(json.loads((ROOT / "benchmarks" / "agreement.json").read_text())[
        "condensed"]).set_index(["way", "profile"]).sort_index()
    assert kept.loc[("8 of 20", "digits"), "paths"].min() >= 0.99 > kept.loc[("8 of 20", "shapes"),
                                                                             "paths"].min()
    for name in CLASSIFIERS:
        if notebook in not_run(ROOT, load_profile(name, ROOT)):
            continue
        values = parameters.own_parameters(ROOT,
                                           notebook) | load_profile(name,
                                                                    ROOT)["notebooks"].get(
            notebook, {})
        assert values["nodes"] == (8 if name == "digits" else None), name


def test_networks_read_in_class_space_are_those_of_the_registry():
    """The sizes that the profile gives are those of the networks that timm builds; it runs the
    chapters that are about them."""
    profile = load_profile(COMPANION, ROOT)
    for name, spec in profile["models"].items():
        target = outline(spec)
        numbers = sum(value.numel() for value in target.model.state_dict().values())
        assert target.n_classes == 1000 and spec["timm"].endswith("in21k_ft_in1k"), name
        assert abs(4 * numbers / spec.get("bytes", 4 * numbers) - 1) < 0.001, name
    assert profile["dataset"] == load_profile("imagenet", ROOT)["dataset"]
    chapters = ["24_class_space", "25_class_building", "26_relevance"]
    assert chosen_notebooks(ROOT, COMPANION, []) == chapters
    for name in chapters:
        assert set(profile["notebooks"][name]["models"]) == set(profile["models"])
