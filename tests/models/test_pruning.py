"""Importance by hand, masks at all tokens, networks physically pruned, and comparisons on networks
whose answer is planted."""

import copy
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy import stats
from timm.layers import GluMlp
from torch import nn

import neuronpath_core as npc
from neuronpath_core import interventions
from neuronpath_core.chapters.pruning import probe_mask
from neuronpath_core.chapters.pruning_honest import comparison as comparison
from neuronpath_core.chapters.pruning_honest import effect_rows, files, leaks
from neuronpath_core.chapters.pruning_honest import words as pruning_honest_words
from neuronpath_core.edits import scaled
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.models import importance, pruning
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import split_interval
from neuronpath_core.stats.tests import holm
from neuronpath_core.study.study import Study
from tests import helpers, small_study

PLAIN = {name: value for name, value in helpers.NETWORKS.items()
         if not value[0].get("scale_mlp_norm")}
KEPT = [[3, 0, 7], [1], list(range(16))]


def zeroed(model, survives):
    """The twin of a mask at every token: columns of ``fc2`` set to zero."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for block, row in zip(model.blocks, survives, strict=True):
            block.mlp.fc2.weight[:, torch.from_numpy(~row)] = 0
    return model


def network(name, seed=91):
    arguments, scope = helpers.NETWORKS[name]
    return npc.TargetModel(helpers.small_vit(seed, **arguments),
                           scope=scope), *helpers.small_batch(4, seed + 1)


# --- masks at every token ---


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_a_mask_at_every_token_is_a_network_without_those_columns(name):
    target, images, _ = network(name)
    survives = np.random.default_rng(1).random((target.n_blocks, 16)) < 0.5
    before = helpers.Snapshot(target.model)
    with torch.no_grad(), interventions.pruned(target, survives, everywhere=True):
        found = target(images)
    before.check()
    with torch.no_grad():
        torch.testing.assert_close(found, zeroed(target.model, survives)(images), rtol=0,
                                   atol=1e-13)
        with interventions.pruned(target, survives):
            # at the scope alone it is another edit, unless the scope is all there is
            assert ((target(images) - found).abs().max() > 1e-4) == (target.scope == "cls"
                                                                     or target.model.num_prefix_tokens > 0)
        with interventions.pruned(target, np.ones_like(survives), everywhere=True):
            assert torch.equal(target(images), target.model(images))


def test_each_image_has_its_own_mask_at_every_token():
    target, images, _ = network("cls")
    masks = np.random.default_rng(2).random((3, len(images), 3, 16)) < 0.5
    for everywhere in (True, False):
        found = comparison.masked_probabilities(target, images, masks, everywhere)
        assert found.shape == (3, len(images), 5)
        for (number, image), survives in ((place, masks[place])
                                          for place in np.ndindex(masks.shape[:2])):
            with torch.no_grad(), interventions.pruned(target, survives, everywhere):
                np.testing.assert_allclose(found[number, image],
                                           target(images[image:image + 1]).softmax(-1)[0], rtol=0,
                                           atol=1e-13)
    with torch.no_grad(), scaled(target, torch.ones(2, 3, 16),
                                 everywhere=True), pytest.raises(ValueError,
                                                                 match="the edit is for 2 images"):
        target(images)


# --- importance ---


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_weight_norms_by_hand(name):
    target = network(name)[0]
    found = importance.weight_norms(target)
    for index, neuron in itertools.product(range(target.n_blocks), (0, 5, 15)):
        block = target.model.blocks[index]
        gamma = block.ls2.gamma if hasattr(block.ls2,
                                           "gamma") else torch.ones(16, dtype=torch.float64)
        expected = block.mlp.fc1.weight[neuron].square().sum().sqrt() * (
            block.mlp.fc2.weight[:, neuron] * gamma).square().sum().sqrt()
        torch.testing.assert_close(found[index, neuron], expected.detach(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_mean_activations_are_over_all_images_and_tokens(name, monkeypatch):
    target, images, _ = network(name)
    sums = torch.zeros(target.n_blocks, 16, dtype=torch.float64)
    counts = torch.zeros(target.n_blocks, 1)

    def listen(index):
        def hook(_module, inputs):
            for token in inputs[0].flatten(0, 1):
                sums[index] += token.abs()
                counts[index] += 1
        return hook

    handles = [block.mlp.fc2.register_forward_pre_hook(listen(index)) for index,
               block in enumerate(target.model.blocks)]
    with torch.no_grad():
        target(images)
    for handle in handles:
        handle.remove()
    before = helpers.Snapshot(target.model)
    torch.testing.assert_close(importance.mean_activations(target, images), sums / counts, rtol=0,
                               atol=1e-14)
    monkeypatch.setattr(importance, "images_at_once", lambda *_: 3)  # parts of unequal size
    torch.testing.assert_close(importance.mean_activations(target, images), sums / counts, rtol=0,
                               atol=1e-14)
    before.check()


def one_by_one(target, images, labels):
    """Gradients of every image's loss in the FFN weights: per weight ``(image, out, in)``."""
    model = copy.deepcopy(target.model).requires_grad_(True)
    found = []
    for image, label in zip(images, labels, strict=True):
        model.zero_grad()
        (-model(image[None]).log_softmax(-1)[0, label]).backward()
        found.append([weight.grad.clone() for block in model.blocks
                      for weight in (block.mlp.fc1.weight, block.mlp.fc2.weight)])
    return [torch.stack(each) for each in zip(*found, strict=True)]


@pytest.mark.parametrize("name", ["cls", "avg", "cls-embed-apart"])
def test_ffn_gradients_by_hand(name):
    target, images, labels = network(name)
    target.model.requires_grad_(False)  # a frozen model has importance too
    groups = torch.tensor([[True, True, True, True], [False, True, False, True],
                           [True, False, False, False]])
    before = helpers.Snapshot(target.model)
    with torch.no_grad():
        first, second = importance.ffn_gradients(target, images, labels, groups)
    before.check()
    every = one_by_one(target, images, labels)
    assert len(first) == len(second) == len(every) == 2 * target.n_blocks
    for mean, square, single in zip(first, second, every, strict=True):
        for number, group in enumerate(groups):
            torch.testing.assert_close(mean[number], single[group].mean(0), rtol=0, atol=1e-14)
            torch.testing.assert_close(square[number], single[group].square().mean(0), rtol=0,
                                       atol=1e-14)


@pytest.mark.parametrize("name", PLAIN)
def test_torch_prunings_importance_by_hand(name):
    target, images, labels = network(name)
    first, second = importance.ffn_gradients(target, images, labels,
                                          torch.ones(1, len(images), dtype=torch.bool))
    first, second = [each[0] for each in first], [each[0] for each in second]
    before = helpers.Snapshot(target.model)
    with torch.no_grad():
        found = {"magnitude": importance.torch_pruning_importance(target, "magnitude", images),
                 "taylor": importance.torch_pruning_importance(target, "taylor", images, first),
                 "hessian": importance.torch_pruning_importance(target, "hessian", images, second)}
    before.check()
    for index, block in enumerate(target.model.blocks):
        row, column = block.mlp.fc1.weight.detach(), block.mlp.fc2.weight.detach().T
        terms = {"magnitude": (row**2, column**2),
                 "taylor": ((row * first[2 * index]).abs(),
                            (column * first[2 * index + 1].T).abs()),
                 "hessian": (row**2 * second[2 * index], column**2 * second[2 * index + 1].T)}
        for criterion, (of_row, of_column) in terms.items():
            expected = (of_row.sum(1) + of_column.sum(1)) / 2
            # torch-pruning adds in float32
            torch.testing.assert_close(found[criterion][index].double(), expected / expected.mean(),
                                       rtol=1e-5, atol=1e-7)


def test_most_important_neurons_and_ties():
    scores = torch.tensor([[1.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert importance.most_important(scores, 1) == [[1], [0]]
    assert importance.most_important(scores, 2) == [[1, 2], [0, 1]]
    assert importance.most_important(scores, 3) == [[0, 1, 2], [0, 1, 2]]
    for top in (0, 5, True):
        with pytest.raises(ValueError, match=r"1\.\.neurons"):
            importance.most_important(scores, top)


def test_importance_of_what_does_not_fit():
    target, images, labels = network("cls")
    with pytest.raises(ValueError, match="magnitude, taylor, hessian"):
        importance.torch_pruning_importance(target, "norm", images)
    with pytest.raises(ValueError, match="needs gradients"):
        importance.torch_pruning_importance(target, "taylor", images)
    for groups in (torch.zeros(1, 4, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool),
                   torch.ones(1, 4)):
        with pytest.raises(ValueError, match=r"bool \(group, 4\)"):
            importance.ffn_gradients(target, images, labels, groups)
    with pytest.raises(ValueError, match=r"0\.\.4"):
        importance.ffn_gradients(target, images, labels + 5, torch.ones(1, 4, dtype=torch.bool))


# --- physically pruned ---


@pytest.mark.parametrize("name", PLAIN)
def test_a_pruned_model_is_the_masked_one(name):
    target, images, _ = network(name)
    before = helpers.Snapshot(target.model)
    pruned = pruning.prune_ffn(target.model, KEPT)
    before.check()
    assert [block.mlp.fc1.out_features for block in pruned.blocks] == [block.mlp.fc2.in_features
                                                                       for block in pruned.blocks] == [3, 1, 16]
    with torch.no_grad(), interventions.pruned(target, comparison.survivors(KEPT, 16),
                                               everywhere=True):
        masked = target(images)
    with torch.no_grad():
        torch.testing.assert_close(pruned(images), masked, rtol=0, atol=1e-12)
        assert (pruned(images) - target.model(images)).abs().max() > 1e-3
        torch.testing.assert_close(pruning.prune_ffn(target.model, [range(16)] * 3)(images),
                                   target.model(images), rtol=0, atol=1e-12)
        pruned.blocks[0].mlp.fc1.weight.zero_()
    before.check()  # nothing is shared


def test_pruning_without_biases_and_in_another_dtype():
    model = helpers.small_vit(91)
    for block in model.blocks:
        block.mlp.fc1.bias = block.mlp.fc2.bias = None
    model = model.float()
    pruned = pruning.prune_ffn(model, KEPT)
    assert pruned.blocks[0].mlp.fc1.bias is None and pruned.blocks[0].mlp.fc2.bias is None
    images = helpers.small_batch(4, 92)[0].float()
    with torch.no_grad(), interventions.pruned(npc.TargetModel(model),
                                               comparison.survivors(KEPT, 16), everywhere=True):
        torch.testing.assert_close(pruned(images), model(images), rtol=1e-4, atol=1e-5)


def test_equally_wide_blocks_make_a_target_again():
    model = pruning.prune_ffn(helpers.small_vit(91), [[3, 0], [1, 2], [5, 9]])
    assert npc.TargetModel(model).n_neurons == 2
    with pytest.raises(ValueError, match="same number of FFN neurons"):
        npc.TargetModel(pruning.prune_ffn(helpers.small_vit(91), KEPT))


def gated(model):
    for block in model.blocks:
        block.mlp = GluMlp(16, 32, 16).double()
    return model.eval()


@pytest.mark.parametrize(("model", "kept", "words"), [
    (helpers.small_vit(91), KEPT[:2], "2 blocks, the model has 3"),
    (helpers.small_vit(91), [[1], [], [2]], "block 1 keeps no neuron"),
    (helpers.small_vit(91), [[1], [2], [16]], r"block 2 must be whole numbers in 0\.\.15"),
    (helpers.small_vit(91), [[1], [-1], [2]], r"block 1 must be whole numbers in 0\.\.15"),
    (helpers.small_vit(91), [[1.0], [1], [2]], "block 0 must be whole numbers"),
    (helpers.small_vit(91), [[True], [1], [2]], "block 0 must be whole numbers"),
    (helpers.small_vit(91), [[1, 1], [1], [2]], "differ"),
    (helpers.small_vit(91, scale_mlp_norm=True), KEPT, "normalises its FFN neurons"),
    (gated(helpers.small_vit(91)), KEPT, "GluMlp; accepted: timm's Mlp"),
])
def test_what_cannot_be_pruned(model, kept, words):
    before = helpers.Snapshot(model)
    with pytest.raises(ValueError, match=words) as caught:
        pruning.prune_ffn(model, kept)
    assert "\n" not in str(caught.value)
    before.check()


def test_a_model_that_is_being_edited_is_not_pruned():
    target = npc.TargetModel(helpers.small_vit(91))
    with interventions.pruned(target,
                              np.ones((3, 16), bool)), pytest.raises(ValueError, match="has hooks"):
        pruning.prune_ffn(target.model, KEPT)


SPEC = {"architecture": helpers.SIZES, "weights": "elsewhere.safetensors"}


def test_saved_and_loaded(tmp_path):
    model, images = helpers.small_vit(91), helpers.small_batch(4, 92)[0]
    path, pruned = tmp_path / "new folder" / "pruned.safetensors", pruning.prune_ffn(model, KEPT)
    pruning.save_pruned(path, pruned, KEPT, SPEC)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    loaded, kept = pruning.load_pruned(path)
    assert [sorted(each) for each in kept] == [sorted(each)
                                               for each in KEPT] and not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(images), pruned(images))
    with safe_open(path, "pt") as stored:
        assert json.loads(stored.metadata()["kept"]) == KEPT
        assert json.loads(stored.metadata()["model"]) == {"architecture": helpers.SIZES}
    numbers = sum(parameter.numel() for parameter in pruned.parameters())
    assert 8 * numbers < path.stat().st_size < 8 * numbers + 10_000
    # replaces it
    pruning.save_pruned(path, pruning.prune_ffn(model, [[0]] * 3), [np.array([0])] * 3, SPEC)
    assert pruning.load_pruned(path)[1] == [[0]] * 3


@pytest.mark.parametrize("older", [False, True])
def test_a_write_that_fails_leaves_no_file(tmp_path, monkeypatch, older):
    path, pruned = tmp_path / "pruned.safetensors", pruning.prune_ffn(helpers.small_vit(91), KEPT)
    if older:
        pruning.save_pruned(path, pruned, KEPT, SPEC)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    def broken(_state, file, metadata):
        file.write_bytes(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr(pruning, "save_file", broken)
    with pytest.raises(OSError, match="no space"):
        pruning.save_pruned(path, pruned, KEPT, SPEC)
    assert {each.name: each.read_bytes()
            for each in tmp_path.iterdir()} == before and len(before) == older


def test_what_cannot_be_saved(tmp_path):
    path, pruned = tmp_path / "pruned.safetensors", pruning.prune_ffn(helpers.small_vit(91), KEPT)
    for kept, spec, words in ((KEPT[::-1], SPEC, "do not fit"),
                              (KEPT, {"architecture": {**helpers.SIZES, "embed_dim": 24}},
                               "do not fit"),
                              (KEPT, {}, "names no model"), (KEPT[:1], SPEC, "1 blocks"),
                              (KEPT, {"architecture": {**helpers.SIZES, "act_layer": nn.GELU}},
                               "JSON")):
        with pytest.raises(ValueError, match=words) as caught:
            pruning.save_pruned(path, pruned, kept, spec)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_loaded(tmp_path):
    path = tmp_path / "pruned.safetensors"
    pruning.save_pruned(path, pruning.prune_ffn(helpers.small_vit(91), KEPT), KEPT, SPEC)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    save_file({"weight": torch.zeros(2)}, tmp_path / "plain.safetensors")
    save_file({"weight": torch.zeros(2)}, tmp_path / "odd.safetensors",
              metadata={"kept": "[[0", "model": "{}"})
    (tmp_path / "text.safetensors").write_text("not at all")
    for name in (path.name, "plain.safetensors", "odd.safetensors", "text.safetensors",
                 "absent.safetensors"):
        with pytest.raises(ValueError, match="is no pruned model") as caught:
            pruning.load_pruned(tmp_path / name)
        assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(("arguments", "tokens"),
                         [({}, 5), ({"global_pool": "avg", "class_token": False}, 4)])
def test_cost_against_the_count_by_hand(arguments, tokens):
    model, images = helpers.small_vit(91, **arguments), helpers.small_batch(4, 92)[0]
    pruned = pruning.prune_ffn(model, KEPT)
    for each, widths in ((model, [16] * 3), (pruned, [3, 1, 16])):
        found = pruning.model_cost(each, images)
        products = sum(tokens * (4 * 16 * 16 + 2 * 16 * width) + 2 * tokens**2 * 16
                       for width in widths) + 4 * 3 * 16 * 16 + 16 * 5
        assert found["neurons"] == sum(widths) and found["multiply_adds"] == products
        assert found["parameters"] == sum(value.numel() for value in each.state_dict().values())
    gone = 13 + 15
    assert pruning.model_cost(model, images)["parameters"] - pruning.model_cost(pruned, images)[
        "parameters"] == gone * (16 + 1 + 16)


def test_latencies_take_turns():
    order = []

    class Watched(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, images):
            order.append(self.name)
            return images

    found = pruning.latencies({"one": Watched("one"), "two": Watched("two")}, torch.zeros(2),
                              repeats=3)
    assert order == ["one", "two"] * 4 and set(found) == {"one", "two"} and min(found.values()) > 0


# --- planted networks ---


def image_set(labels, images):
    labels = torch.as_tensor(labels)
    return ImageSet(images, labels, 100 + torch.arange(len(labels)),
                    tuple(str(label) for label in range(int(labels.max()) + 1)),
                    np.zeros((len(labels), 8, 8), np.uint8))


def study_of(model, paths=None):
    """What the comparison asks of a study, for one network; ``paths`` replaces the search."""
    target = npc.TargetModel(model)

    def search(_model, images, tops, **settings):
        if paths is not None:
            return [SimpleNamespace(neurons=paths(images, top)) for top in tops]
        return npc.find_paths_by_top(target, images.images, images.labels, tops, **settings)

    return SimpleNamespace(target=lambda _: target, drafted=lambda _: None, batch=lambda images,
                           _: (images.images, images.labels), paths_by_top=search,
                           progress=False)


IMPORTANT = 5


def signed_vit(share):
    """Two classes, bright and dark images: channel 2 is the brightness, and neuron ``IMPORTANT`` of
    each block, or a ``share`` of it every neuron, carries it to the logits; else the others are
    active and write nothing."""
    model = helpers.blank_vit("cls", num_classes=2)
    with torch.no_grad():
        model.patch_embed.proj.weight[2] = 0.05
        model.blocks[0].attn.qkv.weight[2 * 16 + 2, 2] = 1
        model.blocks[0].attn.proj.weight[2, 2] = 1
        for block in model.blocks:
            block.mlp.act = nn.Tanh()
            carriers = range(16) if share else [IMPORTANT]
            block.mlp.fc1.bias.copy_(torch.linspace(1, 2, 16) * (0 if share else 1))
            for neuron in carriers:
                block.mlp.fc1.bias[neuron] = 0
                block.mlp.fc1.weight[neuron, 2] = 0.5
                block.mlp.fc2.weight[0, neuron] = share or 1
        model.head.weight[:, 0] = torch.tensor([-3.0, 3.0])
    return model


def bright_and_dark(count=60):
    labels = torch.arange(count) * 2 // count
    noise = 0.1 * torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0),
                              dtype=torch.float64)
    return image_set(labels, noise + (2.0 * labels - 1)[:, None, None, None].double())


def leads_of(study, **settings):
    return effect_rows.path_leads(comparison.pruning_comparison(study, "planted", bright_and_dark(), [1],
                                                           splits=3, **settings))


def test_a_path_that_matters_is_found_to_matter():
    found = leads_of(study_of(signed_vit(0)), steps=2)
    assert set(found["tokens"]) == {"class token",
                                    "all tokens"} and set(found["mask"]) == {"one for all",
                                                                             "own class"}
    verdicts = found.groupby("against")["verdict"].agg(set)
    assert verdicts["random"] == verdicts["activation"] == verdicts["activation, all tokens"] == {
        "agrees"}
    # these see that nothing else writes to the logits, and keep the very same neurons
    same = found[found["against"].isin(["weight norm", "torch-pruning Taylor",
                                        "torch-pruning Hessian"])]
    assert (same["value"] == 0).all() and set(same["verdict"]) == {"not shown"}


def test_where_every_neuron_does_the_same_nothing_is_shown():
    found = leads_of(study_of(signed_vit(1)), steps=2)
    assert set(found["verdict"]) == {"not shown"} and (found["value"] == 0).all()
    assert set(found["against"]) == set(comparison.CRITERIA) - {comparison.PATH}


def test_a_path_that_misses_what_matters_contradicts():
    study = study_of(signed_vit(0), paths=lambda images, top: torch.full((len(images), 3, top), 9))
    found = leads_of(study).set_index(["mask", "tokens", "against"])
    assert (found.xs("weight norm", level="against")["verdict"] == "contradicts").all()


def test_the_published_claim_on_planted_networks():
    good = comparison.pruning_comparison(study_of(signed_vit(0)), "planted", bright_and_dark(), [1],
                                         splits=3, steps=2)
    bad = comparison.pruning_comparison(study_of(signed_vit(0), lambda images,
                                                 top: torch.full((len(images), 3, top), 9)),
                                        "planted", bright_and_dark(), [1], 3)
    assert set(effect_rows.size_effects(good)["verdict"]) == {"agrees"}
    assert set(effect_rows.size_effects(bad)["verdict"]) == {"contradicts"}


def mask_vit(kind):
    """Three classes. ``"decides"``: neuron c of block 0 writes the logit of class c, whatever the
    image; ``"disturbs"``: that of c + 1; ``"silent"``: the image's colour reaches the logits
    without any neuron."""
    model = helpers.blank_vit("cls", num_classes=3)
    with torch.no_grad():
        attention = model.blocks[0].attn
        for label in range(3):
            if kind == "silent":
                model.patch_embed.proj.weight[2 + label, label] = 0.1
                attention.qkv.weight[2 * 16 + 2 + label, 2 + label] = 1
                attention.proj.weight[2 + label, 2 + label] = 1
            else:
                model.blocks[0].mlp.fc1.bias[label] = 2
                model.blocks[0].mlp.fc2.weight[2 + (label + (kind == "disturbs")) % 3, label] = 1
            model.head.weight[label, 2 + label] = 1
    return model


def coloured(count=45):
    labels = torch.arange(count) * 3 // count
    images = 0.1 * torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1),
                               dtype=torch.float64)
    images[torch.arange(count), labels] += 1
    return image_set(labels, images)


def leak_of(kind, tokens="class token"):
    images, target = coloured(), npc.TargetModel(mask_vit(kind))
    masks = {label: comparison.survivors([[label], [0], [0]], 16) for label in range(3)}
    table = leaks.mask_predictions(target, images.images, masks,
                                        everywhere=tokens == "all tokens")
    labels = images.labels.numpy()
    table = table.assign(label=labels[table["image"]], whole=labels[table["image"]], model="m",
                         split=0, tokens=tokens)
    return leaks.leak_summary(table).set_index("measure")


@pytest.mark.parametrize("tokens", ["class token", "all tokens"])
def test_the_leak_detector_can_fail_both_ways(tokens):
    decides, silent, disturbs = (leak_of(kind, tokens)
                                 for kind in ("decides", "silent", "disturbs"))
    assert decides["value"].to_dict() == {"own mask": 1, "mask of the predicted class": 1,
                                          "another class's mask": 0, "follows the mask": 1,
                                          "elsewhere": 0,
                                          "label gain": 0, "leak": 1}
    assert silent["value"].to_dict() == {"own mask": 1, "mask of the predicted class": 1,
                                         "another class's mask": 1, "follows the mask": 0,
                                         "elsewhere": 0,
                                         "label gain": 0, "leak": 0}
    # a mask that only disturbs is no leak, however wrong the predictions
    assert disturbs["value"].to_dict() == {"own mask": 0, "mask of the predicted class": 0,
                                           "another class's mask": 0.5, "follows the mask": 0,
                                           "elsewhere": 0.5, "label gain": 0, "leak": -0.5}
    assert [report.verdict(each.loc["leak"])
            for each in (decides, silent, disturbs)] == ["agrees", "not shown", "contradicts"]


def test_a_leak_is_found_from_the_paths_on():
    found = {kind: leaks.leak_summary(leaks.foreign_masks(study_of(mask_vit(kind)), "m",
                                                                coloured(), 1, splits=2, steps=2))
             for kind in ("decides", "silent")}
    for kind, expected in (("decides", 1), ("silent", 0)):
        leak = found[kind][found[kind]["measure"] == "leak"]
        assert leak["tokens"].tolist() == ["class token",
                                           "all tokens"] and (leak["value"] == expected).all()
    gain = found["decides"][found["decides"]["measure"] == "label gain"]["value"]
    # the whole network always predicts one class; the true class's mask makes every prediction
    # right
    assert (gain > 0.5).all()


def test_leak_rates_by_hand():
    # image, split, label, whole, mask, predicted
    rows = [(7, 0, 1, 0, 0, 0), (7, 0, 1, 0, 1, 1), (7, 0, 1, 0, 2, 0), (7, 0, 1, 0, 3, 3),
            (7, 1, 1, 0, 0, 1), (7, 1, 1, 0, 1, 2), (7, 1, 1, 0, 2, 3), (7, 1, 1, 0, 3, 1)]
    table = pd.DataFrame(rows, columns=["image", "split", "label", "whole", "mask", "predicted"])
    found = leaks.leak_rates(table).loc[7]
    assert found["own mask"] == (1 + 0) / 2 and found["mask of the predicted class"] == (0 + 1) / 2
    assert found["another class's mask"] == pytest.approx((0 + 2 / 3) / 2)
    assert found["follows the mask"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["elsewhere"] == pytest.approx((1 / 3 / 2 + 1 / 3 / 2) / 2)
    assert found["leak"] == pytest.approx(found["follows the mask"]
                                          - found["elsewhere"]) and found["label gain"] == 0
    with pytest.raises(ValueError, match="at least three classes"):
        leaks.leak_rates(table[table["mask"] < 2])


# --- the comparison's table ---


@pytest.fixture(scope="module")
def compared():
    images, labels = helpers.small_batch(30, 95)
    return (
        image_set(labels, images),
        study_of(helpers.small_vit(94)),
        comparison.pruning_comparison(
            study_of(helpers.small_vit(94)),
            "small",
            image_set(labels, images),
            [2, 16],
            splits=2,
            share=0.5,
            seed=3,
            steps=2,
        ),
    )


def test_every_cell_is_measured_on_every_test_image(compared):
    images, _, table = compared
    assert list(table.columns) == ["model", "split", "mask", "tokens", "kept", "top", "image",
                                   "label", "correct", "probability"]
    cells = table.groupby(["split", "mask", "tokens", "kept", "top"], sort=False)
    assert len(cells) == 2 * (1 + 2 * 2 * (8 + 3))
    for (split, *_), cell in cells:
        test = images.select(~probe_mask(images, 0.5, 3 + split))
        assert cell["image"].tolist() == test.ids.tolist() and cell[
            "label"].tolist() == test.labels.tolist()
    assert set(table["split"]) == {0, 1} and table[table["split"] == 0]["image"].tolist() != table[
        table["split"] == 1]["image"].tolist()


def test_with_every_neuron_kept_the_model_is_whole(compared):
    table = compared[2]
    whole = table[table["kept"] == comparison.WHOLE].set_index(["split", "image"])["probability"]
    everything = table[(table["top"] == 16) & (table["kept"] != comparison.WHOLE)]
    for _, cell in everything.groupby(["mask", "tokens", "kept"]):
        np.testing.assert_allclose(cell.set_index(["split", "image"])["probability"], whole, rtol=0,
                                   atol=1e-12)
    few = table[table["top"] == 2].set_index(["split", "image"])["probability"]
    assert (few - whole.reindex(few.index)).abs().groupby(level=0).max().min() > 0.01


@pytest.mark.parametrize("tokens", ["class token", "all tokens"])
def test_cells_by_a_direct_computation(compared, tokens):
    images, study, table = compared
    target, probing = study.target("small"), probe_mask(images, 0.5, 3)
    test, labels = images.select(~probing), images.labels.numpy()
    paths = npc.find_paths(target, images.images, images.labels, top=2, steps=2).neurons.numpy()
    gradients = [each[torch.from_numpy(probing)].mean(0)
                 for each in one_by_one(target, images.images, images.labels)]

    def frequent(members):
        counts = [np.bincount(paths[members, block].ravel(), minlength=16) for block in range(3)]
        return [np.argsort(-count, kind="stable")[:2] for count in counts]

    def taylor(_members):
        of_row, of_column = (
            [(getattr(block.mlp, name).weight * gradients[2 * index + place]).detach().abs().sum(
            1 - place).numpy()
             for index, block in enumerate(target.model.blocks)] for place,
            name in enumerate(("fc1", "fc2")))
        return [np.argsort(-(row + column))[:2] for row,
                column in zip(of_row, of_column, strict=True)]

    everybody = {label: probing for label in range(5)}
    for mask, kept, choose, members in (("one for all", "neuron path", frequent, everybody),
                                        ("one for all", "torch-pruning Taylor", taylor, everybody),
                                        ("own class", "neuron path", frequent,
                                         {label: probing & (labels == label)
                                          for label in range(5)})):
        cell = table[(table["split"] == 0) & (table["mask"] == mask) & (table["tokens"] == tokens)
                     & (table["kept"] == kept) & (table["top"] == 2)]
        for image, label, probability, correct in zip(test.images, test.labels.tolist(),
                                                      cell["probability"], cell["correct"],
                                                      strict=True):
            survives = np.zeros((3, 16), bool)
            for row, neurons in zip(survives, choose(members[label]), strict=True):
                row[neurons] = True
            with torch.no_grad(), interventions.pruned(target, survives, tokens == "all tokens"):
                expected = target(image[None]).softmax(-1)[0]
            assert probability == pytest.approx(expected[label].item(),
                                                abs=1e-12) and correct == (expected.argmax()
                                                                           == label)


def test_test_images_have_no_say_in_what_is_kept(compared, monkeypatch):
    """Everything about the test images is changed, their paths too: the masks stay, and the
    controls' masks move with the probing images."""
    images = compared[0]
    probing = probe_mask(images, 0.5, 3)
    monkeypatch.setattr(comparison, "probing_splits", lambda *_: [probing, probing])
    real = comparison.survivors

    def masks(changed):
        kept, model = [], helpers.small_vit(94)
        pictures = images.images.clone()
        pictures[torch.from_numpy(changed)] = -3 * pictures[torch.from_numpy(changed)]
        rng = np.random.default_rng(5)
        paths = torch.from_numpy(rng.random((len(images), 3, 16)).argsort(-1))
        paths[torch.from_numpy(changed)] = paths[torch.from_numpy(changed)].flip(-1)
        monkeypatch.setattr(comparison, "survivors", lambda neurons,
                            count: kept.append([list(each) for each in neurons])
                            or real(neurons, count))
        comparison.pruning_comparison(study_of(model, lambda _images, top: paths[..., :top]),
                                      "small", image_set(images.labels, pictures), [3], 2)
        return kept

    clean = masks(np.zeros(len(images), bool))
    assert masks(~probing) == clean
    moved = [one != other for one, other in zip(masks(probing), clean, strict=True)]
    # of both splits: paths, activation twice, Taylor and Hessian, not random and magnitudes; and
    # then the classes' own
    assert sum(moved[:8]) == 5 and sum(moved) > 10


def test_nothing_kept_is_every_neuron_zeroed_by_hand(compared):
    """On the same test images in the same splits, and worse than the whole model where its neurons
    are what it reads by."""
    images, study, table = compared
    bare = comparison.nothing_kept(study, "small", images, splits=2, share=0.5, seed=3)
    assert set(bare["kept"]) == {comparison.NOTHING} and set(bare["top"]) == {0}
    whole = table[table["kept"] == comparison.WHOLE]
    for tokens, own in bare.groupby("tokens"):
        assert own[["split", "image"]].values.tolist() == whole[["split", "image"]].values.tolist()
        target = study.target("small")
        zeros = torch.zeros(1, target.n_blocks, target.n_neurons, dtype=target.dtype)
        pictures, labels = study.batch(images, "small")
        with scaled(target, zeros.expand(len(pictures), -1, -1), tokens == comparison.EVERYWHERE):
            expected = target(pictures).softmax(-1).gather(1, labels[:, None])[:, 0]
        by_image = dict(zip(images.ids.tolist(), expected.tolist(), strict=True))
        np.testing.assert_allclose(own["probability"], own["image"].map(by_image), atol=1e-9)
    control = effect_rows.control_sizes({"toys": table}, {"toys": bare}, 2)
    assert control["kept"].tolist() == ["random", comparison.NOTHING]
    value = control.set_index("kept").loc[comparison.NOTHING, "value"]
    at_scope = bare[bare["tokens"] != comparison.EVERYWHERE].groupby("image")["correct"].mean()
    assert value == pytest.approx((at_scope - whole.groupby("image")["correct"].mean()).mean())
    assert "kept in" in pruning_honest_words.control_text(control)


def test_kept_by_splits_counts_the_wider_interval():
    sizes = pd.DataFrame([
        {"top": 5, "mask": comparison.OWN, "tokens": "class token", "verdict": verdict,
         "split_low": low}
        for verdict, low in (("agrees", -0.04), ("agrees", -0.09), ("not shown", 0.0))])
    assert pruning_honest_words.kept_by_splits(sizes, 5) == "1 of 2"


def test_the_same_seed_gives_the_same_table(compared):
    images, study, table = compared
    again = comparison.pruning_comparison(study, "small", images, [2, 16], splits=2, share=0.5,
                                          seed=3, steps=2)
    pd.testing.assert_frame_equal(again, table)
    other = comparison.pruning_comparison(study, "small", images, [2, 16], splits=2, share=0.5,
                                          seed=4, steps=2)
    assert other["image"].tolist() != table["image"].tolist()


def test_comparisons_of_what_does_not_fit(compared):
    images, study, _ = compared
    for splits in (1, 2.0, True):
        with pytest.raises(ValueError, match="splits must be a whole number of at least 2"):
            comparison.pruning_comparison(study, "small", images, [2], splits)
    for tops in ([], [0], [17], [2.0], [True]):
        with pytest.raises(ValueError, match=r"whole numbers in 1\.\.16"):
            comparison.pruning_comparison(study, "small", images, tops)
        with pytest.raises(ValueError, match="too few for a 99% split"):
            comparison.pruning_comparison(study, "small", images, [2], share=0.99)


# --- checkpoints of a study ---


@pytest.fixture(scope="module")
def whole_study(tmp_path_factory):
    root = small_study.make_study(tmp_path_factory.mktemp("study"))
    return Study("digits", results=root / "results", root=root)


@pytest.mark.parametrize("model", ["one", "two"])
def test_checkpoints_compute_what_the_masks_do(whole_study, tmp_path, model):
    images = whole_study.images(50)
    table = files.pruned_checkpoints(whole_study, model, images, [1, 4], tmp_path, steps=1)
    assert table["top"].tolist() == [12, 1,
                                     4] and table["neurons"].tolist() == [36, 3, 12] and table[
        "agree"].all()
    assert table["accuracy"].tolist() == table["masked"].tolist()
    assert {file.name for file in tmp_path.iterdir()} == {f"digits_{model}_{top}.safetensors"
                                                          for top in (12, 1, 4)}
    probing = probe_mask(images, comparison.PUBLISHED_SHARE, 0)
    test, target = images.select(~probing), whole_study.target(model)
    for row in table.to_dict("records"):
        loaded, kept = pruning.load_pruned(row["file"])
        pictures, labels = whole_study.batch(test, model)
        with torch.no_grad():
            assert (loaded(pictures).argmax(1) == labels).double().mean().item() == row["accuracy"]
        assert row["bytes"] == row["file"].stat().st_size and row[
            "multiply_adds"] == pruning.model_cost(loaded, pictures)["multiply_adds"]
        if row["top"] < 12:
            paths = whole_study.paths(model, images, top=row["top"], steps=1).neurons
            assert kept == interventions.class_neurons(paths[probing], row["top"])
    assert target.n_neurons == 12  # the study's own model is whole


def test_a_checkpoint_that_computes_something_else_is_seen(whole_study, tmp_path, monkeypatch):
    real = pruning.load_pruned

    def changed(file):
        model, kept = real(file)
        with torch.no_grad():
            model.blocks[0].mlp.fc2.bias[0] += 1
        return model, kept

    monkeypatch.setattr(files, "load_pruned", changed)
    assert not files.pruned_checkpoints(whole_study, "one", whole_study.images(50), [4],
                                             tmp_path, steps=1)["agree"].any()


def test_every_chapter_table_on_a_study(whole_study):
    images = whole_study.images(60)
    # averages its patch tokens
    table = comparison.pruning_comparison(whole_study, "two", images, [2, 5], 2, steps=1)
    assert set(table["tokens"]) == {"none", "patch tokens", "all tokens"}
    foreign = leaks.foreign_masks(whole_study, "two", images, 2, 2, steps=1)
    tested = (~probe_mask(images, 0.8,
                                     0)).sum() + (~probe_mask(images, 0.8, 1)).sum()
    assert len(foreign) == 2 * 10 * tested  # tokens, masks
    row = foreign[(foreign["split"] == 1) & (foreign["tokens"] == "all tokens")].iloc[7]
    target, (pictures, _) = whole_study.target("two"), whole_study.batch(images, "two")
    mine = probe_mask(images, 0.8, 1) & (images.labels == row["mask"]).numpy()
    kept = interventions.class_neurons(whole_study.paths("two", images, top=2,
                                                         steps=1).neurons[mine], 2)
    place = images.ids.tolist().index(row["image"])
    with torch.no_grad(), interventions.pruned(target, comparison.survivors(kept, 12),
                                               everywhere=True):
        assert target(pictures[place:place + 1]).argmax() == row["predicted"]
    with torch.no_grad():
        assert target(pictures[place:place + 1]).argmax() == row["whole"] and images.labels[
            place] == row["label"]


# --- intervals ---


def cells(accuracies, images=60):
    """A table with one accuracy per mask, tokens, criterion and t, the same in both splits; the
    whole model is always right."""
    rows = []
    for (mask, tokens, kept, top), accuracy in {**accuracies,
                                                ("one for all", "none", comparison.WHOLE,
                                                 16): 1.0}.items():
        for split, image in np.ndindex(2, images):
            rows.append({"model": "m", "split": split, "mask": mask, "tokens": tokens, "kept": kept,
                         "top": top, "image": image, "label": 0,
                         "correct": float((image * 7) % images < accuracy * images),
                         "probability": accuracy})
    return pd.DataFrame(rows)


def accuracies(own_scope, one_scope, own_all, one_all, random_all=0.3):
    cell = {("own class", "class token"): own_scope, ("one for all", "class token"): one_scope,
            ("own class", "all tokens"): own_all,
            ("one for all", "all tokens"): one_all}
    found = {(*where, "neuron path", top): value for where, value in cell.items() for top in (5, 9)}
    return {**found, **{(mask, tokens, "random", top): random_all for mask, tokens in cell
                        for top in (5, 9)}}


def leak_table(value):
    return pd.DataFrame([{"model": "m", "tokens": tokens, "measure": measure, "value": value,
                          "low": value - 0.02, "high": value + 0.02}
                         for tokens in ("class token", "all tokens")
                         for measure in leaks.LEAK_MEASURES])


@pytest.mark.parametrize(("accuracy", "leak", "expected"), [
    ((1.0, 0.7, 0.9, 0.5), 0.1, {"published": "agrees", "honest": "contradicts",
                                 "largest": "contradicts", "tokens": "agrees", "label": "agrees",
                                 "leak": "agrees", "against random": "agrees"}),
    ((0.7, 0.7, 1.0, 1.0), 0.0, {"published": "contradicts", "honest": "agrees",
                                 "largest": "agrees", "tokens": "contradicts", "label": "not shown",
                                 "leak": "not shown", "against random": "agrees"}),
    ((0.95, 0.97, 0.3, 0.3), -0.1, {"published": "not shown", "honest": "contradicts",
                                    "largest": "contradicts", "tokens": "agrees",
                                    "label": "not shown",
                                    "leak": "contradicts", "against random": "not shown"}),
    ((0.3, 0.9, 0.1, 0.1), 0.1, {"published": "contradicts", "honest": "contradicts",
                                 "largest": "contradicts", "tokens": "agrees",
                                 "label": "contradicts",
                                 "leak": "agrees", "against random": "contradicts"})])
def test_each_claim_can_go_every_way(accuracy, leak, expected):
    table = cells(accuracies(*accuracy))
    sizes, settings = effect_rows.size_effects(table), effect_rows.setting_effects(table)
    found = pruning_honest_words.comparison_claims(effect_rows.path_leads(table), sizes, settings, leak_table(leak),
                                     top=5).set_index("key")
    assert found["verdict"].to_dict() == {**expected, "label gain": expected["leak"],
                                          "leak everywhere": expected["leak"]}
    published = sizes[(sizes["mask"] == "own class") & (sizes["tokens"] == "class token")
                      & (sizes["top"] == 5)].iloc[0]
    assert found.loc["published", "text"] == report.points_text(published)
    # leaks are small: with one digit an interval above zero could begin at +0.0
    for key in ("leak", "leak everywhere"):
        assert len(found.loc[key, "text"].split()[0].partition(".")[2]) == 2
    assert published["value"] == pytest.approx(np.floor(60 * accuracy[0] + 1e-9) / 60 - 1, abs=0.02)
    tokens = settings[(settings["effect"] == "tokens") & (settings["at"] == "one for all")
                      & (settings["top"] == 9)].iloc[0]
    assert tokens["value"] == pytest.approx(accuracy[3] - accuracy[1], abs=0.02)


def test_data_sets_one_below_the_other():
    """Indices that repeat from one data set to the next do no harm: each row stays its own."""
    tables = {"a": cells(accuracies(1.0, 1.0, 1.0, 1.0)),
              "b": cells(accuracies(0.5, 0.5, 0.5, 0.5))}
    sizes = effect_rows.of_each(tables, effect_rows.size_effects, seed=3)
    assert sizes["data"].tolist() == ["a"] * 8 + ["b"] * 8 and sizes.index.is_unique
    pd.testing.assert_frame_equal(sizes[sizes["data"] == "a"].drop(columns="data"),
                                  effect_rows.size_effects(tables["a"], seed=3))
    parts = [effect_rows.of_each(tables, function)
             for function in (effect_rows.path_leads, effect_rows.size_effects, effect_rows.setting_effects)]
    found, repeated = (pruning_honest_words.comparison_claims(*each, leak_table(0.1), 5)
                       for each in (parts, [part.set_index(part.index % 7) for part in parts]))
    pd.testing.assert_frame_equal(found, repeated)


def test_models_that_differ_are_mixed():
    one, other = (cells(accuracies(*values))
                  for values in ((1.0, 1.0, 1.0, 1.0), (0.5, 0.5, 0.5, 0.5)))
    both = pd.concat([one, other.assign(model="n")])
    found = pruning_honest_words.comparison_claims(effect_rows.path_leads(both), effect_rows.size_effects(both),
                                     effect_rows.setting_effects(both), leak_table(0.1),
                                     5).set_index("key")
    assert found.loc["published", "verdict"] == "mixed" and found.loc["published",
                                                                      "tally"] == "1 of 2 agree, 1 contradict"
    assert found.loc["published",
                     "text"].startswith("-5") and " to +0.0 points [" in found.loc["published", "text"]


def test_split_interval_by_hand():
    low, high = split_interval(np.array([0.2, 0.4, 0.6]), share=0.8)
    half = stats.t.ppf(0.975, 2) * 0.2 * (1 / 3 + 0.25) ** 0.5
    assert (low, high) == (pytest.approx(0.4 - half), pytest.approx(0.4 + half))
    assert split_interval(np.array([0.3, 0.3]), 0.8) == (pytest.approx(0.3), pytest.approx(0.3))
    for values in ([0.2], [[0.2, 0.3]]):
        with pytest.raises(ValueError, match="at least two"):
            split_interval(np.array(values), 0.8)


def table_of(differences, **others):
    """One cell of the path and of ``random`` (and others): the path is ahead of each by what is
    told, per split and image."""
    rng, rows = np.random.default_rng(0), []
    for split, image in np.ndindex(differences.shape):
        base = rng.random()
        for kept, behind in {comparison.PATH: np.zeros_like(differences), "random": differences,
                             **others}.items():
            rows.append({"model": "m", "mask": "one for all", "tokens": "all tokens",
                         "split": split, "image": image, "kept": kept, "top": 5, "label": 0,
                         "correct": base - behind[split, image], "probability": 0.5})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("centre", "verdict"), [(0.3, "agrees"), (0.0, "not shown"),
                                                 (-0.3, "contradicts")])
def test_leads_with_intervals_of_both_units(centre, verdict):
    differences = centre + 0.2 * np.random.default_rng(3).standard_normal((3, 40))
    row = effect_rows.path_leads(table_of(differences)).iloc[0]
    assert row["value"] == pytest.approx(differences.mean()) and row["verdict"] == verdict
    assert row["low"] < row["value"] < row["high"]
    assert (row["split_low"],
            row["split_high"]) == pytest.approx(split_interval(differences.mean(1), 0.8))
    # images, each averaged over its splits, are the unit of the first interval
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * differences.mean(0).std(ddof=1)
                                                     / 40**0.5, rel=0.15)
    flips = np.random.default_rng(9).choice([-1, 1], (4000, 40)) @ differences.mean(0) / 40
    assert row["p"] == pytest.approx((np.abs(flips) >= abs(differences.mean())).mean(), abs=0.03)


def test_a_family_is_corrected_for_its_size():
    """A lead that counts alone does not count among twelve, most of them nothing; a large one still
    does."""
    noise = stats.zscore(np.random.default_rng(1).standard_normal(40))
    weak, strong, nothing = (np.stack([centre + 0.2 * noise] * 2) for centre in (0.075, 0.3, 0.0))
    alone = effect_rows.path_leads(table_of(weak)).iloc[0]
    assert alone["verdict"] == "agrees" and alone["adjusted"] == alone["p"] and 0.005 < alone[
        "p"] < 0.05
    family = effect_rows.path_leads(table_of(weak, strong=strong,
                                        **{f"nothing {number}": nothing
                                           for number in range(10)})).set_index("against")
    assert family.loc["random", "p"] == alone["p"] and family.loc["random", "adjusted"] > 0.05
    assert family["verdict"].to_dict() == {name: "agrees" if name == "strong" else "not shown"
                                           for name in family.index}
    np.testing.assert_allclose(family["adjusted"], holm(family["p"]))


def test_pairs_must_be_the_same_images():
    table = table_of(np.zeros((2, 10)))
    selections = {"kept": comparison.PATH}, {"kept": "random"}
    with pytest.raises(ValueError, match="same images in the same splits"):
        effect_rows.paired_effect(table.iloc[1:], *selections)
    with pytest.raises(ValueError, match="same images in the same splits"):
        effect_rows.paired_effect(pd.concat([table, table]), *selections)
    with pytest.raises(ValueError, match="same images in the same splits"):
        effect_rows.paired_effect(table, {"kept": "nobody"}, {"kept": "nobody"})


def test_summary_averages_images_over_their_splits():
    table = table_of(np.zeros((2, 10)))
    table = table[(table["split"] == 0)
                  | (table["image"] < 5)].assign(correct=lambda rows: (rows["image"] < 5) * (
        rows["split"] == 0) * 1.0)
    found = effect_rows.comparison_summary(table)
    # five images of 0.5, five of 0
    assert len(found) == 2 and found["value"].tolist() == pytest.approx([0.25, 0.25])
    assert found["split_low"].tolist() == pytest.approx(
        [split_interval(np.array([0.5, 0.0]), 0.8)[0]] * 2)
    assert (found["low"] > 0).all() and (found["high"] < 0.5).all()
