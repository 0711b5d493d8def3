"""Probes of all places at once are scikit-learn's ridge regressions, one by one."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from neuronpath_core.readings.probes import fit_probes, solve_multiply_adds


def drawn(images=30, width=7, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    features = rng.standard_normal((2, 3, images, width)) + 0.5
    return torch.from_numpy(features), torch.from_numpy(labels)


@pytest.mark.parametrize(("images", "width", "alpha"), [(30, 7, 1.0), (8, 20, 1.0), (30, 7, 0.01)])
def test_every_probe_is_scikit_learns_ridge(images, width, alpha):
    features, labels = drawn(images, width)
    found = fit_probes(features, labels, 4, alpha)
    new = drawn(9, width, seed=1)[0]
    wanted = 2 * np.eye(4)[labels.numpy()] - 1
    for block in range(2):
        for token in range(3):
            twin = Ridge(alpha=alpha).fit(features[block, token].numpy(), wanted)
            np.testing.assert_allclose(found.weight[block, token].numpy().T, twin.coef_, rtol=0, atol=1e-10)
            np.testing.assert_allclose(found.intercept[block, token].numpy(), twin.intercept_, rtol=0, atol=1e-10)
            np.testing.assert_allclose(found.scores(new)[block, token].numpy(), twin.predict(new[block, token].numpy()),
                                       rtol=0, atol=1e-10)


def test_a_planted_class_is_found_and_dealt_labels_are_not():
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(np.repeat(np.arange(5), 40))
    features = torch.from_numpy(rng.standard_normal((200, 8))) + 3 * torch.eye(8, dtype=torch.float64)[labels]
    train, test = torch.arange(0, 200, 2), torch.arange(1, 200, 2)
    probe = fit_probes(features[train], labels[train], 5)
    assert (probe.scores(features[test]).argmax(-1) == labels[test]).double().mean() > 0.85
    dealt = [(fit_probes(features[train], labels[train][torch.from_numpy(rng.permutation(100))], 5).scores(features[test])
              .argmax(-1) == labels[test]).double().mean() for _ in range(20)]
    # whole classes are named alike, so that a deal is right on about one class in five or none
    assert abs(np.mean(dealt) - 0.2) < 0.12


def test_renaming_the_classes_renames_the_probe():
    """Why permuted names alone are no control of a probe's accuracy: it is the same under them."""
    features, labels = drawn()
    names = torch.tensor([2, 0, 3, 1])
    found, renamed = fit_probes(features, labels, 4), fit_probes(features, names[labels], 4)
    torch.testing.assert_close(renamed.scores(features)[..., names], found.scores(features), rtol=0, atol=1e-12)


def test_single_precision_is_close():
    features, labels = drawn()
    found = fit_probes(features.float(), labels, 4)
    assert found.weight.dtype == torch.float32
    torch.testing.assert_close(found.weight.double(), fit_probes(features, labels, 4).weight, rtol=1e-4, atol=1e-5)


def test_bad_input_is_refused():
    features, labels = drawn()
    with pytest.raises(ValueError, match="one image a label"):
        fit_probes(features, labels[:-1], 4)
    with pytest.raises(ValueError, match="finite numbers"):
        fit_probes(features / 0, labels, 4)
    with pytest.raises(ValueError, match="at least two different labels in 0..3"):
        fit_probes(features, labels * 0, 4)
    with pytest.raises(ValueError, match="at least two different labels in 0..2"):
        fit_probes(features, labels, 3)
    with pytest.raises(ValueError, match="alpha must be above 0"):
        fit_probes(features, labels, 4, 0)


def test_multiply_adds_of_a_fit():
    assert solve_multiply_adds(1, 10, 3, 2) == 10 * 9 + 10 * 6 + 9 + 18
    assert solve_multiply_adds(5, 10, 3, 2) == 5 * solve_multiply_adds(1, 10, 3, 2)
