"""Coordinate ascent and exhaustive search, against loops over the slow score."""

import contextlib
import functools
import itertools

import pytest
import torch
from torch import nn

import neuronpath_core as npc
from neuronpath_core.support.memory import copy_bytes
from neuronpath_core.variants import refine
from tests import helpers, twins

NETWORKS = {name: helpers.NETWORKS[name] for name in (
    "cls", "cls-layerscale-qknorm", "cls-embed-apart", "cls-of-averaging", "avg",
    "avg-without-class-token", "patch-of-class-token")}
close = functools.partial(torch.testing.assert_close, rtol=1e-10, atol=1e-13)
case = functools.partial(helpers.network, batch=3)


def random_paths(target, count, seed=0):
    return torch.randint(target.n_neurons, (count, target.n_blocks),
                         generator=torch.Generator().manual_seed(seed))


# --- coordinate ascent ---


@pytest.mark.each_value
@pytest.mark.parametrize("rule", ["gauss-legendre", "left"])
@pytest.mark.parametrize("start", ["found", "random"])
@pytest.mark.parametrize("name", NETWORKS)
def test_refinement_never_lowers_the_score(name, start, rule):
    target, images, labels = case(name, 601)
    paths = npc.find_paths(target, images,
                           labels).neurons if start == "found" else random_paths(target, 3)
    before = npc.joint_attribution_score(target, images, labels, paths, rule, 3)
    given = paths.clone()
    refined, score = npc.refine_paths(target, images, labels, paths, quadrature=rule, steps=3)
    assert refined.shape == paths.shape
    assert refined.dtype == torch.int64
    assert torch.equal(paths, given)
    assert (score >= before).all()
    close(score, npc.joint_attribution_score(target, images, labels, refined, rule, 3))
    changed = (refined != paths).any(1)
    assert torch.equal(score > before + 1e-15, changed)
    if start == "random":
        assert changed.any()


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_what_has_converged_stays(name):
    target, images, labels = case(name, 611)
    paths, score = npc.refine_paths(target, images, labels, random_paths(target, 3), sweeps=50)
    again, same = npc.refine_paths(target, images, labels, paths, sweeps=5)
    assert torch.equal(again, paths)
    close(same, score)
    # and with every neuron proposed no single change could help, which is what converging means
    every, best = npc.refine_paths(target, images, labels, paths, proposals=target.n_neurons,
                                   sweeps=50)
    assert (best >= score).all()
    for block in range(target.n_blocks):
        for neuron in range(target.n_neurons):
            other = every.clone()
            other[:, block] = neuron
            assert (npc.joint_attribution_score(target, images, labels, other, "gauss-legendre", 3)
                    <= best + 1e-13).all()


def test_an_image_that_is_done_is_left_alone(monkeypatch):
    """Every sweep is over those that the last one changed, and when there are none the others are
    not run."""
    target, images, labels = case("cls", 613, batch=4)
    paths, swept, propose = random_paths(target, 4), [], refine._propose

    def watched(target, images, labels, paths, block, *rest):
        if block == 0:
            swept.append(len(images))
        return propose(target, images, labels, paths, block, *rest)

    expected, moving = [], list(range(4))
    for _ in range(50):
        if not moving:
            break
        expected.append(len(moving))
        after = npc.refine_paths(target, images, labels, paths, sweeps=1)[0]
        moving, paths = [row for row in moving if not torch.equal(after[row], paths[row])], after
    assert len(set(expected)) > 1
    monkeypatch.setattr(refine, "_propose", watched)
    npc.refine_paths(target, images, labels, random_paths(target, 4), sweeps=50)
    assert swept == expected


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_an_equally_good_neuron_does_not_take_the_place_of_the_current_one(scope):
    """Neurons 2 and 4 are made twins of 3 and 5, the only ones that matter; each writes half."""
    model, _ = helpers.product_vit(scope)
    with torch.no_grad():
        for block, neuron in zip(model.blocks, (3, 5), strict=True):
            block.mlp.fc2.weight *= 0.5
            block.mlp.fc1.weight[neuron - 1] = block.mlp.fc1.weight[neuron]
            block.mlp.fc1.bias[neuron - 1] = block.mlp.fc1.bias[neuron]
            block.mlp.fc2.weight[:, neuron - 1] = block.mlp.fc2.weight[:, neuron]
    target, paths = npc.TargetModel(model), torch.tensor([[3, 5], [2, 4], [2, 5]])
    images, labels = torch.zeros(3, 3, 8, 8, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
    score = npc.joint_attribution_score(target, images, labels, paths, "gauss-legendre", 3)
    assert score.unique().numel() == 1
    refined, same = npc.refine_paths(target, images, labels, paths)
    assert torch.equal(refined, paths)
    assert torch.equal(same, score)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_sweeps_follow_one_another(name):
    """Three sweeps are three calls of one; each image stops for itself."""
    target, images, labels = case(name, 613)
    paths = random_paths(target, 3)
    together, score = npc.refine_paths(target, images, labels, paths, proposals=2, sweeps=3)
    for _ in range(3):
        paths, last = npc.refine_paths(target, images, labels, paths, proposals=2, sweeps=1)
    assert torch.equal(together, paths)
    close(score, last)


def ascend(model, scope, image, label, path, nodes, weights):
    """One sweep: at each block every neuron there is, scored by the definition; the path and its
    score."""
    path = list(path)
    best = twins.joint_attribution_score(model, scope, image, label, [[neuron] for neuron in path],
                                         nodes, weights)
    for block in range(len(path)):
        for neuron in range(model.blocks[0].mlp.fc2.in_features):
            tried = [*path[:block], neuron, *path[block + 1:]]
            score = twins.joint_attribution_score(model, scope, image, label,
                                                  [[other] for other in tried], nodes, weights)
            if score > best + 1e-14:
                path, best = tried, score
    return path, best


@pytest.mark.each_value
@pytest.mark.parametrize("start", ["found", "random"])
@pytest.mark.parametrize("name", NETWORKS)
def test_one_sweep_over_every_neuron_equals_its_twin(name, start):
    target, images, labels = case(name, 621, batch=2, mlp_ratio=0.375)
    paths = npc.find_paths(target, images,
                           labels).neurons if start == "found" else random_paths(target, 2, 1)
    found, scores = npc.refine_paths(target, images, labels, paths, steps=2,
                                     proposals=target.n_neurons, sweeps=1)
    for image, label, path, refined, score in zip(images, labels, paths.tolist(), found.tolist(),
                                                  scores.tolist(), strict=True):
        expected, value = ascend(target.model, target.scope, image, int(label), path,
                                 *twins.rule("gauss-legendre", 2))
        assert refined == expected
        assert abs(score - value) <= 1e-9 * max(1e-3, abs(value))


def proposed(model, scope, image, label, path, block, nodes, weights):
    """The linearised scores of a block's neurons: its own activations stay clean, the other blocks'
    path neurons are scaled."""
    clean = twins.clean_activations(model, scope, image)
    where = [other for other in range(len(path)) if other != block]
    slope = torch.zeros_like(clean[block])
    height = clean[block] + sum(clean[other][:, [path[other]]] for other in where)
    for node, weight in zip(nodes, weights, strict=True):
        leaves = {other: (node * clean[other][:, path[other]]).requires_grad_() for other in where}
        replaced = {block: clean[block].clone()[None].requires_grad_()}
        for other in where:
            replaced[other] = clean[other].clone()[None]
            replaced[other][0, :, path[other]] = leaves[other]
        objective = twins.forward(model, scope, image[None], replaced).softmax(-1)[0, label]
        own, *rest = torch.autograd.grad(objective, [replaced[block], *leaves.values()])
        slope += weight * (own[0] + sum(gradient[:, None] for gradient in rest))
    return (slope * height).sum(0)


@pytest.mark.parametrize("name", NETWORKS)
def test_proposals_equal_their_twin(name):
    """The linearised score that is documented ranks the candidates."""
    target, images, labels = case(name, 631, batch=2)
    paths = random_paths(target, 2, 2)
    for block in range(target.n_blocks):
        found = refine._propose(target, images, labels, paths, block, "left", 3, 5)
        for image, label, path, ranked in zip(images, labels, paths.tolist(), found.tolist(),
                                              strict=True):
            scores = proposed(target.model, target.scope, image, int(label), path, block,
                              *twins.rule("left", 3))
            # of a block that reaches nothing (the last one's patches, under a class token) all
            # scores are as good
            if scores.std() > 1e-12:
                assert ranked == twins.best_first(scores, 5)


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_network_of_one_block(pool):
    """No other block has a neuron on the path; the best single neuron is found at once."""
    target = npc.TargetModel(helpers.small_vit(635, depth=1, global_pool=pool))
    images, labels = helpers.small_batch(3, 636)
    paths, score = npc.refine_paths(target, images, labels, random_paths(target, 3), proposals=16,
                                    sweeps=1)
    best, value = npc.exhaustive_paths(target, images, labels)
    assert torch.equal(paths, best)
    close(score, value)


def test_a_batch_gives_the_answers_of_its_images():
    target, images, labels = case("cls", 641)
    paths = random_paths(target, 3)
    together, score = npc.refine_paths(target, images, labels, paths)
    for i in (2, 0, 1):
        alone, value = npc.refine_paths(target, images[i:i + 1], labels[i:i + 1], paths[i:i + 1])
        assert torch.equal(alone[0], together[i])
        close(value[0], score[i])


@pytest.mark.each_value
@pytest.mark.parametrize("budget", [1, 3, 7])
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_a_budget_does_not_change_the_answers_and_bounds_the_copies(name, budget, monkeypatch):
    target, images, labels = case(name, 641)
    paths, copies = random_paths(target, 3), helpers.watch_copies(monkeypatch, target.model, 1)
    whole, score = npc.refine_paths(target, images, labels, paths)
    assert max(copies) > 7
    copies.clear()
    found, value = npc.refine_paths(target, images, labels, paths,
                                    memory_budget=budget * copy_bytes(target))
    assert max(copies) <= budget
    assert torch.equal(found, whole)
    torch.testing.assert_close(value, score, rtol=1e-12, atol=1e-14)


def test_the_callers_no_grad_does_not_matter_and_nothing_is_left_behind():
    target, images, labels = case("cls", 641)
    paths, before = random_paths(target, 3), helpers.Snapshot(target.model)
    expected = npc.refine_paths(target, images, labels, paths)
    with torch.no_grad():
        found = npc.refine_paths(target, images.clone().requires_grad_(), labels, paths)
        assert not torch.is_grad_enabled()
    before.check()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad


def test_refinement_in_other_precisions():
    """Scores in single precision, whatever less the network has."""
    images, labels = helpers.small_batch(2, 642)
    for dtype in (torch.float32, torch.bfloat16):
        target = npc.TargetModel(helpers.small_vit(641).to(dtype))
        paths, score = npc.refine_paths(target, images.to(dtype), labels, random_paths(target, 2))
        assert score.dtype == torch.float32
        assert (score >= npc.joint_attribution_score(target, images.to(dtype), labels,
                                                     random_paths(target, 2), "gauss-legendre",
                                                     3)).all()


# --- every path there is ---

TOYS = {
    "two blocks": ({"depth": 2, "mlp_ratio": 0.375}, "cls"),
    "three blocks": ({"depth": 3, "mlp_ratio": 0.25}, "cls"),
    "layerscale": ({"depth": 2, "mlp_ratio": 0.3125, "init_values": 0.5, "qk_norm": True}, "cls"),
    "relu": ({"depth": 2, "mlp_ratio": 0.375, "act_layer": nn.ReLU}, "cls"),
    "averaging": ({"depth": 2, "mlp_ratio": 0.375, "global_pool": "avg"}, "patch"),
    "three averaging": ({"depth": 3, "mlp_ratio": 0.25, "global_pool": "avg", "class_token": False},
                        "patch"),
}


def toy(name, seed, batch=2):
    arguments, scope = TOYS[name]
    return npc.TargetModel(helpers.small_vit(seed, **arguments),
                           scope=scope), *helpers.small_batch(batch, seed + 1)


@pytest.mark.parametrize("name", TOYS)
def test_exhaustive_search_equals_a_loop_over_every_path(name):
    target, images, labels = toy(name, 651)
    neurons, scores = npc.exhaustive_paths(target, images, labels, "left", 2)
    assert neurons.shape == (2, target.n_blocks)
    rule = twins.rule("left", 2)
    for image, label, path, score in zip(images, labels, neurons.tolist(), scores.tolist(),
                                         strict=True):
        every = list(itertools.product(range(target.n_neurons), repeat=target.n_blocks))
        values = [twins.joint_attribution_score(target.model, target.scope, image, int(label),
                                                [[neuron] for neuron in each], *rule)
                  for each in every]
        assert tuple(path) == every[twins.best_first(values, 1)[0]]
        assert abs(score - max(values)) <= 1e-9 * max(1e-3, abs(score))


@pytest.mark.each_value
@pytest.mark.parametrize("seed", [661, 662, 663])
@pytest.mark.parametrize("name", TOYS)
def test_nothing_beats_exhaustive_search_nor_joint_search_beam(name, seed):
    target, images, labels = toy(name, seed, batch=3)
    rule = {"context": "full", "quadrature": "gauss-legendre", "steps": 3}
    best = npc.exhaustive_paths(target, images, labels)[1]
    joint = npc.find_paths(target, images, labels, **rule)
    beam = npc.find_paths(target, images, labels, search="beam", width=3, **rule)
    refined = npc.refine_paths(target, images, labels, joint.neurons)[1]
    slack = 1e-12
    assert (beam.score >= joint.score - slack).all()
    assert (refined >= joint.score - slack).all()
    for score in (joint.score, beam.score, refined):
        assert (score <= best + slack).all()


def test_greedy_search_does_miss_the_best_path_somewhere():
    """Otherwise the inequalities above would hold trivially."""
    gaps = []
    for seed in (661, 662, 663):
        target, images, labels = toy("three blocks", seed, batch=3)
        gaps.append(npc.exhaustive_paths(target, images, labels)[1]
                    - npc.find_paths(target, images, labels, context="full", steps=3).score)
    assert (torch.cat(gaps) > 1e-6).any()


# --- bad input ---


def test_exhaustive_search_refuses_a_large_network(monkeypatch):
    images, labels = helpers.small_batch(1, 672)
    deep = npc.TargetModel(helpers.small_vit(671, depth=6))
    with pytest.raises(ValueError, match=r"16,777,216 paths; accepted: .*1,000,000") as caught:
        npc.exhaustive_paths(deep, images, labels)
    assert "\n" not in str(caught.value)
    target = npc.TargetModel(helpers.small_vit(671, depth=2))
    # the bound itself is still accepted
    for most, refused in ((16 ** 2, False), (16 ** 2 - 1, True)):
        monkeypatch.setattr(refine, "MOST_PATHS", most)
        with pytest.raises(ValueError, match="256 paths") if refused else contextlib.nullcontext():
            npc.exhaustive_paths(target, images, labels)


TARGET, IMAGES, LABELS = case("cls", 671)
PATHS = random_paths(TARGET, 3)


@pytest.mark.parametrize(("words", "settings"), [
    (r"proposals must be a whole number in 1\.\.16", {"proposals": 0}),
    (r"proposals must be a whole number in 1\.\.16", {"proposals": 17}),
    (r"proposals must be a whole number in 1\.\.16", {"proposals": True}),
    (r"proposals must be a whole number in 1\.\.16", {"proposals": 2.0}),
    (r"sweeps must be a whole number in 1\.\.1000", {"sweeps": 0}),
    (r"sweeps must be a whole number in 1\.\.1000", {"sweeps": "3"}),
    (r"sweeps must be a whole number in 1\.\.1000", {"sweeps": None}),
    (r"unknown quadrature 'simpson'; accepted", {"quadrature": "simpson"}),
    (r"steps must be a whole number of at least 1", {"steps": 0}),
    (r"steps must be a whole number of at least 1", {"steps": True}),
    (r"one neuron a block, got 2", {"neurons": torch.stack([PATHS, (PATHS + 1) % 16], -1)}),
    (r"neuron indices must lie in 0\.\.15", {"neurons": PATHS + 16}),
    (r"neurons must be an int64 tensor", {"neurons": PATHS.float()}),
    (r"paths of 2 images, the batch has 3", {"neurons": PATHS[:2]}),
    (r"labels must lie in 0\.\.4", {"labels": LABELS + 5}),
    (r"images hold NaN", {"images": IMAGES * torch.nan}),
    (r"memory_budget must be", {"memory_budget": "much"}),
])
def test_bad_arguments_of_refinement(words, settings):
    arguments = {"images": IMAGES, "labels": LABELS, "neurons": PATHS} | settings
    with pytest.raises(ValueError, match=words) as caught:
        npc.refine_paths(TARGET, **arguments)
    assert "\n" not in str(caught.value)


def test_one_neuron_a_block_may_be_given_with_its_rank():
    for one, other in zip(npc.refine_paths(TARGET, IMAGES, LABELS, PATHS[..., None]),
                          npc.refine_paths(TARGET, IMAGES, LABELS, PATHS), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("words", "settings"), [
    (r"unknown quadrature 'simpson'; accepted", {"quadrature": "simpson"}),
    (r"steps must be a whole number of at least 1", {"steps": 0}),
    (r"labels must lie in 0\.\.4", {"labels": LABELS[:2] + 5}),
    (r"images must be a tensor of shape", {"images": torch.zeros(2, 3, 8, 9, dtype=torch.float64)}),
])
def test_bad_arguments_of_exhaustive_search(words, settings):
    target, images, labels = toy("two blocks", 651)
    with pytest.raises(ValueError, match=words) as caught:
        npc.exhaustive_paths(target, **{"images": images, "labels": labels} | settings)
    assert "\n" not in str(caught.value)
