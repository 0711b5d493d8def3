"""Search by the effect of removal, against one edited forward for every neuron."""

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import interventions
from neuronpath_core.variants.ablation import ablation_paths
from tests import helpers, twins


@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize("search", ["progressive", "independent"])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_every_neuron_tried(name, search, top, clamp):
    target, images, labels = helpers.network(name, 301)
    neurons, effects = ablation_paths(target, images, labels, top, search, target.n_neurons,
                                      clamp=clamp)
    assert neurons.shape == (2, target.n_blocks, top)
    for image, label, found, effect in zip(images, labels, neurons.tolist(), effects.tolist(),
                                           strict=True):
        path, value = twins.ablation_search(target.model, target.scope, image, int(label), top,
                                            clamp, search == "independent")
        # where the head reads other tokens than the scope's, the last block has no effect and all
        # its neurons are as good
        compared = slice(None, -1) if name in ("cls-of-averaging",
                                               "patch-of-class-token") else slice(None)
        assert found[compared] == path[compared]
        assert abs(effect - value) < 1e-12


def test_the_progressive_effect_is_that_of_removing_the_path():
    target, images, labels = helpers.network("cls-layerscale-qknorm", 303)
    for clamp in (False, True):
        neurons, effects = ablation_paths(target, images, labels, clamp=clamp)
        clean = target(images).softmax(-1).gather(1, labels[:, None])[:, 0]
        edited = interventions.edited_probabilities(target, images, neurons,
                                                    "remove").gather(1, labels[:, None])[:, 0]
        expected = npc.complete_attribution(target, images, labels,
                                            neurons) if clamp else clean - edited
        torch.testing.assert_close(effects, expected, rtol=0, atol=1e-12)
    assert not torch.allclose(effects, clean - edited)  # clamping is not removal


def test_proposals_are_those_of_the_largest_estimated_effect():
    target, images, labels = helpers.network("cls", 305)
    one, _ = ablation_paths(target, images, labels, search="independent", proposals=1)
    estimates = torch.stack([twins.gradient_activation(target.model, "cls", image, int(label))
                             for image, label in zip(images, labels, strict=True)])
    assert torch.equal(one[..., 0], estimates.argmax(-1))
    few = ablation_paths(target, images, labels, search="independent", proposals=4)[0]
    assert all((estimates[row, block].argsort(descending=True)[:4] == few[row, block]).any()
               for row in range(2) for block in range(3))


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_beam(name):
    """With as many partial paths as there are, the beam is a search through all paths."""
    arguments, scope = helpers.NETWORKS[name]
    target = npc.TargetModel(helpers.small_vit(307, **{**arguments, "depth": 2}), scope=scope)
    images, labels = helpers.small_batch(2, 308)
    neurons, effects = ablation_paths(target, images, labels, search="beam", proposals=16, width=16)
    every = torch.cartesian_prod(torch.arange(16), torch.arange(16))
    clean = target(images).softmax(-1).gather(1, labels[:, None])[:, 0]
    found = torch.stack([clean - interventions.edited_probabilities(target, images,
                                                                    path.expand(2, 2),
                                                                    "remove").gather(
        1, labels[:, None])[:, 0]
                         for path in every])
    torch.testing.assert_close(effects, found.max(0).values, rtol=0, atol=1e-12)
    assert torch.equal(neurons[..., 0], every[found.argmax(0)])
    narrow = ablation_paths(target, images, labels, search="beam", proposals=16, width=1)
    greedy = ablation_paths(target, images, labels, proposals=16)
    assert torch.equal(narrow[0], greedy[0])
    torch.testing.assert_close(narrow[1], greedy[1])
    assert (effects >= greedy[1] - 1e-12).all()


def test_images_one_by_one_and_small_budgets_give_the_same():
    target, images, labels = helpers.network("avg", 309)
    for search in ("progressive", "beam"):
        together = ablation_paths(target, images, labels, search=search)
        apart = [ablation_paths(target, images[[row]], labels[[row]], search=search)
                 for row in range(2)]
        assert torch.equal(together[0], torch.cat([neurons for neurons, _ in apart]))
        torch.testing.assert_close(together[1], torch.cat([effect for _, effect in apart]), rtol=0,
                                   atol=1e-13)


@pytest.mark.parametrize(("settings", "words"), [
    ({"search": "joint"}, ["search 'joint'", "progressive, independent, beam"]),
    ({"proposals": 0}, ["proposals", "1..16", "0"]),
    ({"proposals": 17}, ["proposals", "1..16", "17"]), ({"proposals": True}, ["proposals", "True"]),
    ({"top": 3, "proposals": 2}, ["proposals", "3..16", "2"]), ({"top": 0}, ["top", "1..16", "0"]),
    ({"width": 0}, ["width", "1..16", "0"]),
    ({"search": "beam", "top": 2}, ["top must be 1", "beam", "2"]),
])
def test_what_is_refused(settings, words):
    target, images, labels = helpers.network("cls", 313)
    with pytest.raises(ValueError, match=".") as caught:
        ablation_paths(target, images, labels, **settings)
    assert "\n" not in str(caught.value) and all(word in str(caught.value) for word in words)
