"""The outputs of the published code, kept in ``tests/golden``."""

from functools import cache

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from tests import helpers, twins

# what each case stores: prefix of its arrays -> method
CLS = {"": "neuron_path", "activation_": "activation", "influence_pattern_": "influence_pattern"}
STORED = [(name, prefix) for name in ("cls_small", "cls_deep") for prefix in CLS]
STORED += [("gap_small", ""), ("gap_small", "activation_")]


@cache
def load(name):
    model, images, labels, steps, expected = helpers.golden(name)
    tolerance = {"rtol": 1e-5, "atol": 0} if name == "gap_small" else {"rtol": 0, "atol": 1e-9}
    return npc.TargetModel(model), images, labels, steps, expected, tolerance


def test_every_stored_array_is_compared_below():
    for name in ("cls_small", "cls_deep", "gap_small"):
        prefixes = [prefix for case, prefix in STORED if case == name]
        compared = {f"{prefix}{array}" for prefix in prefixes for array in ("path", "jas")}
        compared |= set() if name == "gap_small" else {"prob", "prob_removed", "prob_enhanced"}
        assert set(load(name)[4]) == compared


@pytest.mark.parametrize(("name", "prefix"), STORED)
def test_paths_are_equal_and_scores_agree(name, prefix):
    target, images, labels, steps, expected, tolerance = load(name)
    paths = npc.find_paths(target, images, labels, method=CLS[prefix], search="joint",
                           context="full", quadrature="left", steps=steps)
    assert paths.neurons.dtype == torch.int64
    np.testing.assert_array_equal(paths.neurons.numpy(), expected[f"{prefix}path"])
    np.testing.assert_allclose(paths.score.numpy(), expected[f"{prefix}jas"], **tolerance)


@pytest.mark.parametrize(("name", "prefix"), STORED)
def test_score_of_the_stored_paths(name, prefix):
    target, images, labels, steps, expected, tolerance = load(name)
    neurons = torch.from_numpy(expected[f"{prefix}path"])
    score = npc.joint_attribution_score(target, images, labels, neurons, quadrature="left",
                                        steps=steps)
    np.testing.assert_allclose(score.numpy(), expected[f"{prefix}jas"], **tolerance)


@pytest.mark.parametrize("name", ["cls_small", "cls_deep"])
def test_probabilities_clean_removed_and_enhanced(name):
    target, images, _, _, expected, _ = load(name)
    path = torch.from_numpy(expected["path"])
    with torch.no_grad():
        np.testing.assert_allclose(target(images).softmax(-1).numpy(), expected["prob"], rtol=0,
                                   atol=1e-9)
        for operation, key in (("remove", "removed"), (0, "removed"), ("enhance", "enhanced"),
                               (2.0, "enhanced")):
            with npc.edit(target, path, operation):
                np.testing.assert_allclose(target(images).softmax(-1).numpy(),
                                           expected[f"prob_{key}"], rtol=0, atol=1e-9)
            # the edit is no small thing
            assert np.abs(expected[f"prob_{key}"] - expected["prob"]).max() > 1e-2


@pytest.mark.parametrize(("name", "scope", "tolerance"),
                         [("cls_small", "cls", 1e-12), ("gap_small", "patch", 1e-5)])
def test_the_slow_twin_reproduces_the_published_search(name, scope, tolerance):
    """The other tests compare with the twins, so the twins are held to the published numbers
    themselves."""
    model, images, labels, steps, expected = helpers.golden(name)
    path, score = twins.published_search(model, scope, images[0], int(labels[0]),
                                         *twins.rule("left", steps))
    assert [neuron for neuron, in path] == expected["path"][0].tolist()
    np.testing.assert_allclose(score, expected["jas"][0], rtol=tolerance)
