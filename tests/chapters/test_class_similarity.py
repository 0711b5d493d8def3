"""Similarity of classes: halves of a class, classes that look alike, the most and the least similar
ones."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from neuronpath_core import metrics
from neuronpath_core.chapters.class_similarity import similar, words, wrong_labels
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats import report
from tests.chapters.tables import class_table


def coloured(means, labels, noise=0.1, seed=0):
    """Images of one channel around each class's mean image."""
    rng = np.random.default_rng(seed)
    pictures = torch.from_numpy(means[labels][:, None]
                                + noise * rng.standard_normal((len(labels), 1, *means.shape[1:])))
    names = tuple(f"class {label}" for label in range(len(means)))
    return ImageSet(pictures, torch.from_numpy(labels), torch.arange(len(labels)), names,
                    np.zeros((len(labels), 2, 2), np.uint8))


def test_utilisation_from_a_tidy_table():
    table = class_table("own")
    found = similar.utilisation(pd.concat([table.sample(frac=1, random_state=0),
                                            class_table("null", model="other")]), "m", 12)
    assert found.shape == (4, 6, 12)
    for label in range(4):
        for block in range(6):
            own = table[(table["label"] == label) & (table["block"] == block + 1)]["neuron"]
            assert found[label, block].tolist() == [(own == neuron).mean() for neuron in range(12)]


@pytest.mark.parametrize(("kind", "verdict"), [("own", "agrees"), ("null", "not shown"),
                                               ("common", "not shown")])
def test_split_half_similarity(kind, verdict):
    verdicts, rows = [], []
    for seed in range(5):
        rows.append(similar.split_half_similarity(class_table(kind, 80, 8, seed=seed), "m", 12,
                                                   seed=seed))
        verdicts.append(report.verdict(rows[-1]))
    assert verdicts.count(verdict) >= (5 if kind == "own" else 4)
    for row in rows:
        assert row["difference"] == pytest.approx(row["two halves of a class"]
                                                  - row["halves of two classes"], abs=1e-12)
        assert abs(row["difference"]) > 0.3 if kind == "own" else abs(row["difference"]) < 0.1
        if kind == "common":
            # similar, but as similar as the halves of two classes
            assert row["two halves of a class"] > 0.8
    assert rows[0] == similar.split_half_similarity(class_table(kind, 80, 8, seed=0), "m", 12,
                                                     seed=0)


def test_split_half_similarity_by_hand():
    """Two classes whose images all take one path: a half is its class, and nothing of the other."""
    table = class_table("always", 12, 2).assign(neuron=lambda own: own["label"])
    found = similar.split_half_similarity(table, "m", 3)
    assert found == pytest.approx({"two halves of a class": 1, "halves of two classes": 0,
                                   "difference": 1, "low": 1, "high": 1})


def test_classes_that_look_alike_are_found_and_permuted_ones_are_not():
    rng = np.random.default_rng(3)
    means = rng.standard_normal((10, 4, 4))
    images = coloured(means, np.arange(100) % 10)
    centred = (means - means.mean(0)).reshape(10, -1)
    look = metrics.cosine_similarity(centred[:, None])
    planted = similar.look_correlation(0.5 + 0.4 * look, images, permutations=200)
    assert planted["correlation"] > 0.8 > planted["permuted_high"]
    turned = similar.look_correlation(0.5 - 0.4 * look, images, permutations=200)
    assert turned["correlation"] < -0.8 < turned["permuted_low"]
    inside = 0
    for _ in range(20):
        order = rng.permutation(10)
        found = similar.look_correlation(0.5 + 0.4 * look[np.ix_(order, order)], images,
                                          permutations=200)
        assert found["permuted_low"] < 0 < found["permuted_high"]
        inside += found["permuted_low"] <= found["correlation"] <= found["permuted_high"]
    assert inside >= 17  # 19 expected


def test_look_correlation_does_not_see_the_diagonal_or_what_all_images_share():
    rng = np.random.default_rng(4)
    means = rng.standard_normal((5, 3, 3))
    labels = np.arange(25) % 5
    images, brighter = coloured(means, labels, 0), coloured(means + 7, labels, 0)
    similarity = metrics.cosine_similarity(rng.random((5, 2, 3)))
    expected = similar.look_correlation(similarity, images, permutations=50)
    assert similar.look_correlation(similarity + 5 * np.eye(5), images,
                                     permutations=50) == expected
    found = similar.look_correlation(similarity, brighter, permutations=50)
    assert found["correlation"] == pytest.approx(expected["correlation"])


def test_look_correlation_is_that_of_a_loop_over_permutations():
    """Also with ties, and with as many permutations as there are in all."""
    rng = np.random.default_rng(5)
    images = coloured(rng.standard_normal((6, 3, 3)), np.arange(30) % 6, 0)
    similarity = np.round(metrics.cosine_similarity(rng.random((6, 2, 3))), 2)
    seen, pairs = images.appearance(), np.triu_indices(6, 1)
    means = np.stack([seen[images.labels.numpy() == label].mean(0) for label in range(6)])
    look = metrics.cosine_similarity((means - means.mean(0))[:, None])
    every = [stats.spearmanr(similarity[pairs], look[np.ix_(order, order)][pairs]).statistic
             for order in map(list, itertools.permutations(range(6)))]
    found = similar.look_correlation(similarity, images, permutations=720)
    assert found == pytest.approx({"correlation": every[0],
                                   "permuted_low": np.quantile(every, 0.025),
                                   "permuted_high": np.quantile(every, 0.975)}, abs=1e-9)


@pytest.mark.parametrize(("classes", "similarity"), [(2, 0.4), (4, 0.0), (4, 0.1)])
def test_nothing_correlates_where_the_similarity_of_classes_does_not_vary(classes, similarity):
    images = coloured(np.random.default_rng(6).standard_normal((classes, 3, 3)),
                      np.arange(3 * classes) % classes, 0)
    found = similar.look_correlation(np.where(np.eye(classes) > 0, 1, similarity), images)
    assert all(np.isnan(value) for value in found.values()) and list(found) == ["correlation",
                                                                                "permuted_low",
                                                                                "permuted_high"]


def test_extremes_by_hand():
    similarity = np.array([[1, 0.2, 0.9, 0.5], [0.2, 1, 0.3, 0.4], [0.9, 0.3, 1, 0.1],
                           [0.5, 0.4, 0.1, 1]])
    found = words.extremes(similarity, ["a", "b", "c", "d"])
    assert found.values.tolist() == [
        ["a", "most similar", "c", 0.9], ["a", "least similar", "b", 0.2],
        ["b", "most similar", "d", 0.4], ["b", "least similar", "a", 0.2],
        ["c", "most similar", "a", 0.9], ["c", "least similar", "d", 0.1],
        ["d", "most similar", "a", 0.5], ["d", "least similar", "c", 0.1]]


@pytest.mark.parametrize(("share", "count"), [(0.05, 2), (0.01, 1), (0.25, 10)])
def test_extremes_exclude_the_class_itself(share, count):
    rng = np.random.default_rng(1)
    similarity = np.clip(metrics.cosine_similarity(rng.random((41, 2, 3))), 0, 1)
    similarity[3, :] = 1.0  # even where others are as similar as the class itself
    names = [f"class {index}" for index in range(41)]
    found = words.extremes(similarity, names, share)
    assert (found["class"] != found["other"]).all()
    assert (found.groupby(["class", "kind"]).size() == count).all() and len(found) == 41 * 2 * count
    for index in (0, 3, 40):
        others = np.delete(similarity[index], index)
        own = found[found["class"] == names[index]]
        assert own[own["kind"] == "most similar"]["similarity"].tolist() == np.sort(others)[::-1][
            :count].tolist()
        assert own[own["kind"] == "least similar"]["similarity"].tolist() == np.sort(others)[
            :count].tolist()


LABELS = np.repeat(np.arange(4), 6)


def relabelled(kind, seed=0, layers=12, neurons=40):
    """Paths that hold, in two blocks of three, a neuron of the label, of the picture's class, or of
    the image alone; the rest is drawn anew in every search."""
    rng = np.random.default_rng(seed)
    images = ImageSet(torch.zeros(24, 1, 2, 2), torch.from_numpy(LABELS), torch.arange(24),
                      tuple("abcd"), np.zeros((24, 2, 2), np.uint8))
    chosen, wrong = wrong_labels.wrongly_labelled(images, 1, seed)
    kinds = rng.integers(0, neurons, (24, layers))

    def searched(asked, shown, places):
        path = rng.integers(0, neurons, (len(places), layers))
        row = {"label": asked, "picture": shown, "image": places}[kind]
        path[:, : 2 * layers // 3] = kinds[row, : 2 * layers // 3]
        return path

    own = searched(LABELS, LABELS, np.arange(24))
    again = searched(wrong, LABELS[chosen], chosen)
    return wrong_labels.label_overlap(own, again, chosen, wrong, LABELS)


@pytest.mark.parametrize(("kind", "part"), [("label", 1.0), ("picture", 0.0)])
def test_the_label_s_part_is_all_or_nothing_where_paths_are_the_label_s_or_the_picture_s(kind, part):
    found = wrong_labels.label_part(relabelled(kind))
    assert found["part"] == pytest.approx(part, abs=0.12)
    assert found["part_low"] <= found["part"] <= found["part_high"]
    assert found["kept"] == pytest.approx(1 - part, abs=0.12)
    assert found["kept_low"] <= found["kept"] <= found["kept_high"]
    assert (report.verdict(found) == "agrees") == (kind == "label")
    assert found["picture" if kind == "picture" else "label"] > 0.6 > 0.2 > found["neither"]
    text = wrong_labels.label_table(pd.DataFrame({"m": found}).T)
    assert text.loc["m", "its part of what a class shares"].startswith(
        f"{100 * found['part']:.0f} % [")


def test_the_parts_and_their_rest_are_told_with_how_many_show_them():
    parts = pd.DataFrame({"part": [0.08, 0.06], "part_low": [0.02, -0.01],
                          "kept": [0.15, 0.20], "kept_low": [0.06, 0.10]})
    assert wrong_labels.part_texts(parts) == {
        "picture part": "15 to 20 %", "label part": "6 to 8 %", "both part": "74 to 77 %",
        "shown picture": "2 of 2", "shown label": "1 of 2"}


def test_where_a_class_shares_nothing_the_label_has_no_lead():
    found = wrong_labels.label_part(relabelled("image"))
    assert report.verdict(found) != "agrees" and abs(found["value"]) < 0.05


def test_wrong_labels_are_of_other_classes_and_every_class_can_be_one():
    images = coloured(np.zeros((3, 2, 2)), np.repeat([0, 1, 2], 20))
    chosen, wrong = wrong_labels.wrongly_labelled(images, 1)
    assert chosen.tolist() == list(range(60)) and set(wrong.tolist()) == {0, 1, 2}
    assert not (wrong == images.labels.numpy()).any()
    assert len(wrong_labels.wrongly_labelled(images, 4)[0]) == 15
    with pytest.raises(ValueError, match="at least two"):
        wrong_labels.wrongly_labelled(images.select(np.arange(20)))


def test_without_a_third_class_the_label_s_lead_is_unknown():
    found = wrong_labels.label_part(wrong_labels.label_overlap(
        np.zeros((4, 3)), np.zeros((2, 3)), np.array([0, 2]), np.array([1, 0]),
        np.array([0, 0, 1, 1])))
    assert np.isnan([found["value"], found["part"]]).all() and found["both"] == 1
    text = wrong_labels.label_table(pd.DataFrame({"m": found}).T)
    assert text.loc["m", "the label's lead"] == "–"
    assert report.percent_span([found["part"]]) == "–"


def test_label_overlap_by_hand():
    own = np.array([[0, 0], [0, 1], [2, 2], [2, 3], [4, 4]])
    found = wrong_labels.label_overlap(own, np.array([[2, 1]]), np.array([0]), np.array([1]),
                                           np.array([0, 0, 1, 1, 2]))
    assert found.iloc[0].to_dict() == {"label": 0.5, "picture": 0.5, "neither": 0.0, "both": 0.5,
                                       "other": 0.0}
