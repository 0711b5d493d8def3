"""Paths by the gradient of an edit, against the model run with explicit hooks and finite steps, and
against every path that there is."""

import itertools
from collections import Counter

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.interventions import (
    class_probabilities,
    edited_probabilities,
    scaled_probabilities,
)
from neuronpath_core.variants import conditional_gradient as module
from neuronpath_core.variants.conditional_gradient import (
    QUESTIONS,
    conditional_gradient_by_passes,
    conditional_gradient_paths,
)
from neuronpath_core.variants.sites import SiteModel
from tests import helpers
from tests.helpers import refused


def edited(target, image, label, factors, values):
    """F of one image with every neuron at v + f (w - v), by plain hooks on the model."""
    handles = []
    for block, part in enumerate(target.model.blocks):
        def hook(_module, inputs, block=block):
            value = inputs[0].clone()
            own = value[:, target.tokens]
            held = values[block] if values is not None else torch.zeros_like(own[0])
            value[:, target.tokens] = held + factors[block] * (own - held)
            return (value,)
        handles.append(part.mlp.fc2.register_forward_pre_hook(hook))
    try:
        return target.model(image[None]).double().softmax(-1)[0, label]
    finally:
        for handle in handles:
            handle.remove()


def next_path(total, tried):
    """The path with the largest sum of all that are the best one or differ from it in one block and
    were not tried; of those that differ, by the block's second best alone."""
    best = total.argmax(1).tolist()
    if best not in tried:
        return best
    others = []
    for block, row in enumerate(total):
        second = row.clone()
        second[best[block]] = -torch.inf
        other = list(best)
        other[block] = int(second.argmax())
        if other not in tried:
            others.append(other)
    return max(others, key=lambda path: sum(total[block, neuron].item() for block, neuron
                                            in enumerate(path)), default=best)


def slow(target, image, label, passes, question, values):
    """The method as its docstring says it."""
    layers, neurons = target.n_blocks, target.n_neurons
    start = torch.full((layers, neurons), 0.0 if question == "keep" else 1.0, dtype=target.dtype)
    after = {"remove": 0.0, "enhance": 2.0, "keep": 1.0}[question]

    def at(path):
        factors = start.clone()
        for block, neuron in enumerate(path):
            factors[block, neuron] = after
        return factors

    def slopes(factors):
        factors = factors.clone().requires_grad_()
        return torch.autograd.grad(edited(target, image, label, factors, values), factors)[0]

    def effect(path):
        change = edited(target, image, label, at(path), values) - edited(target, image, label, start,
                                                                         values)
        return (-change if question == "remove" else change).item()

    tried = []

    def follow(paths, total, gradients):
        """Go on with one start's paths, by so many gradients at them."""
        for _ in range(gradients):
            total += len(paths) * slopes(at(paths[-1]))
            tried.append(next_path(total, tried))
            paths.append(tried[-1])

    tried.append(slopes(start).argmax(1).tolist())
    first, total = [tried[0]], torch.zeros_like(start)
    follow(first, total, min(passes, 3) - 1)
    if passes > 3:
        quarter = slopes(start + (after - start) / 4)
        tried.append(next_path(quarter, tried))
        second, of_second = [tried[-1]], torch.zeros_like(start)
        follow(second, of_second, min(passes, 6) - 4)
        if passes > 6:
            # of equal ones the first
            follow(*max([(first, total), (second, of_second)],
                        key=lambda each: max(map(effect, each[0]))), passes - 6)
    best = max(tried, key=effect)  # of equal ones the first
    return best, effect(best)


@pytest.mark.each_value
@pytest.mark.parametrize("with_values", [False, True])
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_it_is_what_its_equation_says(name, question, with_values):
    target, images, labels = helpers.network(name, 511)
    tokens = npc.read_activations(target, images).shape[2]
    values = torch.randn(len(images), target.n_blocks, tokens, target.n_neurons,
                         generator=torch.Generator().manual_seed(3), dtype=target.dtype)
    for passes in (1, 3, 4, 6, 9):
        neurons, effects = conditional_gradient_paths(
            target, images, labels, passes=passes, question=question,
            baseline=values if with_values else None)
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            path, effect = slow(target, image, int(label), passes, question,
                                values[row] if with_values else None)
            assert neurons[row, :, 0].tolist() == path
            assert abs(effects[row].item() - effect) < 1e-12


@pytest.mark.parametrize("passes", [1, 4])
def test_one_pass_is_gradient_times_activation(passes):
    target, images, labels = helpers.network("cls", 512, batch=6)
    own = conditional_gradient_paths(target, images, labels, passes=passes)[0][..., 0]
    first = npc.find_paths(target, images, labels, "gradient_activation").neurons
    assert torch.equal(own, first) == (passes == 1)


def test_the_effect_is_that_of_the_edit_and_never_falls_with_passes():
    target, images, labels = helpers.network("cls", 513, batch=6)
    clean = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]
    empty = scaled_probabilities(target, images, torch.zeros(
        6, target.n_blocks, target.n_neurons, dtype=target.dtype)).gather(1, labels[:, None])[:, 0]
    for question in QUESTIONS:
        before = torch.full((6,), -torch.inf, dtype=target.dtype)
        for passes in (1, 2, 3, 4, 6, 7, 9):
            neurons, effects = conditional_gradient_paths(target, images, labels, passes=passes,
                                                          question=question)
            factors = torch.full((6, target.n_blocks, target.n_neurons), 0.0 if question == "keep"
                                 else 1.0, dtype=target.dtype)
            factors.scatter_(2, neurons, {"remove": 0.0, "enhance": 2.0, "keep": 1.0}[question])
            there = scaled_probabilities(target, images, factors).gather(1, labels[:, None])[:, 0]
            expected = {"remove": clean - there, "enhance": there - clean,
                        "keep": there - empty}[question]
            torch.testing.assert_close(effects, expected, rtol=0, atol=1e-12)
            assert (effects >= before).all()
            before = effects


def test_several_numbers_of_passes_are_those_one_by_one():
    target, images, labels = helpers.network("cls", 521, batch=4)
    for question in QUESTIONS:
        neurons, effects = conditional_gradient_by_passes(target, images, labels, [6, 1, 3],
                                                          question=question)
        for place, passes in enumerate((6, 1, 3)):
            own, effect = conditional_gradient_paths(target, images, labels, passes=passes,
                                                     question=question)
            assert torch.equal(neurons[:, place], own)
            torch.testing.assert_close(effects[:, place], effect, rtol=0, atol=1e-12)
    for wrong in ([], 3, "3"):
        refused(lambda wrong=wrong: conditional_gradient_by_passes(target, images, labels, wrong),
                "accepted: at least one number")


def test_no_path_is_tried_twice_while_others_are_left(monkeypatch):
    """Counted from the factors that the model is run with."""
    target, images, labels = helpers.network("cls", 522, batch=1, depth=12)
    seen, scaled = [], module.scaled

    def watched(target, factors, **rest):
        seen.append(tuple((factors[0] == 0).nonzero()[:, 1].tolist()))
        return scaled(target, factors, **rest)

    monkeypatch.setattr(module, "scaled", watched)
    conditional_gradient_paths(target, images, labels, passes=12)
    # clean and with a quarter of every edit; the better start's last path is run again, for its
    # gradient; every other path once
    counted = Counter(seen)
    assert seen[0] == () and counted.pop(()) == 2
    assert sorted(counted.values()) == [1] * 11 + [2] and len(seen) == 15


def test_against_every_path_there_is():
    """Of 16³ paths of 8 images: how much of the best one's effect is reached."""
    target, images, labels = helpers.network("cls", 514, batch=8)
    every = torch.tensor(list(itertools.product(range(16), repeat=3)))
    reached = {passes: conditional_gradient_paths(target, images, labels, passes=passes)[1]
               for passes in (1, 3, 10)}
    clean = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]
    best = []
    for image, label, whole in zip(images, labels, clean, strict=True):
        found = edited_probabilities(target, image.expand(len(every), -1, -1, -1), every,
                                         "remove")[:, label]
        best.append(whole - found.min())
    share = {passes: (found.sum() / torch.stack(best).sum()).item()
             for passes, found in reached.items()}
    assert share[1] <= share[3] <= share[10] <= 1 + 1e-12
    assert share[3] > 0.97 and share[10] > 0.98


def test_several_neurons_a_block_and_images_one_by_one():
    target, images, labels = helpers.network("avg", 515, batch=5)
    neurons, effects = conditional_gradient_paths(target, images, labels, top=3, passes=3)
    assert neurons.shape == (5, target.n_blocks, 3)
    for row in range(5):
        own, effect = conditional_gradient_paths(target, images[row:row + 1], labels[row:row + 1],
                                                 top=3, passes=3)
        assert torch.equal(own[0], neurons[row])
        assert abs((effect[0] - effects[row]).item()) < 1e-12


def test_it_calls_the_model_so_that_parts_of_somebodys_own_count():
    """A block whose output is scaled by code that no form of a block knows."""
    target, images, labels = helpers.network("cls", 516)
    target.model.blocks[1].register_forward_hook(lambda _m, _i, out: 1.5 * out)
    neurons, effects = conditional_gradient_paths(target, images, labels, passes=2)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        path, effect = slow(target, image, int(label), 2, "remove", None)
        assert neurons[row, :, 0].tolist() == path
        assert abs(effects[row].item() - effect) < 1e-12


def test_heads_and_halves_are_edited_as_units():
    model = helpers.small_vit(7)
    images, labels = helpers.small_batch(3)
    for sites in ("heads", "mixed", "halves"):
        target = SiteModel(model, sites=sites)
        neurons, effects = conditional_gradient_paths(target, images, labels, passes=3)
        clean = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]
        there = edited_probabilities(target, images, neurons,
                                         "remove").gather(1, labels[:, None])[:, 0]
        torch.testing.assert_close(effects, clean - there, rtol=0, atol=1e-12)


def test_find_paths_runs_it_as_recommended():
    target, images, labels = helpers.network("cls", 517)
    found = npc.find_paths(target, images, labels, "recommended", budget=4)
    own, _ = conditional_gradient_paths(target, images, labels, passes=4)
    assert torch.equal(found.neurons, own[..., 0])
    assert (found.settings.method, found.settings.budget) == ("conditional_gradient", 4)
    assert npc.find_paths(target, images, labels, "recommended").settings.budget == 3
    for question in QUESTIONS:
        asked = npc.find_paths(target, images, labels, "recommended", question=question)
        own = conditional_gradient_paths(target, images, labels, question=question)[0][..., 0]
        assert torch.equal(asked.neurons, own) and asked.settings.question == question
    values = torch.ones(1, target.n_blocks, 1, target.n_neurons, dtype=target.dtype)
    moved = npc.find_paths(target, images, labels, "recommended", baseline=values)
    own, _ = conditional_gradient_paths(target, images, labels, baseline=values)
    assert torch.equal(moved.neurons, own[..., 0])


def test_no_graph_is_left_and_the_model_is_as_before():
    target, images, labels = helpers.network("cls", 518)
    before = helpers.Snapshot(target.model)
    neurons, effects = conditional_gradient_paths(target, images, labels)
    before.check()
    assert not effects.requires_grad and neurons.dtype == torch.int64


def test_what_does_not_fit_is_refused():
    target, images, labels = helpers.network("cls", 519)

    def call(**changed):
        return lambda: conditional_gradient_paths(target, images, labels, **changed)

    refused(call(question="double"), "double", "accepted: remove, enhance, keep")
    for value in (0, 1001, True, 2.5):
        refused(call(passes=value), "passes must be a whole number in 1..1000")
    refused(call(top=17), "top must be a whole number in 1..16")
    refused(call(baseline=torch.ones(2, 3)), "(2, 3)")
    refused(lambda: npc.find_paths(target, images, labels, budget=3), "budget is for methods",
            "neuron_path", "accepted: None")
    refused(lambda: npc.find_paths(target, images, labels, question="keep"),
            "question is for methods", "accepted: None")
    refused(lambda: npc.find_paths(target, images, labels, "recommended", question="erase"),
            "unknown question", "remove, enhance, keep")
    refused(lambda: npc.find_paths(target, images, labels, "recommended", budget=0),
            "budget must be a whole number in 1..1000")


def test_a_path_that_does_nothing_is_said_to_mean_nothing():
    target, images, labels = helpers.network("cls", 523, batch=3)
    torch.nn.init.zeros_(target.model.head.weight)
    with pytest.warns(RuntimeWarning, match="3 of 3 images have a path whose edit leaves"):
        npc.find_paths(target, images, labels, "recommended")
