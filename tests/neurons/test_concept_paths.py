"""Classifiers of groups of classes: probabilities and gradients by sums, paths of single classes,
planted concepts; and dissociations that are planted or not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.models.planted import planted_model
from neuronpath_core.neurons.concept_paths import GroupHead, dissociation, grouped
from tests import helpers

GROUPS = [0, 1, 0, 2, 1]


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_groups_probability_is_the_sum_over_its_classes(pool):
    target = npc.TargetModel(helpers.small_vit(2, global_pool=pool))
    images, _ = helpers.small_batch(4)
    other = grouped(target, GROUPS)
    single, sums = target(images).softmax(-1), other(images).softmax(-1)
    for group in range(3):
        wanted = sum(single[:, place] for place, own in enumerate(GROUPS) if own == group)
        torch.testing.assert_close(sums[:, group], wanted, rtol=1e-12, atol=0)
    assert other.n_classes == 3 and other.scope == target.scope
    assert target.model.head is not other.model.head and target.n_classes == 5


def test_gradients_are_those_of_the_sum():
    head = torch.nn.Linear(6, 5).double()
    pooled = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    own = GroupHead(head, torch.tensor(GROUPS))(pooled).softmax(-1)[:, 1].sum()
    wanted = head(pooled).softmax(-1)[:, [1, 4]].sum()
    first, second = (torch.autograd.grad(value, pooled)[0] for value in (own, wanted))
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("method", ["neuron_path", "recommended", "activation"])
def test_groups_of_one_class_have_the_paths_of_the_classes(method):
    target = npc.TargetModel(helpers.small_vit(2))
    images, labels = helpers.small_batch(3)
    order = torch.tensor([3, 1, 4, 0, 2])  # classes numbered anew
    plain = npc.find_paths(target, images, labels, method)
    again = npc.find_paths(grouped(target, order.tolist()), images, order[labels], method)
    assert torch.equal(plain.neurons, again.neurons)
    torch.testing.assert_close(plain.score, again.score, rtol=1e-6, atol=1e-12)


def test_the_path_of_a_planted_group_is_the_path_of_its_class():
    planted = planted_model("chain", seed=1)
    found = npc.find_paths(grouped(planted.target, [0, 0, 1, 1]), planted.images,
                           planted.labels // 2, "neuron_path")
    assert torch.equal(found.neurons, planted.neurons[..., 0])


def test_scores_that_know_no_such_head_refuse_it():
    planted = planted_model("chain", seed=1)
    with pytest.raises(ValueError, match="no linear form is known of head"):
        npc.find_paths(grouped(planted.target, [0, 0, 1, 1]), planted.images, planted.labels // 2,
                       "relp")


def test_dissociation_is_zero_for_equal_paths_and_for_a_fragile_concept():
    rng = np.random.default_rng(0)
    base = rng.random((1, 2, 50))
    same = dissociation(np.repeat(base, 2, 0))
    assert all(np.array_equal(values, np.zeros(50)) for values in same.values())
    # one path hurts everything more, and one concept is hurt more by everything
    main = np.stack([base[0] + 0.3, base[0]]) + np.array([0.0, 0.5])[None, :, None]
    both = dissociation(main)
    np.testing.assert_allclose(both["both"], 0, atol=1e-12)
    assert both["first"].mean() > 0.2 > 0 > both["second"].mean()
    planted = np.zeros((2, 2, 50))
    planted[0, 0], planted[1, 1] = 0.4, 0.2
    found = dissociation(planted)
    assert (found["first"] == 0.4).all() and (found["second"] == 0.2).all()
    assert found["both"] == pytest.approx(np.full(50, 0.6))


@pytest.mark.parametrize("groups", [[0, 1], [0, 0, 0, 0, 0], [0, 1, 3, 3, 1], [[0], [1, 2]],
                                    [0.0, 1, 0, 1, 0], [-1, 0, 1, 0, 1], None])
def test_groups_that_are_none_are_refused(groups):
    with pytest.raises(ValueError, match="accepted: a number for each of 5 classes") as error:
        grouped(npc.TargetModel(helpers.small_vit(2)), groups)
    assert "\n" not in str(error.value)


def test_other_heads_and_shapes_are_refused():
    target = npc.TargetModel(helpers.small_vit(2))
    with pytest.raises(ValueError, match="head"):
        grouped(grouped(target, GROUPS), [0, 1, 1])
    with pytest.raises(ValueError, match="groups are of"):
        grouped(npc.SiteModel(helpers.small_vit(2), sites="attention"), GROUPS)
    with pytest.raises(ValueError, match="2 paths, 2 concepts"):
        dissociation(np.zeros((3, 2, 4)))
