"""The chapter on what neurons detect: trends, detectors, labels and what moves them, each with a
planted effect and a planted null."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neuronpath_core.chapters.dissection import (
    depth,
    detectors,
    measured,
    published,
    truth,
    words,
)
from neuronpath_core.chapters.dissection.redrawn import detecting_shares
from neuronpath_core.chapters.verdicts import dissection as verdicts
from neuronpath_core.neurons.dissection import LEAST_IOU, Dissection, Null, dissect
from neuronpath_core.neurons.exemplars import Exemplars
from neuronpath_core.neurons.sensitivity import Sensitivity
from neuronpath_core.neurons.walk import walk
from neuronpath_core.readings.grids import coverage, grid_of
from neuronpath_core.readings.known_concepts import known_concepts
from tests.chapters.tables import MODELS

NAMES = ("object", "grey", "red", "blue", "circle", "star", "solid", "dotted")
KINDS = ("part", "tone", "colour", "colour", "outline", "outline", "fill", "fill")
BLOCKS, NEURONS, IMAGES = 6, 40, 60
GENERAL = np.array([0, 1])


def drawn_labels(share, rng, resamples=(), kinds=(2, 3, 4, 5, 6, 7)):
    """Labels of which in each block so many are specific."""
    shape = (*resamples, BLOCKS, NEURONS)
    specific = rng.random(shape) < np.asarray(share)[:, None]
    return np.where(specific, rng.choice(kinds, shape), rng.choice(GENERAL, shape))


def made(labels, drawn, null, iou=0.1, detecting=0):
    """A dissection whose labels are given, with resamples and dealt masks that are given too."""
    table = np.full((BLOCKS, NEURONS, len(NAMES)), 0.01)
    np.put_along_axis(table, labels[..., None], iou, -1)
    nulls = {name: Null(np.full(table.shape, 0.02), np.full(table.shape, 0.01),
                        {"iou": null, "auroc": null},
                        np.broadcast_to(detecting, (99, BLOCKS)).copy())
             for name in ("class", "any")}
    flat = np.zeros((BLOCKS, NEURONS))
    return Dissection(NAMES, KINDS, 0.995, "patch", table, 0.5 + table, flat, flat + 0.005,
                      np.full(len(NAMES), 0.1), flat > 0, ("cell 1, 1",), flat[..., None] + 0.03,
                      nulls, {"iou": drawn, "auroc": drawn}, IMAGES, tuple(range(BLOCKS)))


def read_of(share, null_share=None, twin_share=None, seed=0, **settings):
    """A model whose share of specific labels is given by block, and so that of its resamples."""
    rng = np.random.default_rng(seed)
    flat = np.full(BLOCKS, 0.5)
    labels = drawn_labels(share, rng)

    def again(own):
        kept = rng.random((50, BLOCKS, NEURONS)) < 0.9  # a tenth of the labels is other
        return np.where(kept, own, drawn_labels(flat, rng, (50,)))

    null = drawn_labels(flat if null_share is None else null_share, rng, (99,))
    other = drawn_labels(flat if twin_share is None else twin_share, rng)
    found = made(labels, again(labels), null, **settings)
    exemplars = Exemplars(*(np.zeros((BLOCKS, NEURONS, 5), int),) * 3,
                          rng.random((BLOCKS, NEURONS, IMAGES)), np.zeros((BLOCKS, NEURONS)))
    return measured.Read(None, found, made(other, again(other), null), exemplars,
                         {measured.OVERLAP: labels, measured.AREA: labels}, found,
                         rng.random((BLOCKS, NEURONS, IMAGES)),
                         rng.random((len(NAMES), IMAGES)) < 0.4, None, np.arange(IMAGES) % 6,
                         dict.fromkeys(("class", "any"), rng.normal(0.5, 0.01, 50)))


RISING, FLAT = np.linspace(0.1, 0.9, BLOCKS), np.full(BLOCKS, 0.5)


def test_shares_and_trends_by_hand():
    labels = np.array([[0, 2, -1, 4], [-1, -1, -1, -1], [6, 6, 6, 0]])
    chosen = depth.is_specific(KINDS)
    np.testing.assert_allclose(depth.shares(labels, chosen), [2 / 3, (2 / 3 + 3 / 4) / 2, 3 / 4])
    assert (depth.shares(np.full((2, 3), -1), chosen) == 0).all()
    values = np.random.default_rng(0).random((4, 7)).round(1)
    found = depth.trend(values)
    for row, own in zip(found, values, strict=True):
        assert row == pytest.approx(stats.spearmanr(np.arange(7), own).statistic)
    assert depth.trend(np.ones(5)) == 0


@pytest.mark.parametrize("share, null, verdict", [
    (RISING, FLAT, "agrees"), (FLAT, FLAT, "not shown"), (RISING[::-1], FLAT, "contradicts"),
    (RISING, RISING, "not shown")])
def test_a_trend_is_one_only_beyond_dealt_masks(share, null, verdict):
    rows = depth.depth_rows(read_of(share, null))
    assert rows["verdict"].tolist() == [verdict] * 2
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()
    if verdict == "agrees":
        assert (rows["late"] > rows["early"] + 0.4).all()
    claims = verdicts.made_from(depth=rows.assign(data="shapes", model="small", images=60),
                                **{name: pd.DataFrame() for name in (
                                    "twins", "order", "detectors", "truth", "first", "few",
                                    "sharing")})
    assert [row.verdict for row in claims[0].comparisons] == [verdict] * 2


def test_a_twin_that_rises_as_much_takes_the_finding_away():
    more = depth.twin_rows(read_of(RISING, twin_share=FLAT))
    assert (more["low"] > 0).all()
    same = depth.twin_rows(read_of(RISING, twin_share=RISING))
    assert (same["low"] < 0).all() and (same["high"] > 0).all()
    specific = np.ones(BLOCKS)
    assert depth.depth_rows(read_of(specific)).empty and depth.twin_rows(read_of(specific)).empty


def test_what_comes_first_is_told_from_what_comes_anywhere():
    read = read_of(FLAT)
    labels = np.where(np.arange(BLOCKS)[:, None] < 3, 2, 4) * np.ones((1, NEURONS), int)
    noisy = np.where(np.random.default_rng(1).random((50, BLOCKS, NEURONS)) < 0.8, labels,
                     read.found.drawn["iou"])
    planted = replace(read, labels=dict.fromkeys(read.labels, labels),
                      found=replace(read.found, drawn={"iou": noisy, "auroc": noisy}))
    rows = depth.order_rows(planted)
    assert rows["value"].iloc[0] == pytest.approx(0.6) and (rows["low"] > 0.3).all()
    assert (rows["early"] == 0.2).all() and rows["late"].to_numpy() == pytest.approx(0.8)
    assert rows["dealt"].abs().max() < 0.05
    null = depth.order_rows(read)
    assert (null["low"] < 0).all() and (null["high"] > 0).all()
    assert depth.order_rows(read, "class").empty
    kinds = depth.kind_rows(planted)
    colours = kinds[kinds["kind"] == "colour"]
    assert colours["value"].tolist() == [1, 1, 1, 0, 0, 0] and colours["depth"].iloc[-1] == 1


def test_detectors_count_beyond_what_dealt_masks_give():
    rows = detectors.detector_rows(read_of(FLAT, detecting=2))
    assert rows["share"].tolist() == [1, 1] and rows["verdict"].tolist() == ["agrees"] * 2
    assert rows["dealt"].iloc[0] == pytest.approx(2 / NEURONS)
    assert rows["value"].iloc[0] == pytest.approx(1 - 2 / NEURONS)
    assert rows["placed"].tolist() == [0, 0] and rows["random"].tolist() == [1, 1]
    none = detectors.detector_rows(read_of(FLAT, iou=0.015, detecting=2))
    assert none["share"].tolist() == [0, 0] and none["verdict"].tolist() == ["contradicts"] * 2
    same = detectors.detector_rows(read_of(FLAT, detecting=NEURONS))
    assert same["verdict"].tolist() == ["not shown"] * 2 and same["value"].abs().max() < 1e-12
    assert (rows["high"] - rows["value"]).iloc[1] == pytest.approx(
        stats.norm.ppf(0.975) * np.std(read_of(FLAT).detecting["any"], ddof=1))
    # beyond dealt masks, and other images might not show it
    unsure = replace(read_of(FLAT, detecting=2), detecting={
        name: np.array([0.0, 1.0, 0.0, 1.0]) for name in ("class", "any")})
    assert detectors.detector_rows(unsure)["verdict"].tolist() == ["not shown"] * 2
    one = detectors.detector_row(unsure.found, "any", np.array([0.5]))
    assert np.isnan(one["low"]) and one["verdict"] == "not shown"
    placed = detectors.detector_rows(read_of(FLAT, iou=0.029 + 0.0111))
    assert placed["share"].tolist() == [1, 1]
    read = read_of(FLAT)
    wide = replace(read, found=replace(read.found, place_iou=read.found.place_iou + 1))
    assert detectors.detector_rows(wide)["placed"].tolist() == [1, 1]
    concepts = detectors.concept_rows(read)
    assert concepts["detectors"].sum() == pytest.approx(1) and len(concepts) == len(NAMES)
    assert concepts["ceiling"].tolist() == [pytest.approx(0.05)] * len(NAMES)
    assert (detectors.block_rows(read)["value"] == 1).all()


def moves(labels, effect, seed=0, scenes=12):
    """Neurons that what they are called after moves by ``effect``, in each scene and noise."""
    rng = np.random.default_rng(seed)
    pairs = rng.standard_normal((scenes, BLOCKS, NEURONS, len(NAMES)))
    pairs += effect * (np.arange(len(NAMES)) == labels[..., None])
    return Sensitivity(NAMES, KINDS, pairs.mean(0), pairs)


def test_labels_that_move_their_neurons_are_told_from_labels_that_do_not():
    read = read_of(FLAT)
    labels = read.labels[measured.OVERLAP]
    rows = truth.moved_rows(replace(read, moved=moves(labels, 1.0)))
    assert (rows["low"] > 0.5).all() and rows["neurons"].tolist() == [BLOCKS * NEURONS] * 2
    first = truth.first_row(replace(read, moved=moves(labels, 1.0)))
    assert first["low"] > 0.1
    null = [truth.moved_rows(replace(read, moved=moves(labels, 0.0, seed))).iloc[0]
            for seed in range(10)]
    assert sum(row["low"] > 0 for row in null) <= 2
    assert truth.first_row(replace(read, moved=moves(labels, 0.0)))["low"] < 0
    assert truth.moved_rows(read).empty and truth.first_row(read).empty


def test_first_of_its_kind_by_hand():
    labels = np.array([[2, 3, 4, 0, -1]])
    table = np.zeros((1, 5, len(NAMES)))
    table[0, :3] = [0, 0, 2, 1, 0, 3, 0, 0]
    # red moves more than blue: right for 2, wrong for 3; star more than circle: wrong for 4
    assert truth.first_of_kind(table, labels, KINDS) == pytest.approx(1 / 3)
    # the only part and the only tone have nothing to be first of
    assert truth.chance_of_kind(labels, KINDS) == 0.5
    assert np.isnan(truth.first_of_kind(table, np.full((1, 5), -1), KINDS))


def test_labels_are_compared_on_the_same_images():
    read = read_of(FLAT)
    labels = read.labels[measured.OVERLAP]
    scores = read.held_scores + 2 * read.present[labels]
    follows = replace(read, held_scores=scores)
    rows = truth.truth_rows(follows)
    assert (rows["low"] > 0.1).all() and (rows["same"] == 1).all() and (rows["named"] == 1).all()
    assert truth.few_row(follows, labels)["value"] == 0
    shuffled = np.random.default_rng(0).permuted(labels, axis=1)
    better = truth.few_row(follows, shuffled)
    assert better["low"] > 0.1 and abs(better["second"]) < 0.1
    worse = truth.few_row(replace(follows, labels={measured.OVERLAP: shuffled}), labels)
    assert worse["high"] < -0.1


def test_detectors_in_other_images_are_those_of_a_loop(study, images):
    """Set arithmetic, image by image, with thresholds and quantiles of all images."""
    target = study.target("small")
    pixels, labels = study.batch(images, "small")
    known = measured.known_concepts(images)
    found = dissect(target, pixels, known, labels=labels, permutations=9)
    weights = np.random.default_rng(0).multinomial(len(pixels), np.full(len(pixels),
                                                                        1 / len(pixels)), 3)
    whole = np.ones((1, len(pixels)), int)
    same = detecting_shares(target, pixels, known, found, whole)
    for null in ("class", "any"):
        assert same[null][0] == pytest.approx(found.detects(null).any(-1).mean())
    grid = grid_of(target, pixels)
    covers = np.stack([coverage(grid, mask).numpy() for mask in known.masks], -1)
    shares = detecting_shares(target, pixels, known, found, weights)
    for draw, own in enumerate(weights):
        hits = dict.fromkeys(shares, 0)
        for block, values in walk(target, pixels):
            for neuron in range(values.shape[-1]):
                on = (values[:, grid.tokens, neuron] > found.threshold[block, neuron]).numpy()
                for null in hits:
                    detects = False
                    for concept in range(len(known.names)):
                        both = union = 0.0
                        for image, times in enumerate(own):
                            theirs = covers[image, :, concept]
                            both += times * np.minimum(on[image], theirs).sum()
                            union += times * np.maximum(on[image], theirs).sum()
                        iou = both / union if union else 0
                        detects |= iou > max(LEAST_IOU,
                                             found.nulls[null].high[block, neuron, concept])
                    hits[null] += detects
        for null, count in hits.items():
            assert shares[null][draw] == pytest.approx(count / found.dead.size)
    with pytest.raises(ValueError, match="for each image"):
        detecting_shares(target, pixels, known, found, whole[:, 1:])


def test_shared_exemplars_are_counted():
    read = read_of(FLAT)
    rng = np.random.default_rng(0)
    scores = np.zeros((BLOCKS, NEURONS, IMAGES))
    drawn = rng.integers(0, IMAGES, (BLOCKS, NEURONS, 5))

    def of(images):
        return truth.sharing_row(replace(read, exemplars=Exemplars(
            images, images, images, scores, scores[..., 0])))

    alike, free = of(drawn % 6), of(drawn)
    assert alike["common"] == 1 and alike["neighbours"] > 0.5
    assert abs(free["common"] - free["random"]) < 0.05 and abs(free["neighbours"]) < 0.35
    assert alike["verdict"] == "agrees" and alike["low"] > alike["chance"] > 0
    assert free["verdict"] == "not shown"
    # blocks that fire for the same class share its images, and not more than its images
    favoured = 6 * rng.integers(0, IMAGES // 6, (BLOCKS, NEURONS, 5))
    by_class = of(favoured)
    assert by_class["neighbours"] > 0.3 and by_class["verdict"] == "not shown"
    assert by_class["value"] < 0.5 * by_class["neighbours"]
    assert -1 <= free["ends"] <= 1


def test_the_part_between_classes_is_the_mean_over_all_deals():
    """Every way of dealing the images of a block within two classes of three."""
    classes, rng = np.array([0, 1, 0, 1, 1, 0]), np.random.default_rng(3)
    used = rng.integers(0, 5, (3, 6))
    own = np.mean([stats.spearmanr(*pair).statistic for pair in zip(used, used[1:], strict=False)])
    dealt = []
    for first in itertools.permutations((0, 2, 5)):
        for second in itertools.permutations((1, 3, 4)):
            order = np.empty(6, int)
            order[[0, 2, 5]], order[[1, 3, 4]] = first, second
            dealt.append(np.mean([stats.spearmanr(one, other[order]).statistic
                                  for one, other in zip(used, used[1:], strict=False)]))
    assert truth.within_classes(used, classes) == pytest.approx(own - np.mean(dealt))
    assert truth.within_classes(np.ones((3, 6)), classes) == 0
    # one image a class: there is nothing within
    assert truth.within_classes(used, np.arange(6)) == pytest.approx(0)


# --- a study of two tiny networks ---


@pytest.fixture(scope="module")
def reads(study):
    halves = measured.halves(study.images(60))
    return {("digits", name): measured.read_model(study, name, *halves) for name in MODELS}


def test_halves_share_no_image_and_have_all_classes(study):
    first, second = measured.halves(study.images(60))
    assert len(first) == len(second) == 30
    assert not set(first.ids.tolist()) & set(second.ids.tolist())
    assert set(first.labels.tolist()) == set(second.labels.tolist()) == set(range(10))
    few = measured.few_classes(study, second, 25)
    assert len(few) == 25 and len(set(few.labels.tolist())) == measured.FEW
    assert not set(few.ids.tolist()) & set(second.ids.tolist())
    known = known_concepts(first)
    assert known.names[:2] == ("ink", "ink of a 0") and len(known.names) == 11
    assert (known.masks[1:].sum(0) == known.masks[0]).all()


def test_a_whole_chapter_of_a_tiny_study(study, reads):
    read = reads["digits", next(iter(MODELS))]
    assert set(read.labels) == set(measured.LABELERS) and read.moved is None
    assert all(labels.max() < 11 and labels.min() >= -1 for labels in read.labels.values())
    # of what all images have whole images say nothing
    assert all((read.labels[name] != 0).all() for name in (measured.CORRELATION, measured.WPMI,
                                                           measured.MILAN))
    tables = {name: measured.stacked(reads, rows) for name, rows in {
        "depth": depth.depth_rows, "twins": depth.twin_rows, "order": depth.order_rows,
        "detectors": detectors.detector_rows, "truth": truth.truth_rows,
        "moved": truth.moved_rows, "first": truth.first_row, "sharing": truth.sharing_row,
        "concepts": detectors.concept_rows, "kinds": depth.kind_rows}.items()}
    few = pd.DataFrame([{"data": "digits", "model": name, **truth.few_row(
        reads["digits", name], measured.labels_from(study, name, measured.few_classes(
            study, measured.halves(study.images(60))[1], 30)))} for name in MODELS])
    assert len(words.depth_table(tables["depth"], tables["twins"])) == len(tables["depth"])
    assert words.order_table(tables["order"]).empty
    assert len(words.detector_table(tables["detectors"])) == 2
    assert len(words.concept_table(tables["concepts"])) == 22
    assert len(words.truth_table(tables["truth"])) == 10
    assert words.moved_table(tables["moved"], tables["first"]).empty
    assert len(words.few_table(few, tables["sharing"])) == 2
    assert words.finding(tables["kinds"], tables["order"]).startswith("What neurons detect")
    assert words.truth_finding(tables["truth"]).startswith("On other images labels by overlap")
    claims = verdicts.made_from(*(tables[name] for name in (
        "depth", "twins", "order", "detectors", "truth", "first")), few, tables["sharing"])
    assert {row.n for claim in claims for row in claim.comparisons} == {30}
    assert len(claims) == 8 and all(claim.finding == "key neurons" for claim in claims)
    assert {claim.key: claim.of for claim in claims}["moved by what it names"] == "scenes"
    assert all(row.low is not None for claim in claims for row in claim.comparisons)
    assert {claim.key: len(claim.comparisons) for claim in claims}["true on other images"] == 10


def test_variants_of_the_published_choices(study):
    name = next(iter(MODELS))
    rows = published.variant_rows(study, name, study.images(30)).set_index("variant")
    assert rows.index.tolist() == list(published.VARIANTS)
    assert rows.loc[published.RECOMMENDED, "same"] == 1
    assert np.isnan(rows.loc[published.PUBLISHED, "same"])
    # a fifth of every image overlaps with the ink, whatever is dissected
    fifth = rows.loc[published.PUBLISHED]
    assert fifth["over"] > rows.loc[published.RECOMMENDED, "over"]
    shown = words.variant_table(rows.reset_index().assign(data="digits"))
    assert shown["commonest label"].str.contains("%").all()


def test_moved_tables_and_sentences_of_scenes():
    read = read_of(FLAT)
    read = replace(read, moved=moves(read.labels[measured.OVERLAP], 1.0))
    keyed = {("shapes", "small"): read}
    table = words.moved_table(measured.stacked(keyed, truth.moved_rows),
                              measured.stacked(keyed, truth.first_row))
    assert (table["beyond chance, %"] == "–").sum() == 1
    order = measured.stacked(keyed, depth.order_rows)
    assert words.finding(measured.stacked(keyed, depth.kind_rows), order).startswith("Colours")
    assert list(words.order_table(order)["colours, mean depth"]) == order["early"].tolist()
    assert words.counts([3, 3]) == "3" and words.counts(iter([5, 3, 4])) == "3 to 5"
    assert words.percent([0.1, 0.104]) == "10 %" and words.percent([-0.001, 0.2]) == "0 to 20 %"
