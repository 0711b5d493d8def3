"""Quadrature rules and the three attributions, against closed forms, slow twins and the fundamental
theorem of calculus."""

import math
import sys

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import jas, knowledge, quadrature
from neuronpath_core.support import memory
from tests import helpers, twins

RULES = ("left", "right", "midpoint", "gauss-legendre")


def random_neurons(target, batch, rank=None, seed=0):
    rng = np.random.default_rng(seed)
    drawn = np.stack([[rng.permutation(target.n_neurons)[:rank or 1]
                       for _ in range(target.n_blocks)] for _ in range(batch)])
    return torch.from_numpy(drawn if rank else drawn[..., 0])


# --- quadrature ---


@pytest.mark.parametrize("compute", [
    lambda target, images, labels: npc.joint_attribution_score(target, images, labels,
                                                               torch.zeros(len(images), 3,
                                                                           dtype=torch.int64),
                                                               "left", 20),
    lambda target, images, labels: npc.knowledge_attribution(target, images, labels, "left", 20),
    lambda target, images, labels: npc.refine_paths(target, images, labels,
                                                    torch.zeros(len(images), 3, dtype=torch.int64),
                                                    "left", 20),
    lambda target, images, labels: npc.find_paths(target, images, labels, context="full",
                                                  quadrature="left", steps=20),
    lambda target, images, labels: npc.find_paths(target, images, labels, "influence_pattern",
                                                  quadrature="left", steps=20),
], ids=["score", "knowledge", "refinement", "search", "influence pattern"])
def test_a_narrow_dtype_does_not_round_the_weights(compute, monkeypatch):
    # 1/20 in bfloat16 is 0.1 % too large, which every integral would inherit
    sums, original = [], quadrature.integrated

    def integrated(values, weights):
        sums.append(weights.double().sum().item() if weights.dtype == torch.float64 or weights.dtype
                    == torch.float32 else math.nan)
        return original(values, weights)

    for name, module in list(sys.modules.items()):
        if name.startswith("neuronpath_core.") and hasattr(module, "integrated"):
            monkeypatch.setattr(module, "integrated", integrated)
    target = npc.TargetModel(helpers.small_vit().to(torch.bfloat16))
    images, labels = helpers.small_batch(2)
    with memory.memory_limit(target, "1GB"):  # all nodes at once
        compute(target, images.bfloat16(), labels)
    assert sums == pytest.approx([1.0] * len(sums), abs=1e-6)
    assert sums


def test_integrals_are_summed_in_single_precision_at_least():
    values = torch.tensor([[1.0, 2.0**-9]], dtype=torch.bfloat16)
    # bfloat16 has no such number
    assert quadrature.integrated(values, torch.tensor([0.5, 0.5])).item() == 0.5 + 2.0**-10
    assert quadrature.integrated(values.double(), torch.tensor([0.5, 0.5])).dtype == torch.float64


def integrate(rule, steps, power):
    nodes, weights = npc.quadrature_rule(rule, steps)
    return float((weights * nodes**power).sum())


@pytest.mark.parametrize(("rule", "nodes"), [
    ("left", [0, 0.25, 0.5, 0.75]), ("right", [0.25, 0.5, 0.75, 1]),
    ("midpoint", [0.125, 0.375, 0.625, 0.875])])
def test_riemann_nodes_and_weights(rule, nodes):
    found, weights = npc.quadrature_rule(rule, 4)
    assert found.dtype == weights.dtype == torch.float64
    assert found.tolist() == nodes
    assert weights.tolist() == [0.25] * 4


def test_gauss_legendre_of_two_nodes_is_the_textbook_rule():
    nodes, weights = npc.quadrature_rule("gauss-legendre", 2)
    np.testing.assert_allclose(nodes, [0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6], atol=1e-15)
    np.testing.assert_allclose(weights, [0.5, 0.5], atol=1e-15)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("rule", RULES)
def test_weights_sum_to_one_and_agree_with_the_twin(rule, steps):
    nodes, weights = npc.quadrature_rule(rule, steps)
    assert nodes.shape == weights.shape == (steps,)
    assert abs(float(weights.sum()) - 1) < 1e-14
    expected = twins.rule(rule, steps)
    np.testing.assert_allclose(nodes, expected[0], atol=1e-15)
    np.testing.assert_allclose(weights, expected[1], atol=1e-15)


@pytest.mark.parametrize("steps", [1, 2, 4, 6])
def test_degree_of_exactness(steps):
    for power in range(2 * steps):
        assert abs(integrate("gauss-legendre", steps, power) - 1 / (power + 1)) < 1e-14
    # and no further
    assert abs(integrate("gauss-legendre", steps, 2 * steps) - 1 / (2 * steps + 1)) > 1e-9
    assert abs(integrate("midpoint", steps, 1) - 1 / 2) < 1e-14
    assert abs(integrate("left", steps, 1) - (steps - 1) / (2 * steps)) < 1e-14
    assert abs(integrate("right", steps, 1) - (steps + 1) / (2 * steps)) < 1e-14


def test_of_equal_scores_the_smaller_index_comes_first():
    scores = torch.tensor([[1.0, 2.0, 2.0, 0.0, 2.0], [3.0, 3.0, 3.0, 3.0, 3.0]],
                          dtype=torch.float64)
    assert npc.ranking.top_neurons(scores, 4).tolist() == [[1, 2, 4, 0], [0, 1, 2, 3]]
    many = torch.zeros(3072, dtype=torch.float64)
    many[[7, 2000, 3071]] = 1.0
    assert npc.ranking.top_neurons(many, 6).tolist() == [7, 2000, 3071, 0, 1, 2]


# --- closed forms ---


# ∫ α dα by each rule of m nodes
FIRST_MOMENT = {
    "left": lambda m: (m - 1) / (2 * m),
    "right": lambda m: (m + 1) / (2 * m),
    "midpoint": lambda m: 0.5,
    "gauss-legendre": lambda m: 0.5,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 4, 20])
def test_twin_on_a_product_of_two_neurons(rule, steps):
    """F = w1 w2: the m-step left score is (m-1)/(2m) (w1+w2)²."""
    clean = [torch.tensor([[1.3]], dtype=torch.float64),
             torch.tensor([[-0.4]], dtype=torch.float64)]
    score = twins.joint_score_of(lambda w: (w[0] * w[1]).sum(), clean, *twins.rule(rule, steps))
    assert abs(score - FIRST_MOMENT[rule](steps) * (1.3 - 0.4) ** 2) < 1e-14


@pytest.mark.each_value
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 4, 20])
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_joint_score_of_a_product_of_two_neurons(scope, rule, steps):
    """The same closed form through a whole network with F = 1/4 + w1 w2 / 2 exactly."""
    model, values = helpers.product_vit(scope)
    target = npc.TargetModel(model)
    images = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    assert target.scope == scope
    mean, tokens = values.mean(1), values.shape[1]
    torch.testing.assert_close(target(images).softmax(-1)[0, 0], 0.25 + 0.5 * mean[0] * mean[1],
                               rtol=0, atol=1e-12)

    score = npc.joint_attribution_score(target, images, torch.tensor([0]), torch.tensor([[3, 5]]),
                                        quadrature=rule, steps=steps)
    # patch scope: a token's neurons move the mean by 1/T of themselves, and tokens are averaged
    closed = 0.5 / tokens * FIRST_MOMENT[rule](steps) * float(mean.sum()) ** 2
    assert score.shape == (1,)
    assert abs(float(score) - closed) < 1e-12
    # without the cross terms only w1 w2 is left
    complete = npc.complete_attribution(target, images, torch.tensor([0]), torch.tensor([[3, 5]]))
    assert abs(float(complete) - 0.5 * float(mean.prod())) < 1e-12


def sigma(value):
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_joint_score_of_a_sigmoid(scope, rule):
    """No attention, two classes, linear head: F = σ(a + b α) along the path, its derivative known
    by hand."""
    pooling = {} if scope == "cls" else {"global_pool": "avg", "fc_norm": False}
    model = helpers.without_attention(helpers.small_vit(3, num_classes=2, final_norm=False,
                                                        init_values=0.1, **pooling))
    target = npc.TargetModel(model)
    images, _ = helpers.small_batch(3, 4)
    labels, neurons = torch.tensor([0, 1, 1]), random_neurons(target, 3, seed=5)
    scores = {}
    for steps in (1, 3, 24):
        scores[steps] = npc.joint_attribution_score(target, images, labels, neurons,
                                                    quadrature=rule, steps=steps)
    complete = npc.complete_attribution(target, images, labels, neurons)

    logits, steepness = target(images).detach(), 0.0
    for image in range(3):
        # (block, token, neuron)
        clean = torch.stack(twins.clean_activations(model, scope, images[image]))
        # (block, token)
        own = torch.stack([clean[block, :, neurons[image, block]] for block in range(3)])
        direction = model.head.weight[labels[image]] - model.head.weight[1 - labels[image]]
        pairs = zip(model.blocks, neurons[image], strict=True)
        columns = [block.mlp.fc2.weight[:, neuron] * block.ls2.gamma for block, neuron in pairs]
        # per token
        slopes = (torch.stack(columns) @ direction).detach() / own.shape[1]
        gap = float(logits[image, labels[image]] - logits[image, 1 - labels[image]])
        # b; a = gap - b
        rise = float((slopes[:, None] * own).sum())
        height = float(own.sum(0).mean())
        for steps, score in scores.items():
            inner = [sigma(gap - rise + rise * node) for node in twins.rule(rule, steps)[0]]
            integral = sum(weight * value * (1 - value) for weight,
                           value in zip(twins.rule(rule, steps)[1], inner, strict=True))
            assert abs(float(score[image]) - height * float(slopes.sum()) * integral) < 1e-12
        difference = sigma(gap) - sigma(gap - rise)
        assert abs(float(complete[image]) - difference) < 1e-12
        if rule == "gauss-legendre":
            assert abs(float(scores[24][image]) - height * float(slopes.sum()) * difference
                       / rise) < 1e-10
        steepness = max(steepness, abs(rise))
    assert steepness > 0.1  # curved enough to tell the rules apart


# --- twins ---


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_joint_and_complete_equal_the_slow_twins(name, rank):
    target, images, labels = helpers.network(name, 7)
    neurons = random_neurons(target, 2, rank, seed=9)
    rule = RULES[list(helpers.NETWORKS).index(name) % 4]
    joint = npc.joint_attribution_score(target, images, labels, neurons, quadrature=rule, steps=3)
    complete = npc.complete_attribution(target, images, labels, neurons)
    for image, label, path, found, whole in zip(images, labels, neurons, joint, complete,
                                                strict=True):
        path = [[neuron] if rank is None else neuron for neuron in path.tolist()]
        expected = twins.joint_attribution_score(target.model, target.scope, image, int(label),
                                                 path, *twins.rule(rule, 3))
        assert abs(float(found) - expected) <= 1e-9 * max(1e-3, abs(expected))
        assert abs(float(whole) - twins.complete_attribution(target.model, target.scope, image,
                                                             int(label), path)) < 1e-12


@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "avg", "avg-registers"])
def test_complete_attribution_is_the_integral_of_the_diagonal(name):
    """Fundamental theorem of calculus; 32 Gauss nodes are the converged integral here."""
    target, images, labels = helpers.network(name, 7)
    neurons = random_neurons(target, 2, seed=9)
    complete = npc.complete_attribution(target, images, labels, neurons)
    assert complete.abs().max() > 1e-3
    for image, label, path, found in zip(images, labels, neurons, complete, strict=True):
        path = [[neuron] for neuron in path.tolist()]
        expected = twins.diagonal_attribution(target.model, target.scope, image, int(label), path,
                                              *twins.rule("gauss-legendre", 32))
        assert abs(float(found) - expected) < 1e-9


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_complete_attribution_by_a_rule_is_the_rule_s_sum(name, rank):
    target, images, labels = helpers.network(name, 7)
    neurons = random_neurons(target, 2, rank, seed=9)
    found = npc.complete_attribution(target, images, labels, neurons, "left", 3)
    budgeted = memory.memory_limit(target, 2 * memory.copy_bytes(target))
    with budgeted:
        torch.testing.assert_close(npc.complete_attribution(target, images, labels, neurons, "left",
                                                            3), found, rtol=1e-10, atol=1e-13)
    for image, label, path, value in zip(images, labels, neurons, found, strict=True):
        path = [[neuron] if rank is None else neuron for neuron in path.tolist()]
        expected = twins.diagonal_attribution(target.model, target.scope, image, int(label), path,
                                              *twins.rule("left", 3))
        assert abs(float(value) - expected) <= 1e-9 * max(1e-3, abs(expected))


@pytest.mark.each_value
@pytest.mark.parametrize("scaling", ["block", "neuron"])
@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "cls-registers-prenorm", "avg",
                                  "avg-without-class-token"])
def test_knowledge_attribution_equals_the_literal_one(name, scaling):
    target, images, labels = helpers.network(name, 11)
    rule, steps = ("right", 2) if scaling == "neuron" else ("gauss-legendre", 3)
    found = npc.knowledge_attribution(target, images, labels, quadrature=rule, steps=steps,
                                      scaling=scaling)
    assert found.shape == (2, 3, 16)
    for image, label, attribution_ in zip(images, labels, found, strict=True):
        expected = twins.knowledge_attribution(target.model, target.scope, image, int(label),
                                               *twins.rule(rule, steps), scaling)
        torch.testing.assert_close(attribution_, expected, rtol=1e-9, atol=1e-13)


def test_knowledge_attribution_defaults_are_those_of_the_paper():
    target = npc.TargetModel(helpers.small_vit(11))
    images, labels = helpers.small_batch(1, 12)
    written_out = npc.knowledge_attribution(target, images, labels, quadrature="right", steps=20,
                                            scaling="block")
    assert torch.equal(npc.knowledge_attribution(target, images, labels), written_out)


def test_joint_score_defaults_are_the_published_ones():
    target = npc.TargetModel(helpers.small_vit(7))
    images, labels = helpers.small_batch(2, 8)
    neurons = random_neurons(target, 2)
    written_out = npc.joint_attribution_score(target, images, labels, neurons, quadrature="left",
                                              steps=20)
    assert torch.equal(npc.joint_attribution_score(target, images, labels, neurons), written_out)


def test_the_order_of_a_blocks_neurons_does_not_matter():
    target = npc.TargetModel(helpers.small_vit(7, global_pool="avg"))
    images, labels = helpers.small_batch(2, 8)
    neurons = random_neurons(target, 2, 3)
    for function in (npc.joint_attribution_score, npc.complete_attribution):
        there = function(target, images, labels, neurons)
        back = function(target, images, labels, neurons.flip(-1))
        torch.testing.assert_close(there, back, rtol=0, atol=1e-14)


# --- a planted answer ---


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_joint_score_of_the_planted_path(scope):
    """F = e^z/(e^z + 2) with z linear in the clamped path: the integral is a difference of two
    values of F."""
    target = npc.TargetModel(helpers.planted_vit(scope))
    images = helpers.small_batch(2, 6)[0].abs()
    labels = torch.full((2,), helpers.PLANTED_LABEL)
    neurons = torch.tensor([helpers.PLANTED, helpers.PLANTED])
    clean = npc.read_activations(target, images)
    # (batch, block, token)
    own = torch.stack([clean[:, block, :, neuron] for block, neuron in enumerate(helpers.PLANTED)],
                      1)
    slopes = torch.tensor(helpers.SLOPES, dtype=torch.float64)
    z = (own.mean(2) * slopes).sum(1)
    rise = z.exp() / (z.exp() + 2) - 1 / 3
    torch.testing.assert_close(npc.complete_attribution(target, images, labels, neurons), rise,
                               rtol=0, atol=1e-12)
    joint = npc.joint_attribution_score(target, images, labels, neurons,
                                        quadrature="gauss-legendre", steps=24)
    torch.testing.assert_close(joint, own.sum(1).mean(1) * slopes.sum() / own.shape[2] * rise / z,
                               rtol=0, atol=1e-10)
    # the control: neurons that write nothing carry nothing
    elsewhere = (neurons + 1) % target.n_neurons
    assert npc.complete_attribution(target, images, labels, elsewhere).abs().max() == 0
    assert npc.joint_attribution_score(target, images, labels, elsewhere).abs().max() == 0
    knowledge = npc.knowledge_attribution(target, images, labels, steps=2)
    off_path = torch.ones_like(knowledge, dtype=torch.bool).scatter(2, neurons[..., None], False)
    assert knowledge[off_path].abs().max() == 0
    assert knowledge[~off_path].min() > 1e-3


# --- how the work is divided ---


def everything(target, images, labels, neurons=None):
    neurons = random_neurons(target, len(images), 2, seed=1) if neurons is None else neurons
    return {
        "joint": npc.joint_attribution_score(target, images, labels, neurons, steps=3),
        "complete": npc.complete_attribution(target, images, labels, neurons),
        "complete-rule": npc.complete_attribution(target, images, labels, neurons, "left", 3),
        "knowledge": npc.knowledge_attribution(target, images, labels, steps=2),
        "knowledge-neuron": npc.knowledge_attribution(target, images, labels, steps=1,
                                                      scaling="neuron"),
    }


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_batch_gives_the_answers_of_its_images(scope):
    target = npc.TargetModel(helpers.small_vit(13), scope=scope)
    images, labels = helpers.small_batch(3, 14)
    assert len(set(labels.tolist())) == 3  # classes mix
    together = everything(target, images, labels)
    neurons = random_neurons(target, 3, 2, seed=1)
    for i in range(3):
        alone = everything(target, images[i:i + 1], labels[i:i + 1], neurons[i:i + 1])
        for key, value in alone.items():
            torch.testing.assert_close(together[key][i:i + 1], value, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("images_per_chunk", [1, 2])
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_chunks_do_not_change_the_answers(scope, images_per_chunk, monkeypatch):
    target = npc.TargetModel(helpers.small_vit(13), scope=scope)
    images, labels = helpers.small_batch(3, 14)
    whole = everything(target, images, labels)
    sizes, handle = helpers.watch_batches(target.model)
    for module in (jas, knowledge):
        monkeypatch.setattr(module, "images_at_once", lambda *_: images_per_chunk)
    chunked = everything(target, images, labels)
    handle.remove()
    assert sizes == len(whole) * {1: [1, 1, 1], 2: [2, 1]}[images_per_chunk]
    for key, value in chunked.items():
        torch.testing.assert_close(value, whole[key], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("hooked", [False, True], ids=["written out", "hooked"])
def test_chunks_bound_the_copies_that_run_at_once(hooked, monkeypatch):
    model = helpers.small_vit(13)
    target, sizes = npc.TargetModel(model), helpers.watch_copies(monkeypatch, model, 2)
    images, labels = helpers.small_batch(3, 14)
    if hooked:  # a listener, so that the blocks run as modules
        model.blocks[0].register_forward_pre_hook(lambda *_: None)
    assert (target.plain(0) is None) == hooked
    whole = everything(target, images, labels)
    assert max(sizes) == 9  # all images times three nodes
    sizes.clear()
    with memory.memory_limit(target, memory.copy_bytes(target)):
        assert memory.images_at_once(target, 3) == 1
        divided = everything(target, images, labels)
    assert max(sizes) == 1  # one image, one of its three nodes
    for key, value in divided.items():
        torch.testing.assert_close(value, whole[key], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(("copies", "images", "parts"),
                         [(1, 1, [1] * 5), (2, 1, [2, 2, 1]), (6, 3, [2, 2, 1]), (2, 3, [1] * 5),
                          (15, 3, [5])])
def test_nodes_are_divided_by_the_images_that_share_them(copies, images, parts):
    target, rule = npc.TargetModel(helpers.small_vit(13)), npc.quadrature_rule("gauss-legendre", 5)
    with memory.memory_limit(target, copies * memory.copy_bytes(target)):
        found = list(quadrature.node_parts(target, images, *rule))
    assert [len(nodes) for nodes, _ in found] == [len(weights) for _, weights in found] == parts
    for pieces, whole in zip(zip(*found, strict=True), rule, strict=True):
        assert torch.equal(torch.cat(pieces), whole)


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_images_and_nodes_stay_within_the_budget_of_each_call(copies, monkeypatch):
    """Apart, so that one call's copies do not hide another's."""
    model = helpers.small_vit(13)
    target = npc.TargetModel(model)
    sizes = helpers.watch_copies(monkeypatch, model, 2)
    (images, labels) = helpers.small_batch(3, 14)
    neurons = random_neurons(target, 3)
    for call in (lambda: npc.joint_attribution_score(target, images, labels, neurons, steps=3),
                 lambda: npc.complete_attribution(target, images, labels, neurons),
                 lambda: npc.complete_attribution(target, images, labels, neurons, "left", 3),
                 lambda: npc.knowledge_attribution(target, images, labels, steps=3)):
        sizes.clear()
        with memory.memory_limit(target, copies * memory.copy_bytes(target)):
            call()
        assert 1 <= max(sizes) <= copies


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_threads_do_not_change_the_answers(scope):
    target = npc.TargetModel(helpers.small_vit(13), scope=scope)
    images, labels = helpers.small_batch(6, 14)
    expected = everything(target, images, labels)
    for _ in range(3):  # what one thread does to another depends on the moment
        with helpers.threads(3):
            together = everything(target, images, labels)
        for key, value in together.items():
            torch.testing.assert_close(value, expected[key], rtol=1e-11, atol=1e-14)


# --- dtype, and what a call leaves behind ---


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_results_follow_the_dtype(scope):
    images, labels = helpers.small_batch(3, 14)
    double = everything(npc.TargetModel(helpers.small_vit(13), scope=scope), images, labels)
    single = everything(npc.TargetModel(helpers.small_vit(13).float(), scope=scope), images.float(),
                        labels)
    for key, value in single.items():
        assert double[key].dtype == torch.float64
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), double[key], rtol=1e-4,
                                   atol=1e-5 * float(double[key].abs().max()))


def test_complete_attribution_of_a_narrow_dtype_is_in_single_precision():
    """By a rule and exactly alike."""
    target = npc.TargetModel(helpers.small_vit(13).to(torch.bfloat16))
    images, labels = helpers.small_batch(3, 14)
    neurons = random_neurons(target, 3)
    for rule in (None, "left"):
        assert npc.complete_attribution(target, images.bfloat16(), labels, neurons,
                                        rule).dtype == torch.float32


def test_nothing_is_left_behind():
    model = helpers.small_vit(13)
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 3 != 0)
        parameter.grad = torch.full_like(parameter, number) if number % 2 else None
    target = npc.TargetModel(model)
    images, labels = helpers.small_batch(2, 14)
    images.requires_grad_()
    before, logits = helpers.Snapshot(model), target(images).detach()
    results = everything(target, images, labels)
    before.check()
    assert torch.equal(target(images).detach(), logits)
    assert images.grad is None
    assert torch.is_grad_enabled()
    assert not any(value.requires_grad for value in results.values())


class Interrupted(Exception):
    """Raised in the middle of a forward."""


@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("function", [npc.joint_attribution_score, npc.complete_attribution,
                                      npc.knowledge_attribution])
def test_nothing_is_left_behind_after_an_error(function, call):
    model = helpers.small_vit(13)
    next(model.parameters()).requires_grad_(False)
    target = npc.TargetModel(model)
    images, labels = helpers.small_batch(2, 14)
    arguments = () if function is npc.knowledge_attribution else (random_neurons(target, 2),)
    expected = function(target, images, labels, *arguments)
    before = helpers.Snapshot(model)
    count = []

    def interrupt(*_):
        count.append(1)
        if len(count) > call:
            raise Interrupted

    handle = model.blocks[1].attn.register_forward_pre_hook(interrupt)
    with pytest.raises(Interrupted):
        function(target, images, labels, *arguments)
    handle.remove()
    before.check()
    assert torch.equal(function(target, images, labels, *arguments), expected)


@pytest.mark.parametrize("function", [
    npc.joint_attribution_score, npc.complete_attribution, npc.knowledge_attribution])
def test_the_callers_no_grad_does_not_matter(function):
    target = npc.TargetModel(helpers.small_vit(13))
    images, labels = helpers.small_batch(2, 14)
    arguments = () if function is npc.knowledge_attribution else (random_neurons(target, 2),)
    expected = function(target, images, labels, *arguments)
    with torch.no_grad():
        found = function(target, images, labels, *arguments)
    assert torch.equal(found, expected)
