"""Search by the effect of removal, against one edited forward for every neuron."""

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import interventions
from neuronpath_core.variants.ablation import ablation_paths
from tests import helpers, twins
from tests.core.test_baseline_values import drawn, of_image


@pytest.mark.each_value
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
    model = helpers.small_vit(307, **{**arguments, "depth": 2, "mlp_ratio": 0.5})
    target, (images, labels) = npc.TargetModel(model, scope=scope), helpers.small_batch(2, 308)
    neurons, effects = ablation_paths(target, images, labels, search="beam", proposals=8, width=8)
    every = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    clean = target(images).softmax(-1).gather(1, labels[:, None])[:, 0]
    found = torch.stack([clean - interventions.edited_probabilities(target, images,
                                                                    path.expand(2, 2),
                                                                    "remove").gather(
        1, labels[:, None])[:, 0]
                         for path in every])
    torch.testing.assert_close(effects, found.max(0).values, rtol=0, atol=1e-12)
    assert torch.equal(neurons[..., 0], every[found.argmax(0)])
    narrow = ablation_paths(target, images, labels, search="beam", proposals=8, width=1)
    greedy = ablation_paths(target, images, labels, proposals=8)
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


# --- to a baseline instead of zero ---


def set_logits(model, scope, image, path, base):
    """The forward pass written out block by block, the path's neurons set to the baseline as they
    arise; no hooks."""
    where = twins.positions(model, scope)
    with torch.no_grad():
        stream = model.norm_pre(model._pos_embed(model.patch_embed(image[None])))
        for number, block in enumerate(model.blocks):
            stream = stream + block.ls1(block.attn(block.norm1(stream)))
            hidden = block.mlp.norm(block.mlp.act(block.mlp.fc1(block.norm2(stream))))
            for place, token in enumerate(where):
                for neuron in path[number]:
                    hidden[:, token, neuron] = base[number][place % len(base[number]), neuron]
            stream = stream + block.ls2(block.mlp.fc2(hidden))
        return model.forward_head(model.norm(stream))[0]


def search_from(model, scope, image, label, base, top, clamp, independent):
    """By one edited forward for every neuron."""
    depth, clean = len(model.blocks), twins.clean_activations(model, scope, image)
    with torch.no_grad():
        whole = model(image[None]).softmax(-1)[0, label]

    def effect(path):
        if not clamp:
            logits = set_logits(model, scope, image, path + [[]] * (depth - len(path)), base)
            return float(whole - logits.softmax(-1)[label])
        held = {number: clean[number].clone()[None] for number in range(len(path))}
        for number, neurons in enumerate(path):
            held[number][..., neurons] = base[number][:, neurons]
        with torch.no_grad():
            return float(whole - twins.forward(model, scope, image[None],
                                               held).softmax(-1)[0, label])

    path = []
    for number in range(depth):
        before = [[]] * number if independent else path
        effects = [effect([*before, [candidate]]) for candidate in range(clean[0].shape[1])]
        path.append(twins.best_first(effects, top))
    return path, max(effects)


@pytest.mark.each_value
@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize(("search", "top"), [("progressive", 1), ("progressive", 3),
                                             ("independent", 2)])
@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "avg", "avg-registers",
                                  "patch-attention-pool"])
def test_every_neuron_set_to_the_baseline(name, search, top, clamp):
    target, images, labels = helpers.network(name, 321)
    base = drawn(target, images, top, every_image=top < 3, every_token=top > 1)
    neurons, effects = ablation_paths(target, images, labels, top, search, target.n_neurons,
                                      clamp=clamp, baseline=base)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path, value = search_from(target.model, target.scope, image, label, of_image(base, row),
                                  top, clamp, search == "independent")
        assert neurons[row].tolist() == path
        assert abs(float(effects[row]) - value) < 1e-12
    zero = ablation_paths(target, images, labels, top, search, target.n_neurons, clamp=clamp)
    assert (zero[1] - effects).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["cls-layerscale-qknorm", "avg-registers"])
def test_the_effect_is_that_of_replacing_the_path(name):
    target, images, labels = helpers.network(name, 323)
    base = drawn(target, images)
    for clamp in (False, True):
        neurons, effects = ablation_paths(target, images, labels, clamp=clamp, baseline=base)
        clean = target(images).softmax(-1).gather(1, labels[:, None])[:, 0]
        edited = interventions.edited_probabilities(target, images, neurons, "remove",
                                                    base).gather(1, labels[:, None])[:, 0]
        expected = clean - edited if not clamp else npc.complete_attribution(
            target, images, labels, neurons, baseline=base)
        torch.testing.assert_close(effects, expected, rtol=0, atol=1e-12)
    assert not torch.allclose(effects, clean - edited)  # clamping is not removal


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_a_beam_through_all_paths_from_a_baseline(name):
    arguments, scope = helpers.NETWORKS[name]
    target = npc.TargetModel(helpers.small_vit(325, **{**arguments, "depth": 2, "mlp_ratio": 0.5}),
                             scope=scope)
    images, labels = helpers.small_batch(2, 326)
    base, every = drawn(target, images), torch.cartesian_prod(torch.arange(8), torch.arange(8))
    neurons, effects = ablation_paths(target, images, labels, search="beam", proposals=8, width=8,
                                      baseline=base)
    with torch.no_grad():
        clean = target(images)
    costs = torch.tensor([[float(clean[row].softmax(-1)[label] - set_logits(
        target.model, scope, images[row], [[one] for one in path.tolist()],
        base[row]).softmax(-1)[label]) for row, label in enumerate(labels.tolist())]
        for path in every], dtype=torch.float64)
    torch.testing.assert_close(effects, costs.max(0).values, rtol=0, atol=1e-12)
    assert torch.equal(neurons[..., 0], every[costs.argmax(0)])


def test_proposals_are_those_of_the_largest_estimate_from_the_baseline():
    target, images, labels = helpers.network("cls", 327, batch=3)
    base = drawn(target, images)
    one, _ = ablation_paths(target, images, labels, search="independent", proposals=1,
                            baseline=base)
    slope = [twins.gradient_activation(target.model, "cls", image, label)
             / torch.stack(twins.clean_activations(target.model, "cls", image))[:, 0]
             for image, label in zip(images, labels.tolist(), strict=True)]
    heights = [torch.stack(twins.clean_activations(target.model, "cls", image)) - own
               for image, own in zip(images, base, strict=True)]
    estimates = torch.stack([one * two[:, 0] for one, two in zip(slope, heights, strict=True)])
    assert torch.equal(one[..., 0], estimates.argmax(-1))


def test_a_baseline_is_that_of_its_image_and_zero_changes_nothing():
    target, images, labels = helpers.network("avg", 329, batch=3)
    base, none = drawn(target, images), torch.zeros(1, 3, 1, 16, dtype=torch.float64)
    for search in ("progressive", "beam"):
        together = ablation_paths(target, images, labels, search=search, baseline=base)
        apart = [ablation_paths(target, images[[row]], labels[[row]], search=search,
                                baseline=base[[row]]) for row in range(3)]
        assert torch.equal(together[0], torch.cat([neurons for neurons, _ in apart]))
        torch.testing.assert_close(together[1], torch.cat([effect for _, effect in apart]), rtol=0,
                                   atol=1e-13)
        zero, before = (ablation_paths(target, images, labels, search=search, baseline=values)
                        for values in (none, None))
        assert torch.equal(zero[0], before[0]) and torch.equal(zero[1], before[1])


@pytest.mark.parametrize("sites", ["attention", "heads", "mixed"])
def test_other_sites_set_to_a_baseline(sites):
    target = npc.SiteModel(helpers.small_vit(331), "cls", sites)
    images, labels = helpers.small_batch(2, 332)
    base = drawn(target, images)
    neurons, effects = ablation_paths(target, images, labels, baseline=base, proposals=2)
    clean = target(images).softmax(-1).gather(1, labels[:, None])[:, 0]
    edited = interventions.edited_probabilities(target, images, neurons, "remove",
                                                base).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(effects, clean - edited, rtol=0, atol=1e-12)
