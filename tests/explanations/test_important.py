"""Neurons that matter over many pictures: against loops that call the network, with one planted,
and with nothing to find."""

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.explanations.important import halves
from neuronpath_core.stats.intervals import interval_row
from tests import helpers


def batch(count, seed=3):
    images, _ = helpers.small_batch(count, seed)
    return images, torch.arange(count) % 3


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_effects_are_those_of_the_model_that_is_called(scope):
    model = helpers.small_vit(5, **({} if scope == "cls" else {"global_pool": "avg"}))
    target, (images, labels) = npc.TargetModel(model), batch(11)
    table = npc.important_neurons(target, images, labels, count=7, seed=2)
    ranking, measured = halves(labels, 2)
    assert (table["images"] == len(measured)).all() and len(table) == 7

    def probability(block=None, neuron=None, value=0.0):
        handle = None
        if block is not None:
            def cut(_module, inputs):
                hidden = inputs[0].clone()
                hidden[:, target.tokens, neuron] = value
                return (hidden,)
            handle = model.blocks[block].mlp.fc2.register_forward_pre_hook(cut)
        with torch.no_grad():
            found = model(images[measured]).softmax(-1)
        if handle is not None:
            handle.remove()
        return found[torch.arange(len(measured)), labels[measured]].numpy()

    clean, inner = probability(), {}
    for index, block in enumerate(model.blocks):
        block.mlp.fc2.register_forward_pre_hook(
            lambda _module, inputs, index=index: inner.__setitem__(index, inputs[0].detach()))
    with torch.no_grad():
        model(images[ranking])
    means = {index: value[:, target.tokens].mean(0) for index, value in inner.items()}
    for row in table.to_dict("records"):
        block, neuron = row["block"] - 1, row["neuron"]
        lost = 100 * (clean - probability(block, neuron))
        expected = interval_row(lost, seed=2)
        assert [row["effect"], row["low"], row["high"]] == pytest.approx(
            [expected["value"], expected["low"], expected["high"]], abs=1e-9)
        mean = means[block][:, neuron]
        assert row["effect_mean"] == pytest.approx(
            (100 * (clean - probability(block, neuron, mean))).mean(), abs=1e-9)


def test_the_ranking_is_of_the_other_half():
    target, (images, labels) = npc.TargetModel(helpers.small_vit(6)), batch(12)
    ranking, measured = halves(labels, 0)
    table = npc.important_neurons(target, images, labels, count=5)
    scores = npc.baselines.gradient_activation(
        target, images[ranking], labels[ranking]).mean(0)
    first = scores.flatten().topk(5).indices.tolist()
    width = scores.shape[1]
    assert {(row.block - 1) * width + row.neuron for row in table.itertuples()} == set(first)
    # other pictures in the half that ranks do not change what is measured of the same neurons
    changed = images.clone()
    changed[measured] = images[measured].flip(-1)
    again = npc.important_neurons(target, changed, labels, count=5)
    assert set(zip(again["block"], again["neuron"], strict=True)) == set(
        zip(table["block"], table["neuron"], strict=True))
    assert not np.allclose(again["effect"], table["effect"])


def test_a_planted_neuron_comes_first():
    model = helpers.small_vit(7)
    with torch.no_grad():  # it writes the difference of class 1 and the others, and always fires
        head = model.head.weight
        block = model.blocks[1].mlp
        block.fc1.weight[5], block.fc1.bias[5] = 0.0, 2.0
        block.fc2.weight[:, 5] = 1.5 * (head[1] - head.mean(0))
    images, _ = helpers.small_batch(10, 8)
    table = npc.important_neurons(npc.TargetModel(model), images,
                                  torch.ones(10, dtype=torch.int64), count=3)
    assert (table["block"][0], table["neuron"][0]) == (2, 5) and table["low"][0] > 10
    # its mean is its value, so that setting it to the mean does nothing
    assert abs(table["effect_mean"][0]) < 1e-9
    assert table["random"][0] < table["low"][0]


def test_neurons_that_do_nothing_have_intervals_of_nothing():
    model = helpers.small_vit(9)
    with torch.no_grad():
        for block in model.blocks:
            block.mlp.fc2.weight.zero_()
    images, labels = batch(8)
    table = npc.important_neurons(npc.TargetModel(model), images, labels, count=4)
    assert np.abs(table[["effect", "low", "high", "random"]].to_numpy()).max() < 1e-9


@pytest.mark.parametrize("labels", [[0] * 6, [0, 1] * 5, [0, 0, 0, 1, 2, 2, 2]])
def test_halves_share_nothing_and_have_every_class(labels):
    labels = torch.tensor(labels)
    first, second = halves(labels, 4)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(labels)))
    for label in labels.unique():
        counts = [(labels[half] == label).sum().item() for half in (first, second)]
        assert abs(counts[0] - counts[1]) <= 1
    assert not torch.equal(first, halves(labels, 5)[0]) or len(labels) < 7


@pytest.mark.parametrize(("count", "images", "words"), [
    (3, 3, "3 images cannot be halved .* accepted: at least 4"),
    (0, 6, "count"), (10**6, 6, "count"), (2.5, 6, "count"),
])
def test_what_cannot_be_ranked_is_refused(count, images, words):
    with pytest.raises(ValueError, match=words):
        npc.important_neurons(npc.TargetModel(helpers.small_vit(1)), *batch(images), count=count)


def test_it_asks_for_a_target():
    with pytest.raises(ValueError, match="a TargetModel is needed"):
        npc.important_neurons(helpers.small_vit(1), *batch(6))
