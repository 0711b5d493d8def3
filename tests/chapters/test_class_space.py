"""Chapter 24: rates, curves, cuts and places on two small networks and on readings in which the
answer is planted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from neuronpath_core.chapters.class_space import (
    cuts,
    measured,
    tokens,
    variants,
    where,
    where_tables,
)
from neuronpath_core.chapters.class_space import (
    words as class_space_words,
)
from neuronpath_core.images.shapes import render
from neuronpath_core.readings.attention_maps import attention_maps
from neuronpath_core.readings.class_space import ClassReading, difference, read_classes
from neuronpath_core.readings.grids import Grid, grid_of
from neuronpath_core.readings.token_cuts import cut_attention
from neuronpath_core.stats import report
from tests.chapters.tables import NAMES
from tests.readings.spaces import SPACES, space

CLASSES, IMAGES, BLOCKS = 4, 40, 6


@pytest.fixture(scope="module")
def reads(study, images):
    return {name: measured.read_model(study, name, images) for name in NAMES}


def planted(rank, own=None, parts=None, scope="cls", groups=None, first=None):
    """A reading with these ranks, on 2 by 2 patches behind a class token."""
    rank = np.asarray(rank, float)
    labels = np.arange(rank.shape[1]) % CLASSES
    first = np.where(rank == 0, labels[:, None], (labels[:, None] + 1) % CLASSES) \
        if first is None else first
    reading = ClassReading(rank, -rank, first, CLASSES, groups or {},
                           dict.fromkeys(groups or {}, 3))
    covered = None if own is None else np.asarray(own, float)
    return measured.Read(SimpleNamespace(scope=scope), None, torch.from_numpy(labels), reading,
                         Grid(2, 2, 4, 4, 1, (8, 8)), np.arange(rank.shape[1]) % 2 == 0, covered,
                         None if own is None else np.asarray(own, bool), parts)


def drawn(seed=0, blocks=BLOCKS):
    return np.random.default_rng(seed).integers(0, CLASSES, (blocks, IMAGES, 5)).astype(float)


def test_a_model_is_read_with_its_masks_and_without_them(study, images, reads):
    read = reads["small"]
    assert read.has_cls and not reads["pooled"].has_cls
    assert read.covered.shape == (20, 4) and read.parts is None
    assert np.array_equal(read.identified(), read.reading.rank[-1, :, 1:] == 0)
    pixels, labels = study.batch(images, "small")
    again = read_classes(study.target("small"), pixels, labels)
    assert np.array_equal(again.rank, read.reading.rank)
    assert read.correct.tolist() == (again.first[-1, :, 0] == labels.numpy()).tolist()
    bare = measured.read_model(study, "small",
                               measured.replace(images, class_names=tuple("abcdefghij")))
    assert bare.covered is None and bare.object is None
    assert measured.without_object(study, images) is None
    assert measured.pooled_and_token(study, NAMES) == []
    assert list(measured.stages(study, "small", read, images)) == ["fully trained"]
    assert measured.replicas(study, "small", read, images) == [read]
    assert measured.stacked({}, None).empty


def test_a_rate_is_told_from_dealt_labels_only_where_tokens_know_them():
    rank = drawn()
    rank[-1, :, 1:][np.random.default_rng(1).random((IMAGES, 4)) < 0.6] = 0
    row = tokens.rate_row(planted(rank), [planted(drawn(2)).reading])
    identified = rank[-1, :, 1:] == 0
    assert row["value"] == pytest.approx(identified.mean())
    assert row["one"] == pytest.approx(identified.any(1).mean())
    assert row["independent"] == pytest.approx(1 - (1 - identified.mean()) ** 4)
    assert row["random"] == pytest.approx((drawn(2)[-1, :, 1:] == 0).mean())
    assert row["p"] == 1 / (tokens.PERMUTATIONS + 1) and row["permuted"] < row["value"]
    # every token says class 0, whatever the image: right in one image of four, and no better
    always = planted(np.where(np.arange(IMAGES)[None, :, None] % CLASSES == 0, 0.0, 1.0)
                     * np.ones((BLOCKS, 1, 5)), first=np.zeros((BLOCKS, IMAGES, 5), int))
    row = tokens.rate_row(always, [planted(drawn(2)).reading])
    assert row["value"] == 1 / CLASSES == row["chance"] and row["p"] == 1


def test_effects_of_planted_curves():
    falling = np.broadcast_to(np.linspace(3, 0, BLOCKS)[:, None, None], (BLOCKS, IMAGES, 5)).copy()
    falling[:, :, 0] = 0
    twin = [planted(np.full((BLOCKS, IMAGES, 5), 3.0)).reading]
    found = tokens.summary_rows(planted(falling), twin).set_index("measure")["value"]
    level = 1 - falling[:, 0, 1] / 3
    assert found["depth"] == pytest.approx(1)
    assert found["rises"] == 0.5 and found["rate"] == 1 - 1 / CLASSES and found["random"] == 1
    assert found["one"] == 0.5
    assert found["grown"] == pytest.approx(level.mean())
    assert found["ahead"] == pytest.approx(1 - level[2:4].mean())
    other = tokens.summary_rows(planted(falling[::-1], scope="patch"), twin).set_index("measure")
    assert other.loc["depth", "value"] == pytest.approx(-1) and "ahead" not in other.index
    flat = tokens.summary_rows(planted(np.ones((BLOCKS, IMAGES, 5))), twin).set_index("measure")
    assert flat.loc["depth", "value"] == 0 == flat.loc["rises", "value"] + 0.5
    assert [list(range(*part.indices(8))) for part in tokens.thirds(8)] == [
        [0, 1, 2], [3, 4], [5, 6, 7]]


def test_places_that_differ_do_not_vary_over_images():
    """Every patch has its own value, the same in every image: nothing varies.  What varies from
    image to image alike at all patches and the class token makes no difference."""
    place = np.broadcast_to(np.array([1, 0, 1, 2, 3.0]), (BLOCKS, IMAGES, 5))
    assert tokens.spread_row(planted(place), resamples=20)["value"] == pytest.approx(0)
    alike = np.broadcast_to((np.arange(IMAGES) % 4)[None, :, None], (BLOCKS, IMAGES, 5))
    assert tokens.spread_row(planted(alike), resamples=20)["value"] == pytest.approx(0)
    rank = np.array(alike, float)
    rank[..., 0] = 0
    row = tokens.spread_row(planted(rank), resamples=50)
    assert row["low"] > 0 and row["value"] == pytest.approx(np.std([0, 1, 2, 3]) / 3)


def test_curves_and_rises_are_means_over_images():
    rank = drawn(3)
    read, twin = planted(rank), planted(drawn(4)).reading
    rows = tokens.curve_rows(read, [twin])
    for name, values in ((tokens.CLS, rank[..., :1]), (tokens.IMAGE, rank[..., 1:]),
                         (tokens.RANDOM, twin.rank[..., 1:])):
        own = rows[rows["tokens"] == name]
        np.testing.assert_allclose(own["value"], (1 - values / CLASSES).mean((1, 2)))
        assert (own["low"] < own["value"]).all() and (own["value"] < own["high"]).all()
        assert own["depth"].iloc[-1] == 1
    assert (rows["chance"] == 0.625).all()
    rises = tokens.rise_rows(read, [twin])
    np.testing.assert_allclose(rises["value"], (np.diff(-rank[..., 1:], axis=0) > 0).mean((1, 2)))
    assert rises["block"].tolist() == [2, 3, 4, 5, 6]


def test_stages_of_training_and_seeds():
    rank = drawn(5)
    better = rank.copy()
    better[-1, :, 1:3] = 0
    rows = tokens.training_rows({"epoch 1": planted(rank), "fully trained": planted(better)})
    assert np.isnan(rows["value"].iloc[0])
    gained = (better[-1, :, 1:] == 0).mean() - (rank[-1, :, 1:] == 0).mean()
    assert rows["value"].iloc[1] == pytest.approx(gained) and rows["low"].iloc[1] > 0
    reads = [planted(drawn(seed)) for seed in range(7)]
    row = tokens.seed_row(reads[:3], reads[3:])
    rates = [[read.identified().mean() for read in own] for own in (reads[:3], reads[3:])]
    welch = stats.ttest_ind(*rates, equal_var=False).confidence_interval()
    np.testing.assert_allclose([row["low"], row["high"]], [welch.low, welch.high])
    assert row["models"] == 7


@pytest.mark.parametrize("name", NAMES)
def test_cuts_of_a_model_are_those_of_the_library(reads, name):
    read = reads[name]
    found = cuts.attention_cuts(read)
    rates = found.pivot(index="image", columns="cut", values="rate")
    np.testing.assert_allclose(rates[cuts.UNCUT], read.identified().mean(1))
    arguments = (read.target, read.pixels, read.labels)
    for words, cut in ((cuts.SELF, cut_attention(*arguments, "self_only")),
                       (cuts.SELF_WRITTEN, cut_attention(*arguments, "self_only", "written")),
                       (cuts.NO_CLS, cut_attention(*arguments, "no_cls")),
                       (cuts.NO_CLS_PUBLISHED, cut_attention(*arguments, "no_cls", "published"))):
        np.testing.assert_allclose(rates[words], cut.identified()[:, 1:].double().mean(1))
    lost = cuts.lost_rows(found)
    assert lost["cut"].tolist()[0] == cuts.UNCUT and lost["value"].iloc[0] == 0
    for row in lost.to_dict("records"):
        assert row["value"] == pytest.approx(
            (rates[cuts.UNCUT] - rates[row["cut"]]).mean())
    ahead = cuts.against(found, cuts.OTHER, cuts.SELF)
    assert ahead["value"] == pytest.approx((rates[cuts.SELF] - rates[cuts.OTHER]).mean())


def test_controls_of_the_cuts_cut_as_much(reads):
    rng = np.random.default_rng(0)
    other = cuts.one_other(10, 2, rng)
    assert other[:2].all() and (other[2:].sum(1) == 1).all()
    assert not other[range(2, 10), range(2, 10)].any() and not other[2:, :2].any()
    assert (other[2:].sum(0)[2:] == 1).all()  # every token is seen once
    read = reads["small"]
    allowed = cuts.columns_like_cls(read, rng)
    mass = attention_maps(read.target, read.pixels)[..., 1:, :].mean((0, 1, 2, 3)).numpy()
    hidden = [key for key in range(1, 5) if not allowed[1:, key].all()]
    assert allowed[0].all() and allowed[:, 0].all() and 1 <= len(hidden) < 4
    for key in hidden:
        assert allowed[key, key] and not allowed[[each for each in range(1, 5) if each != key],
                                                 key].any()
    assert mass[hidden].sum() >= min(mass[0], mass[hidden].sum())


def test_context_cuts_count_the_images_that_have_tokens_of_a_kind(reads, images):
    read = reads["small"]
    whole = measured.replace(read, covered=np.where(np.arange(20)[:, None] == 0, 1.0, read.covered))
    found = cuts.context_cuts(whole)
    rows = cuts.kept_rows(found, 10).set_index("kept")
    assert rows.loc[cuts.OBJECT, "images"] == (whole.covered >= 0.5).any(1).sum()
    assert rows.loc[cuts.CONTEXT, "images"] == (whole.covered < 0.5).any(1).sum() < 20
    for words, keep in ((cuts.OBJECT, whole.object), (cuts.CONTEXT, ~whole.object)):
        some = keep.any(1)
        before = [whole.identified()[image][keep[image]].mean() for image in np.flatnonzero(some)]
        assert rows.loc[words, "before"] == pytest.approx(np.mean(before))
    # other pixels stand for scenes without their object
    empty = cuts.context_cuts(whole, measured.replace(images, images=images.images.flip(0)))
    assert {cuts.EMPTY, cuts.HOLE} <= set(empty["kept"])
    wide = empty.pivot(index="image", columns="kept", values="rate").dropna(subset=[cuts.FAR])
    gap = cuts.beyond_hole(empty)
    assert gap["value"] == pytest.approx((wide[cuts.FAR] - wide[cuts.HOLE]).mean())
    assert gap["images"] == len(wide)


@pytest.mark.parametrize(("kept", "key"), [(cuts.OBJECT, "no_context"),
                                           (cuts.CONTEXT, "no_class_label")])
@pytest.mark.parametrize("name", SPACES)
def test_rates_before_and_after_as_published_are_those_of_the_published_functions(name, kept, key):
    target, images, labels, expected, _ = space(name)
    own = expected["token_mask"].reshape(len(images), -1) == 1
    read = measured.Read(target, images, labels, read_classes(target, images, labels),
                         grid_of(target, images), np.zeros(len(images), bool), own.astype(float))
    rows = cuts.kept_rows(cuts.context_cuts(read), target.n_classes).set_index("kept")
    np.testing.assert_allclose(100 * rows.loc[kept, ["published", "published_before"]].astype(float),
                               expected[f"{key}_rate"], rtol=0, atol=1e-4)


def masks(seed=0, images=IMAGES):
    own = np.random.default_rng(seed).random((images, 4)) < 0.5
    own[own.all(1), 0], own[~own.any(1), 1] = False, True
    return own


def test_a_gap_that_follows_the_own_mask_is_told_from_one_that_follows_the_place():
    own = masks()
    follows = np.zeros((BLOCKS, IMAGES, 5))
    follows[:, :, 1:] = 3.0 * ~own
    rows = where.gap_rows(planted(follows, own))
    assert (rows["value"] == 1).all() and (rows["adjusted"] < 0.05).all()
    assert rows["published"].tolist() == pytest.approx([1] * BLOCKS)
    assert (rows["dealt"].abs() < 0.2).all()
    # the upper patches know, and objects lie there more often
    biased = np.random.default_rng(1).random((IMAGES, 4)) < np.array([0.9, 0.8, 0.2, 0.1])
    biased[biased.all(1), 3], biased[~biased.any(1), 0] = False, True
    place = np.zeros((BLOCKS, IMAGES, 5))
    place[:, :, 3:] = 3
    rows = where.gap_rows(planted(place, biased))
    assert (rows["low"] > 0.2).all()          # it looks like a finding
    assert (rows["adjusted"] > 0.5).all()     # and other images' masks find it too
    np.testing.assert_allclose(rows["dealt"], rows["value"], atol=0.05)
    assert (rows["place"] > 0.5).all()
    thirds = where.third_rows(planted(place, biased))
    assert (thirds["value"] > 0.5).all() and (thirds["beyond_value"].abs() < 0.05).all()
    found = where.third_rows(planted(follows, own))
    assert (found["beyond_low"] > 0.5).all() and found["images"].tolist() == [IMAGES] * 3


def test_masks_are_dealt_within_classes_and_pairs_are_differences():
    labels = np.arange(IMAGES) % CLASSES
    deals = where.dealt_masks(labels, 0, 5)
    for whose in deals:
        assert sorted(whose) == list(range(IMAGES)) and (labels[whose] == labels).all()
    assert any((whose != np.arange(IMAGES)).any() for whose in deals)
    value, own = np.random.default_rng(2).random((3, 8, 4)), masks(3, 8)
    pairs = where.all_pairs(value, own)
    for whose in (0, 5):
        np.testing.assert_allclose(pairs[:, :, whose],
                                   difference(value, np.repeat(own[whose][None], 8, 0)))
    found = where.by_place(np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], bool))
    assert found.tolist() == [[True, False, False, False], [True, True, False, False],
                              [True, False, False, False]]


def test_coverage_and_parts_of_scenes():
    covered = np.tile([0, 0.2, 0.9, 1], (IMAGES, 1))
    rank = np.tile([0, 0, 1, 1, 0.0], (BLOCKS, IMAGES, 1))
    rows = where.coverage_rows(measured.replace(planted(rank, covered), covered=covered))
    assert rows["rate"].fillna(-1).tolist() == [1, 0, -1, 0, 1]
    assert rows["tokens"].sum() == 1
    parts = np.tile([where.BAND, where.FILL, where.BACKGROUND, -1], (IMAGES, 1))
    outline = np.tile([0, 0, 2, 1, 1.0], (BLOCKS, IMAGES, 1))   # known at the band
    fill = np.tile([0, 2, 0, 1, 1.0], (BLOCKS, IMAGES, 1))      # and inside
    read = planted(rank, parts == where.BAND, parts, groups={"outline": outline, "fill": fill})
    rows = where.dissociation_rows(read)
    assert rows["value"].tolist() == [2] * 3 and rows["outline"].tolist() == [1] * 3
    assert rows["fill"].tolist() == [-1] * 3 and (rows["images"] == IMAGES).all()
    swapped = measured.replace(read, reading=measured.replace(
        read.reading, groups={"outline": fill, "fill": outline}))
    assert (where.dissociation_rows(swapped)["value"] == -2).all()
    levels = where.region_rows(read).groupby(["group", "region"])["value"].first()
    assert levels["outline", "outline band"] == 1 == levels["fill", "fill area"]
    assert levels["outline", "background"] == 0.5


def test_tables_and_sentences_of_a_whole_chapter(reads):
    keyed = {("digits", name): read for name, read in reads.items()}
    twins = {key: measured.read_twins(read, 2) for key, read in keyed.items()}
    stands = {key: "ViT-B-32" for key in keyed}
    rates = pd.DataFrame([{"data": key[0], "model": key[1], "stands_for": stands[key],
                           **tokens.rate_row(read, twins[key])} for key, read in keyed.items()])
    table = class_space_words.rate_table(rates)
    assert (table["the paper: tokens, %"] == "60.7").all()
    theirs = class_space_words.paper_table()
    assert len(theirs) == 7 and theirs.loc["ViT-B/16", "random weights, %"] == "0.056"
    assert theirs.loc["ViT-B/16-GAP", "the same of random weights, %"] == "–"
    assert class_space_words.rates_finding(rates).startswith("After the last block ")
    curves = measured.stacked(keyed, lambda key, read: tokens.curve_rows(read, twins[key]))
    effects = measured.stacked(keyed, lambda key, read: tokens.summary_rows(read, twins[key]))
    spreads = pd.DataFrame([{"data": "digits", "model": "small",
                             **tokens.spread_row(reads["small"], resamples=20)}])
    table = class_space_words.curve_table(curves, effects, spreads, stands)
    assert table.loc[("digits", "pooled"), "image tokens vary more by"] == "–"
    grown = effects[effects["measure"] == "grown"].set_index("model")
    assert table.loc[("digits", "pooled"), "above random weights, all blocks"] == \
        report.interval_text(grown.loc["pooled"], 2)
    rises = measured.stacked(keyed, lambda key, read: tokens.rise_rows(read, twins[key]))
    assert "0.90" in class_space_words.rise_table(rises, stands)["the paper"].iloc[0]
    image_cuts = measured.stacked(keyed, lambda key, read: cuts.attention_cuts(read))
    lost = measured.stacked(keyed, lambda key, read: cuts.lost_rows(
        class_space_words.of(image_cuts, *key)).assign(chance=0.1))
    leads = pd.DataFrame([
        {"data": "digits", "model": name, "cut": control, "value": value, "low": 0.0, "high": 0.5}
        for name in reads for control, value in ((cuts.OTHER, 0.1), (cuts.NO_PATCH, 0.2))])
    table = class_space_words.cut_table(lost, leads)
    assert table["the paper, %"].iloc[0] == "60.73"
    ahead = table.loc[("digits", "small"), "more than its control leaves, %"]
    assert (ahead[cuts.SELF], ahead[cuts.NO_CLS], ahead[cuts.OTHER]) == (
        "10.0 [0.0, 50.0]", "20.0 [0.0, 50.0]", "–")
    assert class_space_words.cut_finding(lost).startswith("A token that sees only itself")
    figure = class_space_words.figure_cuts(lost, image_cuts)
    assert set(figure["cut"]) == set(class_space_words.SHOWN) and (figure["chance"] == 0.1).all()
    kept = measured.stacked(keyed, lambda key, read: cuts.kept_rows(
        cuts.context_cuts(read), 10))
    assert "71.9, 44.7" in set(class_space_words.kept_table(kept)["the paper, before and after, %"])
    gaps = measured.stacked(keyed, lambda key, read: where.gap_rows(read, deals=9))
    thirds = measured.stacked(keyed, lambda key, read: where.third_rows(read))
    table = where_tables.gap_table(thirds, gaps)
    counted = table["blocks with p < 0.05 after Holm"].str.partition(" of ")[2].astype(int)
    assert counted.groupby("model").sum().to_dict() == {"small": 3, "pooled": 4}
    assert "of 2 models" in where_tables.where_finding(thirds, pd.DataFrame())
    covered = measured.stacked(keyed, lambda key, read: where.coverage_rows(read))
    assert list(where_tables.covered_table(covered)) == [
        "nothing", "up to a third", "up to two thirds", "more", "all of it"]
    row = variants.variant_row(reads["small"], class_space_words.of(lost, "digits", "small"))
    assert row["uncut, image tokens"] == reads["small"].identified().mean()
    assert class_space_words.of_model(pd.DataFrame(), "small").empty
    assert class_space_words.shares([0.1, 0.104]) == "10 %" and class_space_words.shares([-0.001, 0.2]) == "0 to 20 %"


def test_the_reach_of_an_object_is_that_of_rendered_circles():
    for difficulty in (0.15, 0.5):
        offsets = []
        for index in range(0, 24 * 60, 24):  # solid circles, whose middle is that of their pixels
            mask = render("train", index, 0, difficulty).masks["object"]
            offsets.append(max(abs(place.mean() - 15.5) for place in np.nonzero(mask)))
        told = float(measured.reach(difficulty))
        assert max(offsets) <= told + 0.3  # pixels are counted whole
        assert max(offsets) > 0.6 * told
