"""EAP-IG: closed forms, a loop over its line, and attribution patching as its one step."""

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.baselines import gradient_activation
from neuronpath_core.replacement import replacement_values
from neuronpath_core.scores.integrated import eap_ig
from neuronpath_core.support.memory import copy_bytes, memory_limit
from tests import helpers, twins


def drawn(target, images, seed=1):
    tokens = len(twins.positions(target.model, target.scope))
    return torch.randn(images, target.n_blocks, tokens, 16, dtype=torch.float64,
                       generator=torch.Generator().manual_seed(seed))


def along_inputs(model, scope, image, label, start, baseline, nodes, weights):
    """One image after the other on the line, and the clean activations."""
    where, mean = twins.positions(model, scope), 0
    for node, weight in zip(nodes, weights, strict=True):
        seen = {}
        chance = twins.forward(model, scope, (start + node * (image - start))[None],
                               seen=seen).softmax(-1)[0, label]
        slopes = torch.autograd.grad(chance, [seen[block] for block in range(len(model.blocks))])
        mean = mean + weight * torch.stack([slope[0, where] for slope in slopes])
    clean = torch.stack(twins.clean_activations(model, scope, image))
    return ((clean - baseline) * mean).sum(1)


@pytest.mark.each_value
@pytest.mark.parametrize("name", helpers.NETWORKS)
@pytest.mark.parametrize("rule", ["left", "gauss-legendre"])
def test_along_inputs_by_a_loop(name, rule):
    target, images, labels = helpers.network(name, 421)
    starts, baselines = helpers.small_batch(2, 9)[0], drawn(target, 2)
    nodes, weights = twins.rule(rule, 4)
    for start, baseline in ((None, None), (starts, baselines), (starts[:1], baselines[:1])):
        found = eap_ig(target, images, labels, "inputs", rule, 4, start, baseline)
        for row, label in enumerate(labels.tolist()):
            expected = along_inputs(
                target.model, target.scope, images[row], label,
                torch.zeros_like(images[0]) if start is None else start[row % len(start)],
                0 if baseline is None else baseline[row % len(baseline)], nodes, weights)
            torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["cls", "avg", "patch-attention-pool"])
def test_one_step_at_the_clean_image_is_attribution_patching(name):
    target, images, labels = helpers.network(name, 423)
    for baseline in (None, drawn(target, 2)):
        plain = gradient_activation(target, images, labels, baseline)
        for along in ("inputs", "activations"):
            torch.testing.assert_close(eap_ig(target, images, labels, along, "right", 1,
                                              baseline=baseline), plain, rtol=0, atol=1e-13)
    assert (eap_ig(target, images, labels, "inputs", "right", 5)
            - gradient_activation(target, images, labels)).abs().max() > 1e-4


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_the_integral_along_inputs_where_it_is_known(scope):
    """One linear neuron of the image with no offset, w = α w̄, and F a softmax of its slope times
    it: the integral is (F(1) - F(0)) / w̄."""
    model = helpers.blank_vit(scope, depth=1, num_classes=3)
    with torch.no_grad():
        model.patch_embed.proj.weight[2] = 0.05
        model.blocks[0].attn.qkv.weight[2 * 16 + 2, 2] = 1
        model.blocks[0].attn.proj.weight[2, 2] = 1
        model.blocks[0].mlp.act = torch.nn.Identity()
        model.blocks[0].mlp.fc1.weight[4, 2] = 1.5
        model.blocks[0].mlp.fc2.weight[0, 4] = 2.0
        model.head.weight[1, 0] = 1
    target, images = npc.TargetModel(model, scope), helpers.small_batch(3, 11)[0]
    labels = torch.tensor([1, 1, 1])
    found = eap_ig(target, images, labels, "inputs", "gauss-legendre", 24)
    if scope == "cls":
        chance = target(images).softmax(-1)[:, 1]
        assert ((chance - 1 / 3).abs() > 1e-2).any()
        torch.testing.assert_close(found[:, 0, 4], chance - 1 / 3, rtol=0, atol=1e-12)
    else:  # the sum over the tokens that are pooled
        chance = target(images).softmax(-1)[:, 1]
        torch.testing.assert_close(found[:, 0, 4], chance - 1 / 3, rtol=0, atol=1e-12)
    found[:, 0, 4] = 0
    assert found.abs().max() == 0
    # from the image itself there is no way to go, and nothing is lost against its own activations
    own = replacement_values(target, "counterfactual", images, labels, pairs=images)[0]
    assert eap_ig(target, images, labels, "inputs", start=images, baseline=own).abs().max() == 0


@pytest.mark.parametrize("name", ["cls", "avg", "cls-registers-prenorm"])
def test_along_activations_a_blocks_scores_add_up_to_what_it_loses(name):
    target, images, labels = helpers.network(name, 425)
    pairs = helpers.small_batch(2, 13)[0]
    values = replacement_values(target, "counterfactual", images, labels, pairs=pairs)[0]
    found = eap_ig(target, images, labels, "activations", "gauss-legendre", 40, baseline=values)
    with torch.no_grad():
        clean = target(images).softmax(-1).gather(1, labels[:, None])[:, 0]
        for block in range(target.n_blocks):
            edited = twins.forward(target.model, target.scope, images, {block: values[:, block]})
            lost = clean - edited.softmax(-1).gather(1, labels[:, None])[:, 0]
            torch.testing.assert_close(found[:, block].sum(-1), lost, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_product_of_two_neurons_is_integrated_exactly(scope):
    """F = 1/4 + w1 w2 / 2, each neuron alone between b and its clean value: (w̄ - b) w̄' / 2."""
    model, values = helpers.product_vit(scope)
    target, images = npc.TargetModel(model, scope), helpers.small_batch(1, 15)[0]
    base = torch.zeros(1, 2, 1, 16, dtype=torch.float64)
    base[0, 0, 0, 3], base[0, 1, 0, 5] = 0.2, -0.1
    found = eap_ig(target, images, torch.tensor([0]), "activations", "midpoint", 1, baseline=base)
    one, two = values.mean(1)
    torch.testing.assert_close(found[0, 0, 3], (one - 0.2) * two / 2, rtol=0, atol=1e-13)
    torch.testing.assert_close(found[0, 1, 5], (two + 0.1) * one / 2, rtol=0, atol=1e-13)


def test_images_one_by_one_small_budgets_and_single_precision():
    target, images, labels = helpers.network("avg", 427)
    together = eap_ig(target, images, labels, "inputs", steps=6)
    apart = torch.cat([eap_ig(target, images[[row]], labels[[row]], "inputs", steps=6)
                       for row in range(2)])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-13)
    with memory_limit(target, copy_bytes(target)):
        torch.testing.assert_close(eap_ig(target, images, labels, "inputs", steps=6), together,
                                   rtol=0, atol=1e-13)
    single = eap_ig(npc.TargetModel(target.model.float()), images.float(), labels, "inputs",
                    steps=6)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), together, rtol=0, atol=1e-5)


def test_a_model_that_is_not_its_blocks_is_called():
    target, images, labels = helpers.network("cls", 429)
    before = eap_ig(target, images, labels, "inputs", "right", 3)
    target.model.blocks.register_forward_hook(lambda _module, _inputs, out: out.roll(1, -1))
    found = eap_ig(target, images, labels, "inputs", "right", 3)
    nodes, weights = twins.rule("right", 3)
    for row, label in enumerate(labels.tolist()):
        expected = along_inputs(target.model, "cls", images[row], label,
                                torch.zeros_like(images[0]), 0, nodes, weights)
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-12)
    assert (found - before).abs().max() > 1e-3
    helpers.refused(lambda: eap_ig(target, images, labels), "its blocks put together")


def test_what_is_refused():
    target, images, labels = helpers.network("cls", 431)
    helpers.refused(lambda: eap_ig(target, images, labels, "pixels"), "'pixels'",
                    "activations, inputs")
    helpers.refused(lambda: eap_ig(target, images, labels, start=images), "start=None")
    helpers.refused(lambda: eap_ig(target, images, labels, "inputs", start=images[..., :4]),
                    "start:")
    helpers.refused(lambda: eap_ig(target, images, labels, "inputs",
                                   start=torch.cat([images, images])), "start has shape")
    helpers.refused(lambda: eap_ig(target, images, labels, "inputs", "simpson"), "'simpson'")
    helpers.refused(lambda: eap_ig(target, images, labels, "inputs", baseline=images),
                    "(2, 3, 8, 8)")
