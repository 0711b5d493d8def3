"""Tests of significance by enumeration and by their definitions."""

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest

from neuronpath_core.stats.tests import (
    holm,
    judged,
    kind_test,
    permutation_verdict,
    shuffled_labels,
    sign_flip_p,
    sign_flip_test,
    sign_test,
)


def test_holm_by_its_definition():
    rng = np.random.default_rng(0)
    for p_values in ([0.01, 0.04, 0.03, 0.005], [0.5], [0.02, 0.02, 0.9], rng.random(7)):
        adjusted, count = holm(p_values), len(p_values)
        for level in np.linspace(0.001, 0.999, 500):
            rejected, left = set(), sorted(range(count), key=lambda index: p_values[index])
            while left and p_values[left[0]] * len(left) <= level:
                rejected.add(left.pop(0))
            assert rejected == {index for index in range(count) if adjusted[index] <= level}


@pytest.mark.parametrize("differences", [[1, 1, 1, -1, 0], [2, 3, 4, 5], [-1, -1, 0, 0], [1, -1],
                                         [0, 0, 0]])
def test_sign_test_by_enumeration(differences):
    signs = [np.sign(value) for value in differences if value]
    outcomes = [abs(sum(each)) for each in product((-1, 1), repeat=len(signs))]
    assert sign_test(differences) == pytest.approx(
        np.mean([value >= abs(sum(signs)) for value in outcomes]), abs=1e-12)


@pytest.mark.parametrize("sizes", [[(2, 2)], [(3, 3)], [(2, 3)], [(2, 2), (2, 3)]], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_permutation_test_by_brute_force(sizes, seed):
    """Every order of the kinds' names, repeated ones and all, in every data set."""
    rng, matrices = np.random.default_rng(seed), []
    for first, second in sizes:
        matrices.append((np.corrcoef(rng.normal(size=(first + second, 6))),
                         np.arange(first + second) < first))

    def contrast(matrix, names):
        pairs = [(i, j) for i in range(len(names)) for j in range(i)]
        return (np.mean([matrix[i, j] for i, j in pairs if names[i] == names[j]])
                - np.mean([matrix[i, j] for i, j in pairs if names[i] != names[j]]))

    observed = np.mean([contrast(*each) for each in matrices])
    orders = [[contrast(matrix, order) for order in permutations(names)] for matrix,
              names in matrices]
    deals = np.array([np.mean(each) for each in product(*orders)])
    found = kind_test(matrices)
    assert found["value"] == pytest.approx(observed, abs=1e-12)
    assert found["p"] == pytest.approx(np.mean(deals >= observed - 1e-12), abs=1e-12)
    assert found["smallest"] == pytest.approx(np.mean(deals >= deals.max() - 1e-12), abs=1e-12)


def test_smallest_p_of_four_and_four():
    matrix = np.kron(np.eye(2), np.ones((4, 4)))
    found = kind_test([(matrix, np.arange(8) < 4)])
    assert found["deals"] == 70 and found["p"] == found["smallest"] == 2 / 70
    assert kind_test([(matrix, np.arange(8) < 4)] * 2)["p"] == pytest.approx(
        (2 / 70) ** 2, rel=1e-12)


@pytest.mark.parametrize(("matrix", "is_first"), [(np.eye(3), [True, False, False]),
                                                  (np.eye(4), [True] * 4),
                                                  (np.eye(3), [True, True, False, False])])
def test_too_few_models_for_a_permutation_test(matrix, is_first):
    with pytest.raises(ValueError, match="accepted: at least two of each"):
        kind_test([(matrix, np.array(is_first))])


def test_verdict_asks_the_permutation_and_the_sign():
    assert [permutation_verdict({"value": value, "low": 0.1, "high": 0.2,
                                                       "p": p}) for value, p in
            ((0.2, 0.04), (0.2, 0.05), (-0.2, 0.04))] == ["agrees", "not shown", "contradicts"]
    assert permutation_verdict({"value": 0.2, "p": 0.01,
                                                      "adjusted": 0.06}) == "not shown"


def test_flipped_signs_of_few_images_are_all_tried():
    differences = np.array([0.5, 1.0, -0.25, 2.0])
    means = [np.mean(differences * signs) for signs in product((-1, 1), repeat=4)]
    expected = 2 * min(np.mean([each >= differences.mean() - 1e-12 for each in means]),
                       np.mean([each <= differences.mean() + 1e-12 for each in means]))
    assert sign_flip_test(differences) == pytest.approx(expected, abs=1e-12)


def test_signs_flipped_alike_give_the_same_p():
    """Against all flips of ten images, within four standard errors of 9,999 draws, and against the
    slow test; nothing has p 1, and sizes do not matter."""
    rng = np.random.default_rng(0)
    flips = np.array(list(product((-1, 1), repeat=10)))
    for shift in (0, 0.4, 1.5):
        differences = rng.standard_normal(10) + shift
        exact = (np.abs(flips @ differences) >= abs(differences.sum()) - 1e-12).mean()
        p = sign_flip_p(differences)
        assert p == pytest.approx(exact, abs=1e-4 + 4 * (exact * (1 - exact) / 9999) ** 0.5)
        assert sign_flip_p(1e-9 * differences) == p
        assert p == pytest.approx(sign_flip_test(differences), abs=0.02)
    assert sign_flip_p(np.zeros(7)) == 1
    assert sign_flip_p(np.ones(3)) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("by", "verdicts"), [
    (None, ["agrees", "not shown", "not shown"]), ("measure", ["agrees", "contradicts", "not shown"])])
def test_a_family_decides_what_is_shown(by, verdicts):
    """0.03 stands alone and not among three; an interval across zero never."""
    family = pd.DataFrame({"measure": ["a", "b", "a"], "low": [0.1, -0.3, -0.1],
                           "high": [0.3, -0.1, 0.1], "p": [0.001, 0.03, 0.03]})
    found = judged(family, by)
    assert found["verdict"].tolist() == verdicts
    assert "verdict" not in family
    assert judged(family, by, expected=[-1, -1, 1])["verdict"].tolist() == [
        {"agrees": "contradicts", "contradicts": "agrees"}.get(each, each) for each in verdicts]


def test_shuffled_labels_keep_their_counts():
    labels = np.repeat([0, 1, 2], [2, 3, 4])
    value, drawn = shuffled_labels(lambda dealt: (dealt * np.arange(9)).sum(), labels, 300)
    counts = shuffled_labels(lambda dealt: tuple(np.bincount(dealt)), labels, 20)[1]
    assert value == (labels * np.arange(9)).sum() >= drawn.max()
    assert drawn.min() < value and (counts == [2, 3, 4]).all()
