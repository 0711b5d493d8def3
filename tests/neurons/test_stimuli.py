"""Images that drive neurons: closed forms, slow twins, planted failures, refusals."""

import pytest
import torch
from timm.layers import SwiGLU
from torch import nn

import neuronpath_core as npc
from neuronpath_core.neurons import objectives
from neuronpath_core.neurons.spectrum import image_statistics
from neuronpath_core.neurons.stimuli import stimulate
from neuronpath_core.target import TargetModel
from tests import helpers
from tests.neurons.test_spectrum import pictures

STATISTICS = image_statistics(pictures(8, 3, (8, 8)))
NEURONS = [[(0, 1)], [(2, 3), (1, 4)], {(1, 0): 2.0, (2, 5): -1.0}]


@pytest.fixture(scope="module")
def target():
    return npc.TargetModel(helpers.small_vit(3))


def made(target, goals=NEURONS, **settings):
    return stimulate(target, goals, statistics=STATISTICS, **{"steps": 4, **settings})


def slow_values(target, images, block, neuron, at, tokens):
    """J of one neuron by a hook on the module itself."""
    seen = []
    mlp = target.model.blocks[block].mlp
    hook = (mlp.fc1.register_forward_hook(lambda _, inputs, out: seen.append(out)) if at == "pre"
            else mlp.fc2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])))
    try:
        with torch.no_grad():
            target(images)
    finally:
        hook.remove()
    return seen[0][:, tokens, neuron].mean(1)


@pytest.mark.parametrize("at", ("pre", "post"))
@pytest.mark.parametrize("tokens, places", (("all", slice(None)), ("patch", slice(1, None)),
                                            ("cls", slice(0, 1))))
def test_values_are_those_of_hooks_on_the_model(target, at, tokens, places):
    images, _ = helpers.small_batch(6)
    goals = objectives.goals_of(target, NEURONS, at=at)
    found, alike = objectives.driven(target, images, goals, 2, at, tokens)
    expected = torch.stack([sum(slow_values(target, images[2 * number:2 * number + 2], *neuron, at,
                                            places) for neuron in objective) / len(objective)
                            for number, objective in enumerate(NEURONS)])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert not alike.any()


def test_what_makes_copies_differ_is_the_sum_over_patches_and_pairs(target):
    images, _ = helpers.small_batch(6)
    goals = objectives.goals_of(target, NEURONS)
    _, alike = objectives.driven(target, images, goals, 3 - 1, diversity=1.0)
    for number, objective in enumerate(NEURONS):
        own = images[2 * number:2 * number + 2]
        expected = 0.0
        for block, _ in objective:
            seen = []
            hook = target.model.blocks[block].mlp.fc1.register_forward_hook(
                lambda _, inputs, out, seen=seen: seen.append(out))
            with torch.no_grad():
                target(own)
            hook.remove()
            first, second = seen[0][0, 1:], seen[0][1, 1:]
            expected += sum(float(a @ b / a.norm() / b.norm()) for a, b in
                            zip(first, second, strict=True)) / len(objective)
        assert float(alike[number, 0].detach()) == pytest.approx(expected, abs=1e-10)
        assert float(alike[number, 1].detach()) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("weights, expected", (("equal", (0.5, 0.5)), ("score", (2 / 3, -1 / 3)),
                                               ("softmax", (0.9525741, 0.0474259))))
def test_weights(target, weights, expected):
    goals = objectives.goals_of(target, NEURONS[2:], weights)
    found = (float(goals.weights[1][0, 0]), float(goals.weights[2][0, 5]))
    assert found == pytest.approx(expected, abs=1e-7)
    assert sum(float(each.abs().sum()) for each in goals.weights.values()) == pytest.approx(1)


def linear_target(seed=0):
    """A network whose neuron 0 of block 0 is, before the activation, the dot product of w and the
    image: one patch, a norm that does nothing and an attention that adds nothing."""
    vit = helpers.small_vit(seed, patch_size=8, embed_dim=4, num_heads=2, depth=1,
                            class_token=False, global_pool="avg", fc_norm=False)
    block = vit.blocks[0]
    block.norm1, block.norm2 = nn.LayerNorm(4).double(), _Nothing(4).double()
    with torch.no_grad():
        block.attn.proj.weight.zero_()
        block.attn.proj.bias.zero_()
        vit.pos_embed.zero_()
        vit.patch_embed.proj.bias.zero_()
        block.mlp.fc1.weight.zero_()
        block.mlp.fc1.weight[:, 0] = 1
        block.mlp.fc1.bias.zero_()
    return vit.eval()


class _Nothing(nn.LayerNorm):
    """A norm that passes on what it gets."""

    def forward(self, value):
        return value


def test_a_linear_neuron_drives_every_pixel_to_the_end_of_its_weight(monkeypatch):
    vit = linear_target()
    weight = vit.patch_embed.proj.weight[0].detach()
    target = TargetModel(vit)
    monkeypatch.setattr(objectives, "is_plain", lambda block: True)
    statistics = STATISTICS
    flat = type(statistics)(statistics.low, statistics.high, torch.eye(3).double(),
                            statistics.magnitude, statistics.size)
    found = stimulate(target, [[(0, 0)]], steps=400, transforms=None, rate=0.1, statistics=flat)
    # a pixel of little weight follows its neighbours to the wrong end, as low frequencies move first,
    # and stays there: the sigmoid has no slope
    strong = weight.abs() > 0.25 * weight.abs().max()
    assert float((weight.abs() * strong).sum() / weight.abs().sum()) > 0.5
    assert bool((found.images[0].sign() == weight.sign())[strong].all())
    assert float(found.images[0][strong].abs().min()) > 0.9
    # the most that any image from -1 to 1 can have is the sum of the weights' sizes
    assert float(found.history[0, -1]) == pytest.approx(float(weight.abs().sum()), rel=0.04)
    # planted null: the image of another direction does not have these signs
    other = (found.images[0].sign() == weight.flip(-1).sign())[strong].double().mean()
    assert 0.3 < float(other) < 0.7


def test_the_objective_rises(target):
    found = made(target, steps=60, transforms=None, snapshots=[20])
    assert bool((found.history[:, -1] > found.history[:, 0] + 0.1).all())
    assert bool((found.history[:, 20] > found.history[:, 0]).all())
    assert found.images.shape == (3, 3, 8, 8) and found.copies.shape == (3, 1, 3, 8, 8)
    assert float(found.images.abs().max()) <= 1
    # the snapshot is what as many steps give
    torch.testing.assert_close(found.snapshots[20], made(target, steps=20, transforms=None).images)


def test_the_same_seed_makes_the_same_image_and_another_seed_another(target):
    state = torch.random.get_rng_state()
    first, second, third = (made(target, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.images, second.images)
    assert not torch.allclose(first.images, third.images, atol=1e-3)


@pytest.mark.parametrize("settings", ({}, {"parameterisation": "magnitude"},
                                      {"copies": 2, "diversity": 0.1}, {"at": "post"}))
def test_a_batch_of_one_is_as_alone(target, settings):
    together = made(target, **settings)
    for number, objective in enumerate(NEURONS):
        alone = made(target, [objective], **settings)
        torch.testing.assert_close(alone.copies[0], together.copies[number], rtol=0, atol=1e-9)


def test_little_memory_changes_nothing(target):
    from neuronpath_core.support.memory import copy_bytes, memory_limit

    with memory_limit(target, copy_bytes(target)):
        split = made(target)
    torch.testing.assert_close(split.images, made(target).images, rtol=0, atol=1e-9)


def test_diversity_pushes_copies_apart(target):
    together = made(target, NEURONS[:1], copies=2, steps=60)
    apart = made(target, NEURONS[:1], copies=2, steps=60, diversity=1.0)

    def alike(found):
        goals = objectives.goals_of(target, NEURONS[:1])
        return float(objectives.driven(target, found.copies[0], goals, 2, diversity=1.0)[1].mean().detach())

    assert alike(apart) < alike(together) - 0.1


def test_a_neuron_far_below_zero_is_driven_before_its_activation_and_not_after(target):
    vit = helpers.small_vit(3)
    with torch.no_grad():
        vit.blocks[1].mlp.fc1.bias[4] = -40
    low = TargetModel(vit)
    goals = [[(1, 4)], [(1, 5)]]
    before, after = (made(low, goals, at=at, steps=40, transforms=None) for at in ("pre", "post"))
    images = torch.cat([before.images, after.images, after.start[:, :]])
    values = slow_values(low, images, 1, 4, "pre", slice(None))
    start = float(values[4])
    assert float(values[0]) - start > 0.3
    assert abs(float(values[2]) - start) < 1e-6  # exp(-800) of a slope: nothing moved
    other = slow_values(low, images, 1, 5, "pre", slice(None))
    assert float(other[3]) > float(other[4]) + 0.1


def gated():
    vit = helpers.small_vit(2)
    vit.blocks[1].mlp = SwiGLU(16, 16, norm_layer=None).double()
    return TargetModel(helpers.fill(vit, 2))


def test_a_gated_ffn_is_driven_by_its_product_alone():
    target = gated()
    with pytest.raises(ValueError, match=r"gated: its neuron is the product act\(gate\) \* up"):
        made(target, [[(1, 2)]])
    found = made(target, [[(1, 2)]], at="post", steps=30, transforms=None)
    assert float(found.history[0, -1]) > float(found.history[0, 0])


def test_dead_neurons_are_named():
    vit = helpers.small_vit(2)
    with torch.no_grad():
        vit.blocks[2].mlp.fc1.weight[7] = 0
    with pytest.raises(ValueError, match="neuron 7 of block 2 is dead"):
        made(TargetModel(vit), [[(2, 6)], [(2, 7)]])


@pytest.mark.parametrize("settings, words", (
    ({"steps": 0}, "steps cannot be 0; accepted: a whole number of at least 1"),
    ({"steps": True}, "steps cannot be True"),
    ({"copies": 1.5}, "copies cannot be 1.5"),
    ({"seed": -1}, "seed cannot be -1"),
    ({"at": "fc1"}, "unknown at 'fc1'; accepted: pre, post"),
    ({"tokens": "patches"}, "unknown tokens 'patches'; accepted: all, patch, cls"),
    ({"weights": "rank"}, "unknown weights 'rank'; accepted: equal, score, softmax"),
    ({"weights": "score"}, "need scores; accepted: objectives that are scores by neuron"),
    ({"parameterisation": "pixels"}, "accepted: fourier, magnitude"),
    ({"transforms": "none"}, "transforms cannot be 'none'; accepted: 'robust', None"),
    ({"diversity": 0.1}, "accepted: at least two copies"),
    ({"diversity": -1, "copies": 2}, "diversity cannot be -1"),
    ({"rate": float("nan")}, "rate cannot be nan"),
    ({"snapshots": [9]}, "accepted: numbers of steps from 1 to 4"),
    ({"goals": []}, "objectives are []; accepted: a list"),
    ({"goals": [[]]}, "an objective is []; accepted"),
    ({"goals": [[3]]}, "a neuron is 3; accepted: \\(block, neuron\\)"),
    ({"goals": [[(3, 0)]]}, "there is no block 3; accepted: 0 to 2"),
    ({"goals": [[(0, 16)]]}, "block 0 has no neuron 16; accepted: 0 to 15"),
    ({"goals": [{(0, 1): float("inf")}], "weights": "softmax"}, "accepted: finite ones"),
    ({"goals": [{(0, 1): 0.0}], "weights": "score"}, "not all zero"),
))
def test_what_is_refused_in_one_line(target, settings, words):
    with pytest.raises(ValueError, match=words.replace("[", "\\[")) as error:
        made(target, **settings)
    assert "\n" not in str(error.value)


def test_statistics_of_other_images_are_refused(target):
    with pytest.raises(ValueError, match="statistics are 'dict'; accepted: image_statistics"):
        stimulate(target, NEURONS, statistics={})
    for channels, size in ((1, (8, 8)), (3, (12, 12))):
        with pytest.raises(ValueError, match=r"must be a tensor of shape \(batch, 3, 8, 8\)"):
            stimulate(target, NEURONS, statistics=image_statistics(pictures(4, channels, size)))


def test_models_without_a_class_token_and_hooked_ones_are_refused(target):
    pooled = TargetModel(helpers.small_vit(1, global_pool="avg", class_token=False))
    with pytest.raises(ValueError, match="no class token; accepted here: all, patch"):
        made(pooled, [[(0, 0)]], tokens="cls")
    hooked = helpers.small_vit(3)
    hooked.blocks[1].register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="block 1 is not timm's plain pre-norm Block, or is hooked"):
        made(TargetModel(hooked), [[(1, 0)]])
