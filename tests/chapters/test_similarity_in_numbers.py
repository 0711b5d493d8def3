"""The similarity of paths against taxonomies, embeddings and confusions: exact where there are few
classes, and blind where nothing is there."""


import numpy as np
import pytest

from neuronpath_core import metrics
from neuronpath_core.chapters.similarity_in_numbers import measured, related
from neuronpath_core.stats import report
from neuronpath_core.stats.mantel import mantel
from neuronpath_core.stats.tests import permutation_verdict
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


# --- Mantel ---


# --- several blocks ---


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
    table, _ = measured.compare_similarity({"m": neurons}, labels, 40, relations,
                                                        **{"permutations": 199, "resamples": 20,
                                                           **settings})
    return {row["relation"]: permutation_verdict(row) for _,
            row in table.iterrows()}


def test_planted_axes_are_found_each_on_its_own():
    relations = related.taxonomy_relations(AXES)
    assert verdicts(*planted_paths(0.35, 0.35), relations) == {"outline": "agrees",
                                                               "fill": "agrees"}
    assert verdicts(*planted_paths(0.5, 0), relations)["outline"] == "agrees"
    assert verdicts(*planted_paths(0, 0.5), relations)["fill"] == "agrees"


def test_null_is_not_shown():
    """Classes with paths of their own, but without anything in common: about one verdict in twenty
    may err."""
    relations, errors = related.taxonomy_relations(AXES), {"outline": 0, "fill": 0}
    for seed in range(60):
        for axis, verdict in verdicts(*planted_paths(0, 0, seed=seed), relations, permutations=99,
                                      resamples=2).items():
            errors[axis] += verdict != "not shown"
    assert all(count <= 9 for count in errors.values())  # 3 expected


@pytest.mark.parametrize(("made_of", "other"), [("fill", "outline"), ("outline", "fill")])
def test_what_one_axis_does_is_not_credited_to_the_other(made_of, other):
    """No two classes share both, so that sharing one speaks against sharing the other: a plain
    correlation is misled, the relation is not."""
    relations, plain, partial = related.taxonomy_relations(AXES), [], 0
    for seed in range(40):
        neurons, labels = planted_paths(*((0, 0.6) if made_of == "fill" else (0.6, 0)), seed=seed)
        similar = metrics.cosine_similarity(measured.class_utilisation(neurons, labels,
                                                                                    40))
        plain.append(mantel(similar, relations[other].matrix,
                                                  permutations=99)["value"])
        partial += verdicts(neurons, labels, {other: relations[other]}, permutations=99,
                            resamples=2)[other] != "not shown"
    assert np.mean(plain) < -0.1 and max(plain) < 0
    assert partial <= 7  # 2 expected


def test_shuffled_labels_show_nothing_and_an_untested_claim_would():
    neurons, labels = planted_paths(0.35, 0.35)
    relation = related.taxonomy_relations(AXES)["outline"]
    similar = metrics.cosine_similarity(measured.class_utilisation(neurons, labels,
                                                                                40))
    assert mantel(similar, relation.matrix, relation.given,
                                        relation.groups)["p"] < 0.01
    # 3 of 60 expected
    assert measured.shuffled_rate(neurons, labels, 40, relation, 60, 99) <= 0.15
    # where the claim is taken for shown at any p, as without a test, the control says so
    assert measured.shuffled_rate(neurons, labels, 40, relation, 10, 99,
                                               level=1.1) == 1


def test_relations_of_a_taxonomy():
    relations = related.taxonomy_relations(AXES)
    assert list(relations) == ["outline", "fill"]
    assert relations["outline"].matrix[0, :6].tolist() == [1, 1, 1, 1, 0,
                                                           0] and relations["fill"].matrix[
        0, :6].tolist() == [1, 0, 0, 0, 1, 0]
    assert relations["outline"].given[0] is relations["fill"].matrix and relations[
        "fill"].groups == tuple((outline,) for outline in AXES["outline"])
    assert related.taxonomy_relations(
        {}) == {} and related.taxonomy_relations({"one": "aabb"})[
        "one"].groups is None


def test_interval_covers_what_repeated_samples_of_images_give():
    relations = {"outline": related.taxonomy_relations(AXES)["outline"]}
    neurons, labels = planted_paths(0.3, 0.2, images=60, seed=1)
    rng = np.random.default_rng(0)
    rows = [np.concatenate([rng.choice(np.flatnonzero(labels == label), 6, replace=False)
                            for label in range(24)]) for _ in range(40)]
    tables = [measured.compare_similarity({"m": neurons[row]}, labels[row], 40,
                                                       relations, 5, 50 if place < 12 else 2,
                                                       place)[0]
              for place, row in enumerate(rows)]
    values = np.array([table["value"][0] for table in tables])
    covered = sum(table["low"][0] <= values.mean() <= table["high"][0] for table in tables[:12])
    assert covered >= 9
    # and not because they are endless
    assert all(table["high"][0] - table["low"][0] < 8 * values.std() for table in tables[:12])


def test_lead_over_another_method_is_paired():
    relations = related.taxonomy_relations(AXES)
    strong, labels = planted_paths(0.4, 0.3, seed=2)
    weak, _ = planted_paths(0.1, 0.3, seed=3)
    table, leads = measured.compare_similarity({"strong": strong, "weak": weak,
                                                             "same": strong}, labels, 40, relations,
                                                            99, 60)
    leads = leads.set_index(["against", "relation"])
    assert report.verdict(leads.loc["weak", "outline"]) == "agrees"
    assert leads.loc[("same", "outline"), ["value", "low", "high"]].tolist() == [0, 0, 0]
    values = table.set_index(["method", "relation"])["value"]
    assert leads.loc[("weak", "fill"), "value"] == pytest.approx(values["strong", "fill"]
                                                                 - values["weak", "fill"])
    swapped = measured.compare_similarity({"weak": weak, "strong": strong}, labels, 40,
                                                       relations, 99, 60)[1].set_index("relation")
    assert report.verdict(swapped.loc["outline"]) == "contradicts"


# --- parts ---


def test_pair_means_by_hand():
    similarity = np.array([[1, 0.8, 0.4, 0.1], [0.8, 1, 0.3, 0.6], [0.4, 0.3, 1, 0.7],
                           [0.1, 0.6, 0.7, 1]])
    found = measured.pair_means(similarity, {"outline": "aabb", "fill": "xyxy"})
    assert found == pytest.approx({"outline": 0.75, "fill": 0.5, "nothing": 0.2})


def test_confusions_by_hand():
    probabilities = np.eye(3)[[0, 0, 1, 1, 1, 2, 0, 1]]
    found = related.confusion_similarity(probabilities,
                                                       np.array([0, 0, 0, 0, 1, 1, 2, 2]))
    assert found == pytest.approx(np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.5], [0.25, 0.5, 0]]))
    with pytest.raises(ValueError, match=r"classes \[2\] have no images"):
        related.confusion_similarity(probabilities[:2], np.array([0, 1]))


def test_embedding_and_block_similarity_by_hand():
    assert related.embedding_similarity(
        np.array([[3, 4], [4, 3], [-3, -4]])) == pytest.approx(
        np.array([[1, 0.96, -1], [0.96, 1, -0.96], [-1, -0.96, 1]]))
    usage = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]], float)
    assert measured.block_similarity(usage) == pytest.approx(
        np.array([np.ones((2, 2)), np.eye(2)]))


def test_class_utilisation_does_not_mind_the_order_of_images():
    neurons, labels = planted_paths(0.3, 0.3)
    order = np.random.default_rng(0).permutation(len(labels))
    found = measured.class_utilisation(neurons[order], labels[order], 40)
    assert found == pytest.approx(measured.class_utilisation(neurons, labels, 40))
    assert found[3, 2] == pytest.approx(np.bincount(neurons[labels == 3, 2], minlength=40) / 8)


def test_relations_of_a_model(tmp_path):
    """Digits have no axes; the networks' seeded heads differ between classes, and untrained they
    take classes for one another."""
    study = Study(root=small_study.make_study(tmp_path), results=tmp_path / "results")
    relations = related.class_relations(study, "one")
    assert set(relations) <= {"embedding", "confusions"} and "embedding" in relations
    weight = study.target("one").model.head.weight.detach().numpy()
    assert relations["embedding"].matrix[2, 5] == pytest.approx(weight[2] @ weight[5]
                                                                / np.linalg.norm(weight[2])
                                                                / np.linalg.norm(weight[5]))


def test_paths_and_their_use_by_every_model_and_method(tmp_path):
    study = Study(root=small_study.make_study(tmp_path), results=tmp_path / "results")
    images = study.images(10)
    paths = measured.method_paths(study, ["one"], images, ["activation", "random"])
    assert list(paths) == ["one"] and list(paths["one"]) == ["activation", "random"]
    usage = measured.path_usage(study, paths, images.labels.numpy())
    assert list(usage) == [("one", "activation"), ("one", "random")]
    for (_, method), matrices in usage.items():
        neurons = study.paths("one", images, method).neurons.numpy()
        assert np.array_equal(paths["one"][method], neurons)
        assert np.array_equal(matrices, measured.class_utilisation(
            neurons, images.labels.numpy(), study.target("one").n_neurons))
