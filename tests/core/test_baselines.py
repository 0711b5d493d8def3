"""Activation, Influence Pattern (as published and Eq. 9) and random paths."""

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import baselines, random_paths
from tests import helpers, twins

RULES = ("left", "right", "midpoint", "gauss-legendre")


def find(method, name, seed, rule="left", steps=3, top=None, batch=3):
    arguments, scope = helpers.NETWORKS[name]
    model = helpers.small_vit(seed, **arguments)
    images, labels = helpers.small_batch(batch, seed + 1)
    target = npc.TargetModel(model, scope=scope)
    paths = npc.find_paths(target, images, labels, method=method, quadrature=rule, steps=steps,
                           top=top)
    return model, scope, images, labels, paths


def as_lists(neurons, top):
    return [[[neuron] for neuron in path] if top is None else path for path in neurons.tolist()]


@pytest.mark.each_value
@pytest.mark.parametrize("top", [None, 3])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_activation_is_the_largest_clean_activation(name, top):
    model, scope, images, _, paths = find("activation", name, 71, top=top)
    for image, found in zip(images, as_lists(paths.neurons, top), strict=True):
        assert found == twins.activation_path(model, scope, image, top or 1)


@pytest.mark.each_value
@pytest.mark.parametrize("top", [None, 3])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_influence_pattern_as_published(name, top):
    rule = RULES[list(helpers.NETWORKS).index(name) % 4]
    model, scope, images, labels, paths = find("influence_pattern", name, 73, rule, top=top)
    for number, (image, label, found) in enumerate(zip(images, labels, as_lists(paths.neurons, top),
                                                       strict=True)):
        expected = twins.influence_pattern_path(model, scope, image, int(label),
                                                *twins.rule(rule, 3), top or 1)
        # where the head reads other tokens than the scope's, the last block has no gradient and all
        # its neurons are as good
        compared = slice(None, -1) if name in ("cls-of-averaging",
                                               "patch-of-class-token") else slice(None)
        assert found[compared] == expected[compared], number


@pytest.mark.each_value
@pytest.mark.parametrize("top", [None, 3])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_influence_pattern_of_equation_9(name, top):
    rule = RULES[(list(helpers.NETWORKS).index(name) + 1) % 4]
    model, scope, images, _, paths = find("influence_pattern_eq9", name, 75, rule, top=top, batch=2)
    for image, found in zip(images, as_lists(paths.neurons, top), strict=True):
        assert found == twins.influence_pattern_eq9_path(model, scope, image, *twins.rule(rule, 3),
                                                         top or 1)


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_gradient_times_activation(name):
    model, scope, images, labels, paths = find("gradient_activation", name, 79, top=3)
    values = baselines.gradient_activation(npc.TargetModel(model, scope=scope), images, labels)
    for image, label, value, found in zip(images, labels, values, paths.neurons, strict=True):
        torch.testing.assert_close(value,
                                   twins.gradient_activation(model, scope, image, int(label)),
                                   rtol=1e-10, atol=1e-14)
        assert torch.equal(found, value.argsort(descending=True, stable=True)[:, :3])


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_conductance(name):
    rule = RULES[list(helpers.NETWORKS).index(name) % 4]
    model, scope, images, labels, paths = find("conductance", name, 81, rule, top=3)
    target = npc.TargetModel(model, scope=scope)
    values = baselines.conductance(target, images, labels, *npc.quadrature_rule(rule, 3))
    for image, label, value, found in zip(images, labels, values, paths.neurons, strict=True):
        expected = twins.conductance(model, scope, image, int(label), *twins.rule(rule, 3))
        # central differences of width 1e-5: an error of 1e-10 relative to the largest entries,
        # rounding 1e-11
        torch.testing.assert_close(value, expected, rtol=1e-6,
                                   atol=1e-8 * float(expected.abs().max()))
        assert torch.equal(found, value.argsort(descending=True, stable=True)[:, :3])


def test_conductance_of_all_tokens_adds_up_to_the_change_of_f():
    """Completeness: in a block without attention everything that reaches F from the input passes
    the tokens' neurons or the residual stream; with the residual stream cut the neurons carry all
    of it."""
    model = helpers.blank_vit("patch", depth=1)
    block, generator = model.blocks[0], torch.Generator().manual_seed(5)
    for weight in (model.patch_embed.proj.weight, block.mlp.fc1.weight, block.mlp.fc2.weight,
                   model.head.weight):
        weight.data = torch.randn(weight.shape, generator=generator,
                                  dtype=weight.dtype) / weight[0].numel() ** 0.5
    # the head sees only directions that the embedding does not reach
    half = model.embed_dim // 2
    model.patch_embed.proj.weight.data[half:] = 0
    model.head.weight.data[:, :half] = 0
    target, (images, labels) = npc.TargetModel(model, scope="patch"), helpers.small_batch(3, 83)
    values = baselines.conductance(target, images, labels,
                                   *npc.quadrature_rule("gauss-legendre", 24))
    with torch.no_grad():
        ends = [target(scale * images).softmax(-1).gather(1, labels[:, None])[:, 0]
                for scale in (0.0, 1.0)]
    torch.testing.assert_close(values.sum((1, 2)), ends[1] - ends[0], rtol=1e-6, atol=1e-9)
    assert (ends[1] - ends[0]).abs().min() > 1e-3


@pytest.mark.parametrize("top", [1, 3])
def test_matched_random_neurons_are_near_in_activation_and_not_the_path(top):
    target = npc.TargetModel(helpers.small_vit(85, mlp_ratio=4.0))
    (images, labels) = helpers.small_batch(4, 86)
    path = npc.find_paths(target, images, labels, top=top).neurons
    drawn = npc.find_paths(target, images, labels, "matched_random", top=top).neurons
    assert torch.equal(drawn, random_paths.matched_random_paths(target, images, path))
    places = npc.read_activations(target, images).sum(2).argsort(dim=-1, descending=True,
                                                                 stable=True).argsort(-1)
    distance = (places.gather(2, drawn) - places.gather(2, path)).abs()
    assert distance.max() <= 3 + top  # 64 neurons: within 64/20 places, or the nearest that is free
    assert not (drawn[..., :, None] == path[..., None, :]).any()
    others = random_paths.matched_random_paths(target, images, path, seed=1)
    assert not torch.equal(others, drawn)
    assert torch.equal(npc.find_paths(target, images, labels, "matched_random", top=top,
                                      seed=1).neurons, others)
    alone = torch.cat([random_paths.matched_random_paths(target, images[[row]], path[[row]])
                       for row in range(4)])
    assert torch.equal(alone, drawn)


def test_matched_random_draws_every_neuron_near_enough_alike():
    target = npc.TargetModel(helpers.small_vit(87, mlp_ratio=4.0, depth=1))
    image = helpers.small_batch(1, 88)[0]
    order = npc.read_activations(target, image)[0, 0, 0].argsort(descending=True, stable=True)
    path = order[None, [30]]
    drawn = torch.cat([random_paths.matched_random_paths(target, image, path, seed)[..., 0]
                       for seed in range(300)])[:, 0]
    counts = torch.bincount(order.argsort()[drawn], minlength=64)
    assert counts.nonzero()[:, 0].tolist() == [27, 28, 29, 31, 32, 33]
    assert counts[counts > 0].min() > 25  # 50 each on average, standard deviation 6.5


@pytest.mark.parametrize("top", [1, 2])
def test_matched_random_neurons_are_near_in_what_is_matched(top):
    target = npc.TargetModel(helpers.small_vit(87, mlp_ratio=4.0))
    images = helpers.small_batch(3, 88)[0]
    by = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, 64)))
    order = by.argsort(2, descending=True)
    path = order[:, :, 20:20 + top]
    drawn = random_paths.matched_random_paths(target, images, path, 1, by)
    places = order.argsort(2).gather(2, drawn)
    assert ((places - 20).abs() <= 3 + top).all() and not torch.isin(places, torch.arange(
        20, 20 + top)).any()
    active = npc.read_activations(target, images).sum(2)
    assert torch.equal(random_paths.matched_random_paths(target, images, path, 1, active),
                       random_paths.matched_random_paths(target, images, path, 1))
    with pytest.raises(ValueError, match=r"accepted: \(3, 3, 64\)"):
        random_paths.matched_random_paths(target, images, path, 1, by[:, :2])


@pytest.mark.parametrize("method", [method for method in npc.METHODS if method != "neuron_path"])
def test_the_score_is_the_joint_attribution_score_of_the_path(method):
    model, scope, images, labels, paths = find(method, "avg", 77, "gauss-legendre", 2)
    for image, label, path, score in zip(images, labels, as_lists(paths.neurons, None),
                                         paths.score.tolist(), strict=True):
        expected = twins.joint_attribution_score(model, scope, image, int(label), path,
                                                 *twins.rule("gauss-legendre", 2))
        assert abs(score - expected) <= 1e-9 * max(1e-3, abs(expected))


@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("method", ["activation", "influence_pattern", "influence_pattern_eq9"])
def test_the_planted_path_is_found(method, scope):
    target = npc.TargetModel(helpers.planted_vit(scope))
    images, labels = helpers.small_batch(2, 6)[0].abs(), torch.full((2,), helpers.PLANTED_LABEL)
    neurons = npc.find_paths(target, images, labels, method=method, steps=4).neurons
    assert neurons.tolist() == [list(helpers.PLANTED)] * 2


def test_activation_and_equation_9_do_not_look_at_the_label():
    target = npc.TargetModel(helpers.small_vit(71))
    images, labels = helpers.small_batch(3, 72)
    for method in ("activation", "influence_pattern_eq9", "random", "influence_pattern"):
        first, second = (npc.find_paths(target, images, label, method=method, steps=3)
                         for label in (labels, (labels + 1) % 5))
        assert torch.equal(first.neurons, second.neurons) == (method != "influence_pattern")
        assert not torch.equal(first.score, second.score)


def test_activation_is_signed():
    """The largest value is chosen, not the largest magnitude."""
    model = helpers.blank_vit("cls")
    with torch.no_grad():
        for block in model.blocks:
            block.mlp.act = torch.nn.Identity()
            block.mlp.fc1.bias.copy_(torch.linspace(-9, 1, 16))
    images = torch.ones(1, 3, 8, 8, dtype=torch.float64)
    paths = npc.find_paths(npc.TargetModel(model), images, torch.tensor([0]), method="activation",
                           steps=1)
    assert paths.neurons.tolist() == [[15, 15, 15]]


def test_equation_9_in_a_deep_network_of_small_factors():
    """A product of 24 factors of about 1e-6, as in a network whose LayerScale is still small;
    float64 can hold it."""
    model = helpers.small_vit(79, depth=24, init_values=1e-6)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gamma" in name:
                parameter.copy_(1e-6 * parameter)
    images, labels = helpers.small_batch(1, 80)
    images = images.float().double()
    double = npc.find_paths(npc.TargetModel(model), images, labels, method="influence_pattern_eq9",
                            steps=2)
    single = npc.find_paths(npc.TargetModel(model.float()), images.float(), labels,
                            method="influence_pattern_eq9", steps=2)
    assert torch.equal(single.neurons, double.neurons)


@pytest.mark.parametrize("top", [1, 3])
def test_equal_values_go_to_the_lowest_index(top):
    """As argmax does; neurons that write nothing all have a gradient of zero."""
    target = npc.TargetModel(helpers.blank_vit("cls"))
    images, labels = helpers.small_batch(2, 80)
    for method in ("activation", "influence_pattern_eq9"):
        neurons = npc.find_paths(target, images, labels, method=method, steps=2, top=top).neurons
        assert torch.equal(neurons, torch.arange(top).expand(2, 3, -1))
    for method in ("influence_pattern", "neuron_path"):
        with pytest.warns(RuntimeWarning, match="2 in all layers in which every neuron scores"):
            neurons = npc.find_paths(target, images, labels, method=method, steps=2, top=top).neurons
        assert torch.equal(neurons, torch.arange(top).expand(2, 3, -1))


# --- random ---


def test_random_depends_on_seed_and_image_only():
    target = npc.TargetModel(helpers.small_vit(71))
    images, labels = helpers.small_batch(4, 72)

    def draw(pictures, seed):
        return npc.find_paths(target, pictures, labels, method="random", seed=seed, steps=1).neurons

    first = draw(images, 3)
    torch.manual_seed(99)
    assert torch.equal(draw(images, 3), first)
    assert torch.equal(draw(images.flip(0), 3), first.flip(0))
    assert not torch.equal(draw(images, 4), first)
    assert len({tuple(path) for path in first.tolist()}) == 4


def test_random_leaves_global_generators_alone():
    target = npc.TargetModel(helpers.small_vit(71))
    images, labels = helpers.small_batch(2, 72)
    state = torch.get_rng_state()
    npc.find_paths(target, images, labels, method="random", steps=1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("top", [1, 4])
def test_random_is_uniform_and_without_replacement(top):
    target = npc.TargetModel(helpers.small_vit(71))
    images, _ = helpers.small_batch(400, 72)
    neurons = random_paths.random_paths(target, images, top, seed=5)
    assert neurons.shape == (400, 3, top)
    assert all(len(set(block)) == top for path in neurons.tolist() for block in path)
    counts = torch.bincount(neurons.flatten(), minlength=16).double()
    expected = neurons.numel() / 16
    # chi-squared with 15 degrees of freedom, p = 0.001; the draw is seeded
    assert float(((counts - expected) ** 2 / expected).sum()) < 37.7
    # blocks are drawn apart from one another
    assert 0.01 < float((neurons[:, 0, 0] == neurons[:, 1, 0]).double().mean()) < 0.15


@pytest.mark.parametrize("method", ["gradient_activation", "influence_pattern", "conductance"])
def test_single_precision_keeps_the_gradient_of_a_probability_that_is_almost_one(method):
    """There it is that of 1 - F, of which the softmax in single precision keeps one digit in this
    case."""
    model, (images, labels) = helpers.small_vit(95), helpers.small_batch(4, 96)
    target = npc.TargetModel(model)
    with torch.no_grad():
        labels = target(images).argmax(1)
        model.head.weight *= 3
        model.head.bias[labels.mode().values] += 15
    rows = (labels == labels.mode().values).nonzero()[:, 0]
    images, labels = images[rows], labels[rows]
    probability = target(images).softmax(-1).gather(1, labels[:, None])
    assert ((1 - probability) < 1e-5).all() and ((1 - probability) > 1e-9).any()

    def found(each):
        # at the image itself
        rule = () if method == "gradient_activation" else npc.quadrature.placed_rule(each, "right",
                                                                                      1)
        return getattr(baselines, method)(each, images.to(each.dtype), labels, *rule).double()
    double, single = found(target), found(target.in_dtype(torch.float32))
    assert ((double - single).abs().amax((1, 2)) / double.abs().amax((1, 2))).max() < 1e-4
