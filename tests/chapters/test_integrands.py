"""What the search integrates for a path's own neurons, against slow scores at single nodes."""

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.chapters.search_cost import integrands
from neuronpath_core.study.study import Study
from tests import helpers, small_study
from tests.core.test_paths import relaxed


@pytest.mark.parametrize("name", ["cls", "cls-of-averaging", "avg", "avg-registers"])
def test_the_integrand_against_slow_scores(name):
    target, images, labels = helpers.network(name, 731, batch=2)
    paths = npc.find_paths(target, images, labels, context="full", steps=2).neurons
    alphas = torch.tensor([0.0, 0.3, 0.9], dtype=torch.float64)
    found = integrands.path_integrand(target, images, labels, paths, alphas)
    assert found.shape == (2, target.n_blocks, 3)
    for image, label, path, values in zip(images, labels, paths.tolist(), found, strict=True):
        for block, neuron in enumerate(path):
            for alpha, value in zip(alphas.tolist(), values[block].tolist(), strict=True):
                expected = float(relaxed(target.model, target.scope, image, int(label),
                                         path[:block], [alpha], [1.0])[neuron])
                assert abs(value - expected) <= 1e-9 * max(1e-3, abs(expected))


def test_its_integral_is_what_the_search_ranks_by():
    """Summed with a rule's weights, the last block's is the joint relaxation of the path's last
    neuron: the largest there is."""
    target, images, labels = helpers.network("cls", 732, batch=3)
    alphas, weights = npc.quadrature_rule("gauss-legendre", 5)
    paths = npc.find_paths(target, images, labels, context="full", steps=5).neurons
    own = integrands.path_integrand(target, images, labels, paths, alphas) @ weights
    for neuron in range(target.n_neurons):
        other = paths.clone()
        other[:, -1] = neuron
        assert (integrands.path_integrand(target, images, labels, other, alphas)[:, -1] @ weights
                <= own[:, -1] + 1e-12).all()


def test_the_table_of_a_study(tmp_path):
    study = Study(root=small_study.make_study(tmp_path))
    images = study.images(20)
    table = integrands.integrand_curvature(study, ["one", "two"], images, steps=6)
    assert list(table.columns) == ["model", "image", "block",
                                   "curvature"] and len(table) == 2 * 20 * 3
    alphas, weights = npc.quadrature_rule("gauss-legendre", 6)
    for model in ("one", "two"):
        target, batch = study.target(model), study.batch(images, model)
        values = integrands.path_integrand(target, *batch,
                                           study.paths(model, images, context="full").neurons,
                                           alphas)
        rows = table[table["model"] == model].reset_index(drop=True)
        assert rows["image"].tolist() == [number for number in images.ids.tolist()
                                          for _ in range(3)] and rows["block"].tolist() == 20 * [
            1, 2, 3]
        for place in (0, 4, 59):
            own = values.flatten(0, 1)[place].numpy()
            fitted = np.polyval(np.polyfit(alphas.numpy(), own, 1, w=weights.sqrt().numpy()),
                                alphas.numpy())
            size = weights.numpy() @ abs(own)
            assert rows["curvature"][place] * size == pytest.approx(
                (weights.numpy() @ (own - fitted) ** 2) ** 0.5, rel=1e-2, abs=1e-5 * size)


def test_curvature_of_a_parabola(tmp_path, monkeypatch):
    r"""Of :math:`1 + 2\alpha + 6\alpha^2` the second Legendre polynomial, once, is what no straight
    line has: of norm :math:`1/\sqrt 5`, the mean being 4."""
    study = Study(root=small_study.make_study(tmp_path))
    monkeypatch.setattr(
        integrands,
        "path_integrand",
        lambda target, images, labels, neurons, alphas: (1 + 2 * alphas + 6 * alphas**2).expand(
            len(images), target.n_blocks, -1
        ),
    )
    table = integrands.integrand_curvature(study, ["one"], study.images(10), steps=4)
    np.testing.assert_allclose(table["curvature"], 1 / 5**0.5 / 4, rtol=1e-12)


def test_refusals(tmp_path):
    target, images, labels = helpers.network("cls", 733, batch=2)
    alphas = torch.tensor([0.5])
    wrong = torch.zeros(3, 3, dtype=torch.int64)
    helpers.refused(lambda: integrands.path_integrand(target, images, labels, wrong, alphas),
                    "paths of 3 images, the batch has 2")
    study = Study(root=small_study.make_study(tmp_path))
    helpers.refused(lambda: integrands.integrand_curvature(study, ["three"], study.images(10)),
                    "accepted: one or more of one, two")
