"""The numbers on a neuron's card are the library's, and those of plain hooks and loops."""

from __future__ import annotations

import json
from math import comb

import numpy as np
import pytest
import torch
from timm.layers import SwiGLU
from timm.models.vision_transformer import VisionTransformer

import neuronpath_core as npc
from neuronpath_core.explanations.card import Card, neuron_card, neuron_cards
from neuronpath_core.explanations.card_store import most_used
from neuronpath_core.images.digits import load_digits
from neuronpath_core.images.shapes import load_shapes
from neuronpath_core.interventions import edited_probabilities, scaled_probabilities
from neuronpath_core.metrics import probability_deviation
from neuronpath_core.neurons.dissection import dissect
from neuronpath_core.neurons.heatmaps import heat_maps
from neuronpath_core.neurons.key_neurons import alignment, percentiles
from neuronpath_core.neurons.matches import best_concepts
from neuronpath_core.neurons.wires import compositions
from neuronpath_core.readings.concepts import ConceptSet
from neuronpath_core.readings.memory_nulls import largest_cosine_below
from neuronpath_core.stats.intervals import wilson_interval
from tests.explanations.card_models import image_set, made
from tests.helpers import blank_vit, fill, network, refused

SCOPES = ["cls", "avg", "cls-registers-prenorm", "avg-without-class-token"]
BLOCK, NEURON = 1, 3
# sums of a few hundred products in double precision, in another order
EXACT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.fixture(scope="module", params=SCOPES)
def case(request):
    target, images, neurons = made(request.param)
    card = neuron_card(target, BLOCK, NEURON, images=images, paths=neurons, steps=3)
    return target, images, neurons, card


def section(card: Card, key: str) -> dict:
    assert card[key].missing == "", card[key].missing
    return card[key].numbers


def hooked(target, images, block, neuron, factor=1.0):
    """Logits and what enters fc2, with one neuron multiplied at the scope by a hook of the test's own."""
    seen = {}

    def change(_module, inputs):
        value = inputs[0].clone()
        seen["everywhere"] = inputs[0].clone()
        value[:, target.tokens, neuron] *= factor
        return (value,)

    handle = target.model.blocks[block].mlp.fc2.register_forward_pre_hook(change)
    try:
        with torch.no_grad():
            return target.model(images), seen["everywhere"]
    finally:
        handle.remove()


def test_who_it_is(case):
    target, images, _, card = case
    found = section(card, "identity")
    _, seen = hooked(target, images.images, BLOCK, NEURON)
    own = seen[:, target.tokens, NEURON].numpy()
    assert np.allclose([found["mean"], found["spread"], found["largest"]], [own.mean(), own.std(), own.max()], **EXACT)
    assert found["sparsity"] == (own <= 0).mean() and not found["dead"] and found["tokens"] == own.shape[1]
    sizes = np.abs(seen[:, target.tokens].numpy()).mean((0, 1))
    assert np.isclose(found["size"], sizes[NEURON], **EXACT) and found["rank"] == 1 + (sizes > sizes[NEURON]).sum()
    assert np.isclose(found["block_median"]["size"], np.median(sizes), **EXACT)
    row, means = found["over_images"], own.mean(1)
    assert np.isclose(row["value"], found["mean"], **EXACT) and row["low"] < row["value"] < row["high"]
    # the normal interval, from which a bootstrap of many images differs by little
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * means.std() / len(means) ** 0.5, rel=0.25)
    assert "one row of fc1" in found["key"] and (card.block, found["block"]) == (1, 2)


def test_paths_are_counted_and_shuffled_labels_are_hypergeometric(case):
    _, images, neurons, card = case
    found = section(card, "paths")
    through = neurons[:, BLOCK] == NEURON
    assert found["through"] == int(through.sum()) == sum(row["through"] for row in found["classes"])
    counts = np.bincount(neurons[:, BLOCK], minlength=16)
    assert found["rank"] == 1 + (counts > counts[NEURON]).sum() and found["uniform"] == 1 / 16
    assert (found["low"], found["high"]) == pytest.approx(wilson_interval(found["share"], len(images)))
    smallest = 1.0
    for row in found["classes"]:
        assert (row["low"], row["high"]) == pytest.approx(wilson_interval(row["share"], row["images"]))
        members = images.labels == row["class"]
        assert row["through"] == int((through & members).sum()) and row["images"] == int(members.sum())
        # the upper tail term by term
        total, own, all_through = len(images), row["images"], found["through"]
        tail = sum(comb(all_through, k) * comb(total - all_through, own - k)
                   for k in range(row["through"], min(own, all_through) + 1)) / comb(total, own)
        assert row["p"] >= tail - 1e-12
        smallest = min(smallest, tail)
    assert np.isclose(min(row["p"] for row in found["classes"]), min(1, 5 * smallest))


def test_value_vector_beside_its_block_and_random_directions(case):
    target, images, _, card = case
    found = section(card, "value")
    own = alignment(target, "effective")
    place = percentiles(own)[BLOCK, NEURON].numpy()
    numbers = own[BLOCK, NEURON].numpy()
    order = np.argsort(-numbers)
    assert [row["class"] for row in found["top"]] == order[:5].tolist()
    assert [row["class"] for row in found["bottom"]] == order[::-1][:5].tolist()
    vector = target.value_vectors(BLOCK)[NEURON]
    for row in found["top"]:
        assert np.isclose(row["effective"], numbers[row["class"]], **EXACT)
        assert np.isclose(row["percentile"], place[row["class"]]) and row["name"] == images.class_names[row["class"]]
        gain = next(norm.weight for norm in (target.model.norm, target.model.fc_norm) if hasattr(norm, "weight"))
        head = (target.model.head.weight[row["class"]] * gain).detach()
        centred = [each - each.mean() for each in (vector, head)]
        cosine = float(torch.cosine_similarity(*centred, dim=0))
        assert np.isclose(row["cosine"], cosine, **EXACT)
        assert np.isclose(row["random_below"], largest_cosine_below(cosine, 1, 15))
    assert np.isclose(found["block_below"], largest_cosine_below(found["top"][0]["cosine"], 16, 15))


def test_images_that_excite_it_and_their_maps(case):
    target, images, _, card = case
    found = section(card, "key")
    maps = heat_maps(target, images.images, BLOCK, [NEURON])[:, 0].numpy()
    peaks = maps.reshape(len(maps), -1).max(1)
    order = sorted(range(len(peaks)), key=lambda each: -peaks[each])[:9]
    assert [row["image"] for row in found["top"]] == [each + 100 for each in order]
    assert np.allclose([row["value"] for row in found["top"]], peaks[order], **EXACT)
    assert np.isclose(found["scale"], peaks.max(), **EXACT)
    for row, each in zip(found["top"], order, strict=True):
        assert np.isclose(maps[each, row["row"] - 1, row["column"] - 1], peaks[each], **EXACT)
    labels = images.labels.numpy()[order]
    assert found["same_class"] == max((labels == label).sum() for label in range(5))
    assert 0 < found["p"] <= 1 and set(card["key"].pictures) == {"images", "maps"}


def test_concepts_are_those_of_the_dissection(case):
    target, images, _, card = case
    found = section(card, "concepts")
    masks = np.stack(list(images.masks.values()))
    known = ConceptSet(tuple(images.masks), ("part",) * 2, masks, masks.any((2, 3)))
    whole = dissect(target, images.images, known, labels=images.labels)
    own = best_concepts(whole, BLOCK, NEURON)
    for row in found["best"]:
        concept, fit = whole.names.index(row["name"]), row["over_images"]
        for measure in ("iou", "auroc"):
            assert fit[measure]["value"] == pytest.approx(row[measure], abs=1e-12)
            assert fit[measure]["low"] <= row[measure] <= fit[measure]["high"]
        sizes = whole.selected[BLOCK, NEURON], whole.density[concept]
        assert row["iou"] <= row["ceiling"] + 1e-12 and row["ceiling"] == pytest.approx(min(sizes) / max(sizes))
    assert [(row["name"], row["iou"], row["p"], row["place"], row["detects"]) for row in found["best"]] == [
        (each.name, each.iou, each.p, each.place, each.detects) for each in own]


def test_what_removing_and_doubling_does(case):
    target, images, _, card = case
    found = section(card, "effect")
    rows, labels = np.arange(len(images)), images.labels.numpy()
    clean = hooked(target, images.images, BLOCK, NEURON)[0].softmax(-1).numpy()
    for name, factor in (("removed", 0.0), ("doubled", 2.0)):
        edited = hooked(target, images.images, BLOCK, NEURON, factor)[0].softmax(-1).numpy()
        moved = edited[rows, labels] - clean[rows, labels]
        deviation = probability_deviation(clean, edited, labels)
        assert np.isclose(found[name]["probability"]["value"], moved.mean(), rtol=1e-8, atol=1e-13)
        assert np.isclose(found[name]["deviation"]["value"], deviation.mean(), rtol=1e-8, atol=1e-13)
        assert found[name]["probability"]["low"] <= moved.mean() <= found[name]["probability"]["high"]
        for row in found["classes"]:
            assert np.isclose(row[name]["value"], deviation[labels == row["class"]].mean(), rtol=1e-8, atol=1e-13)
        controls = [hooked(target, images.images, BLOCK, each, factor)[0].softmax(-1).numpy()[rows, labels]
                    for each in found["controls"]]
        assert np.isclose(found[name]["control_size"],
                          np.mean([np.abs(each - clean[rows, labels]).mean() for each in controls]), rtol=1e-8)
    assert NEURON not in found["controls"]


def test_what_it_does_over_the_images_whose_path_uses_it(case):
    target, images, neurons, card = case
    found = section(card, "effect")
    own = found["on_paths"]
    labels, through = images.labels.numpy(), (neurons[:, BLOCK] == NEURON).numpy()
    assert own["images"] == through.sum() == section(card, "paths")["through"] < len(images)
    rows = np.arange(len(images))
    clean = hooked(target, images.images, BLOCK, NEURON)[0].softmax(-1).numpy()
    for name, factor in (("removed", 0.0), ("doubled", 2.0)):
        edited = hooked(target, images.images, BLOCK, NEURON, factor)[0].softmax(-1).numpy()
        moved = (edited - clean)[rows, labels][through]
        assert np.isclose(own[name]["probability"]["value"], moved.mean(), rtol=1e-8, atol=1e-13)
        assert own[name]["probability"]["low"] <= moved.mean() <= own[name]["probability"]["high"]
        assert not np.isclose(own[name]["probability"]["value"], found[name]["probability"]["value"], rtol=1e-6)
        assert np.isclose(own[name]["deviation"]["value"],
                          probability_deviation(clean, edited, labels)[through].mean(), rtol=1e-8, atol=1e-13)


def test_no_interval_over_one_image_and_none_over_none():
    target, images, neurons = made("cls")
    for count in (0, 1):
        chosen = neurons.clone()
        chosen[:, BLOCK] = 9
        chosen[:count, BLOCK] = NEURON
        own = section(neuron_card(target, BLOCK, NEURON, images=images, paths=chosen, steps=0), "effect")["on_paths"]
        assert own["images"] == count and ("removed" in own) == bool(count)
        assert not count or own["removed"]["probability"]["low"] is None
    assert "on_paths" not in section(neuron_card(target, BLOCK, NEURON, images=images, steps=0), "effect")


def test_edits_are_those_of_the_library(case):
    """A run from the block on gives what the whole model gives with the edit in force."""
    from neuronpath_core.explanations.card_evidence import evidence_of

    target, images, _, _ = case
    evidence = evidence_of(target, images=images)
    for block in range(target.n_blocks):
        own = evidence.edited(block, [(5, 0.0), (2, 1.7)])
        for found, (neuron, factor) in zip(own, ((5, 0.0), (2, 1.7)), strict=True):
            factors = torch.ones(len(images), target.n_blocks, target.n_neurons, dtype=torch.float64)
            factors[:, block, neuron] = factor
            assert np.allclose(found, scaled_probabilities(target, images.images, factors).numpy(), **EXACT)
    every = torch.full((len(images), target.n_blocks), 5)
    assert not np.allclose(found, edited_probabilities(target, images.images, every, "remove").numpy())  # the control


def test_neighbours_on_paths_and_their_wires(case):
    target, _, neurons, card = case
    found = section(card, "neighbours")
    through = neurons[neurons[:, BLOCK] == NEURON]
    assert found["wires"] == ""
    for side, block in (("before", 0), ("after", 2)):
        counts = np.bincount(through[:, block], minlength=16)
        assert [row["together"] for row in found[side]] == sorted(counts[counts > 0].tolist(), reverse=True)[:3]
        kappa = compositions(target, min(block, BLOCK)).numpy()
        for row in found[side]:
            assert (row["low"], row["high"]) == pytest.approx(wilson_interval(row["share"], len(through)))
            assert row["together"] == counts[row["neuron"]] and row["block"] == block + 1
            pair = (row["neuron"], NEURON) if side == "before" else (NEURON, row["neuron"])
            assert np.isclose(row["direct"], kappa[pair], **EXACT)
            below = (kappa < kappa[pair]).mean() + 0.5 * (kappa == kappa[pair]).mean()
            assert np.isclose(row["direct_percentile"], below)


def test_an_image_made_for_it_excites_it_more_than_a_photograph_does():
    target, images, neurons = made("cls")
    found = neuron_card(target, BLOCK, NEURON, images=images, steps=60, others={"other": network("avg", 9)[0]})
    made_for = section(found, "synthetic")
    _, seen = hooked(target, images.images, BLOCK, NEURON)
    assert made_for["images"]["plain"]["activation"] > seen[..., NEURON].mean(1).max()
    assert [row["model"] for row in made_for["images"]["robust"]["models"]] == ["VisionTransformer", "other"]
    assert made_for["writes"] == section(found, "value")["top"][0]["class"] and made_for["chance"] == 0.2
    assert set(found["synthetic"].pictures) == {"plain", "robust"}


def test_cards_together_are_those_alone():
    target, images, neurons = made("avg")
    both = neuron_cards(target, [(0, 5), (BLOCK, NEURON)], images=images, paths=neurons, steps=2)
    for card, (block, neuron) in zip(both, [(0, 5), (BLOCK, NEURON)], strict=True):
        alone = json.loads(neuron_card(target, block, neuron, images=images, paths=neurons, steps=2).to_json())
        for key, each in json.loads(card.to_json())["sections"].items():
            assert_close(each, alone["sections"][key])


def assert_close(first, second):
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_close(first[key], second[key])
    elif isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_close(one, other)
    elif isinstance(first, float):
        assert first == pytest.approx(second, rel=1e-9, abs=1e-12)
    else:
        assert first == second


# --- planted neurons ---


def test_a_planted_neuron_is_told_and_a_planted_null_is_not():
    """Neuron 2 of block 1 writes class 4 alone and fires where a pixel is bright; neuron 7 does neither."""
    model = blank_vit("patch", depth=2)
    with torch.no_grad():
        model.patch_embed.proj.weight[0, :, 0, 0] = 1.0
        # what a token holds lies in channel 0, what the planted neuron writes in channel 1
        model.blocks[1].mlp.fc1.weight[2, 0] = 1.0
        model.blocks[1].mlp.fc2.weight[1, 2] = 1.0
        model.head.weight[4, 1] = 5.0
        model.head.weight[:4, 2:6] = torch.eye(4, dtype=torch.float64)
    target = npc.TargetModel(model)
    images = image_set(20)
    bright = images.labels == 4
    images.images[:] = 0
    images.images[bright, 0, 4, 0] = 1.0  # the first pixel of the lower left patch
    cards = neuron_cards(target, [(1, 2), (1, 7)], images=images, steps=0)
    planted, null = cards
    assert section(planted, "value")["top"][0]["class"] == 4 and section(planted, "value")["top"][0]["cosine"] == pytest.approx(1)
    assert section(planted, "value")["block_below"] > 0.999
    found = section(planted, "key")
    assert [row["class"] for row in found["top"][:4]] == [4] * 4
    assert {(row["row"], row["column"]) for row in found["top"][:4]} == {(2, 1)}
    effect = {row["class"]: row for row in section(planted, "effect")["classes"]}
    assert effect[4]["removed"]["value"] < -0.3 < 0.3 < effect[4]["doubled"]["value"]
    assert effect[0]["removed"]["value"] == pytest.approx(0)
    assert section(planted, "effect")["removed"]["excess"]["low"] > 0
    assert section(null, "value")["top"][0]["cosine"] == 0 and section(null, "identity")["dead"]
    assert section(null, "effect")["removed"]["excess"]["value"] == 0
    assert "no image excites it more" in null["key"].missing


def test_paths_of_a_class_are_told_and_shuffled_ones_are_not():
    target, images, neurons = made("cls", 60)
    planted = neuron_card(target, BLOCK, NEURON, images=images, paths=neurons, steps=0)
    told = {row["class"]: row["p"] for row in section(planted, "paths")["classes"]}
    assert told[0] < 0.001 and told[1] < 0.001 and min(told[each] for each in (2, 3, 4)) == 1
    shuffled = neurons[torch.from_numpy(np.random.default_rng(5).permutation(60))]
    null = neuron_card(target, BLOCK, NEURON, images=images, paths=shuffled, steps=0)
    assert min(row["p"] for row in section(null, "paths")["classes"]) > 0.05


# --- what cannot be filled ---


def test_empty_sections_say_why():
    target, images, _ = made("cls")
    card = neuron_card(target, BLOCK, NEURON, images=images.images, steps=0)
    assert {each.key: each.missing for each in card.sections if each.missing} == {
        "paths": "no paths of these images were given",
        "concepts": "no masks in this data set, so that no concept can be told",
        "synthetic": "no image was asked for", "neighbours": "no paths of these images were given",
        "effect": "nobody told the labels of these images, by which this is counted"}
    told = neuron_card(target, BLOCK, NEURON, images=images.images, labels=images.labels, steps=0)
    assert not told["effect"].missing
    off = neuron_card(target, 0, 0, images=images, paths=torch.ones(12, 3, dtype=torch.int64), steps=0)
    assert "goes through this neuron" in off["neighbours"].missing and section(off, "paths")["through"] == 0
    pooled = network("patch-attention-pool", 3)[0]
    card = neuron_card(pooled, 0, 0, images=images, steps=0)
    assert "pooled by" in card["value"].missing and not card["key"].missing


def test_a_gated_network_says_which_product_is_the_key():
    torch.manual_seed(1)
    model = fill(VisionTransformer(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2, mlp_ratio=1.0,
                                   num_classes=5, mlp_layer=SwiGLU), 2)
    card = neuron_card(npc.TargetModel(model), 0, 3, images=image_set(), steps=2,
                       paths=torch.full((12, 2), 3))
    assert "product of the activated gate and the other projection" in section(card, "identity")["key"]
    assert "product of" in section(card, "neighbours")["wires"] and not card["effect"].missing
    assert json.loads(card.to_json())["sections"]["neighbours"]["after"]


def test_own_sets_are_no_photographs_and_others_may_be():
    digits = load_digits(400)[1].select(np.arange(12))
    model = fill(VisionTransformer(img_size=16, patch_size=8, in_chans=1, embed_dim=16, depth=1, num_heads=2,
                                   mlp_ratio=1.0, num_classes=10), 1)
    card = neuron_card(npc.TargetModel(model), 0, 1, images=digits, steps=2)
    # the ink of all and of each of the ten digits
    assert not card.photographs and section(card, "concepts")["known"] == 11
    scenes = load_shapes("held_out", 24).select(np.arange(12))
    model = fill(VisionTransformer(img_size=32, patch_size=16, embed_dim=16, depth=1, num_heads=2, mlp_ratio=1.0,
                                   num_classes=24), 1)
    card = neuron_card(npc.TargetModel(model), 0, 1, images=scenes, steps=0)
    assert not card.photographs and section(card, "concepts")["known"] == 28
    target, images, _ = made("cls")
    assert neuron_card(target, 0, 1, images=images, steps=0).photographs


REFUSED = {
    "a block": (dict(block=3), "a block must be a whole number in 0..2, got 3"),
    "a negative block": (dict(block=-1), "0..2"),
    "a neuron": (dict(neuron=16), "a neuron of block 2 must be a whole number in 0..15, got 16"),
    "no number": (dict(neuron="3"), "got '3'"),
    "a truth value": (dict(block=True), "got True"),
    "no images": (dict(images=None), "images cannot be 'NoneType'"),
    "other images": (dict(images=torch.zeros(2, 1, 8, 8, dtype=torch.float64)), "images must be"),
    "paths of others": (dict(paths=torch.zeros(5, 3, dtype=torch.int64)), "paths are torch.int64 (5, 3) for 12 images"),
    "no paths": (dict(paths="auto"), "paths are str"),
    "neurons beyond": (dict(paths=torch.full((12, 3), 16)), "0..15"),
    "classes": (dict(classes=0), "classes must be a whole number in 1..1000"),
    "steps": (dict(steps=-1), "steps must be"),
    "seed": (dict(seed=-1), "seed must be"),
    "others": (dict(others={"a": 1}), "accepted: TargetModels by their names"),
    "others in a list": (dict(others=[1]), "others are 'list'"),
    "statistics": (dict(statistics="auto"), "statistics are 'str'"),
    "a name": (dict(model_name=""), "model_name cannot be ''"),
    "labels twice": (dict(labels=torch.zeros(12, dtype=torch.int64)), "labels are given beside"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    target, images, _ = made("cls")
    changed, words = REFUSED[case]
    arguments = {"block": BLOCK, "neuron": NEURON, "images": images, "steps": 0, **changed}
    place = arguments.pop("block"), arguments.pop("neuron")
    refused(lambda: neuron_card(target, *place, **arguments), words)


def test_a_model_is_needed_and_left_as_it_was():
    target, images, neurons = made("cls")
    refused(lambda: neuron_card(target.model, 0, 0, images=images), "TargetModel")
    before = {name: value.clone() for name, value in target.model.state_dict().items()}
    neuron_card(target, 0, 0, images=images, paths=neurons, steps=2)
    assert all((value == before[name]).all() for name, value in target.model.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in target.model.modules())


def test_the_most_used_neurons():
    neurons = np.array([[3, 1], [3, 2], [3, 2], [0, 1]])
    assert most_used(neurons, 3) == [(0, 3, 3), (1, 1, 2), (1, 2, 2)]
    assert most_used(neurons[..., None], 10)[-1] == (0, 0, 1)
