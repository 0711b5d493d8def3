"""From a profile to models, images and paths, and what makes stored paths unusable."""

import json
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.models.build import build_model
from neuronpath_core.study import identity, path_tables
from neuronpath_core.study import study as study_module
from neuronpath_core.study.identity import code_fingerprint, weights_sha256
from neuronpath_core.study.profiles import (
    RESULTS_VARIABLE,
    load_profile,
    profile_names,
    project_root,
)
from neuronpath_core.study.store.folder import manifest_key
from neuronpath_core.study.store.lock import only_writer
from neuronpath_core.study.store.parts import StoreWarning
from neuronpath_core.study.study import Study
from neuronpath_core.support import memory
from neuronpath_core.support.sources import PACKAGE, closure
from tests import helpers, small_study
from tests.helpers import refused

ROOT = Path(__file__).parents[2]
WEIGHTS = {name: json.loads((ROOT / "data" / "weights" / name / "weights.json").read_text())
           for name in ("digits", "shapes")}
MODELS = ["tiny-B-16", "tiny-B-32", "tiny-L-32", "tiny-MAE-B-16"]


@pytest.fixture(scope="module")
def digits():
    """The shipped study, in the precision its models were trained in."""
    return Study("digits", dtype="float32", root=ROOT)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A made-up study."""
    monkeypatch.delenv(RESULTS_VARIABLE, raising=False)
    return Study("digits", root=small_study.make_study(tmp_path / "study"))


@pytest.fixture
def searches(monkeypatch):
    """The settings of every search that is really made."""
    calls, find = [], npc.find_paths_by_top

    def counted(target, images, labels, tops, **settings):
        calls.append({**settings, "tops": tops, "images": len(images)})
        return find(target, images, labels, tops, **settings)

    monkeypatch.setattr(path_tables, "find_paths_by_top", counted)
    return calls


# --- the profile ---


@pytest.mark.parametrize(("settings", "words"), [
    ({"profile": "digit"}, ["profile", "'digit'", "accepted", "digits"]),
    ({"profile": ""}, ["profile", "accepted: cifar10, digits"]),
    ({"profile": "../profiles/digits"}, ["profile", "accepted: cifar10, digits"]),
    ({"profile": None}, ["profile", "accepted: cifar10, digits"]),
    ({"dtype": "float16"}, ["dtype", "'float16'", "accepted: float64, float32, bfloat16"]),
    ({"dtype": torch.float64}, ["dtype", "accepted: float64"]),
    ({"device": "gpu"}, ["device", "'gpu'", "accepted: cpu, cuda"]),
    ({"device": "meta"}, ["device", "'meta'", "accepted: cpu, cuda"]),
    ({"memory_budget": "much"}, ["memory_budget", "'much'", "'6GB'"]),
    ({"memory_budget": 0}, ["memory_budget", "0", "'6GB'"]),
], ids=str)
def test_unknown_settings_are_refused_at_once(settings, words):
    refused(lambda: Study(**{"root": ROOT, **settings}), *words)


@pytest.mark.parametrize("entry", ["dataset", "models", "notebooks"])
def test_a_profile_that_lacks_an_entry(small, entry):
    small_study.write_profile(small.root,
                              {name: value for name, value in small_study.PROFILE.items()
                               if name != entry}, "part")
    refused(lambda: Study("part", root=small.root), "'part' lacks", entry)


@pytest.mark.parametrize("text", ["", "dataset: {name: digits", "[dataset, models, notebooks]"],
                         ids=["empty", "syntax", "list"])
def test_a_malformed_profile(small, text):
    (small.root / "profiles" / "bad.yml").write_text(text)
    refused(lambda: Study("bad", root=small.root).check_models(["one"]), "'bad'")


def test_project_root(small, monkeypatch):
    monkeypatch.chdir(small.root / "notebooks")
    assert project_root() == small.root.resolve()
    monkeypatch.chdir(small.root.parent)
    assert project_root() == ROOT  # where the library lies
    assert "digits" in profile_names(ROOT)
    assert load_profile("digits", ROOT)["dataset"]["train_images"] == 400


def test_models_by_name(small):
    assert small.model_names == ["one", "two"]
    assert small.check_models(["two", "one"]) == ["two", "one"]
    assert small.target("one") is small.target("one")
    for call in (lambda: small.target("three"), lambda: small.check_models(["one", "three"]),
                 lambda: small.check_models([]),
                 lambda: small.paths("three", small.images(10))):
        refused(call, "unknown model", "one, two")


# --- replicas and checkpoints ---


@pytest.fixture
def varied(small):
    """A study with two replicas of one model and a checkpoint of the other."""
    profile = {**small_study.PROFILE, "replicas": {"one": [11, 5]}, "checkpoints": {"two": [3]}}
    profile["models"] = {name: {**spec, "training": {"seed": seed, "epochs": 9}} for seed,
                         (name, spec) in enumerate(profile["models"].items())}
    small_study.write_profile(small.root, profile, "varied")
    for seed, (name, model) in enumerate({"one.seed-11": "one", "one.seed-5": "one",
                                          "two.epoch-3": "two"}.items()):
        small_study.write_weights(small.root, name, 20 + seed,
                                  profile["models"][model]["architecture"])
    return Study("varied", root=small.root)


def test_variants_by_name(varied, small):
    assert varied.model_names == ["one", "two"]
    assert (varied.variants("one"), varied.variants("two")) == (["one seed 11", "one seed 5"],
                                                                ["two epoch 3"])
    assert (small.variants("one"), small.variants("two")) == ([], [])
    assert varied.check_models(["one seed 11", "two"]) == ["one seed 11", "two"]
    for call in (lambda: varied.target("one seed 12"), lambda: varied.check_models(["two epoch 4"]),
                 lambda: varied.paths("two seed 11", varied.images(10)),
                 lambda: varied.variants("one seed 11"), lambda: varied.variants("three")):
        refused(call, "unknown model", "accepted", "one, two")


def test_a_variant_is_the_model_with_other_weights(varied):
    specs = varied.entries
    assert specs["one"] == varied.settings["models"]["one"]
    assert specs["one seed 5"] == {**specs["one"], "weights": "data/weights/one.seed-5.safetensors",
                                   "training": {"seed": 5, "epochs": 9}}
    assert specs["two epoch 3"] == {**specs["two"],
                                    "weights": "data/weights/two.epoch-3.safetensors",
                                    "training": {"seed": 1, "epochs": 9, "checkpoint": 3}}
    digests = {name: weights_sha256(varied.target(name)) for name in specs}
    assert len(set(digests.values())) == 5
    assert varied.target("two epoch 3").scope == varied.target("two").scope


def test_paths_of_a_variant_are_its_own(varied, searches):
    images = varied.images(10)
    tables = [varied.paths(name, images, "activation").neurons
              for name in ("one", "one seed 11", "one seed 11")]
    assert len(searches) == 2
    assert torch.equal(tables[1], tables[2]) and not torch.equal(tables[0], tables[1])
    assert varied.probabilities("one seed 11", images).shape == (10, 10)


@pytest.mark.parametrize(("entries", "words"), [
    ({"replicas": {"three": [1]}}, ["replicas", "'three'", "accepted", "one, two"]),
    ({"replicas": ["one"]}, ["replicas", "accepted: a mapping"]),
    ({"checkpoints": {"one": 40}},
     ["checkpoints of one", "40", "accepted: a list of whole numbers"]),
    ({"checkpoints": {"one": ["40"]}}, ["checkpoints of one", "accepted: a list of whole numbers"]),
    ({"replicas": {"one": [-1]}}, ["replicas of one", "[-1]"]),
    ({"replicas": {"one": [True]}}, ["replicas of one", "[True]"]),
], ids=str)
def test_malformed_variants(small, entries, words):
    small_study.write_profile(small.root, {**small_study.PROFILE, **entries}, "part")
    refused(lambda: Study("part", root=small.root), "profile 'part'", *words)


# --- the images ---


def test_held_out_images_come_without_the_training_images(small, monkeypatch):
    loaded, load = [], study_module.load_part
    monkeypatch.setattr(study_module, "load_part", lambda spec, part, **places: loaded.append(part)
                        or load(spec, part, **places))
    small.images(10), small.images(20)
    assert loaded == ["held_out"]
    assert small.train is small.train and len(small.train)
    assert loaded == ["held_out", "train"]


def test_train_and_held_out_images(digits):
    train, held_out = digits.train, digits.held_out
    assert (len(train), len(held_out)) == (400, 1397)
    assert sorted([*train.ids.tolist(), *held_out.ids.tolist()]) == list(range(1797))
    for part in (train, held_out):
        assert set(part.labels.tolist()) == set(range(10))
        # stratified: every class has its share
        assert torch.bincount(part.labels).sub(len(part) / 10).abs().max() < len(part) * 0.005
    assert digits.held_out is held_out


@pytest.mark.parametrize("seed", [0, 3])
def test_images_are_balanced_and_nested(digits, seed):
    everything, before = set(digits.held_out.ids.tolist()), set()
    for count in (10, 11, 19, 20, 27, 100, 101, 999, 1350):
        images = digits.images(count, seed)
        ids, counts = set(images.ids.tolist()), torch.bincount(images.labels, minlength=10)
        assert len(ids) == len(images) == count
        assert before <= ids <= everything
        assert counts.max() - counts.min() <= 1
        order = list(zip(images.labels.tolist(), images.ids.tolist(), strict=True))
        assert order == sorted(order)
        before = ids


def test_images_of_another_seed_are_others(digits):
    assert digits.images(20).sha256() == digits.images(20,
                                                       0).sha256() != digits.images(20, 1).sha256()


@pytest.mark.parametrize("count", [0, -10, 1351, 10**9, True, False, 20.0, "20", None])
def test_numbers_of_images_that_are_refused(digits, count):
    refused(lambda: digits.images(count), "number of images", "from 1 to 1350", repr(count))


@pytest.mark.parametrize("seed", [-1, 0.5, "a"])
def test_seeds_that_are_refused(digits, seed):
    refused(lambda: digits.images(10, seed), "seed", repr(seed))


def test_a_batch_has_the_study_s_precision(digits, small):
    for study, dtype in ((digits, torch.float32), (small, torch.float64)):
        images = study.images(10)
        pictures, labels = study.batch(images, study.model_names[0])
        assert pictures.dtype == dtype
        assert labels.dtype == torch.int64
        assert torch.equal(pictures, images.images.to(dtype))


# --- the models that are shipped ---


@pytest.fixture(scope="module")
def shipped(digits):
    """Both studies, by profile."""
    return {"digits": digits, "shapes": Study("shapes", dtype="float32", root=ROOT)}


@pytest.mark.parametrize("profile", ["digits", "shapes"])
@pytest.mark.parametrize(("name", "patch", "width", "blocks", "heads", "scope"), [
    ("tiny-B-16", 2, 36, 12, 3, "cls"), ("tiny-B-32", 4, 36, 12, 3, "cls"),
    ("tiny-L-32", 4, 48, 24, 4, "cls"),
    ("tiny-MAE-B-16", 2, 36, 12, 3, "patch")])
def test_shipped_models(shipped, profile, name, patch, width, blocks, heads, scope):
    study = shipped[profile]
    assert study.model_names == MODELS
    target = study.target(name)
    model, size, classes = target.model, *((16, 10) if profile == "digits" else (32, 24))
    assert (target.n_blocks, target.n_neurons, target.scope) == (blocks, 4 * width, scope)
    assert model.patch_embed.patch_size == (patch * size // 16,) * 2
    assert model.patch_embed.num_patches == (16 // patch) ** 2
    assert (model.embed_dim, model.num_classes,
            model.blocks[0].attn.num_heads) == (width, classes, heads)
    assert not model.training
    record = check_record(study, name)
    assert 0.85 <= record["held_out_accuracy"] <= 0.96  # room to gain and to lose


def check_record(study, name):
    """What is recorded of a weights file is what the file holds and does."""
    file = ROOT / study.entries[name]["weights"]
    record, target = WEIGHTS[study.profile][file.name], study.target(name)
    assert (record["model"], record["held_out_images"]) == (name, len(study.held_out))
    assert record["train_images"] == study.settings["dataset"]["train_images"]
    assert record["training"] == study.entries[name]["training"]
    assert record["parameters"] == sum(parameter.numel() for parameter in target.model.parameters())
    assert record["bytes"] == file.stat().st_size
    with torch.inference_mode():
        predicted = torch.cat([target.model(part.float()).argmax(1)
                               for part in study.held_out.images.split(200)])
    assert (predicted == study.held_out.labels).double().mean().item() == pytest.approx(
        record["held_out_accuracy"], abs=1.5 / len(predicted))
    return record


@pytest.mark.parametrize("profile", ["digits", "shapes"])
def test_shipped_variants(shipped, profile):
    """Replicas are as good as their model, checkpoints get better with the epochs, and no two files
    hold the same weights."""
    study, stored = shipped[profile], WEIGHTS[profile]
    for model in MODELS:
        own = stored[Path(study.entries[model]["weights"]).name]
        stages = []
        for variant in study.variants(model):
            record = check_record(study, variant)
            if " seed " in variant:
                assert abs(record["held_out_accuracy"] - own["held_out_accuracy"]) < 0.08
            else:
                stages.append((record["training"]["checkpoint"], record["held_out_accuracy"]))
        if stages:
            assert sorted(stages) == stages
            assert stages[0][1] < own["held_out_accuracy"]
    assert len({record["sha256"] for record in stored.values()}) == len(stored)
    assert study.variants("tiny-B-16") and study.variants("tiny-MAE-B-16") and study.variants("tiny-B-32")


@pytest.mark.parametrize("profile", ["digits", "shapes"])
def test_every_shipped_weights_file_belongs_to_a_model(shipped, profile):
    used = sorted(Path(spec["weights"]).name for spec in shipped[profile].entries.values())
    assert used == sorted(WEIGHTS[profile]) == sorted(path.name
                                                      for path in (ROOT / "data" / "weights"
                                                                   / profile).glob("*.safetensors"))


# --- weights that are not the right ones ---


def test_weights_of_another_run_are_refused(small):
    weights = small.root / "data" / "weights"
    shutil.copy(weights / "two.safetensors", weights / "one.safetensors")
    refused(lambda: small.target("one"), "data/weights/one.safetensors", "SHA-256", "weights.json")


def test_missing_weights_are_refused(small):
    (small.root / "data" / "weights" / "one.safetensors").unlink()
    refused(lambda: small.target("one"), "data/weights/one.safetensors", "not found",
            "make weights")


def test_weights_of_another_architecture_are_refused(small):
    small_study.write_weights(small.root, "one", 0, {**small_study.ARCHITECTURE, "embed_dim": 16,
                                                     "depth": 4})
    refused(lambda: small.target("one"), "data/weights/one.safetensors", "do not fit")


def test_weights_without_a_record_are_taken_if_there_is_no_record_file(small):
    (small.root / "data" / "weights" / "weights.json").unlink()
    assert small.target("one").n_blocks == 3


def test_weights_that_the_record_does_not_list_are_refused(small):
    record = small.root / "data" / "weights" / "weights.json"
    record.write_text(
        json.dumps({"two.safetensors": json.loads(record.read_text())["two.safetensors"]}))
    refused(lambda: small.target("one"), "data/weights/one.safetensors", "weights.json")


def test_truncated_weights_are_refused(small):
    weights = small.root / "data" / "weights"
    (weights / "weights.json").unlink()
    content = (weights / "one.safetensors").read_bytes()
    (weights / "one.safetensors").write_bytes(content[: len(content) // 2])
    refused(lambda: small.target("one"), "data/weights/one.safetensors")


# --- paths ---


@pytest.mark.each_value
@pytest.mark.parametrize("settings", [
    {}, {"context": "full", "quadrature": "left"}, {"steps": "auto"}, {"steps": 6, "nodes": 2},
    {"search": "beam", "width": 2, "steps": 2},
    {"steps": 4, "quadrature": "midpoint"}, {"search": "literal", "steps": 2},
    {"top": 2, "steps": 3}, {"top": 1, "steps": 3},
    {"method": "activation", "steps": 3}, {"method": "random", "steps": 3, "seed": 5},
    {"method": "influence_pattern", "steps": 3}, {"method": "influence_pattern_eq9", "steps": 3}],
                         ids=str)
@pytest.mark.parametrize("model", ["one", "two"])
def test_paths_are_those_of_find_paths_and_are_kept(small, searches, monkeypatch, model, settings):
    monkeypatch.setattr(path_tables, "IMAGES_PER_PART", 5)
    images = small.images(12)
    expected = npc.find_paths(small.target(model), *small.batch(images, model), **settings)
    found = small.paths(model, images, **settings)
    assert len(searches) == 3  # 5 + 5 + 2 images
    assert torch.equal(found.neurons, expected.neurons)
    assert torch.equal(found.steps, expected.steps)
    # a draft's, in single precision
    torch.testing.assert_close(found.score, expected.score, rtol=1e-4, atol=1e-9)
    for study in (small, small, Study("digits", root=small.root)):
        again = study.paths(model, images, **settings)
        assert torch.equal(again.neurons, expected.neurons)
        assert torch.equal(again.steps, expected.steps)
        assert torch.equal(again.score, found.score)  # to the last bit, whether computed or read
    assert len(searches) == 3


TOPS = [None, 3, 1]


def test_several_numbers_of_neurons_are_searched_together_and_kept_apart(small, searches,
                                                                         monkeypatch):
    """Each has its own table, found again by whoever wants that one alone; what is there is not
    searched with the others."""
    monkeypatch.setattr(path_tables, "IMAGES_PER_PART", 5)
    images = small.images(12)
    there = small.paths("one", images, top=3)
    found = small.paths_by_top("one", images, TOPS)
    assert [(call["tops"], call["images"]) for call in searches] == [([3], 5), ([3], 5), ([3], 2),
                                                                     ([None, 1], 5), ([None, 1], 5),
                                                                     ([None, 1], 2)]
    for top, paths in zip(TOPS, found, strict=True):
        expected = npc.find_paths(small.target("one"), *small.batch(images, "one"), top=top)
        assert torch.equal(paths.neurons, expected.neurons)
        alone = small.paths("one", images, top=top)
        assert torch.equal(alone.neurons,
                           paths.neurons) and torch.equal(alone.score,
                                                          paths.score) and torch.equal(
            alone.steps, paths.steps)
    assert torch.equal(found[1].neurons, there.neurons)
    assert len(searches) == 6
    assert small.paths_by_top("one", images, []) == []
    assert [paths.neurons.shape[1:]
            for paths in small.paths_by_top("one", images, [3, None, 3])] == [(3, 3), (3,), (3, 3)]
    assert len(searches) == 6
    for folder in (small.results_folder / "paths").glob("one_*"):
        assert {path.name for path in folder.iterdir()} == {"manifest.json", "paths.parquet"}


def test_an_interrupted_search_for_several_numbers_keeps_what_it_found_of_each(small, searches,
                                                                               monkeypatch):
    monkeypatch.setattr(path_tables, "IMAGES_PER_PART", 5)
    images, counted = small.images(12), path_tables.find_paths_by_top

    def second_fails(*arguments, **settings):
        if len(searches) == 1:
            raise KeyboardInterrupt
        return counted(*arguments, **settings)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(path_tables, "find_paths_by_top", second_fails)
        small.paths_by_top("one", images, [1, 2, 3])
    found = small.paths_by_top("one", images, [3, 1, 2])  # begun again with another one
    assert [(call["tops"], call["images"]) for call in searches] == [([1, 2, 3], 5), ([3, 1, 2], 5),
                                                                     ([3, 1, 2], 2)]
    for top, paths in zip([3, 1, 2], found, strict=True):
        assert torch.equal(paths.neurons,
                           npc.find_paths(small.target("one"), *small.batch(images, "one"),
                                          top=top).neurons)
    sessions = [json.loads(path.read_text())["sessions"]
                for path in (small.results_folder / "paths").glob("one_*/manifest.json")]
    assert sorted([session.get("on_the_way", False) for session in each]
                  for each in sessions) == [[False, True], [True], [True, False]]
    assert [sum(session["parts"] for session in each) for each in sessions] == [3, 3, 3]


def test_a_table_that_another_process_writes_is_left_to_it(small, searches):
    """What was found on the way is not put into it, and it is not waited for before its turn."""
    images = small.images(10)
    writer = only_writer
    manifest = path_tables.table_manifest(
        small, "one", images,
                               npc.SearchSettings(draft=small.draft, top=2).complete(
                                   small.target("one")).as_dict())
    folder = small.results_folder / "paths" / f"one_neuron_path_{manifest_key(manifest)}"
    folder.parent.mkdir(parents=True)
    with writer(folder), pytest.raises(ValueError, match="being written by another process"):
        small.paths_by_top("one", images, [1, 2])
    assert not folder.exists()
    assert small.paths("one", images, top=1).neurons.shape == (10, 3, 1)
    assert len(searches) == 1


BASE = {"steps": 2, "method": "random"}


@pytest.mark.parametrize("change", [
    {"steps": 3}, {"quadrature": "right"}, {"search": "literal"}, {"method": "activation"},
    {"top": 1}, {"seed": 1}, {"context": "full"}, {"nodes": 1},
    {"exact_steps": 1}, {"width": 2}, {"draft": None},
    {"method": "conditional_gradient", "budget": 2, "question": "keep"}], ids=str)
def test_a_change_of_any_setting_is_a_new_search(small, searches, change):
    images = small.images(10)
    small.paths("one", images, **BASE)
    small.paths("one", images, **{**BASE, **change})
    assert len(searches) == 2
    small.paths("one", images, **BASE)  # and the first is still there
    assert len(searches) == 2


def test_another_budget_is_a_new_search(small, searches):
    images = small.images(10)
    for budget in (2, 3, None, 2):  # None stands for 3
        small.paths("one", images, "recommended", budget=budget)
    assert len(searches) == 2


def test_every_setting_is_changed_above():
    changed = {name for mark in test_a_change_of_any_setting_is_a_new_search.pytestmark
               for change in mark.args[1] for name in change}
    assert changed == {each.name for each in fields(npc.SearchSettings)}


def test_what_does_not_change_the_paths_is_no_new_search(small, searches):
    images = small.images(10)
    first = small.paths("one", images, steps=3)
    budget = 5 * memory.copy_bytes(small.target("one"))
    frugal = Study("digits", root=small.root, memory_budget=budget).paths("one", images, steps=3)
    # what "auto" stands for here
    written_out = small.paths("one", images, "neuron_path", context="mixed",
                              quadrature="gauss-legendre", steps=3)
    assert len(searches) == 1
    for other in (frugal, written_out):
        assert torch.equal(other.neurons, first.neurons)
        assert torch.equal(other.score, first.score)


def test_the_memory_budget_is_that_of_the_search(small, searches):
    images, sizes = small.images(10), []
    budget = 6 * memory.copy_bytes(small.target("two"))
    study = Study("digits", root=small.root, memory_budget=budget)
    sizes, handle = helpers.watch_batches(study.target("two").model)
    found = study.paths("two", images, context="full", quadrature="left", steps=2)
    handle.remove()
    assert [call["memory_budget"] for call in searches] == [budget]
    assert sizes == [3, 3, 3, 1]
    expected = npc.find_paths(small.target("two"), *small.batch(images, "two"), context="full",
                              quadrature="left", steps=2)
    assert torch.equal(found.neurons, expected.neurons)


def test_other_images_models_precisions_and_labels_are_a_new_search(small, searches):
    images = small.images(10)
    calls = [
        lambda: small.paths("one", images, **BASE),
        lambda: small.paths("two", images, **BASE),
        lambda: small.paths("one", small.images(11), **BASE),
        lambda: small.paths("one", small.images(10, seed=1), **BASE),
        lambda: small.paths("one", images.select(torch.arange(10).flip(0)), **BASE),
        lambda: Study("digits", dtype="float32", root=small.root).paths("one", images, **BASE),
    ]
    for _ in range(2):
        for call in calls:
            call()
        assert len(searches) == len(calls)


def test_other_code_is_a_new_search(small, searches, monkeypatch):
    images = small.images(10)
    small.paths("one", images, **BASE)
    monkeypatch.setattr(path_tables, "own_code", lambda: "another version")
    small.paths("one", images, **BASE)
    assert len(searches) == 2


def test_code_fingerprint_covers_every_numeric_source(tmp_path):
    package = tmp_path / "neuronpath_core"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_fingerprint(package)
    assert before == code_fingerprint()
    for folder in ("fast", "variants", "models", "images"):
        assert any(path.parent.name == folder for path in closure(identity.NUMERIC_MODULES))
    for path in closure(identity.NUMERIC_MODULES, package):
        source = path.read_text()
        path.write_text(source + "\nANOTHER = 1\n")
        assert code_fingerprint(package) != before, path
        path.write_text(source)


def test_other_weights_are_a_new_search(small, searches):
    images = small.images(10)
    first = small.paths("one", images, steps=2)
    small_study.write_weights(small.root, "one", 7)
    changed = Study("digits", root=small.root)
    assert weights_sha256(changed.target("one")) != weights_sha256(small.target("one"))
    second = changed.paths("one", images, steps=2)
    assert len(searches) == 2
    assert not torch.equal(first.score, second.score)


def test_another_architecture_around_the_same_weights_is_a_new_search(small, searches):
    images = small.images(10)
    first = small.paths("one", images, steps=2)
    profile = json.loads(json.dumps(small_study.PROFILE))
    profile["models"]["one"]["architecture"]["num_heads"] = 3
    small_study.write_profile(small.root, profile)
    changed = Study("digits", root=small.root)
    second = changed.paths("one", images, steps=2)
    expected = npc.find_paths(changed.target("one"), *changed.batch(images, "one"), steps=2)
    assert not torch.allclose(expected.score, first.score)
    torch.testing.assert_close(second.score, expected.score, rtol=1e-4, atol=1e-9)
    assert len(searches) == 2


@pytest.mark.filterwarnings("always::neuronpath_core.study.store.parts.StoreWarning")
def test_a_damaged_table_is_searched_again(small, searches):
    images = small.images(10)
    before = small.paths("one", images, **BASE)
    (table,) = (small.results_folder / "paths").glob("*/paths.parquet")
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.warns(StoreWarning, match="damaged"):
        after = small.paths("one", images, **BASE)
    assert len(searches) == 2
    assert torch.equal(before.neurons, after.neurons)


@pytest.mark.parametrize(("settings", "words"), [
    ({"method": "best"}, ["method", "neuron_path"]), ({"search": "greedy"}, ["search", "joint"]),
    ({"context": "half"}, ["context", "full"]), ({"quadrature": "simpson"}, ["quadrature", "left"]),
    ({"steps": 0}, ["steps", "at least 1"]), ({"top": 13}, ["top", "1..12"]),
    ({"seed": -1}, ["seed", "at least 0"]), ({"nodes": 5}, ["nodes", "1..4"]),
    ({"width": 13}, ["width", "1..12"]),
    ({"exact_steps": 0}, ["exact_steps", "at least 1"]),
    ({"step": 2}, ["unknown settings step", "steps"]),
    ({"memory_budget": "1GB"}, ["unknown settings memory_budget"])], ids=str)
def test_settings_that_are_refused_leave_no_folder(small, searches, settings, words):
    images = small.images(10)
    refused(lambda: small.paths("one", images, **settings), *words)
    assert not searches
    assert not small.results_folder.exists()


def test_where_results_go(small, tmp_path, monkeypatch):
    images = small.images(10)

    def tables(folder):
        return len(list(folder.glob("paths/*/paths.parquet")))

    small.paths("one", images, **BASE)
    assert tables(small.root / "results" / "digits") == 1
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "variable"))
    Study("digits", root=small.root).paths("one", images, **BASE)
    assert tables(tmp_path / "variable") == 1
    # the argument goes before the variable
    for given in (tmp_path / "argument", str(tmp_path / "text")):
        Study("digits", results=given, root=small.root).paths("one", images, **BASE)
        assert tables(Path(given)) == 1
    assert tables(tmp_path / "variable") == 1


def test_results_that_cannot_be_written_are_refused_before_the_search(small, searches, tmp_path):
    (tmp_path / "file").write_text("")
    study = Study("digits", results=tmp_path / "file" / "below", root=small.root)
    refused(lambda: study.paths("one", study.images(10)), "cannot be written to", "accepted")
    assert not searches


def test_probabilities(small):
    images = small.images(10)
    paths = small.paths("one", images, steps=2)
    clean, removed = small.probabilities("one", images), small.probabilities("one", images, paths)
    assert clean.shape == removed.shape == (10, 10)
    for probabilities in (clean, removed):
        assert abs(probabilities.sum(1) - 1).max() < 1e-12
    assert abs(clean - removed).max() > 1e-6
    # a factor of one changes nothing
    assert abs(small.probabilities("one", images, paths, 1.0) - clean).max() < 1e-12


def test_the_small_networks_are_built_as_the_profile_says(small):
    for name, spec in small.settings["models"].items():
        assert [*build_model(spec).state_dict()] == [*small.target(name).model.state_dict()]
    assert [small.target(name).scope for name in small.model_names] == ["cls", "patch"]


def test_a_preset_or_a_record_is_searched_as_find_paths_does(small):
    """The study's draft and the default method are not put over what the settings say."""
    images = small.images(10)
    batch = (small.target("one"), *small.batch(images, "one"))
    for settings in ("published", "converged", npc.SearchSettings(method="knowledge", top=2)):
        found = small.paths("one", images, settings=settings)
        expected = npc.find_paths(*batch, settings=settings)
        assert torch.equal(found.neurons, expected.neurons)
        assert torch.equal(found.score, expected.score)
    manifests = [json.loads(path.read_text())["computed_from"]["arguments"]
                 for path in small.results_folder.rglob("manifest.json")]
    assert {each["method"] for each in manifests} == {"neuron_path", "knowledge"}
    assert [each["draft"] for each in manifests] == [None] * 3
    overridden = small.paths("one", images, settings="published", method="activation", top=1)
    assert overridden.neurons.shape == (10, 3, 1)
