"""Overlap of paths by hand and against its yardsticks, and measures that survive a renumbering of
the neurons, which the overlap does not."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from neuronpath_core.chapters.stability import overlap, seeds
from neuronpath_core.chapters.stability import words as stability_words
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import edited_probabilities
from neuronpath_core.models import build
from neuronpath_core.models.weight_files import file_sha256
from neuronpath_core.paths import Paths
from neuronpath_core.study.study import Study
from tests import small_study


def image_set(labels, images=None, size=6):
    labels = torch.as_tensor(labels)
    pictures = torch.zeros(len(labels), 1, size, size,
                           dtype=torch.float64) if images is None else images
    names = tuple(str(name) for name in range(int(labels.max()) + 1))
    return ImageSet(pictures, labels, 100 + torch.arange(len(labels)), names,
                    np.zeros((len(labels), size, size), np.uint8))


def paths_of(neurons):
    return Paths(torch.as_tensor(neurons), torch.zeros(len(neurons)),
                 torch.ones(len(neurons), dtype=torch.int64))


# --- overlap ---


def test_overlap_by_hand():
    images = image_set([0, 0, 1, 1])
    first = np.array([[1, 2], [1, 3], [4, 2], [4, 4]])
    second = np.array([[1, 2], [1, 2], [4, 3], [1, 4]])
    table = overlap.overlaps(first, second, images)
    assert table["image"].tolist() == [100, 100, 101, 101, 102, 102, 103,
                                       103] and table["block"].tolist() == [1, 2] * 4
    assert table["own"].tolist() == [1, 1, 1, 0, 1, 0, 0, 1]
    # image 0 and 1 as (first, second) and the other way round; block 1: 1-1 and 1-1; block 2: 2-2
    # and 2-3
    assert table["same_class"].tolist() == [1, 0.5, 1, 0.5, 0.5, 0, 0.5, 0]
    assert table["other_class"].tolist()[:2] == [np.mean([0, 1, 0, 0]), np.mean([0, 0, 1, 0])]


@pytest.mark.parametrize("seed", range(3))
def test_overlap_against_a_loop(seed):
    rng, labels = np.random.default_rng(seed), np.array([0, 1, 2, 0, 1, 2, 0, 0])
    first, second = rng.integers(0, 3, (2, 8, 4))
    table = overlap.overlaps(first, second, image_set(labels))
    for (i, block), row in zip(itertools.product(range(8), range(4)), table.itertuples(),
                               strict=True):
        for name, chosen in (("same_class", lambda i, j: labels[i] == labels[j] and i != j),
                             ("other_class", lambda i, j: labels[i] != labels[j])):
            shares = [(float(first[i, block] == second[j, block])
                       + float(second[i, block] == first[j, block])) / 2 for j in range(8)
                      if chosen(i, j)]
            assert getattr(row, name) == pytest.approx(np.mean(shares))
        assert row.own == (first[i, block] == second[i, block])


def test_overlap_does_not_mind_which_set_comes_first():
    rng, images = np.random.default_rng(0), image_set([0, 0, 1, 1, 1])
    first, second = rng.integers(0, 3, (2, 5, 4))
    pd.testing.assert_frame_equal(overlap.overlaps(first, second, images),
                                  overlap.overlaps(second, first, images))


@pytest.mark.parametrize(("labels", "shape", "words"), [
    ([0, 0, 1], (3, 2), "at least two images of every class"), ([0, 0, 0], (3, 2), "two classes"),
    ([0, 0, 1, 1], (3, 2), "of the 4 images"), ([0, 0, 1, 1], (4, 2, 1), "of the 4 images"),
])
def test_overlap_refuses_what_has_no_yardstick(labels, shape, words):
    with pytest.raises(ValueError, match=words):
        overlap.overlaps(np.zeros(shape, int), np.zeros(shape, int), image_set(labels))
    with pytest.raises(ValueError, match="of the 4 images"):
        overlap.overlaps(np.zeros((4, 2), int), np.zeros((4, 3), int), image_set([0, 0, 1, 1]))


def made_up(own, of_class, common, images=60, blocks=12, n_neurons=50, seed=0):
    """Two sets of paths that share each neuron of an image with probability ``own``; others are the
    class's, everybody's or any."""
    rng, labels = np.random.default_rng(seed), np.arange(images) % 6
    of_image, classes, everybody = (rng.integers(0, n_neurons, (count, blocks))
                                    for count in (images, 6, 1))
    sets = []
    for _ in range(2):
        kind, drawn = rng.random((images, blocks)), rng.integers(0, n_neurons, (images, blocks))
        found = np.where(kind < own, of_image, drawn)
        found = np.where((kind >= own) & (kind < own + of_class), classes[labels], found)
        sets.append(np.where((kind >= own + of_class) & (kind < own + of_class + common),
                             everybody[0], found))
    return sets, image_set(labels)


@pytest.mark.parametrize(("shares", "verdict"), [((0.5, 0.2, 0.2), "agrees"),
                                                 ((0, 0.9, 0), "not shown"),
                                                 ((0, 0, 0.9), "not shown"),
                                                 ((0, 0, 0), "not shown")])
def test_overlap_that_the_class_or_common_neurons_explain_is_not_the_images(shares, verdict):
    """Paths made of the class's neurons alone overlap by 0.8 and are not an image's own; the
    verdict must see it."""
    found = []
    for seed in range(10):
        (first, second), images = made_up(*shares, seed=seed)
        table = overlap.overlap_tables(paths_of(second), {"again": paths_of(first)}, images)
        found.append(overlap.overlap_summary(table, ["condition"], 1 / 50).iloc[0])
    assert sum(row["verdict"] == verdict for row in found) >= (10 if verdict == "agrees" else 8)
    mean = pd.DataFrame(found)[["value", "same_class", "other_class", "lead"]].mean()
    own, of_class, common = shares
    drawn = 1 / 50
    expected = {"value": own**2 + of_class**2 + common**2, "same_class": of_class**2 + common**2,
                "other_class": common**2}
    for name, share in expected.items():
        assert mean[name] == pytest.approx(share + (1 - share) * drawn, abs=0.03)
    assert mean["lead"] == pytest.approx(mean["value"] - mean["same_class"])


def test_overlap_summary_by_hand():
    images = image_set([0, 0, 1, 1])
    neurons = np.array([[1, 2], [1, 3], [4, 2], [4, 4]])
    other = neurons.copy()
    other[0, 1] = 9
    table = overlap.overlap_tables(paths_of(neurons),
                                     {"same": paths_of(neurons), "near": paths_of(other)}, images)
    found = overlap.overlap_summary(table, ["condition"], 0.1).set_index("condition")
    assert found.loc["same", ["value", "low", "high", "paths",
                              "chance"]].tolist() == [1, 1, 1, 1, 0.1]
    assert found.loc["near", ["value", "paths"]].tolist() == [7 / 8, 3 / 4]
    read = overlap.overlap_text(found.reset_index().assign(accuracy=0.256), ["condition"],
                                  ["accuracy"])
    assert list(read.columns) == ["found again", "whole paths", "another image of the class",
                                  "another class", "lead", "accuracy", "verdict"]
    near = found.loc["near"]
    assert read.loc["same", "found again"] == "1.00 (all images equal)" and read.loc[
        "near", ["whole paths", "accuracy"]].tolist() == [0.75, 0.26]
    assert read.loc["near",
                    "lead"] == f"{near['lead']:+.2f} [{near['lead_low']:+.2f}, {near['lead_high']:+.2f}]"
    assert read["verdict"].tolist() == found["verdict"].tolist()
    blocks = overlap.block_overlaps(table, ["condition"])
    assert blocks.loc[blocks["condition"] == "near", "own"].tolist() == [1, 0.75]


# --- views of an image ---


def test_augmentations_are_small_seeded_and_change_nothing_else():
    pictures = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (4, 1, 6, 6)))
    images = image_set([0, 0, 1, 1], pictures)
    for kind in overlap.AUGMENTATIONS:
        found = overlap.augmented(images, kind, seed=3)
        assert torch.equal(found.labels, images.labels) and torch.equal(found.ids, images.ids)
        assert found.images.shape == pictures.shape and found.images.abs().max() <= 1 and not torch.equal(found.images, pictures)
        assert torch.equal(found.images, overlap.augmented(images, kind, seed=3).images)
    shifted = overlap.augmented(images, "shifted by one pixel").images
    assert torch.equal(shifted[..., 1:],
                       pictures[..., :-1]) and torch.equal(shifted[..., 0], pictures[..., 0])
    assert not torch.equal(overlap.augmented(images, "noise of 0.05", 1).images,
                           overlap.augmented(images, "noise of 0.05", 2).images)
    assert torch.equal(overlap.augmented(images, "brighter, less contrast").images,
                       (0.9 * pictures + 0.1).clamp(-1, 1))
    with pytest.raises(ValueError, match="accepted: shifted by one pixel, brighter"):
        overlap.augmented(images, "mirrored")


# --- other models ---


def renumbered(root, source, target, seed):
    """Store the same network with the neurons of every block in another order."""
    folder = root / "data" / "weights"
    state, rng = load_file(folder / f"{source}.safetensors"), np.random.default_rng(seed)
    for block in {name.split(".")[1] for name in state if name.startswith("blocks.")}:
        name = f"blocks.{block}.mlp."
        order = torch.from_numpy(rng.permutation(len(state[f"{name}fc1.bias"])))
        for key in ("fc1.weight", "fc1.bias"):
            state[name + key] = state[name + key][order].contiguous()
        state[f"{name}fc2.weight"] = state[f"{name}fc2.weight"][:, order].contiguous()
    save_file(state, folder / f"{target}.safetensors")
    record = json.loads((folder / "weights.json").read_text())
    record[f"{target}.safetensors"] = {"sha256": file_sha256(folder / f"{target}.safetensors")}
    (folder / "weights.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    small_study.make_study(root)
    entry = small_study.PROFILE["models"]["one"]
    small_study.write_profile(root,
                              {**small_study.PROFILE, "models": {**small_study.PROFILE["models"],
                                                                 "other order": {
        **entry, "weights": "data/weights/other.safetensors"}}})
    renumbered(root, "one", "other", 5)
    return Study(root=root, results=root / "results")


@pytest.fixture(scope="module")
def traits(study):
    images = study.images(80)
    return images, {name: seeds.path_traits(study, name, images)
                    for name in ("one", "other order", "two")}


def test_renumbered_neurons_leave_the_invariants_and_destroy_the_overlap(study, traits):
    images, found = traits
    assert not np.array_equal(found["one"].neurons, found["other order"].neurons)
    for name in ("score", "removal", "effects"):  # scores are those of drafts in single precision
        assert getattr(found["one"], name) == pytest.approx(getattr(found["other order"], name),
                                                            rel=1e-4 if name == "score" else 0,
                                                            abs=1e-10)
    pair = {name: found[name] for name in ("one", "other order")}
    table = seeds.seed_agreement(pair, images, permutations=199,
                                     resamples=20).set_index("measure")
    for measure in ("class similarity", "effect per block", "score per image", "removal per image"):
        assert table.loc[measure, "value"] == pytest.approx(1, abs=1e-6), measure
    assert table.loc["class similarity", "p"] < 0.05
    again = overlap.overlaps(found["one"].neurons, found["one"].neurons, images)["own"].mean()
    assert again == 1 and table.loc["neuron indices", "value"] < 0.4
    # what is left of the overlap any other image's path would give: it is no evidence
    assert abs(table.loc["neuron indices", "value"]
               - table.loc["neuron indices", "yardstick"]) < 0.1
    assert table.loc["class similarity",
                     "halves"] == pytest.approx(table.loc["class similarity", "yardstick"],
                                                abs=1e-9)


def test_traits_against_single_passes(study, traits):
    images, found = traits
    target, (pictures, labels) = study.target("one"), study.batch(images, "one")
    own, rows = found["one"], torch.arange(len(labels))
    before = target(pictures).softmax(-1)[rows, labels].detach()
    neurons = torch.from_numpy(own.neurons)
    after = edited_probabilities(target, pictures, neurons, "remove")[rows, labels]
    assert own.removal == pytest.approx(((after - before) / before).numpy())
    assert own.score == pytest.approx(study.paths("one", images).score.numpy())
    with torch.no_grad():
        for block in range(3):
            fc2 = target.model.blocks[block].mlp.fc2

            def without(_module, inputs, block=block):
                value = inputs[0].clone()
                value[rows, 0, neurons[:, block]] = 0
                return (value,)

            handle = fc2.register_forward_pre_hook(without)
            probability = target.model(pictures).softmax(-1)[rows, labels]
            handle.remove()
            assert own.effects[:, block] == pytest.approx((before - probability).numpy(), abs=1e-10)


def noise_traits(seed, images=96, blocks=12, shared=None):
    """Traits of a model that has nothing to do with another one, or of one that shares everything
    but the numbering with ``shared``."""
    rng = np.random.default_rng(seed)
    if shared is not None:
        order = rng.permutation(shared.n_neurons)
        near = {name: getattr(shared, name)
                + 0.05 * rng.standard_normal(getattr(shared, name).shape)
                for name in ("score", "removal", "effects")}
        return replace(shared, neurons=order[shared.neurons], **near)
    # pairs of classes share neurons, other pairs from seed to seed
    labels, groups = np.arange(images) % 8, rng.permutation(8) // 2
    table, drawn = rng.integers(0, 50, (4, blocks)), rng.integers(0, 50, (images, blocks))
    neurons = np.where(rng.random((images, blocks)) < 0.5, table[groups[labels]], drawn)
    effects = rng.standard_normal(blocks) + rng.standard_normal((images, blocks))
    return seeds.Traits(neurons, 50, rng.standard_normal(images), rng.standard_normal(images),
                            effects)


def test_models_that_have_nothing_in_common_do_not_agree_and_kin_do():
    labels = np.arange(96) % 8
    errors = dict.fromkeys(("class similarity", "effect per block", "score per image",
                            "removal per image"), 0)
    for seed in range(40):
        first = noise_traits(seed)
        table = seeds.invariants(first, noise_traits(1000 + seed), labels, 99,
                                     2).set_index("measure")
        for measure in errors:
            errors[measure] += table.loc[measure, "p"] < 0.05
        if seed < 5:
            kin = seeds.invariants(first, noise_traits(2000 + seed, shared=first), labels, 199,
                                       20)
            assert (kin["p"] < 0.05).all() and (kin["low"] > 0.5).all()
    assert all(count <= 7 for count in errors.values()), errors  # 2 expected


@pytest.mark.parametrize(("kind", "few"), [("unrelated", True), ("class alone", True),
                                           ("own", False)])
def test_overlap_of_indices_is_tested_within_the_class(kind, few):
    """Neurons of the class, the same in both models, are no image's own; a sign test over images
    would call rare overlaps less than chance."""
    images, found = image_set(np.arange(60) % 6), 0
    for seed in range(30):
        shares = {"unrelated": (0, 0, 0), "class alone": (0, 0.6, 0), "own": (0.4, 0.2, 0)}[kind]
        sets = [seeds.Traits(neurons, 50, *np.random.default_rng(seed).random((2, 60)),
                                 np.random.default_rng(seed).random((60, 12)))
                for neurons in made_up(*shares, seed=seed)[0]]
        table = seeds.seed_agreement(dict(zip("ab", sets, strict=True)), images, 99,
                                         2).set_index("measure")
        found += table.loc["neuron indices", "p"] <= 0.05
    assert found <= 5 if few else found == 30  # 1.5 expected


def test_split_similarity_of_a_model_is_the_ceiling():
    labels, first = np.arange(96) % 8, noise_traits(0)
    twin, stranger = noise_traits(1, shared=first), noise_traits(2)
    ceiling = seeds.split_similarity(first, first, labels)
    assert ceiling > 0.4
    assert seeds.split_similarity(first, twin, labels) == pytest.approx(ceiling)
    assert seeds.split_similarity(first, stranger, labels) < ceiling - 0.2
    certain = replace(first, neurons=np.repeat(np.array([0, 0, 1, 1, 2, 2, 3, 3])[labels][:, None],
                                               12, 1))
    assert seeds.split_similarity(certain, certain, labels) == pytest.approx(1)
    with pytest.raises(ValueError, match="at least two images"):
        seeds.split_similarity(first, first, np.arange(96))


def test_invariants_of_different_images_or_depths_are_refused():
    first, second = noise_traits(0), noise_traits(1, blocks=6)
    for arguments in ((first, second, np.arange(96) % 8), (first, first, np.arange(90) % 8)):
        with pytest.raises(ValueError, match="accepted: the same"):
            seeds.invariants(*arguments)


def test_precisions_search_the_same_weights(study):
    images = study.images(20)
    reference = study.paths("one", images)
    found = overlap.precision_paths(study, "one", images, ["float64", "float32", "bfloat16"])
    assert torch.equal(found["float64"].neurons, reference.neurons)
    shares = {name: (paths.neurons == reference.neurons).double().mean().item() for name,
              paths in found.items()}
    assert shares["float32"] > 0.95 and shares["bfloat16"] > 0.3
    assert build.DTYPES.keys() >= found.keys()
    with pytest.raises(ValueError, match="unknown dtype"):
        overlap.precision_paths(study, "one", images, ["float16"])


def test_every_rule_is_accepted_and_near_the_converged_one(study):
    images = study.images(20)
    reference = study.paths("one", images, **overlap.CONVERGED)
    for settings in overlap.RULES.values():
        assert (study.paths("one", images, **settings).neurons
                == reference.neurons).double().mean() > 0.7


def test_in_how_many_pairs_other_paths_keep_more():
    rows = pd.DataFrame({"data": ["d", "d", "e"], "model": ["a", "b", "a"], "value": [0.4, 0.5, 0.6],
                         "condition": "shifted by one pixel"})
    other = rows.assign(value=[0.3, 0.5, 0.7])
    more = pd.concat([other, other.assign(condition="noise", value=0.0)])
    assert stability_words.ahead_of(rows, more) == "1 of 3" and stability_words.ahead_of(rows, rows) == "0 of 3"


def test_what_a_pixel_is_of_an_image_and_of_a_patch(study, images):
    names = list(study.model_names)
    text = overlap.pixel_text(study, names, images)
    side = study.target(names[0]).model.patch_embed.patch_size[1]
    assert text.startswith(f"1/{images.images.shape[-1]} of the width, 1/{side} of a patch of ")
    assert all(name in text for name in names)
