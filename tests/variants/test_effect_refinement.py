"""Coordinate ascent on effects, against explicit hooks, a loop over every candidate, and every path
that there is."""

import itertools

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.interventions import (
    class_probabilities,
    edited_probabilities,
    scaled_probabilities,
)
from neuronpath_core.variants.conditional_gradient import QUESTIONS, conditional_gradient_paths
from neuronpath_core.variants.effect_refinement import refine_effects
from neuronpath_core.variants.sites import SiteModel
from tests import helpers
from tests.helpers import refused
from tests.variants.test_conditional_gradient import edited

AFTER = {"remove": 0.0, "enhance": 2.0, "keep": 1.0}


def some_paths(target, count, seed=0):
    return torch.randint(target.fewest_neurons, (count, target.n_blocks),
                         generator=torch.Generator().manual_seed(seed))


def some_values(target, images, seed=3):
    tokens = npc.read_activations(target, images).shape[2]
    return torch.randn(len(images), target.n_blocks, tokens, target.n_neurons,
                       generator=torch.Generator().manual_seed(seed), dtype=target.dtype)


def slow_effect(target, image, label, path, question, values):
    """Of one path of one image, by hooks alone."""
    start = torch.full((target.n_blocks, target.n_neurons), float(question != "keep"),
                       dtype=target.dtype)
    there = start.clone()
    there[range(target.n_blocks), path] = AFTER[question]
    change = edited(target, image, label, there, values) - edited(target, image, label, start,
                                                                  values)
    return (-change if question == "remove" else change).item()


def slow(target, image, label, path, question, values):
    """One sweep with every neuron a candidate."""
    path = list(path)
    for block in range(target.n_blocks):
        def effect(neuron, block=block):
            return slow_effect(target, image, label, [*path[:block], neuron, *path[block + 1:]],
                               question, values)
        path[block] = max([path[block], *range(target.n_neurons)], key=effect)
    return path, slow_effect(target, image, label, path, question, values)


@pytest.mark.each_value
@pytest.mark.parametrize("with_values", [False, True])
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_a_sweep_over_every_neuron_is_the_loop_that_it_stands_for(name, question, with_values):
    target, images, labels = helpers.network(name, 531)
    values = some_values(target, images) if with_values else None
    paths = some_paths(target, len(images))
    neurons, effects = refine_effects(target, images, labels, paths, target.n_neurons, 1, question,
                                      values)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        path, effect = slow(target, image, int(label), paths[row].tolist(), question,
                            values[row] if with_values else None)
        assert neurons[row].tolist() == path
        assert abs(effects[row].item() - effect) < 1e-12


@pytest.mark.parametrize("name", ["cls", "avg", "patch-of-class-token", "cls-layerscale-qknorm"])
def test_the_effect_is_that_of_the_edit_and_never_falls(name):
    target, images, labels = helpers.network(name, 532, batch=5)
    values, paths = some_values(target, images), some_paths(target, 5)
    given = paths.clone()
    for question in QUESTIONS:
        def effect(neurons, question=question):
            start = torch.full((5, target.n_blocks, target.n_neurons), float(question != "keep"),
                               dtype=target.dtype)
            one, other = (scaled_probabilities(target, images, factors, values=values).gather(
                1, labels[:, None])[:, 0]
                for factors in (start.scatter(2, neurons[..., None], AFTER[question]), start))
            return other - one if question == "remove" else one - other

        before, changed = effect(paths), False
        for proposals, sweeps in ((1, 1), (4, 1), (4, 3)):
            neurons, effects = refine_effects(target, images, labels, paths, proposals, sweeps,
                                              question, values)
            torch.testing.assert_close(effects, effect(neurons), rtol=0, atol=1e-12)
            assert (effects >= before - 1e-15).all()
            changed = changed or not torch.equal(neurons, paths)
        assert changed and torch.equal(paths, given)


def test_what_has_converged_stays_and_no_other_neuron_would_do_more():
    target, images, labels = helpers.network("cls", 533, batch=3)
    neurons, effects = refine_effects(target, images, labels, some_paths(target, 3), 16, 50)
    again, same = refine_effects(target, images, labels, neurons, 16, 2)
    assert torch.equal(again, neurons)
    torch.testing.assert_close(same, effects, rtol=0, atol=1e-12)
    clean = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]
    for block, neuron in itertools.product(range(target.n_blocks), range(target.n_neurons)):
        other = neurons.clone()
        other[:, block] = neuron
        lost = clean - edited_probabilities(target, images, other, "remove").gather(
            1, labels[:, None])[:, 0]
        assert (lost <= effects + 1e-12).all()


def test_against_every_path_there_is():
    """Of 16³ paths of 8 images: how much of the best one's effect is reached, and that a path which
    is as far from it as chance is found to be so."""
    target, images, labels = helpers.network("cls", 514, batch=8)
    every = torch.tensor(list(itertools.product(range(16), repeat=3)))
    clean = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]
    best = torch.stack([
        whole - edited_probabilities(target, image.expand(len(every), -1, -1, -1), every,
                                     "remove")[:, label].min()
        for image, label, whole in zip(images, labels, clean, strict=True)])
    start, before = conditional_gradient_paths(target, images, labels, passes=3)
    for given in (start[..., 0], some_paths(target, 8)):
        reached = refine_effects(target, images, labels, given)[1]
        assert (reached <= best + 1e-12).all()
        assert reached.sum() > 0.995 * best.sum()
    assert before.sum() < reached.sum()
    assert refine_effects(target, images, labels, some_paths(target, 8), 1,
                          1)[1].sum() < 0.995 * best.sum()


def test_images_one_by_one_and_single_precision():
    target, images, labels = helpers.network("avg", 534, batch=5)
    paths, values = some_paths(target, 5), some_values(target, images)
    neurons, effects = refine_effects(target, images, labels, paths, 4, baseline=values)
    for row in range(5):
        own, effect = refine_effects(target, images[row:row + 1], labels[row:row + 1],
                                     paths[row:row + 1], 4, baseline=values[row:row + 1])
        assert torch.equal(own[0], neurons[row])
        assert abs((effect[0] - effects[row]).item()) < 1e-12
    single = npc.TargetModel(target.model.float(), target.scope)
    found, reached = refine_effects(single, images.float(), labels, paths, 4,
                                    baseline=values.float())
    assert torch.equal(found, neurons) and reached.dtype == torch.float64
    torch.testing.assert_close(reached, effects, rtol=0, atol=1e-5)


def test_heads_and_halves_are_edited_as_units():
    model = helpers.small_vit(7)
    images, labels = helpers.small_batch(3)
    for sites in ("heads", "mixed", "halves", "attention"):
        target = SiteModel(model, sites=sites)
        neurons, effects = refine_effects(target, images, labels, some_paths(target, 3),
                                          target.fewest_neurons)
        clean = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]
        there = edited_probabilities(target, images, neurons,
                                     "remove").gather(1, labels[:, None])[:, 0]
        torch.testing.assert_close(effects, clean - there, rtol=0, atol=1e-12)


def test_no_graph_is_left_and_the_model_is_as_before():
    target, images, labels = helpers.network("cls", 535)
    before = helpers.Snapshot(target.model)
    neurons, effects = refine_effects(target, images, labels, some_paths(target, 2), 4)
    before.check()
    assert not effects.requires_grad and neurons.dtype == torch.int64


def test_what_does_not_fit_is_refused():
    target, images, labels = helpers.network("cls", 536)
    paths = some_paths(target, 2)

    def call(given=paths, **changed):
        return lambda: refine_effects(target, images, labels, given, **changed)

    refused(call(question="double"), "double", "accepted: remove, enhance, keep")
    refused(call(proposals=17), "proposals must be a whole number in 1..16")
    refused(call(sweeps=0), "sweeps must be a whole number in 1..1000")
    refused(call(torch.stack([paths, (paths + 1) % 16], -1)), "one neuron a block")
    refused(call(paths.float()), "int64")
    refused(call(baseline=torch.ones(2, 3)), "(2, 3)")
    target.model.blocks.register_forward_hook(lambda _m, _i, out: 1.5 * out + out**2)
    refused(call(), "not its blocks put together")
