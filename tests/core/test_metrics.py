"""Measures: small cases worked out by hand, slow twins, and whether an interval covers what it
should."""


import math

import numpy as np
import pytest

from neuronpath_core import metrics

CLEAN = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
EDITED = np.array([[0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
LABELS = np.array([0, 0, 2, 2])


def some_probabilities(seed, images=50, classes=4, sharpness=5.0):
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.standard_normal((images, classes))
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rng.integers(0, classes, images)


# --- deviations ---


def test_correct():
    assert metrics.correct(CLEAN, LABELS).tolist() == [True, False, False, True]
    assert metrics.correct(EDITED, LABELS).tolist() == [False, True, True, True]


def test_of_equally_probable_classes_the_first_counts():
    assert metrics.correct(np.full((2, 3), 1 / 3), np.array([0, 1])).tolist() == [True, False]


def test_accuracy_deviation():
    assert metrics.accuracy_deviation(CLEAN, EDITED, LABELS).tolist() == [-1, 1, 1, 0]
    assert metrics.accuracy_deviation(CLEAN, CLEAN, LABELS).tolist() == [0, 0, 0, 0]


def test_probability_deviation():
    found = metrics.probability_deviation(CLEAN, EDITED, LABELS)
    np.testing.assert_allclose(found, [0.1 / 0.7 - 1, 0.5, 0.5 / 0.3 - 1, 0], rtol=0, atol=1e-15)
    assert not metrics.probability_deviation(CLEAN, CLEAN, LABELS).any()


def test_probability_deviation_is_at_least_minus_one_and_has_no_upper_bound():
    (clean, labels), (edited, _) = some_probabilities(1), some_probabilities(2)
    found = metrics.probability_deviation(clean, edited, labels)
    assert found.min() >= -1 and found.max() > 1
    gone = np.eye(2)[[1]]
    assert metrics.probability_deviation(np.array([[0.5, 0.5]]), gone,
                                         np.array([0])).tolist() == [-1]


def test_deviations_look_at_the_true_class_only():
    edited = CLEAN.copy()
    edited[:, 1] += 0.01  # no label is 1
    assert not metrics.probability_deviation(CLEAN, edited, LABELS).any()


@pytest.mark.parametrize("function", [metrics.accuracy_deviation, metrics.probability_deviation])
@pytest.mark.parametrize(("edited", "labels", "message"), [
    (EDITED[:2], LABELS, "one label an image"), (EDITED[0], LABELS, "one label an image"),
    (EDITED, LABELS[:3], "one label an image"), (EDITED, LABELS[:, None], "one label an image"),
    (EDITED, np.array([0, 0, 2, 3]), r"0\.\.2"), (EDITED, np.array([0, -1, 2, 2]), r"0\.\.2")])
def test_probabilities_and_labels_must_fit(function, edited, labels, message):
    with pytest.raises(ValueError, match=message):
        function(CLEAN, edited, labels)


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="at least one image"):
        metrics.correct(np.zeros((0, 3)), np.zeros(0, int))


# --- intervals ---


# --- utilisation ---


def counted(neurons, n_neurons):
    """The slow twin of Eq. 20, for paths (image, layer, rank)."""
    images, layers, ranks = neurons.shape
    matrix = np.zeros((layers, n_neurons))
    for layer in range(layers):
        for image in range(images):
            for rank in range(ranks):
                matrix[layer, neurons[image, layer, rank]] += 1
        matrix[layer] /= images * ranks
    return matrix


def test_utilisation_by_hand():
    found = metrics.utilisation_matrix(np.array([[0, 2], [0, 1], [3, 2], [0, 2]]), 4)
    assert found.tolist() == [[0.75, 0, 0, 0.25], [0, 0.25, 0.75, 0]]


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_utilisation_counts(ranks):
    rng = np.random.default_rng(ranks)
    neurons = np.stack([[rng.choice(7, ranks, replace=False) for _ in range(3)] for _ in range(11)])
    found = metrics.utilisation_matrix(neurons, 7)
    np.testing.assert_allclose(found, counted(neurons, 7), rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.sum(1), 1, rtol=0, atol=1e-15)
    assert found.shape == (3, 7) and (found >= 0).all()


def test_one_rank_is_the_same_with_and_without_its_axis():
    neurons = np.random.default_rng(9).integers(0, 5, (8, 3))
    assert np.array_equal(metrics.utilisation_matrix(neurons, 5),
                          metrics.utilisation_matrix(neurons[..., None], 5))


def test_utilisation_does_not_depend_on_the_order_of_images_or_ranks():
    neurons = np.random.default_rng(9).integers(0, 5, (8, 3, 2))
    expected = metrics.utilisation_matrix(neurons, 5)
    assert np.array_equal(metrics.utilisation_matrix(neurons[::-1, :, ::-1], 5), expected)
    # blocks are not interchangeable
    assert not np.array_equal(metrics.utilisation_matrix(neurons[:, ::-1], 5), expected)


@pytest.mark.parametrize("neurons", [
    np.zeros((0, 3), int), np.array([[4]]), np.array([[-1]]), np.array([0, 1]),
    np.zeros((1, 1, 1, 1), int)])
def test_utilisation_of_paths_that_do_not_fit(neurons):
    with pytest.raises(ValueError, match=r"indices in 0\.\.3"):
        metrics.utilisation_matrix(neurons, 4)


# --- similarity and agreement ---


def test_cosine_similarity_is_the_double_loop():
    matrices = np.random.default_rng(10).random((4, 3, 5))
    found = metrics.cosine_similarity(matrices)
    for first in range(4):
        for second in range(4):
            a, b = matrices[first].ravel().tolist(), matrices[second].ravel().tolist()
            product = sum(x * y for x, y in zip(a, b, strict=True))
            expected = product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
            assert found[first, second] == pytest.approx(expected, abs=1e-14)
    np.testing.assert_allclose(np.diag(found), 1, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found, found.T, rtol=0, atol=1e-15)


def test_similarity_by_hand():
    matrices = np.array([[[1.0, 0], [1, 0]], [[0, 1], [0, 1]], [[1, 0], [0, 1]]])
    np.testing.assert_allclose(metrics.cosine_similarity(matrices),
                               [[1, 0, 0.5], [0, 1, 0.5], [0.5, 0.5, 1]], atol=1e-15)
    np.testing.assert_allclose(metrics.cosine_similarity(3 * matrices),
                               metrics.cosine_similarity(matrices), atol=1e-15)


def test_agreement_by_hand():
    first = np.array([[1, 2], [3, 4], [5, 6], [7, 8]])
    second = np.array([[1, 2], [3, 0], [0, 6], [7, 8]])
    assert metrics.agreement(first, second) == (0.75, 0.5)
    assert metrics.agreement(first, first) == (1, 1)
    assert metrics.agreement(first, first + 1) == (0, 0)
    assert metrics.agreement(first[..., None], second[..., None]) == (0.75, 0.5)


def test_agreement_needs_one_shape():
    with pytest.raises(ValueError, match="one shape"):
        metrics.agreement(np.zeros((2, 3), int), np.zeros((1, 3), int))


# --- families of tests ---
