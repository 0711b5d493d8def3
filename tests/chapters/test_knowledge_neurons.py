"""Knowledge neurons by a direct computation, and what is said of the blocks they lie in on planted
tables."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

import neuronpath_core as npc
from neuronpath_core.chapters.knowledge_neurons import (
    depth_shares,
    measured,
)
from neuronpath_core.chapters.knowledge_neurons import (
    scaling as knowledge_neurons_scaling,
)
from neuronpath_core.chapters.knowledge_neurons import (
    words as knowledge_neurons_words,
)
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import bootstrap_interval, interval_row
from tests import twins
from tests.chapters.tables import NAMES


def test_knowledge_neurons_are_the_largest_of_the_attribution(study, images):
    table = measured.knowledge_neurons(study, NAMES, images, top=4, steps=2)
    assert list(table.columns) == ["model", "image", "label", "rank", "block", "neuron",
                                   "attribution"]
    assert len(table) == 2 * 20 * 4
    assert list(dict.fromkeys(table["model"])) == NAMES
    for name in NAMES:
        target, (pictures, labels) = study.target(name), study.batch(images, name)
        direct = npc.knowledge_attribution(target, pictures, labels, "right", 2)
        own = table[table["model"] == name]
        assert own["image"].tolist() == np.repeat(images.ids.numpy(), 4).tolist()
        assert own["label"].tolist() == np.repeat(images.labels.numpy(), 4).tolist()
        assert own["rank"].tolist() == 20 * [1, 2, 3, 4]
        for number, (_, rows) in enumerate(own.groupby("image", sort=False)):
            expected = np.sort(direct[number].flatten().numpy())[::-1][:4]
            # a draft's
            np.testing.assert_allclose(rows["attribution"], expected, rtol=1e-4, atol=1e-9)
            found = direct[number].numpy()[rows["block"] - 1, rows["neuron"]]  # blocks count from 1
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
            assert not rows.duplicated(["block", "neuron"]).any()
        assert own["block"].between(1, target.n_blocks).all() and own["neuron"].between(0, 15).all()


def test_knowledge_neurons_in_parts_are_the_same(study, images, monkeypatch):
    whole = measured.knowledge_neurons(study, ["small"], images, top=3, steps=2)
    monkeypatch.setattr(measured, "images_at_once", lambda target, copies: 7)
    parts = measured.knowledge_neurons(study, ["small"], images, top=3, steps=2)
    pd.testing.assert_frame_equal(parts, whole, rtol=0, atol=1e-15)


@pytest.mark.parametrize("top", [0, 3 * 16 + 1])
def test_more_neurons_than_there_are(study, images, top):
    with pytest.raises(ValueError, match=r"1\.\.48"):
        measured.knowledge_neurons(study, ["small"], images, top=top, steps=1)


def knowledge_table(shares, images=60, top=5, seed=0):
    """``model -> share of each block``: every image's neurons are drawn from it."""
    rng, tables = np.random.default_rng(seed), []
    for model, own in shares.items():
        tables.append(pd.DataFrame({"model": model, "image": np.repeat(np.arange(images), top),
                                    "block": rng.choice(np.arange(1, len(own) + 1), images * top,
                                                        p=own)}))
    return pd.concat(tables, ignore_index=True)


RISING = np.arange(1, 7) / 21


def test_interval_row():
    values = np.random.default_rng(0).exponential(size=30)
    for statistic, function in (("mean", np.mean), ("median", np.median)):
        row = interval_row(values, statistic, seed=2)
        assert (row["low"], row["high"]) == bootstrap_interval(values, statistic, seed=2)
        assert row["value"] == function(values) and row["low"] < row["value"] < row["high"]


def test_block_shares_by_hand():
    table = pd.DataFrame({"model": 4 * ["one"] + 4 * ["two"], "image": 2 * [7, 7, 9, 9],
                          "block": [1, 1, 1, 3, 2, 2, 2, 2]})
    found = depth_shares.block_shares(table, 3)
    assert list(found.columns) == ["model", "block", "value", "low", "high"]
    assert found[["model", "block", "value"]].values.tolist() == [
        ["one", 1, 0.75], ["one", 2, 0.0], ["one", 3, 0.25], ["two", 1, 0.0], ["two", 2, 1.0],
        ["two", 3, 0.0]]
    assert found[["low", "high"]].values.tolist()[1] == [0, 0]  # a block that no image uses
    # each of two images may be drawn twice
    assert found[["low", "high"]].values.tolist()[0] == [0.5, 1.0]


def test_block_shares_sum_to_one_and_find_the_planted_ones():
    found = depth_shares.block_shares(knowledge_table({"a": RISING, "b": RISING[::-1]}, images=400), 6)
    assert np.allclose(found.groupby("model")["value"].sum(), 1)
    np.testing.assert_allclose(found[found["model"] == "a"]["value"], RISING, rtol=0, atol=0.04)
    assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).all()
    assert (found["high"] - found["low"]).between(0.005, 0.1).all()


def test_relative_depth():
    table = pd.DataFrame({"model": ["a"] * 4 + ["b"] * 4, "image": 2 * [0, 0, 1, 1],
                          "block": [1, 3, 4, 4, 1, 3, 4, 4]})
    found = depth_shares.relative_depth(table, {"a": 4, "b": 8}).set_index("model")
    assert found["value"].tolist() == [0.75, 0.375]
    assert found.loc["a", ["low", "high"]].tolist() == [0.5, 1.0]


def test_relative_depth_tells_early_from_late_and_not_equal_from_equal():
    table = knowledge_table({"late": RISING, "early": RISING[::-1], "again": RISING}, images=200)
    found = depth_shares.relative_depth(table,
                                    dict.fromkeys(("late", "early", "again"), 6)).set_index("model")
    assert found.loc["early", "high"] < found.loc["late", "low"]
    assert found.loc["again", "low"] < found.loc["late",
                                                 "high"] and found.loc["late", "low"] < found.loc[
        "again", "high"]


def correlation(first, second, **settings):
    return depth_shares.share_correlation(knowledge_table({"a": first, "b": second}, **settings), "a",
                                      "b", len(first), resamples=500)


def test_inverted_distributions_correlate_negatively():
    found = correlation(RISING, RISING[::-1])
    assert found["value"] < -0.8
    assert report.verdict(found, expected=-1) == "agrees" and report.verdict(found) == "contradicts"


def test_equal_distributions_correlate_positively():
    found = correlation(RISING, RISING)
    assert found["value"] > 0.8
    assert report.verdict(found, expected=-1) == "contradicts"


def test_unrelated_distributions_show_nothing():
    bumps = np.array([0.4, 0.1, 0.1, 0.25, 0.1, 0.05]), np.array([0.15, 0.3, 0.1, 0.25, 0.05, 0.15])
    assert abs(np.corrcoef(*bumps)[0, 1]) < 0.25
    assert report.verdict(correlation(*bumps), expected=-1) == "not shown"
    verdicts = [report.verdict(correlation(np.full(6, 1 / 6), np.full(6, 1 / 6), seed=seed),
                               expected=-1) for seed in range(30)]
    assert verdicts.count("agrees") <= 3  # one in forty is due to chance alone


def test_the_correlation_is_that_of_the_mean_shares():
    table = knowledge_table({"a": RISING, "b": RISING[::-1]})
    found, again = (depth_shares.share_correlation(table, "a", "b", 6, seed=seed, resamples=200)
                    for seed in (3, 3))
    shares = depth_shares.block_shares(table, 6).pivot(index="block", columns="model", values="value")
    assert found == again
    assert found["value"] == pytest.approx(np.corrcoef(shares["a"], shares["b"])[0, 1], abs=1e-12)
    swapped = depth_shares.share_correlation(table, "b", "a", 6, resamples=200)
    assert swapped["value"] == pytest.approx(found["value"], abs=1e-12)


def test_the_interval_of_the_correlation_of_a_table_with_itself_holds_its_value():
    table = knowledge_table({"a": np.full(6, 1 / 6)}, images=40)
    found = depth_shares.share_correlation(pd.concat([table, table.assign(model="b")]), "a", "b", 6,
                                       resamples=200)
    assert found["value"] == pytest.approx(1)
    assert found["low"] - 1e-12 <= found["value"] <= found["high"] + 1e-12


# --- one neuron scaled at a time ---


def test_neurons_scaled_alone_are_those_of_equation_5(study, images):
    table = knowledge_neurons_scaling.knowledge_by_scaling(study, NAMES, images, 4, top=3, steps=2)
    assert list(table["scaling"].unique()) == list(knowledge_neurons_scaling.SCALINGS.values())
    assert len(table) == 2 * 2 * 4 * 3
    chosen = images.select(np.linspace(0, len(images) - 1, 4).round().astype(int))
    for name in NAMES:
        target, (pictures, labels) = study.target(name), study.batch(chosen, name)
        for scaling, label in knowledge_neurons_scaling.SCALINGS.items():
            own = table[(table["model"] == name) & (table["scaling"] == label)]
            assert own["image"].tolist() == np.repeat(chosen.ids.numpy(), 3).tolist()
            for number, (_, rows) in enumerate(own.groupby("image", sort=False)):
                literal = twins.knowledge_attribution(
                    target.model, target.scope, pictures[number], int(labels[number]),
                    *twins.rule("gauss-legendre", 2 if scaling == "block" else 24),
                    scaling).numpy()
                expected = np.sort(literal.ravel())[::-1][:3]
                np.testing.assert_allclose(literal[rows["block"] - 1, rows["neuron"]], expected,
                                           rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("count", [0, 1, 21])
def test_as_many_images_as_there_are(study, images, count):
    with pytest.raises(ValueError, match="accepted: 2 to 20"):
        knowledge_neurons_scaling.knowledge_by_scaling(study, ["small"], images, count)


def by_scaling(first, second):
    """A table in which the two ways of scaling find the distributions ``model -> shares``."""
    return pd.concat([knowledge_table(shares).assign(scaling=way) for way, shares in
                      zip(knowledge_neurons_scaling.SCALINGS.values(), (first, second), strict=True)])


def test_what_the_way_of_scaling_changes(monkeypatch):
    """With a tenth of the resamples: the correlations' own tests have them all."""
    monkeypatch.setattr(knowledge_neurons_scaling, "share_correlation",
                        partial(depth_shares.share_correlation, resamples=200))
    table = by_scaling({"a": RISING, "b": RISING}, {"a": RISING[::-1], "b": RISING})
    rows = knowledge_neurons_scaling.scaling_rows(table, ["a", "b"], {"a": 6, "b": 6})
    assert rows["number"].unique().tolist() == [
        *knowledge_neurons_scaling.CORRELATIONS, "a: share in block 1", "b: share in block 1",
        "a: mean relative depth", "b: mean relative depth"]
    found = rows.pivot(index="number", columns="scaling", values="value")[
        list(knowledge_neurons_scaling.SCALINGS.values())]
    assert found.loc["correlation of block shares"].iloc[0] > 0.8
    assert found.loc["correlation of block shares"].iloc[1] < -0.8
    np.testing.assert_allclose(found.loc["a: share in block 1"], [1 / 21, 6 / 21], atol=0.06)
    for name in knowledge_neurons_scaling.CORRELATIONS:
        first, second = found.loc[name]
        assert first > 0.5 and second < -0.5, name
    sentence = knowledge_neurons_words.scaling_finding(rows, "a")
    shares = found.loc["a: share in block 1"]
    assert f"block 1 is {shares.iloc[1]:.2f} instead of {shares.iloc[0]:.2f}" in sentence
    assert sentence.endswith("(inverted)")
    wide = knowledge_neurons_words.scaling_wide(rows)
    assert list(wide.columns) == list(knowledge_neurons_scaling.SCALINGS.values()) and len(wide) == 8
    assert wide.iloc[0, 0].startswith("+") and wide.iloc[0, 1].startswith("-")
    alike = by_scaling({"a": RISING, "b": RISING}, {"a": RISING, "b": RISING})
    rows = knowledge_neurons_scaling.scaling_rows(alike, ["a", "b"], {"a": 6, "b": 6})
    assert knowledge_neurons_words.scaling_finding(rows, "a").endswith("(not inverted)")
    rows.loc[(rows["number"] == "correlation of block shares"), "low"] = -0.5
    assert "neither shown nor excluded" in knowledge_neurons_words.scaling_finding(rows, "a")
    shares = knowledge_neurons_scaling.scaling_shares(alike, 6)
    assert list(shares["scaling"].unique()) == list(knowledge_neurons_scaling.SCALINGS.values())
    assert len(shares) == 2 * 2 * 6


@pytest.mark.parametrize(("low", "value", "high", "words"), [
    (0.2, 0.5, 0.7, "lie in much the same blocks: rank correlation of block shares +0.10"),
    (-0.7, -0.5, -0.2, "lie in opposite blocks: rank correlation of block shares +0.10"),
    (-0.1, 0.5, 0.7, "Neither alike nor inverted")])
def test_the_finding_goes_by_the_interval(low, value, high, words):
    rest, ranks = {"low": -0.4, "value": -0.3, "high": -0.1}, {"low": 0.0, "value": 0.1, "high": 0.2}
    found = knowledge_neurons_words.finding({"low": low, "value": value, "high": high}, "A", "B", rest,
                                      ranks, {"A": 0.6, "B": 0.4})
    assert words in found and "A and B" in found
    assert found.endswith(f"; Pearson's {value:+.2f} [{low:+.2f}, {high:+.2f}], without block 1 "
                          "-0.30 [-0.40, -0.10]")


@pytest.mark.parametrize(("low", "high", "words"), [
    (-0.4, -0.2, "they differ"), (0.2, 0.4, "they are alike"), (-0.1, 0.1, "neither is shown")])
def test_where_the_first_block_decides_the_finding_says_what_is_beyond_it(low, high, words):
    alike, rest = {"low": 0.2, "value": 0.5, "high": 0.7}, {"low": low, "value": 0, "high": high}
    assert knowledge_neurons_words.finding(alike, "A", "B", rest, alike, {"A": 0.6, "B": 0.7}).startswith(
        f"A and B keep most knowledge neurons in block 1; beyond it {words}: rank correlation ")


def test_shares_of_several_blocks_add_up():
    shares = pd.DataFrame({"model": ["a", "a", "a", "b", "b", "b"], "block": [1, 2, 3] * 2,
                           "value": [0.5, 0.3, 0.2, 1.0, 0.0, 0.0]})
    assert depth_shares.in_blocks(shares, 2, 3) == pytest.approx({"a": 0.5, "b": 0.0})
    assert depth_shares.in_blocks(shares, 1, 1) == {"a": 0.5, "b": 1.0}


@pytest.mark.parametrize(("lows", "verdict"), [((0.1, 0.3), "agrees"), ((0.3, 0.1), "agrees"),
                                               ((0.1, 0.15), "not shown")])
def test_depths_differ_where_their_intervals_do_not_meet(lows, verdict):
    depth = pd.DataFrame([{"model": name, "value": low + 0.05, "low": low, "high": low + 0.1}
                          for name, low in zip("ab", lows, strict=True)])
    assert knowledge_neurons_words.depths_differ(depth) == verdict
