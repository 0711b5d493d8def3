"""GradDrop against one backward pass for every block that is left out, and a planted
cancellation."""

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.baselines import gradient_activation
from neuronpath_core.scores.attribution_patching import graddrop
from neuronpath_core.scores.exact import exact_effects
from neuronpath_core.support.memory import copy_bytes, memory_limit
from tests import helpers, twins


def without_block(model, scope, image, label, dropped, baseline):
    """AtP by block and neuron, a block's addition to the stream being detached by a hook."""
    where, seen = twins.positions(model, scope), {}

    def detach(_module, inputs, out):
        return inputs[0] + (out - inputs[0]).detach()

    handle = model.blocks[dropped].register_forward_hook(detach)
    try:
        chance = twins.forward(model, scope, image[None], seen=seen).softmax(-1)[0, label]
    finally:
        handle.remove()
    rows = []
    for block in range(len(model.blocks)):
        slope, = torch.autograd.grad(chance, seen[block], retain_graph=True, allow_unused=True)
        height = seen[block].detach()[0, where] - baseline[block]
        rows.append(torch.zeros_like(height[0]) if slope is None
                    else (slope[0, where] * height).sum(0))
    return torch.stack(rows)


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_one_backward_pass_for_every_block(name):
    target, images, labels = helpers.network(name, 411)
    generator = torch.Generator().manual_seed(1)
    tokens, depth = len(twins.positions(target.model, target.scope)), target.n_blocks
    drawn = torch.randn(2, depth, tokens, 16, generator=generator, dtype=torch.float64)
    for baseline in (None, drawn):
        found = graddrop(target, images, labels, baseline=baseline)
        signed = graddrop(target, images, labels, signed=True, baseline=baseline)
        for row, label in enumerate(labels.tolist()):
            base = torch.zeros_like(drawn[0]) if baseline is None else drawn[row]
            each = torch.stack([without_block(target.model, target.scope, images[row], label,
                                              dropped, base) for dropped in range(depth)])
            for block in range(depth):
                assert each[block, block].abs().max() == 0  # the neuron's own block
            expected = each.abs().mean(0) * depth / (depth - 1)
            torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-13)
            torch.testing.assert_close(signed[row], expected * each.sum(0).sign(), rtol=0,
                                       atol=1e-13)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_halves_are_left_out_one_after_the_other(scope):
    target, images, labels = helpers.network({"cls": "cls", "patch": "avg"}[scope], 412)
    mixed, model = npc.SiteModel(target.model, scope, "mixed"), target.model
    found, where = graddrop(mixed, images, labels), twins.positions(model, scope)
    sites = [module for block in model.blocks for module in (block.attn.proj, block.mlp.fc2)]
    halves = [half for block in model.blocks for half in (block.attn, block.mlp)]
    for row, label in enumerate(labels.tolist()):
        total = torch.zeros(6, 16, dtype=torch.float64)
        for half in halves:  # what a half adds to the stream is what it returns
            seen: dict[int, torch.Tensor] = {}
            handles = [half.register_forward_hook(lambda _module, _inputs, out: out.detach())]
            for number, site in enumerate(sites):
                handles.append(site.register_forward_pre_hook(
                    lambda _module, inputs, number=number, seen=seen:
                    seen.__setitem__(number, inputs[0])))
            chance = model(images[[row]]).softmax(-1)[0, label]
            for handle in handles:
                handle.remove()
            for number in range(6):
                slope, = torch.autograd.grad(chance, seen[number], retain_graph=True,
                                             allow_unused=True)
                if slope is not None:
                    total[number] += (slope * seen[number]).detach()[0, where].sum(0).abs()
        torch.testing.assert_close(found[row], total / 5, rtol=0, atol=1e-13)


NEURON, READER = 6, 9


def cancelling_vit(scope):
    """Two blocks and a head in which neuron 6 of block 0 raises the label's logit directly and,
    through neuron 9 of block 1, lowers it by as much to first order.

    That one's GELU is curved, so that in truth its removal changes the logit. Neuron 2 of block 0
    raises it a little, and directly alone.
    """
    model = helpers.blank_vit(scope, depth=2, num_classes=3)
    with torch.no_grad():
        first, second = (block.mlp for block in model.blocks)
        first.act = torch.nn.Identity()
        first.fc1.bias[[2, NEURON]] = 1.0
        first.fc2.weight[0, 2] = 0.05
        first.fc2.weight[0, NEURON] = first.fc2.weight[3, NEURON] = 1.0
        second.fc1.weight[READER, 3] = 1.0
        given = torch.ones(1, dtype=torch.float64)
        normal = torch.distributions.Normal(torch.zeros(1, dtype=torch.float64), 1)
        slope = normal.cdf(given) + given * normal.log_prob(given).exp()
        second.fc2.weight[0, READER] = -1 / slope[0]
        model.head.weight[1, 0] = 1
    return model


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_cancellation_that_attribution_patching_misses(scope):
    target = npc.TargetModel(cancelling_vit(scope), scope)
    images, labels = helpers.small_batch(2, 3)[0], torch.tensor([1, 1])
    plain = gradient_activation(target, images, labels)[:, 0]
    dropped = graddrop(target, images, labels)[:, 0]
    exact = exact_effects(target, images, labels)[:, 0]
    assert plain[:, NEURON].abs().max() < 1e-14
    assert (plain.argmax(-1) == 2).all()
    assert (dropped.argmax(-1) == NEURON).all() and (exact.abs().argmax(-1) == NEURON).all()
    # with block 1 left out what is left is the direct way: F(1 - F) times what it writes, 1
    chance = target(images).softmax(-1)[:, 1]
    torch.testing.assert_close(dropped[:, NEURON], chance * (1 - chance), rtol=0, atol=1e-12)


def test_without_attention_the_last_block_has_one_way_alone():
    """Nothing comes after it, so that leaving out blocks changes nothing but their number."""
    target, images, labels = helpers.network("avg", 413)
    torch.testing.assert_close(graddrop(target, images, labels)[:, -1],
                               gradient_activation(target, images, labels)[:, -1].abs(), rtol=0,
                               atol=1e-14)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_images_one_by_one_and_small_budgets_give_the_same(name):
    target, images, labels = helpers.network(name, 415)
    together = graddrop(target, images, labels)
    apart = torch.cat([graddrop(target, images[[row]], labels[[row]]) for row in range(2)])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-13)
    with memory_limit(target, copy_bytes(target)):
        torch.testing.assert_close(graddrop(target, images, labels), together, rtol=0, atol=1e-13)


def test_sites_precision_and_permuted_weights():
    target, images, labels = helpers.network("cls", 417)
    exact = graddrop(target, images, labels)
    heads = graddrop(npc.SiteModel(target.model, "cls", "heads"), images, labels)
    assert heads.shape == (2, 3, 2) and (heads >= 0).all() and heads.max() > 1e-4
    with torch.no_grad():
        weight = target.model.blocks[1].mlp.fc2.weight
        weight.copy_(weight.flip(1))
        assert (graddrop(target, images, labels)[:, 1].argmax(-1) != exact[:, 1].argmax(-1)).any()
        weight.copy_(weight.flip(1))
    found = graddrop(npc.TargetModel(target.model.float()), images.float(), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5)


def test_what_is_refused():
    target, images, labels = helpers.network("cls", 419)
    one = npc.TargetModel(helpers.small_vit(1, depth=1))
    helpers.refused(lambda: graddrop(one, images, labels), "one layer", "at least two")
    helpers.refused(lambda: graddrop(target, images, labels, baseline=images), "(2, 3, 8, 8)")
    helpers.refused(lambda: graddrop(target.model, images, labels), "TargetModel")
    target.model.blocks.register_forward_hook(lambda _module, _inputs, out: 2 * out)
    helpers.refused(lambda: graddrop(target, images, labels), "its blocks put together")
