"""Paths over attention neurons, heads, halves and both halves of every block, against slow twins
that are written with hooks alone."""

from __future__ import annotations

import functools

import pytest
import torch
from timm.layers import SwiGLU
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer

import neuronpath_core as npc
from neuronpath_core import baselines, interventions, random_paths
from neuronpath_core.fast.partial_paths import Integrand
from neuronpath_core.fast.search import search_paths
from neuronpath_core.hooks import hooked
from neuronpath_core.variants import refine
from neuronpath_core.variants.sites import SITES, SiteModel
from tests import helpers, twins

LAYERED = ("attention", "mixed", "heads", "halves")
RULES = ("left", "right", "midpoint", "gauss-legendre")
OTHERS = {
    "swiglu": ({"mlp_layer": SwiGLU}, "cls"),
    "differential attention": ({"attn_layer": "diff"}, "patch"),
    "attention norm": ({"scale_attn_norm": True}, "cls"),
}
NETWORKS = helpers.NETWORKS | OTHERS


# --- the twin: one image, one hook a layer, one leaf a layer, one retained graph ---


class Twin:
    """F of one image and label as a function of what enters ``attn.proj`` and ``mlp.fc2`` at the
    scope."""

    def __init__(self, model, scope, image, label, sites):
        self.model = model
        self.image = image
        self.label = label
        self.where = twins.positions(model, scope)
        kinds = {"attention": ["proj"], "heads": ["proj"], "ffn": ["fc2"], "mixed": ["proj", "fc2"],
                 "halves": ["proj", "fc2"]}[sites]
        self.modules = [block.attn.proj if kind == "proj" else block.mlp.fc2
                        for block in model.blocks for kind in kinds]
        heads = [block.attn.num_heads for block in model.blocks for _ in kinds]
        self.sizes = [module.in_features for module in self.modules]
        # the channels of every unit
        counts = {"heads": heads, "halves": [1] * len(heads)}.get(sites, self.sizes)
        self.units = [torch.arange(size).reshape(count, -1).tolist() for size,
                      count in zip(self.sizes, counts, strict=True)]
        self.single = sites in ("attention", "mixed", "ffn")
        seen = {}
        with torch.no_grad():
            self.forward({}, seen)
        self.clean = [seen[number][0, self.where] for number in range(len(self.modules))]

    def forward(self, replaced, seen=None):
        def enter(_module, inputs, number):
            value = inputs[0]
            if number in replaced:
                value = value.clone()
                value[:, self.where] = replaced[number]
            if seen is not None:
                seen[number] = value
            return (value,)

        handles = [module.register_forward_pre_hook(functools.partial(enter, number=number))
                   for number, module in enumerate(self.modules)]
        try:
            return self.model(self.image[None]).softmax(-1)[0, self.label]
        finally:
            for handle in handles:
                handle.remove()

    def heights(self, number, units):
        """Clean values ``(token, unit)``: a neuron's own, 1 of a group."""
        if self.single:
            return self.clean[number][:, units]
        return torch.ones(len(self.where), len(units), dtype=self.image.dtype)

    def channels(self, number, units, leaf):
        """The layer's clean values with the units at ``leaf`` (token, unit): the values themselves,
        or multiples of the clean ones."""
        held = self.clean[number].clone()
        for index, unit in enumerate(units):
            own = self.units[number][unit]
            held[:, own] = leaf[:,
                                [index]] if self.single else leaf[:,
                                                                  [index]] * self.clean[number][
                :, own]
        return held

    def slopes(self, path, nodes, weights):
        """``∫ ∂F/∂unit dα``, ``(token, unit)`` a layer, of the units of the first layers, moved
        together."""
        totals = [torch.zeros(len(self.where), len(units), dtype=self.image.dtype)
                  for units in path]
        for node, weight in zip(nodes, weights, strict=True):
            leaves = [(node * self.heights(number, units)).requires_grad_() for number,
                      units in enumerate(path)]
            objective = self.forward({number: self.channels(number, units, leaf)[None]
                                      for number, (units,
                                                   leaf) in enumerate(
                zip(path, leaves, strict=True))})
            for total, gradient in zip(totals,
                                       torch.autograd.grad(objective, leaves, retain_graph=True),
                                       strict=True):
                total += weight * gradient
        return totals

    def score(self, path, nodes, weights, cross=True):
        slopes = self.slopes(path, nodes, weights)
        heights = [self.heights(number, units) for number, units in enumerate(path)]
        if not cross:
            return sum((slope * height).sum() for slope,
                       height in zip(slopes, heights, strict=True)).item()
        return (sum(height.sum(1) for height in heights) * sum(slope.sum(1)
                                                               for slope in slopes)).mean().item()

    def search(self, nodes, weights, top=1, cross=True, literal=False):
        path = []
        for number, units in enumerate(self.units):
            if literal:
                scores = [self.score([*path, [unit]], nodes, weights, cross)
                          for unit in range(len(units))]
            else:
                every = list(range(len(units)))
                *earlier, own = self.slopes([*path, every], nodes, weights)
                height = self.heights(number, every)
                if cross:
                    own = own + sum((slope.sum(1, keepdim=True) for slope in earlier), 0.0)
                    height = height + sum((self.heights(before, chosen).sum(1, keepdim=True)
                                           for before, chosen in enumerate(path)), 0.0)
                scores = (own * height).sum(0)
            path.append(twins.best_first(scores, top))
        return path, self.score(path, nodes, weights, cross)

    def zeroed(self, path):
        """F with the path at zero and everything else of the scope's sites clean."""
        with torch.no_grad():
            return self.forward({number: self.channels(number, units,
                                                       torch.zeros(len(self.where),
                                                                   len(units)).double())[None]
                                 for number, units in enumerate(path)}).item()

    def edited(self, path, factor):
        """F with the path's current values multiplied as they arise."""
        def enter(_module, inputs, number):
            value = inputs[0].clone()
            for unit in path[number]:
                for token in self.where:
                    value[:, token, self.units[number][unit]] *= factor
            return (value,)

        handles = [module.register_forward_pre_hook(functools.partial(enter, number=number))
                   for number, module in enumerate(self.modules)]
        try:
            with torch.no_grad():
                return self.model(self.image[None]).softmax(-1)[0]
        finally:
            for handle in handles:
                handle.remove()


def network(name, seed):
    arguments, scope = NETWORKS[name]
    return helpers.small_vit(seed, **arguments), scope


def as_lists(neurons):
    return neurons.tolist() if neurons.ndim == 3 else [[[neuron] for neuron in row]
                                                       for row in neurons.tolist()]


def assert_equal(value, expected):
    assert abs(value - expected) <= 1e-9 * max(1e-3, abs(expected))


# --- FFN sites are the plain target ---


@pytest.mark.parametrize("name", NETWORKS)
def test_ffn_sites_are_the_plain_target_to_the_last_bit(name):
    model, scope = network(name, 61)
    images, labels = helpers.small_batch(2, 62)
    plain, sites = npc.TargetModel(model, scope), SiteModel(model, scope, "ffn")
    for settings in ({}, {"context": "full", "quadrature": "left", "steps": 4},
                     {"method": "complete"}, {"search": "beam", "width": 2}):
        first = npc.find_paths(plain, images, labels, **settings)
        second = npc.find_paths(sites, images, labels, **settings)
        assert torch.equal(first.neurons, second.neurons) and torch.equal(first.score, second.score)
    assert torch.equal(npc.knowledge_attribution(plain, images, labels),
                       npc.knowledge_attribution(sites, images, labels))
    assert [layer.name for layer in sites.layers] == [f"block {block} FFN" for block in range(1, len(model.blocks) + 1)]


# --- the search ---


@pytest.mark.each_value
@pytest.mark.parametrize("sites", LAYERED)
@pytest.mark.parametrize("name", NETWORKS)
def test_joint_search_equals_the_retained_graph_procedure(name, sites):
    place = list(NETWORKS).index(name)
    model, scope = network(name, 70 + place)
    images, labels = helpers.small_batch(2, 71)
    rule = RULES[(place + LAYERED.index(sites)) % 4]
    paths = npc.find_paths(SiteModel(model, scope, sites), images, labels, quadrature=rule, steps=3)
    for image, label, found, score in zip(images, labels, as_lists(paths.neurons),
                                          paths.score.tolist(), strict=True):
        expected, value = Twin(model, scope, image, int(label), sites).search(*twins.rule(rule, 3))
        assert found == expected
        assert_equal(score, value)


@pytest.mark.each_value
@pytest.mark.parametrize("search", ["joint", "literal"])
@pytest.mark.parametrize("cross", [True, False], ids=["joint attribution", "complete attribution"])
@pytest.mark.parametrize(("sites", "top"), [("attention", 2), ("mixed", 2), ("heads", 1),
                                            ("heads", 2), ("halves", 1)])
@pytest.mark.parametrize("name", ["cls-layerscale-qknorm", "avg-registers"])
def test_several_units_both_attributions_and_algorithm_1(name, sites, top, cross, search):
    model, scope = network(name, 80)
    images, labels = helpers.small_batch(1, 81)
    rule = twins.rule("gauss-legendre", 2)
    integral = [Integrand(*(torch.tensor(values, dtype=torch.float64) for values in rule))]
    found = search_paths(SiteModel(model, scope, sites), images, labels, integral, top, search,
                         attribution="joint" if cross else "complete")
    expected, value = Twin(model, scope, images[0], int(labels[0]),
                           sites).search(*rule, top, cross, search == "literal")
    assert found.neurons[0].tolist() == expected
    assert_equal(found.score.item(), value)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_joint_and_complete_attribution_rank_heads_alike(scope):
    model = helpers.small_vit(82, num_heads=8)
    images, labels = helpers.small_batch(4, 83)
    target = SiteModel(model, scope, "heads")
    joint, complete = (npc.find_paths(target, images, labels, method, steps=16)
                       for method in ("neuron_path", "complete"))
    assert torch.equal(joint.neurons, complete.neurons)
    whole = npc.complete_attribution(target, images, labels, joint.neurons)
    tokens = 1 if scope == "cls" else model.patch_embed.num_patches
    torch.testing.assert_close(joint.score, target.n_blocks * whole / tokens, rtol=1e-9, atol=1e-12)


@pytest.mark.each_value
@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("sites", ["attention", "mixed", "heads"])
def test_beam_finds_at_least_the_score_of_the_joint_search(sites, scope):
    target = SiteModel(helpers.small_vit(84), scope, sites)
    images, labels = helpers.small_batch(4, 85)
    joint, beam = (npc.find_paths(target, images, labels, search=search, width=3, steps=3)
                   for search in ("joint", "beam"))
    assert (beam.score >= joint.score - 1e-12).all()
    torch.testing.assert_close(beam.score,
                               npc.joint_attribution_score(target, images, labels, beam.neurons,
                                                           "gauss-legendre", 3), rtol=1e-9,
                               atol=1e-15)


@pytest.mark.parametrize("sites", LAYERED)
def test_search_through_modules_equals_the_written_out_one(sites):
    model = helpers.small_vit(86, init_values=0.3, qk_norm=True)
    images, labels = helpers.small_batch(3, 87)
    target = SiteModel(model, "cls", sites)
    assert all(target.plain(layer) is not None for layer in range(target.n_blocks))
    expected = npc.find_paths(target, images, labels)
    with_listener = [block.attn.qkv.register_forward_hook(lambda *_: None)
                     for block in model.blocks]
    assert all(target.plain(layer) is None for layer in range(target.n_blocks))
    found = npc.find_paths(target, images, labels)
    for handle in with_listener:
        handle.remove()
    assert torch.equal(found.neurons, expected.neurons)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-9, atol=1e-15)


@pytest.mark.each_value
@pytest.mark.parametrize("sites", LAYERED)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_batch_gives_the_paths_of_its_images_within_any_memory(sites, scope):
    target = SiteModel(helpers.small_vit(88), scope, sites)
    images, labels = helpers.small_batch(4, 89)
    whole = npc.find_paths(target, images, labels)
    single = [npc.find_paths(target, images[[row]], labels[[row]], memory_budget="1MB")
              for row in range(4)]
    assert torch.equal(whole.neurons, torch.cat([each.neurons for each in single]))
    torch.testing.assert_close(whole.score, torch.cat([each.score for each in single]), rtol=1e-9,
                               atol=1e-15)


def test_eva_has_attention_sites_too():
    model = helpers.fill(Eva(img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=2,
                             mlp_ratio=1.0, num_classes=5, global_pool="token",
                             use_rot_pos_emb=True, init_values=0.3), 90)
    images, labels = helpers.small_batch(2, 91)
    for sites in ("attention", "mixed", "heads"):
        paths = npc.find_paths(SiteModel(model, "cls", sites), images, labels, steps=2)
        for image, label, found, score in zip(images, labels, as_lists(paths.neurons),
                                              paths.score.tolist(), strict=True):
            expected, value = Twin(model, "cls", image, int(label),
                                   sites).search(*twins.rule("gauss-legendre", 2))
            assert found == expected
            assert_equal(score, value)


# --- attributions ---


@pytest.mark.each_value
@pytest.mark.parametrize("sites", LAYERED)
@pytest.mark.parametrize("name", ["cls", "cls-registers-prenorm", "avg-unfused-qknorm",
                                  "patch-attention-pool"])
def test_scores_of_given_paths_equal_the_twins(name, sites):
    model, scope = network(name, 92)
    images, labels = helpers.small_batch(2, 93)
    target = SiteModel(model, scope, sites)
    neurons = random_paths.random_paths(target, images, 1 if sites == "halves" else 2, seed=5)
    rule = twins.rule("midpoint", 3)
    joint = npc.joint_attribution_score(target, images, labels, neurons, "midpoint", 3)
    complete = npc.complete_attribution(target, images, labels, neurons, "midpoint", 3)
    exact = npc.complete_attribution(target, images, labels, neurons)
    for row, path in enumerate(neurons.tolist()):
        twin = Twin(model, scope, images[row], int(labels[row]), sites)
        assert_equal(joint[row].item(), twin.score(path, *rule))
        assert_equal(complete[row].item(), twin.score(path, *rule, cross=False))
        with torch.no_grad():
            assert_equal(exact[row].item(), twin.forward({}).item() - twin.zeroed(path))


@pytest.mark.each_value
@pytest.mark.parametrize("scaling", ["block", "neuron"])
@pytest.mark.parametrize("sites", LAYERED)
@pytest.mark.parametrize("name", ["cls-layerscale-qknorm", "avg-registers"])
def test_knowledge_attribution_equals_the_twin(name, sites, scaling):
    model, scope = network(name, 94)
    images, labels = helpers.small_batch(1, 95)
    target = SiteModel(model, scope, sites)
    found = npc.knowledge_attribution(target, images, labels, "right", 3, scaling)
    assert found.shape == (1, target.n_blocks, target.n_neurons)
    twin, nodes, weights = Twin(model, scope, images[0], int(labels[0]),
                                sites), *twins.rule("right", 3)
    for number, units in enumerate(twin.units):
        every = list(range(len(units)))
        for group in ([every] if scaling == "block" else [[unit] for unit in every]):
            def function(leaves, group=group, number=number, twin=twin):
                return sum(twin.forward({number: twin.channels(number, group, leaf)[None]})
                           for leaf in leaves[0])

            height = twin.heights(number, group)
            slope, = twins.integrated_gradients(function, [height], nodes, weights)
            torch.testing.assert_close(found[0, number, group], (height * slope).sum(0), rtol=1e-9,
                                       atol=1e-13)
        assert (found[0, number, len(units):] == 0).all()


@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "avg-without-class-token",
                                  "avg-registers"])
def test_removing_whole_blocks_is_the_biases_alone(name):
    """With every half of the scope zeroed nothing of the scope's tokens is left but embedding and
    biases: the network written out without them."""
    model, scope = network(name, 96)
    images, labels = helpers.small_batch(3, 97)
    target = SiteModel(model, scope, "halves")
    everything = torch.zeros(3, target.n_blocks, dtype=torch.int64)
    with torch.no_grad():
        clean = model(images).softmax(-1)
        stream = model.norm_pre(model._pos_embed(model.patch_embed(images)))
        where = twins.positions(model, scope)
        for block in model.blocks:
            for written, bias, scale in ((block.attn(block.norm1(stream)), block.attn.proj.bias,
                                          block.ls1), (None, block.mlp.fc2.bias, block.ls2)):
                written = block.mlp(block.norm2(stream)) if written is None else written
                written[:, where] = bias
                stream = stream + scale(written)
        left = model.forward_head(model.norm(stream)).softmax(-1)
    rows = torch.arange(3)
    expected = clean[rows, labels] - left[rows, labels]
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(npc.complete_attribution(target, images, labels, everything),
                               expected, rtol=1e-9, atol=1e-15)
    # all 16 of 16 neurons of every layer are the same set
    every_neuron = SiteModel(model, scope, "mixed")
    full = torch.arange(16).expand(3, every_neuron.n_blocks, 16)
    torch.testing.assert_close(npc.complete_attribution(every_neuron, images, labels, full),
                               expected, rtol=1e-9, atol=1e-15)
    # and by the fundamental theorem of calculus the score is that times the number of halves, per
    # token
    score = npc.joint_attribution_score(target, images, labels, everything, "gauss-legendre", 48)
    torch.testing.assert_close(score, target.n_blocks * expected / len(where), rtol=1e-4, atol=1e-9)


def test_an_attention_path_has_the_closed_form_of_a_product():
    """F = 1/4 + a1 a2 / 2 where a1, a2 are channel 0 and 1 that block 0 and block 1 attend to: JAS
    is (a1 + a2)^2 / 4."""
    model = helpers.blank_vit("cls", depth=2, num_classes=2)
    model.norm, model.head = helpers.AffineProduct(), torch.nn.Linear(2, 2, bias=False).double()
    values = (0.9, 0.6)
    with torch.no_grad():
        model.head.weight.copy_(torch.eye(2))
        for number, (block, value) in enumerate(zip(model.blocks, values, strict=True)):
            # of every token alike: attention of any weights gathers just that
            model.pos_embed[0, :, 8 + number] = value
            # channel 5 + number of the values
            block.attn.qkv.weight[2 * 16 + 5 + number, 8 + number] = 1
            block.attn.proj.weight[number, 5 + number] = 1
    target, neurons = SiteModel(model, "cls", "attention"), torch.tensor([[5, 6]])
    images, labels = helpers.small_batch(1)
    labels = torch.zeros(1, dtype=torch.int64)
    assert npc.read_activations(target, images)[0, :,
                                                0].max(-1).values.tolist() == pytest.approx(values)
    assert npc.joint_attribution_score(target, images, labels, neurons, "gauss-legendre",
                                       2).item() == pytest.approx(sum(values) ** 2 / 4, rel=1e-12)
    assert npc.complete_attribution(target, images, labels,
                                    neurons).item() == pytest.approx(values[0] * values[1] / 2,
                                                                     rel=1e-12)
    # two heads of 8 channels hold one of them each: the number on the path times the complete
    # attribution
    model.blocks[1].attn.qkv.weight.data.zero_()
    model.blocks[1].attn.proj.weight.data.zero_()
    with torch.no_grad():
        model.blocks[1].attn.qkv.weight[2 * 16 + 12,
                                        9] = model.blocks[1].attn.proj.weight[1, 12] = 1
    heads = SiteModel(model, "cls", "heads")
    found = npc.find_paths(heads, images, labels, steps=2)
    assert found.neurons.tolist() == [[0, 1]]
    assert found.score.item() == pytest.approx(2 * values[0] * values[1] / 2, rel=1e-12)


@pytest.mark.parametrize("name", ["cls-layerscale-qknorm", "avg"])
def test_what_is_written_is_affine_with_the_value_vectors(name):
    model, scope = network(name, 98)
    target = SiteModel(model, scope, "mixed")
    clean = npc.read_activations(target, helpers.small_batch(1, 99)[0])[0]
    for layer in range(target.n_blocks):
        block, half = target.layers[layer].block, target.layers[layer].half
        module, scale = ((model.blocks[block].attn.proj, model.blocks[block].ls1)
                         if half == "attention"
                         else (model.blocks[block].mlp.fc2, model.blocks[block].ls2))
        value = clean[layer, :, :target.layers[layer].units]
        torch.testing.assert_close(scale(module(value)) - scale(module(torch.zeros_like(value))),
                                   value @ target.value_vectors(layer))


# --- baselines, edits, other searches ---


@pytest.mark.each_value
@pytest.mark.parametrize("sites", ["attention", "mixed", "heads"])
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_every_method_gives_units_that_the_layers_have(sites, scope):
    # FFN layers have three times the neurons of attention layers, heads fewer than the default beam
    # is wide
    target = SiteModel(helpers.small_vit(100, mlp_ratio=3.0), scope, sites)
    images, labels = helpers.small_batch(2, 101)
    counts = torch.tensor([layer.units for layer in target.layers])
    assert sites != "mixed" or counts.tolist() == [16, 48] * 3
    for method in npc.METHODS:
        if sites == "heads" and method.startswith("influence_pattern"):
            with pytest.raises(ValueError,
                               match="ranks single neurons, the sites are 'heads'; accepted: "
                                     "neuron_path, complete"):
                npc.find_paths(target, images, labels, method)
            continue
        top = None if sites == "heads" else 3
        paths = npc.find_paths(target, images, labels, method, top=top, steps=2)
        ranked = target.check_neurons(paths.neurons, 2)
        assert (ranked < counts[:, None]).all()
        torch.testing.assert_close(paths.score,
                                   npc.joint_attribution_score(target, images, labels,
                                                               paths.neurons, "gauss-legendre", 2),
                                   rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("sites", ["attention", "mixed"])
def test_baselines_of_attention_layers_equal_their_definitions(sites):
    model = helpers.small_vit(102)
    images, labels = helpers.small_batch(1, 103)
    target = SiteModel(model, "cls", sites)
    twin = Twin(model, "cls", images[0], int(labels[0]), sites)
    active = npc.find_paths(target, images, labels, "activation").neurons[0].tolist()
    assert active == [int(value[0].argmax()) for value in twin.clean]
    seen = {}
    objective = twin.forward({}, seen)
    gradients = torch.autograd.grad(objective,
                                    [seen[number] for number in range(len(twin.modules))])
    expected = torch.stack([(gradient * seen[number])[0, 0] for number,
                            gradient in enumerate(gradients)]).detach()
    torch.testing.assert_close(baselines.gradient_activation(target, images, labels)[0], expected,
                               rtol=1e-9, atol=1e-15)
    gone = npc.find_paths(target, images, labels, "ablation").neurons[0].tolist()
    best = [objective.item() - float(twin.edited([[unit]] + [[]] * (len(twin.units) - 1),
                                                 0.0)[labels[0]]) for unit in range(16)]
    assert gone[0] == twins.best_first(best, 1)[0]


def test_activation_of_a_head_is_the_norm_of_its_channels():
    model = helpers.small_vit(104)
    images = helpers.small_batch(2, 105)[0]
    channels = npc.read_activations(SiteModel(model, "patch", "attention"), images)
    heads = npc.read_activations(SiteModel(model, "patch", "heads"), images)
    torch.testing.assert_close(heads, channels.unflatten(-1, (2, 8)).square().sum(-1).sqrt())


@pytest.mark.each_value
@pytest.mark.parametrize("sites", LAYERED)
@pytest.mark.parametrize("operation", ["remove", "enhance", 0.5])
def test_edits_multiply_current_values(sites, operation):
    model = helpers.small_vit(106, global_pool="avg", reg_tokens=2)
    images, labels = helpers.small_batch(2, 107)
    target, before = SiteModel(model, "patch", sites), helpers.Snapshot(model)
    neurons = random_paths.random_paths(target, images, 1, seed=1)
    edited = interventions.edited_probabilities(target, images, neurons, operation)
    with npc.edit(target, neurons, operation):
        torch.testing.assert_close(target(images).softmax(-1), edited, rtol=1e-12, atol=0)
    before.check()
    factor = {"remove": 0.0, "enhance": 2.0}.get(operation, operation)
    for row in range(2):
        twin = Twin(model, "patch", images[row], int(labels[row]), sites)
        torch.testing.assert_close(edited[row], twin.edited(neurons[row].tolist(), factor),
                                   rtol=1e-9, atol=1e-15)
    assert (edited - model(images).softmax(-1)).abs().max() > 1e-6


@pytest.mark.parametrize("sites", ["attention", "mixed"])
def test_coordinate_ascent_reaches_the_exhaustive_optimum_or_stays_below(sites):
    model = helpers.small_vit(108, depth=1 if sites == "mixed" else 2, embed_dim=8, mlp_ratio=1.5)
    images, labels = helpers.small_batch(2, 109)
    target = SiteModel(model, "cls", sites)
    start = npc.find_paths(target, images, labels, steps=3)
    refined, score = refine.refine_paths(target, images, labels, start.neurons,
                                         proposals=target.fewest_neurons)
    best, optimum = refine.exhaustive_paths(target, images, labels)
    assert (score >= start.score - 1e-12).all() and (score <= optimum + 1e-12).all()
    torch.testing.assert_close(optimum,
                               npc.joint_attribution_score(target, images, labels, best,
                                                           "gauss-legendre", 3), rtol=1e-9,
                               atol=1e-15)


# --- what is refused ---


def test_frozen_and_mixed_context_are_refused_and_auto_is_full():
    images, labels = helpers.small_batch(2, 110)
    for sites in LAYERED:
        target = SiteModel(helpers.small_vit(110), "cls", sites)
        for context in ("frozen", "mixed"):
            with pytest.raises(ValueError,
                               match=f"are for paths over FFN neurons alone; accepted for sites "
                                     f"'{sites}': full"):
                npc.find_paths(target, images, labels, context=context)
        automatic, full = (npc.find_paths(target, images, labels, context=context)
                           for context in ("auto", "full"))
        assert torch.equal(automatic.neurons,
                           full.neurons) and torch.equal(automatic.score, full.score)


def test_unknown_sites_other_blocks_and_hooks_on_a_whole_block_are_refused():
    with pytest.raises(ValueError,
                       match="unknown sites 'everything'; accepted: ffn, attention, heads, mixed, "
                             "halves"):
        SiteModel(helpers.small_vit(), "cls", "everything")
    assert tuple(SITES) == ("ffn", "attention", "heads", "mixed", "halves")
    with pytest.raises(ValueError, match="ParallelScalingBlock"):
        SiteModel(VisionTransformer(**helpers.SIZES, block_fn=ParallelScalingBlock), "cls",
                  "attention")
    model = helpers.small_vit()
    images, labels = helpers.small_batch(2)
    target = SiteModel(model, "cls", "attention")
    handle = model.blocks[1].register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="block 1 as a whole is hooked or replaced"):
        npc.find_paths(target, images, labels)
    handle.remove()
    npc.find_paths(target, images, labels)


def test_neurons_that_a_layer_does_not_have_are_refused():
    target = SiteModel(helpers.small_vit(mlp_ratio=2.0), "cls", "mixed")
    images, labels = helpers.small_batch(1)
    assert [layer.units for layer in target.layers] == [16, 32] * 3
    assert [layer.name for layer in target.layers[:3]] == ["block 1 attention", "block 1 FFN", "block 2 attention"]
    neurons = torch.full((1, 6), 20)
    with pytest.raises(ValueError,
                       match=r"neuron indices of layer 0 \(block 1 attention\) must lie in 0..15, "
                             r"got 20"):
        npc.joint_attribution_score(target, images, labels, neurons)
    with pytest.raises(ValueError, match="top must be a whole number in 1..16, got 17"):
        npc.find_paths(target, images, labels, top=17)


@pytest.mark.parametrize("sites", LAYERED)
def test_nothing_is_left_behind_and_gradients_are_as_before(sites):
    model = helpers.small_vit(112)
    images, labels = helpers.small_batch(2, 113)
    target, before = SiteModel(model, "cls", sites), helpers.Snapshot(model)
    with torch.no_grad():
        npc.find_paths(target, images, labels)
        npc.knowledge_attribution(target, images, labels, steps=2)
    before.check()
    with hooked(target, {0: lambda value: value * 0}):
        assert helpers.hook_count(model) == before.hooks + 1
    before.check()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("sites", LAYERED)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_gpu_finds_the_same_paths(sites, scope):
    images, labels = helpers.small_batch(3, 115)
    here = npc.find_paths(SiteModel(helpers.small_vit(114), scope, sites), images, labels, steps=3)
    there = npc.find_paths(SiteModel(helpers.small_vit(114).cuda(), scope, sites), images.cuda(),
                           labels.cuda(), steps=3)
    assert there.neurons.is_cuda and there.score.is_cuda
    assert torch.equal(here.neurons, there.neurons.cpu())
    torch.testing.assert_close(here.score, there.score.cpu(), rtol=1e-8, atol=1e-12)
