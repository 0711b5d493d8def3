"""Mantel's test against every permutation, with ties, groups and competing matrices."""

import itertools

import numpy as np
import pytest
from scipy import stats

from neuronpath_core.stats.mantel import Relation, block_mantel, mantel


def symmetric(classes, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    square = rng.integers(0, 3,
                          (classes, classes)).astype(float) if ties else rng.random(
        (classes, classes))
    return square + square.T


def rank_residual(matrix, given):
    """Obvious twin: ranks of the pairs, one after the other, then least squares."""
    ranks = [stats.rankdata([each[i, j] for i, j in itertools.combinations(range(len(each)), 2)])
             for each in (matrix, *given)]
    design = np.stack([np.ones(len(ranks[0])), *ranks[1:]], 1)
    return ranks[0] - design @ np.linalg.lstsq(design, ranks[0], rcond=None)[0]


def correlation_twin(first, second, given=()):
    one, two = rank_residual(first, given), rank_residual(second, given)
    return (one @ two) / np.sqrt((one @ one) * (two @ two))


def orders(classes, groups=None):
    """All permutations of the classes that leave every class in its group."""
    for order in itertools.permutations(range(classes)):
        if groups is None or all(groups[i] == groups[j] for i, j in enumerate(order)):
            yield np.array(order)


def brute_force(first, second, given=(), groups=None):
    values = np.array([correlation_twin(first[np.ix_(order, order)], second, given)
                       for order in orders(len(first), groups)])
    value = correlation_twin(first, second, given)
    above, below = (values >= value - 1e-9).mean(), (values <= value + 1e-9).mean()
    return {"value": value, "permuted_low": np.quantile(values, 0.025),
            "permuted_high": np.quantile(values, 0.975), "p": min(1, 2 * min(above, below))}


@pytest.mark.parametrize("classes", [4, 5])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_mantel_is_exact_for_few_classes(classes, ties, count):
    first, second, *given = (symmetric(classes, seed, ties) for seed in range(2 + count))
    found = mantel(first, second, given, permutations=999)
    assert found == pytest.approx(brute_force(first, second, given), abs=1e-9)


@pytest.mark.parametrize("groups", ["aabb", "abab", "aaabbb", "ababab"])
def test_mantel_within_groups_is_exact(groups):
    first, second, given = (symmetric(len(groups), seed) for seed in range(3))
    assert mantel(first, second, [given],
                                        groups) == pytest.approx(brute_force(first, second, [given],
                                                                             groups), abs=1e-9)
    assert mantel(first, second,
                                        groups=groups) == pytest.approx(
        brute_force(first, second, (), groups), abs=1e-9)


def test_sampled_permutations_approach_all_of_them():
    first, second = symmetric(6, 3), symmetric(6, 4)
    exact = brute_force(first, second)
    sampled = mantel(first, second, permutations=700)
    assert sampled["value"] == pytest.approx(exact["value"])
    assert sampled["p"] == pytest.approx(exact["p"],
                                         abs=0.12) and sampled["permuted_high"] == pytest.approx(
        exact["permuted_high"], abs=0.15)
    assert sampled == mantel(first, second,
                                                   permutations=700) != mantel(first, second, permutations=700, seed=1)


def test_smallest_p_of_a_sample_counts_the_measured_order():
    matrix = symmetric(10)
    assert mantel(matrix, matrix,
                                        permutations=99)["p"] == pytest.approx(2 / 100)


def test_mantel_reads_ranks_of_pairs_only():
    first, second = symmetric(7, 1), symmetric(7, 2)
    expected = mantel(first, second, permutations=99)
    assert mantel(np.exp(first) + 9 * np.eye(7), second**3 - np.eye(7),
                                        permutations=99) == expected
    assert mantel(-first, second,
                                        permutations=99)["value"] == pytest.approx(
        -expected["value"])
    upper = np.triu_indices(7, 1)
    assert expected["value"] == pytest.approx(stats.spearmanr(first[upper],
                                                              second[upper]).statistic)


def test_similarity_with_nothing_left_to_explain_has_no_correlation():
    second, given = symmetric(6, 1), symmetric(6, 2)
    for first in (np.full((6, 6), 0.3), np.full((6, 6), 0.3) + 1e-15 * symmetric(6, 3)):
        assert mantel(first, second,
                                            permutations=50) == {"value": 0, "permuted_low": 0,
                                                                 "permuted_high": 0, "p": 1}
    assert mantel(given, second, [given], permutations=50)["value"] == 0


@pytest.mark.parametrize("shift", [0, 0.9])
def test_null_is_rejected_as_often_as_it_says(shift):
    """p below 0.1 in a tenth of the cases, for matrices of noise; with a planted dependence in
    nearly all of them."""
    rng, rejected = np.random.default_rng(5), 0
    for trial in range(200):
        first, second = symmetric(8, rng.integers(10**9)), symmetric(8, rng.integers(10**9))
        rejected += mantel(first + shift * second, second, permutations=99,
                                                 seed=trial)["p"] <= 0.1
    # 20 ± 3 standard deviations of 4.2
    assert (10 <= rejected <= 32) if shift == 0 else rejected > 190


@pytest.mark.parametrize(("arguments", "words"), [
    ((symmetric(5), symmetric(4)), "of 4 classes"),
    ((symmetric(2), symmetric(2)), "at least 3"),
    ((symmetric(5), symmetric(5), [symmetric(4)]), "of one shape"),
    ((symmetric(5), np.ones((5, 5))), "varies"),
    ((symmetric(5), symmetric(5, 1), [symmetric(5, 1)]), "beyond the given"),
    ((symmetric(5), symmetric(5), (), "aabbb"), "of one size"),
    ((symmetric(5), symmetric(5), (), "abcde"), "at least 2"),
    ((symmetric(5), symmetric(5), (), "aabb"), "5 classes in all"),
    ((np.full((5, 5), np.nan), symmetric(5)), "finite"),
    ((symmetric(5), np.full((5, 5), np.inf)), "finite"),
])
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        mantel(*arguments)


def test_blocks_are_held_against_the_extremes_of_all():
    stack = np.stack([symmetric(4, seed) for seed in range(3)])
    second = symmetric(4, 9)
    found = block_mantel(stack, Relation(second))
    values = np.array([[correlation_twin(block[np.ix_(order, order)], second) for block in stack]
                       for order in orders(4)])
    for index, row in found.iterrows():
        value = correlation_twin(stack[index], second)
        p = 2 * min((values.max(1) >= value - 1e-9).mean(), (values.min(1) <= value + 1e-9).mean())
        assert (row["block"], row["value"], row["p"]) == (index + 1, pytest.approx(value),
                                                          pytest.approx(min(1, p)))
        assert row["permuted_high"] == pytest.approx(np.quantile(values.max(1), 0.975))
        assert row["permuted_low"] == pytest.approx(np.quantile(values.min(1), 0.025))


def test_one_block_in_ten_of_noise_is_not_news_and_a_planted_one_is_named():
    rng, second, false, found = np.random.default_rng(6), symmetric(8, 1), 0, 0
    for trial in range(60):
        stack = np.stack([symmetric(8, rng.integers(10**9)) for _ in range(10)])
        false += (block_mantel(stack, Relation(second), 99, trial)["p"]
                  <= 0.1).any()
        stack[4] += 1.5 * second
        significant = block_mantel(stack, Relation(second), 99,
                                                         trial).query("p <= 0.1")["block"]
        found += 5 in set(significant)
    assert false <= 14  # 6 expected of 60; uncorrected it would be 39
    assert found >= 58
