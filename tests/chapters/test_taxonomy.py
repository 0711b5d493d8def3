"""The similarity of paths against taxonomies, embeddings and confusions: exact where there are few
classes, and blind where nothing is there."""

import itertools

import numpy as np
import pytest
from scipy import stats

from neuronpath_core import metrics
from neuronpath_core.chapters import similarity_in_numbers
from neuronpath_core.chapters.similarity_in_numbers import Relation
from neuronpath_core.stats import report
from neuronpath_core.study.study import Study
from tests import small_study

# 6 outlines x 4 fills, as the rendered scenes have
AXES = {"outline": tuple(outline for outline in "abcdef" for _ in range(4)),
        "fill": tuple(fill for _ in range(6) for fill in "wxyz")}


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


# --- Mantel ---


@pytest.mark.parametrize("classes", [4, 5])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_mantel_is_exact_for_few_classes(classes, ties, count):
    first, second, *given = (symmetric(classes, seed, ties) for seed in range(2 + count))
    found = similarity_in_numbers.mantel(first, second, given, permutations=999)
    assert found == pytest.approx(brute_force(first, second, given), abs=1e-9)


@pytest.mark.parametrize("groups", ["aabb", "abab", "aaabbb", "ababab"])
def test_mantel_within_groups_is_exact(groups):
    first, second, given = (symmetric(len(groups), seed) for seed in range(3))
    assert similarity_in_numbers.mantel(first, second, [given],
                                        groups) == pytest.approx(brute_force(first, second, [given],
                                                                             groups), abs=1e-9)
    assert similarity_in_numbers.mantel(first, second,
                                        groups=groups) == pytest.approx(
        brute_force(first, second, (), groups), abs=1e-9)


def test_sampled_permutations_approach_all_of_them():
    first, second = symmetric(6, 3), symmetric(6, 4)
    exact = brute_force(first, second)
    sampled = similarity_in_numbers.mantel(first, second, permutations=700)
    assert sampled["value"] == pytest.approx(exact["value"])
    assert sampled["p"] == pytest.approx(exact["p"],
                                         abs=0.12) and sampled["permuted_high"] == pytest.approx(
        exact["permuted_high"], abs=0.15)
    assert sampled == similarity_in_numbers.mantel(first, second,
                                                   permutations=700) != similarity_in_numbers.mantel(first, second, permutations=700, seed=1)


def test_smallest_p_of_a_sample_counts_the_measured_order():
    matrix = symmetric(10)
    assert similarity_in_numbers.mantel(matrix, matrix,
                                        permutations=99)["p"] == pytest.approx(2 / 100)


def test_mantel_reads_ranks_of_pairs_only():
    first, second = symmetric(7, 1), symmetric(7, 2)
    expected = similarity_in_numbers.mantel(first, second, permutations=99)
    assert similarity_in_numbers.mantel(np.exp(first) + 9 * np.eye(7), second**3 - np.eye(7),
                                        permutations=99) == expected
    assert similarity_in_numbers.mantel(-first, second,
                                        permutations=99)["value"] == pytest.approx(
        -expected["value"])
    upper = np.triu_indices(7, 1)
    assert expected["value"] == pytest.approx(stats.spearmanr(first[upper],
                                                              second[upper]).statistic)


def test_similarity_with_nothing_left_to_explain_has_no_correlation():
    second, given = symmetric(6, 1), symmetric(6, 2)
    for first in (np.full((6, 6), 0.3), np.full((6, 6), 0.3) + 1e-15 * symmetric(6, 3)):
        assert similarity_in_numbers.mantel(first, second,
                                            permutations=50) == {"value": 0, "permuted_low": 0,
                                                                 "permuted_high": 0, "p": 1}
    assert similarity_in_numbers.mantel(given, second, [given], permutations=50)["value"] == 0


@pytest.mark.parametrize("shift", [0, 0.9])
def test_null_is_rejected_as_often_as_it_says(shift):
    """p below 0.1 in a tenth of the cases, for matrices of noise; with a planted dependence in
    nearly all of them."""
    rng, rejected = np.random.default_rng(5), 0
    for trial in range(200):
        first, second = symmetric(8, rng.integers(10**9)), symmetric(8, rng.integers(10**9))
        rejected += similarity_in_numbers.mantel(first + shift * second, second, permutations=99,
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
        similarity_in_numbers.mantel(*arguments)


# --- several blocks ---


def test_blocks_are_held_against_the_extremes_of_all():
    stack = np.stack([symmetric(4, seed) for seed in range(3)])
    second = symmetric(4, 9)
    found = similarity_in_numbers.block_mantel(stack, Relation(second))
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
        false += (similarity_in_numbers.block_mantel(stack, Relation(second), 99, trial)["p"]
                  <= 0.1).any()
        stack[4] += 1.5 * second
        significant = similarity_in_numbers.block_mantel(stack, Relation(second), 99,
                                                         trial).query("p <= 0.1")["block"]
        found += 5 in set(significant)
    assert false <= 14  # 6 expected of 60; uncorrected it would be 39
    assert found >= 58


# --- planted taxonomies ---


def planted_paths(outline, fill, images=8, blocks=6, n_neurons=40, seed=0, axes=AXES):
    """Paths that pass, with the given probabilities, through a neuron of their class's outline or
    fill, else through the class's own or any."""
    rng, classes = np.random.default_rng(seed), len(axes["outline"])
    codes = [np.unique(values, return_inverse=True)[1] for values in axes.values()]
    tables = [rng.integers(0, n_neurons, (code.max() + 1, blocks)) for code in codes]
    own = rng.integers(0, n_neurons, (classes, blocks))
    labels = np.repeat(np.arange(classes), images)
    draw = rng.integers(0, n_neurons, (len(labels), blocks))
    kind = rng.random((len(labels), blocks))
    neurons = np.where(kind < outline, tables[0][codes[0]][labels],
                       np.where(kind < outline + fill, tables[1][codes[1]][labels], draw))
    return np.where(kind > 0.8, own[labels], neurons), labels


def verdicts(neurons, labels, relations, **settings):
    table, _ = similarity_in_numbers.compare_similarity({"m": neurons}, labels, 40, relations,
                                                        **{"permutations": 199, "resamples": 20,
                                                           **settings})
    return {row["relation"]: similarity_in_numbers.permutation_verdict(row) for _,
            row in table.iterrows()}


def test_planted_axes_are_found_each_on_its_own():
    relations = similarity_in_numbers.taxonomy_relations(AXES)
    assert verdicts(*planted_paths(0.35, 0.35), relations) == {"outline": "agrees",
                                                               "fill": "agrees"}
    assert verdicts(*planted_paths(0.5, 0), relations)["outline"] == "agrees"
    assert verdicts(*planted_paths(0, 0.5), relations)["fill"] == "agrees"


def test_null_is_not_shown():
    """Classes with paths of their own, but without anything in common: about one verdict in twenty
    may err."""
    relations, errors = similarity_in_numbers.taxonomy_relations(AXES), {"outline": 0, "fill": 0}
    for seed in range(60):
        for axis, verdict in verdicts(*planted_paths(0, 0, seed=seed), relations, permutations=99,
                                      resamples=2).items():
            errors[axis] += verdict != "not shown"
    assert all(count <= 9 for count in errors.values())  # 3 expected


@pytest.mark.parametrize(("made_of", "other"), [("fill", "outline"), ("outline", "fill")])
def test_what_one_axis_does_is_not_credited_to_the_other(made_of, other):
    """No two classes share both, so that sharing one speaks against sharing the other: a plain
    correlation is misled, the relation is not."""
    relations, plain, partial = similarity_in_numbers.taxonomy_relations(AXES), [], 0
    for seed in range(40):
        neurons, labels = planted_paths(*((0, 0.6) if made_of == "fill" else (0.6, 0)), seed=seed)
        similar = metrics.cosine_similarity(similarity_in_numbers.class_utilisation(neurons, labels,
                                                                                    40))
        plain.append(similarity_in_numbers.mantel(similar, relations[other].matrix,
                                                  permutations=99)["value"])
        partial += verdicts(neurons, labels, {other: relations[other]}, permutations=99,
                            resamples=2)[other] != "not shown"
    assert np.mean(plain) < -0.1 and max(plain) < 0
    assert partial <= 7  # 2 expected


def test_shuffled_labels_show_nothing_and_an_untested_claim_would():
    neurons, labels = planted_paths(0.35, 0.35)
    relation = similarity_in_numbers.taxonomy_relations(AXES)["outline"]
    similar = metrics.cosine_similarity(similarity_in_numbers.class_utilisation(neurons, labels,
                                                                                40))
    assert similarity_in_numbers.mantel(similar, relation.matrix, relation.given,
                                        relation.groups)["p"] < 0.01
    # 3 of 60 expected
    assert similarity_in_numbers.shuffled_rate(neurons, labels, 40, relation, 60, 99) <= 0.15
    # where the claim is taken for shown at any p, as without a test, the control says so
    assert similarity_in_numbers.shuffled_rate(neurons, labels, 40, relation, 10, 99,
                                               level=1.1) == 1


def test_relations_of_a_taxonomy():
    relations = similarity_in_numbers.taxonomy_relations(AXES)
    assert list(relations) == ["outline", "fill"]
    assert relations["outline"].matrix[0, :6].tolist() == [1, 1, 1, 1, 0,
                                                           0] and relations["fill"].matrix[
        0, :6].tolist() == [1, 0, 0, 0, 1, 0]
    assert relations["outline"].given[0] is relations["fill"].matrix and relations[
        "fill"].groups == tuple((outline,) for outline in AXES["outline"])
    assert similarity_in_numbers.taxonomy_relations(
        {}) == {} and similarity_in_numbers.taxonomy_relations({"one": "aabb"})[
        "one"].groups is None


def test_interval_covers_what_repeated_samples_of_images_give():
    relations = {"outline": similarity_in_numbers.taxonomy_relations(AXES)["outline"]}
    neurons, labels = planted_paths(0.3, 0.2, images=60, seed=1)
    rng = np.random.default_rng(0)
    rows = [np.concatenate([rng.choice(np.flatnonzero(labels == label), 6, replace=False)
                            for label in range(24)]) for _ in range(40)]
    tables = [similarity_in_numbers.compare_similarity({"m": neurons[row]}, labels[row], 40,
                                                       relations, 5, 50 if place < 12 else 2,
                                                       place)[0]
              for place, row in enumerate(rows)]
    values = np.array([table["value"][0] for table in tables])
    covered = sum(table["low"][0] <= values.mean() <= table["high"][0] for table in tables[:12])
    assert covered >= 9
    # and not because they are endless
    assert all(table["high"][0] - table["low"][0] < 8 * values.std() for table in tables[:12])


def test_lead_over_another_method_is_paired():
    relations = similarity_in_numbers.taxonomy_relations(AXES)
    strong, labels = planted_paths(0.4, 0.3, seed=2)
    weak, _ = planted_paths(0.1, 0.3, seed=3)
    table, leads = similarity_in_numbers.compare_similarity({"strong": strong, "weak": weak,
                                                             "same": strong}, labels, 40, relations,
                                                            99, 60)
    leads = leads.set_index(["against", "relation"])
    assert report.verdict(leads.loc["weak", "outline"]) == "agrees"
    assert leads.loc[("same", "outline"), ["value", "low", "high"]].tolist() == [0, 0, 0]
    values = table.set_index(["method", "relation"])["value"]
    assert leads.loc[("weak", "fill"), "value"] == pytest.approx(values["strong", "fill"]
                                                                 - values["weak", "fill"])
    swapped = similarity_in_numbers.compare_similarity({"weak": weak, "strong": strong}, labels, 40,
                                                       relations, 99, 60)[1].set_index("relation")
    assert report.verdict(swapped.loc["outline"]) == "contradicts"


def test_verdict_asks_the_permutation_and_the_sign():
    assert [similarity_in_numbers.permutation_verdict({"value": value, "low": 0.1, "high": 0.2,
                                                       "p": p}) for value, p in
            ((0.2, 0.04), (0.2, 0.05), (-0.2, 0.04))] == ["agrees", "not shown", "contradicts"]
    assert similarity_in_numbers.permutation_verdict({"value": 0.2, "p": 0.01,
                                                      "adjusted": 0.06}) == "not shown"


# --- parts ---


def test_pair_means_by_hand():
    similarity = np.array([[1, 0.8, 0.4, 0.1], [0.8, 1, 0.3, 0.6], [0.4, 0.3, 1, 0.7],
                           [0.1, 0.6, 0.7, 1]])
    found = similarity_in_numbers.pair_means(similarity, {"outline": "aabb", "fill": "xyxy"})
    assert found == pytest.approx({"outline": 0.75, "fill": 0.5, "nothing": 0.2})


def test_confusions_by_hand():
    probabilities = np.eye(3)[[0, 0, 1, 1, 1, 2, 0, 1]]
    found = similarity_in_numbers.confusion_similarity(probabilities,
                                                       np.array([0, 0, 0, 0, 1, 1, 2, 2]))
    assert found == pytest.approx(np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.5], [0.25, 0.5, 0]]))
    with pytest.raises(ValueError, match=r"classes \[2\] have no images"):
        similarity_in_numbers.confusion_similarity(probabilities[:2], np.array([0, 1]))


def test_embedding_and_block_similarity_by_hand():
    assert similarity_in_numbers.embedding_similarity(
        np.array([[3, 4], [4, 3], [-3, -4]])) == pytest.approx(
        np.array([[1, 0.96, -1], [0.96, 1, -0.96], [-1, -0.96, 1]]))
    usage = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]], float)
    assert similarity_in_numbers.block_similarity(usage) == pytest.approx(
        np.array([np.ones((2, 2)), np.eye(2)]))


def test_class_utilisation_does_not_mind_the_order_of_images():
    neurons, labels = planted_paths(0.3, 0.3)
    order = np.random.default_rng(0).permutation(len(labels))
    found = similarity_in_numbers.class_utilisation(neurons[order], labels[order], 40)
    assert found == pytest.approx(similarity_in_numbers.class_utilisation(neurons, labels, 40))
    assert found[3, 2] == pytest.approx(np.bincount(neurons[labels == 3, 2], minlength=40) / 8)


def test_relations_of_a_model(tmp_path):
    """Digits have no axes; the networks' seeded heads differ between classes, and untrained they
    take classes for one another."""
    study = Study(root=small_study.make_study(tmp_path), results=tmp_path / "results")
    relations = similarity_in_numbers.class_relations(study, "one")
    assert set(relations) <= {"embedding", "confusions"} and "embedding" in relations
    weight = study.target("one").model.head.weight.detach().numpy()
    assert relations["embedding"].matrix[2, 5] == pytest.approx(weight[2] @ weight[5]
                                                                / np.linalg.norm(weight[2])
                                                                / np.linalg.norm(weight[5]))
