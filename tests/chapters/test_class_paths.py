"""Path tables, and neurons that a class shares, all classes share or none does."""

import pandas as pd
import pytest

from neuronpath_core.chapters import class_paths
from tests.chapters.tables import class_table


def test_path_table(study, images):
    paths = study.paths("pooled", images, "activation", steps=1)
    table = class_paths.path_table("pooled", images, paths)
    assert list(table.columns) == ["model", "image", "label", "block", "neuron"]
    assert len(table) == 20 * 4 and set(table["model"]) == {"pooled"}
    for row in table.sample(30, random_state=0).to_dict("records"):
        where = images.ids.tolist().index(row["image"])
        assert row["label"] == images.labels[where] and row["neuron"] == paths.neurons[
            where, row["block"] - 1]


def test_path_tables_of_several_models(study, images):
    paths = {name: study.paths(name, images, "random") for name in ("pooled", "small")}
    found = class_paths.path_tables(images, paths)
    assert found.index.tolist() == list(range(20 * 4 + 20 * 3))
    for name, own in found.groupby("model"):
        expected = class_paths.path_table(name, images, paths[name])
        pd.testing.assert_frame_equal(own.reset_index(drop=True), expected)
    assert found["model"].unique().tolist() == ["pooled", "small"]


def test_concentration_by_hand():
    labels, neurons = [0, 0, 0, 0, 1, 1, 1], [2, 2, 3, 2, 3, 3, 3]
    table = pd.DataFrame({"model": "m", "image": range(7), "label": labels, "block": 1,
                          "neuron": neurons})
    found = class_paths.concentration(table, {"m": 8}, permutations=20)
    assert found[["model", "block", "share", "uniform"]].values.tolist() == [
        ["m", 1, (3 / 4 + 1) / 2, 1 / 8]]


@pytest.mark.parametrize(("kind", "verdict"), [
    ("own", "agrees"), ("null", "not shown"), ("common", "not shown"), ("always", "not shown")])
def test_concentration_counts_only_what_belongs_to_the_class(kind, verdict):
    """A neuron that all classes share is as concentrated, and must not exceed the shuffled band."""
    shares = class_paths.concentration(class_table(kind), {"m": 12}, permutations=100)
    assert list(shares.columns) == ["model", "block", "share", "shuffled", "shuffled_high",
                                    "uniform"]
    assert shares["block"].tolist() == [1, 2, 3, 4, 5,
                                        6] and (shares["shuffled"] <= shares["shuffled_high"]
                                                + 1e-12).all()
    summary = class_paths.concentration_summary(shares).loc["m"]
    assert summary["verdict"] == verdict and summary["blocks"] == 6
    if kind == "own":
        assert summary["above"] == 6 and (shares["share"] > shares["shuffled_high"] + 0.1).all()
    if kind == "common":
        # far above 1/n, and yet no class's own
        assert (shares["share"] > 0.6).all() and summary["above"] <= 1
    if kind == "always":
        assert (shares[["share", "shuffled", "shuffled_high"]]
                == 1).all(axis=None) and summary["above"] == 0


def test_the_shuffled_band_is_exceeded_by_chance_about_as_often_as_it_says():
    above = [class_paths.concentration(class_table("null", seed=seed), {"m": 12}, permutations=60,
                                    seed=seed) for seed in range(8)]
    # of 48, at 2.5 % each
    assert sum((own["share"] > own["shuffled_high"]).sum() for own in above) <= 6


def test_concentration_depends_on_its_seed_but_not_on_the_other_model():
    table = pd.concat([class_table("own"), class_table("null", model="other")])
    found = class_paths.concentration(table, {"m": 12, "other": 24}, permutations=20, seed=4)
    pd.testing.assert_frame_equal(class_paths.concentration(table, {"m": 12, "other": 24},
                                                         permutations=20, seed=4), found)
    assert found.groupby("model", sort=False)["uniform"].first().tolist() == [1 / 12, 1 / 24]
    assert class_paths.concentration_summary(found)["verdict"].to_dict() == {"m": "agrees",
                                                                          "other": "not shown"}


@pytest.mark.parametrize(("above", "verdict"), [(0, "not shown"), (2, "not shown"), (3, "agrees"),
                                                (4, "agrees")])
def test_concentration_needs_more_than_half_of_the_blocks(above, verdict):
    shares = pd.DataFrame({"model": "m", "block": range(4), "share": [0.6] * above
                           + [0.5] * (4 - above), "shuffled": 0.4,
                           "shuffled_high": 0.5, "uniform": 0.1})
    found = class_paths.concentration_summary(shares).loc["m"]
    assert (found["above"], found["blocks"], found["verdict"]) == (above, 4, verdict)
    assert found["share"] == pytest.approx(0.5
                                           + 0.025 * above) and found["shuffled"] == pytest.approx(
        0.4)
