"""Chapter 27: measures of two small networks against loops, and every comparison on maps in which
the answer is planted and on such in which there is none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

import neuronpath_core as npc
from neuronpath_core.chapters.key_neurons import (
    by_block,
    carriers,
    class_tables,
    classes,
    examples,
    maps,
    measured,
    near,
    objects,
    pixels,
    weights,
)
from neuronpath_core.chapters.key_neurons import (
    words as key_neurons_words,
)
from neuronpath_core.chapters.verdicts import key_neurons as verdicts
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shapes import TAXONOMY
from neuronpath_core.neurons.heatmaps import heat_maps
from neuronpath_core.neurons.keys import Keys
from neuronpath_core.neurons.saliency import predicting_patches, saliency
from neuronpath_core.readings.concepts import foreground
from neuronpath_core.readings.grids import Grid
from neuronpath_core.readings.memories import value_matrix
from neuronpath_core.readings.projection import effective_rows
from neuronpath_core.stats.units import UNITS
from tests import helpers
from tests.chapters.tables import NAMES

BLOCKS, IMAGES, NEURONS, CLASSES = 6, 48, 24, 6
GRID = Grid(4, 4, 2, 2, 1, (8, 8))
LABELS = np.arange(IMAGES) % CLASSES


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def somewhere(seed=0):
    """Masks of about a third of the patches, another in each image."""
    inside = np.random.default_rng(seed).random((IMAGES, 16)) < 0.35
    inside[~inside.any(1), 0] = True
    return inside


def planted(monkeypatch, values, inside, aligned=None, whole=None, scope="patch"):
    """What the chapter measures of these activations ``(block, image, neuron, patch)``."""
    values = torch.from_numpy(np.ascontiguousarray(values))
    aligned = noise(BLOCKS, NEURONS, CLASSES, seed=9) if aligned is None else aligned
    best = measured.best_neurons(torch.from_numpy(aligned), count=measured.RANKS).numpy()
    says = measured.Written(dict.fromkeys(measured.PROJECTIONS, aligned), best,
                            np.abs(noise(BLOCKS, NEURONS, seed=8)))
    first = values[..., 0] if whole is None else torch.from_numpy(whole)
    keys = Keys(GRID, values, values.mean(-1), first, values.abs().mean(2))
    monkeypatch.setattr(measured, "read_keys", lambda *_: keys)
    monkeypatch.setattr(measured, "written", lambda *_: says)
    masks = inside.reshape(-1, 4, 4).repeat(2, 1).repeat(2, 2)
    return measured.measured(SimpleNamespace(scope=scope), torch.rand(IMAGES, 1, 8, 8), LABELS,
                             masks, inside[:, 0])


def with_keys(values, what, ranks=1, seed=9):
    """Activations in which the first key neurons of each image's class are what is planted."""
    values, aligned = values.copy(), noise(BLOCKS, NEURONS, CLASSES, seed=seed)
    best = measured.best_neurons(torch.from_numpy(aligned), count=measured.RANKS).numpy()
    for image, label in enumerate(LABELS):
        for block, neuron in best[label, :ranks]:
            values[block, image, neuron] = what[image]
    return values


# --- what is measured of a network ---


@pytest.mark.parametrize("name", NAMES)
def test_measures_of_a_network_are_those_of_loops(study, images, name):
    read = measured.read_model(study, name, images)
    pixels_, labels = study.batch(images, name)
    target, masks = study.target(name), foreground(images)
    assert np.array_equal(read.labels, labels.numpy()) and read.classes == 10
    every = [heat_maps(target, pixels_, block).flatten(2).numpy()
             for block in range(len(target.model.blocks))]
    for image, block, neuron in ((0, 0, 3), (7, 1, 15), (19, 2, 0)):
        inside = np.array([masks[image, 8 * (p // 2):8 * (p // 2) + 8,
                                 8 * (p % 2):8 * (p % 2) + 8].mean() >= 0.5 for p in range(4)])
        assert (read.inside[image] == inside).all()
        own = every[block][image, neuron]
        if inside.any() and not inside.all():
            assert read.auroc[image, block, neuron] == pytest.approx(roc_auc_score(inside, own))
            gap = own[inside].mean() - own[~inside].mean()
            sd = every[block][:, neuron].std(ddof=1)
            assert read.gap[image, block, neuron] == pytest.approx(gap / sd)
        assert read.patch[image, block, neuron] == pytest.approx(own.mean())
        place, number = read.written.best[read.labels[image], 2]
        np.testing.assert_allclose(read.own[image, 2], every[place][image, number])
        number = read.written.effective[block, :, read.labels[image]].argmax()
        np.testing.assert_allclose(read.by_block[image, block], every[block][image, number])
    like = read.alike[1, 4]
    assert not like[4] and like.sum() >= 4
    block, neuron = read.written.best[read.labels[5], 1]
    assert read.of_key(read.patch, 1)[5] == read.patch[5, block, neuron]
    others = [n for n in range(read.neurons) if n != neuron]
    assert read.of_block(read.patch, 1)[5] == pytest.approx(read.patch[5, block, others].mean())
    alike = read.alike[block, neuron]
    assert read.of_alike(read.patch, 1)[5] == pytest.approx(read.patch[5, block, alike].mean())
    assert not any((each == read.by_block).all() for each in read.by_block_alike)


# --- maps (A1 to A3) ---


def test_maps_that_are_the_object_beat_every_control(monkeypatch):
    inside = somewhere()
    values = with_keys(noise(BLOCKS, IMAGES, NEURONS, 16), inside + 0.1 * noise(IMAGES, 16, seed=1))
    read = planted(monkeypatch, values, inside)
    found = maps.found_rows(read).set_index("of")["value"]
    assert found[maps.KEY] == 1 and abs(found[maps.ALIKE] - 0.5) < 0.1
    assert (maps.effect_rows(read)["low"] > 0.2).all()
    scores = maps.score_row(read)
    assert scores["pointing"] == 1 > scores["dealt pointing"] and scores["iou"] > scores["dealt iou"]


def test_maps_of_a_place_are_told_from_maps_of_an_object(monkeypatch):
    """All objects lie at one place or nearly so; the key neurons fire there whatever is shown."""
    place = np.arange(16) < 6
    inside = np.repeat(place[None], IMAGES, 0) ^ (np.random.default_rng(0).random((IMAGES, 16))
                                                  < 0.05)
    values, aligned = noise(BLOCKS, IMAGES, NEURONS, 16), noise(BLOCKS, NEURONS, CLASSES, seed=9)
    for block, neuron in measured.best_neurons(torch.from_numpy(aligned))[:, 0].tolist():
        values[block, :, neuron] = place + 0.01 * noise(IMAGES, 16, seed=1)
    rows = maps.effect_rows(planted(monkeypatch, values, inside)).set_index("against")
    assert rows.loc[maps.CHANCE, "low"] > 0.3 and rows.loc[maps.ALIKE, "low"] > 0.3
    # it looks like a finding, and other images' masks and the mean map find it too
    assert abs(rows.loc[maps.DEALT, "value"]) < 0.05 > abs(rows.loc[maps.PLACE, "value"])


def test_neurons_that_are_alike_refute_a_key_neuron_that_is_one_of_many(monkeypatch):
    inside = somewhere()
    values = inside[None, :, None] + 0.1 * noise(BLOCKS, IMAGES, NEURONS, 16)
    rows = maps.effect_rows(planted(monkeypatch, values, inside)).set_index("against")
    assert rows.loc[maps.CHANCE, "low"] > 0.4 and rows.loc[maps.DEALT, "low"] > 0.2
    assert rows.loc[maps.ALIKE, "value"] == rows.loc[maps.BLOCK, "value"] == 0
    nothing = maps.effect_rows(planted(monkeypatch, noise(BLOCKS, IMAGES, NEURONS, 16), inside))
    # six classes: the interval of so few is narrow, and its ends are held to a twentieth
    assert (nothing["low"] < 0.05).all() and (nothing["high"] > -0.05).all()


def test_the_best_localiser_is_ranked_first_where_it_was_planted(monkeypatch):
    inside = somewhere()
    values = with_keys(noise(BLOCKS, IMAGES, NEURONS, 16), 3.0 * inside)
    row = maps.first_rank_row(planted(monkeypatch, values, inside))
    assert row["value"] == 0.5 == row["high"] and row["median"] == 1 and row["first"] == 1
    assert row["chance"] == 10 / (BLOCKS * NEURONS)
    row = maps.first_rank_row(planted(monkeypatch, noise(BLOCKS, IMAGES, NEURONS, 16), inside))
    assert row["low"] < 0 < row["high"]
    # the one that fires most finds it, whatever it writes
    loud = noise(BLOCKS, IMAGES, NEURONS, 16)
    loud[2, :, 7] = 50 + inside
    row = maps.first_rank_row(planted(monkeypatch, loud, inside))
    assert row["activation_low"] == 0.5 and row["ahead_high"] < 0
    rows = maps.rank_rows(planted(monkeypatch, values, inside)).set_index("rank")
    assert rows.loc[1, "value"] == 1 > rows.loc[2, "value"] and rows.loc[1, "better"] == 0
    # the best of five is high by the choice alone, and no higher than of five others
    by_choice = maps.best_of_first_row(planted(monkeypatch, noise(BLOCKS, IMAGES, NEURONS, 16),
                                               inside))
    assert by_choice["best"] > 0.6 and abs(by_choice["value"]) < 0.1
    assert maps.best_of_first_row(planted(monkeypatch, values, inside))["low"] > 0.1


def test_a_gap_that_goes_with_the_lead_is_found(monkeypatch):
    """Classes with a larger gap have a first neuron that leads by more."""
    inside, aligned = somewhere(), noise(BLOCKS, NEURONS, CLASSES, seed=9)
    best = measured.best_neurons(torch.from_numpy(aligned), count=2).numpy()
    gap = np.array([(aligned[*a, c] - aligned[*b, c]) / aligned[*a, c]
                    for c, (a, b) in enumerate(best)])
    order = gap.argsort().argsort()
    for sign in (1, -1):
        values = noise(BLOCKS, IMAGES, NEURONS, 16)
        for image, label in enumerate(LABELS):
            (b, n), (d, m) = best[label]
            values[b, image, n] = sign * (order[label] - 2.5) * inside[image] + 0.3 * noise(
                16, seed=image)
            values[d, image, m] = 0
        row = maps.gap_row(planted(monkeypatch, values, inside, aligned))
        assert row["value"] * sign > 0.8 and row["p"] < 0.1 and row["classes"] == CLASSES


# --- by block (A5) ---


def test_a_lead_that_grows_with_depth_is_found_and_one_that_all_neurons_have_is_not(monkeypatch):
    inside = somewhere()
    strength = np.arange(BLOCKS)[:, None, None] * inside[None] * 0.8
    aligned = noise(BLOCKS, NEURONS, CLASSES, seed=9)
    values = noise(BLOCKS, IMAGES, NEURONS, 16)
    for block in range(BLOCKS):
        for image, label in enumerate(LABELS):
            values[block, image, aligned[block, :, label].argmax()] += strength[block, image]
    row = by_block.late_row(planted(monkeypatch, values, inside, aligned))
    assert row["low"] > 0.5 and row["last"] > row["first"]
    together = by_block.together_row(planted(monkeypatch, values, inside, aligned))
    assert together["low"] > 0.1 and together["dealt_low"] > 0.1 and together["found"] > 0.8
    every = noise(BLOCKS, IMAGES, NEURONS, 16) + strength[:, :, None]
    read = planted(monkeypatch, every, inside)
    row = by_block.late_row(read)
    assert row["plain"] > 0.5 and row["value"] < 0.5 * row["plain"]
    # averaging many finds the object, and neurons like them do so too
    together = by_block.together_row(read)
    assert together["found"] > 0.8 and abs(together["value"]) < 0.05
    rows = by_block.curve_rows(read)
    curves = by_block.block_curves(read)
    for words, own in rows.groupby("of"):
        means = read.of_class(curves[words].T).mean(0)
        np.testing.assert_allclose(own.sort_values("block")["value"], means)
    first = [roc_auc_score(inside[i], read.by_block[i, 0]) for i in range(IMAGES)]
    np.testing.assert_allclose(curves[by_block.SINGLE][0], first)
    np.testing.assert_allclose(curves[by_block.ALL], read.auroc.mean(2).T)


# --- weights (A6, A19) ---


def test_blocks_of_classes_against_uniform_draws():
    late = noise(BLOCKS, NEURONS, 24)
    late[-1] += 9
    row = weights.block_row(late)
    assert row["modal"] == BLOCKS and row["share"] == 1 and row["p"] == 1 / 1000
    assert row["value"] > row["chance"] and row["depth_value"] == 0.5
    early = weights.block_row(late[::-1].copy())
    assert early["modal"] == 1 and early["depth_high"] < 0
    chosen = [weights.block_row(noise(BLOCKS, NEURONS, 24, seed=seed)) for seed in range(40)]
    assert np.mean([row["p"] <= 0.05 for row in chosen]) < 0.15
    assert np.mean([row["depth_low"] <= 0 <= row["depth_high"] for row in chosen]) > 0.8
    says = measured.Written({"effective": late, "unit": late[::-1].copy()},
                            np.zeros((24, 1, 2), int), np.ones((BLOCKS, NEURONS)))
    rows = weights.block_rows(says)
    assert rows["modal"].tolist() == [BLOCKS, 1] and (rows["classes"] == 24).all()
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()
    counts = weights.histogram_rows(says, ["effective"])
    assert counts["classes"].tolist() == [0] * (BLOCKS - 1) + [24]


def test_the_share_of_one_block_has_the_interval_of_a_loop_over_classes():
    aligned = noise(BLOCKS, NEURONS, CLASSES)
    row, own = weights.block_row(aligned, seed=3), weights.best_blocks(aligned)
    rng, again = np.random.default_rng(3), []
    for _ in range(weights.RESAMPLES):
        drawn = [own[label] for label in rng.choice(np.arange(CLASSES), CLASSES)]
        again.append(max(drawn.count(block) for block in drawn) / CLASSES)
    half = stats.norm.ppf(0.975) * np.std(again, ddof=1)
    assert [row["value"] - row["low"], row["high"] - row["value"]] == pytest.approx([half, half])
    together = aligned.copy()
    together[2] += 9
    row = weights.block_row(together)
    assert row["low"] == row["value"] == row["high"] == 1 - row["expected"]
    with pytest.raises(ValueError, match="at least two"):
        weights.block_row(aligned[..., :1])


def test_directions_planted_and_not():
    target = npc.TargetModel(helpers.small_vit(3, num_classes=6))
    rows, centred = effective_rows(target), lambda v: v - v.mean(-1, keepdims=True)
    found = weights.direction_rows(target, 2)
    every = [np.stack([centred(v.numpy()) for v in value_matrix(target, block, "ffn")])
             for block in range(3)]
    for block, own in enumerate(every):
        cosines = (own @ rows.numpy().T) / np.linalg.norm(own, axis=1)[:, None] / np.linalg.norm(
            rows.numpy(), axis=1)
        np.testing.assert_allclose(found[found["block"] == block + 1]["cosine"], cosines.max(0))
    # random value vectors: no more than uniform directions, within chance of 6 classes
    beyond = weights.beyond_rows(found).set_index("against")
    assert beyond.loc["uniform directions", "low"] < 0.1
    with torch.no_grad():
        target.model.blocks[2].mlp.fc2.weight[:, :6] = rows.T * 3
    planted_ = weights.direction_rows(target, 2)
    beyond = weights.beyond_rows(planted_).set_index("against")
    assert (planted_[planted_["block"] == 0]["cosine"] > 0.999).all()
    assert (beyond["low"] > 0.15).all()
    row = weights.name_row(measured.written(target), target, 3)
    assert row["share"] == 1 and row["value"] == pytest.approx(1 - row["rotated"])
    same = weights.projection_row(measured.written(target))
    assert same["effective"] == 1 == same["same effective"] and 0 <= same["same raw"] <= 1
    assert weights.blocks_of_others([target]) == "3"


def test_key_neurons_that_say_another_class_are_counted():
    aligned = np.zeros((1, 3, 3))
    aligned[0] = [[5, 6, 0], [0, 3, 0], [0, 0, 2]]  # the first is best for 0 and 1, and says 1
    assert weights.names(aligned).tolist() == [0, 1, 1]


# --- classes (A7, A16) ---


def test_a_correlation_has_scipys_value_and_a_fair_p():
    first, second = noise(15, seed=1), noise(15, seed=2)
    row = classes.correlation_row(first, second)
    assert row["value"] == pytest.approx(stats.spearmanr(first, second).statistic)
    assert row["p"] == pytest.approx(stats.spearmanr(first, second).pvalue, abs=0.05)
    assert classes.correlation_row(first, first)["p"] == 1 / 1000
    assert classes.correlation_row(first, np.ones(15)) == {
        "value": 0, "low": 0, "high": 0, "p": 1}


def test_recall_that_goes_with_alignment_is_found():
    cosine = np.linspace(0.2, 0.9, 24)
    directions = pd.DataFrame({"block": 0, "cosine": cosine})
    says = SimpleNamespace(effective=noise(BLOCKS, NEURONS, 24))
    planted_ = classes.recall_rows(directions, says, cosine + 0.05 * noise(24)).set_index(
        "condition")
    assert planted_.loc[classes.BY_ALIGNMENT, "low"] > 0.5
    assert planted_.loc[classes.BY_BLOCK, "low"] < 0 < planted_.loc[classes.BY_BLOCK, "high"]
    assert len(classes.recall_rows(directions, says, np.ones(24))) == 0


def test_failures_of_classes_that_share_their_vector_are_found():
    best = np.zeros((8, 1, 2), int)
    best[4:, 0, 1] = np.arange(1, 5)  # four classes share one neuron, four have their own
    says, labels = SimpleNamespace(best=best), np.repeat(np.arange(8), 20)
    wrong = np.where(labels < 4, np.arange(160) % 2 == 0, np.arange(160) % 10 == 0)
    row = classes.sharing_row(says, classes.Recognised(labels, ~wrong))
    assert row["failures"] > row["successes"] and row["value"] > row["chance"] and row["p"] < 0.05
    assert row["shared"] == 0.5 and row["wrong"] == 48 and row["low"] > 0
    # three of seven others share it, of 40 of 48 failures and of 40 of 112 others
    assert row["value"] == pytest.approx(3 / 7 * (40 / 48 - 40 / 112))
    even = classes.Recognised(labels, np.arange(160) % 10 != 0)
    row = classes.sharing_row(says, even)
    assert abs(row["value"]) < 0.01 and row["p"] > 0.5
    none = classes.sharing_row(says, classes.Recognised(labels, np.ones(160, bool)))
    assert np.isnan(none["value"]) and np.isnan(none["low"]) and none["wrong"] == 0
    one = classes.sharing_row(SimpleNamespace(best=best[:1]), classes.Recognised(
        np.zeros(4, int), np.arange(4) > 1))
    assert np.isnan(one["value"]) and np.isnan(one["high"]) and one["wrong"] == 2
    assert even.recall().tolist() == [0.9] * 8


def test_failures_are_drawn_anew_by_class_as_a_loop_draws_them():
    rng = np.random.default_rng(4)
    labels, sharers = rng.integers(0, CLASSES, 90), rng.random(CLASSES)
    images = classes.Recognised(labels, (labels > 0) | (rng.random(90) < 0.5))
    found = classes.gap_draws(sharers, images, seed=2, resamples=200)
    drawn = np.random.default_rng(2).multinomial(CLASSES, np.full(CLASSES, 1 / CLASSES), 200)
    slow = []
    for own in drawn:
        wrong, right = [], []
        for label in np.repeat(np.arange(CLASSES), own):
            for image in np.flatnonzero(labels == label):
                (right if images.right[image] else wrong).append(sharers[label])
        if wrong and right:  # all failures are of one class, which some resamples lack
            slow.append(np.mean(wrong) - np.mean(right))
    assert 0 < len(slow) < 200
    np.testing.assert_allclose(found, slow)


# --- for which images, and how many neurons (A8, A9, A17) ---


def test_neurons_that_fire_for_their_class_are_found(monkeypatch):
    aligned, values = noise(BLOCKS, NEURONS, CLASSES, seed=9), noise(BLOCKS, IMAGES, NEURONS, 16)
    best = measured.best_neurons(torch.from_numpy(aligned), count=5).numpy()
    fired = values.copy()
    for label in range(CLASSES):
        for block, neuron in best[label]:
            fired[block, LABELS == label, neuron] += 2
    read = planted(monkeypatch, fired, somewhere())
    rows = carriers.fire_rows(read)
    assert rows["condition"].tolist() == [carriers.PATCHES] and rows["low"].iloc[0] > 0.3
    assert rows["five"].iloc[0] > 0.9
    told = carriers.published_rows(read)
    assert (told["own"] - told["others"] > 1).all()
    label, (block, neuron) = 2, best[2, 0]
    wanted = roc_auc_score(LABELS == label, read.patch[:, block, neuron])
    assert carriers.fire_table(read, read.patch)[0][2, 0] == pytest.approx(wanted)
    rows = carriers.activation_rows(read, SimpleNamespace(taxonomy={}))
    assert set(rows["of"]) == {carriers.OWN_CLASS, carriers.OTHERS}
    means = rows.groupby("of")["value"].mean()
    assert means[carriers.OWN_CLASS] > 0.2 > means[carriers.OTHERS]
    nothing = carriers.fire_rows(planted(monkeypatch, values, somewhere(), scope="cls"))
    assert nothing["condition"].tolist() == [carriers.PATCHES, carriers.CLASS_TOKEN]
    assert (nothing["low"] < 0.05).all() and (nothing["high"] > -0.05).all()
    both = pd.DataFrame({"data": "d", "model": "m", "condition": nothing["condition"]})
    kept = carriers.read_by_head(both, {("d", "m"): SimpleNamespace(
        target=SimpleNamespace(scope="cls"))})
    assert kept["condition"].tolist() == [carriers.CLASS_TOKEN]


def test_few_neurons_carry_a_class_only_where_they_were_planted(monkeypatch):
    values = noise(BLOCKS, IMAGES, NEURONS, 16)
    sparse, dense = values.copy(), values.copy()
    for label in range(CLASSES):
        sparse[:, LABELS == label, label] += 8
        dense[:, LABELS == label] += 8 * np.sign(noise(NEURONS, seed=label))[None, None, :, None]
    row = carriers.carrier_row(planted(monkeypatch, sparse, somewhere()))
    # the class's own neuron, and those of the others, which fire less than on average
    assert row["low"] > 0.05 and row["ratio"] < 0.12
    assert carriers.carrier_row(planted(monkeypatch, dense, somewhere()))["high"] < 0
    row = carriers.carrier_row(planted(monkeypatch, values, somewhere()))
    assert abs(row["value"]) < 0.05
    rows = carriers.carrier_rows(planted(monkeypatch, sparse, somewhere()))
    assert len(rows) == BLOCKS and (rows["top"] > 0.5).all()


def test_few_neurons_at_the_class_token_are_not_those_at_the_image_tokens(monkeypatch):
    """A class has a neuron of its own at the class token alone."""
    values, first = noise(BLOCKS, IMAGES, NEURONS, 16), noise(BLOCKS, IMAGES, NEURONS, seed=5)
    for label in range(CLASSES):
        first[:, LABELS == label, label] += 8
    read = planted(monkeypatch, values, somewhere(), whole=first, scope="cls")
    assert read.tokens == (carriers.PATCHES, carriers.CLASS_TOKEN)
    np.testing.assert_array_equal(read.at(carriers.CLASS_TOKEN), first.swapaxes(0, 1))
    rows = carriers.carried_rows(read).set_index("condition")
    assert rows.loc[carriers.CLASS_TOKEN, "low"] > 0.05 > abs(rows.loc[carriers.PATCHES, "value"])
    each = carriers.carrier_rows(read).groupby("condition")["top"].min()
    assert each[carriers.CLASS_TOKEN] > 0.5 > each[carriers.PATCHES]
    aligned = noise(BLOCKS, NEURONS, CLASSES, seed=9)
    for label in range(CLASSES):
        aligned[:, label, label] = 9
    read = planted(monkeypatch, values, somewhere(), aligned, whole=first, scope="cls")
    shown = carriers.activation_rows(read, SimpleNamespace(taxonomy={}))
    means = shown[shown["of"] == carriers.OWN_CLASS].groupby("condition")["value"].mean()
    assert means[carriers.CLASS_TOKEN] > 1.5 > 0.5 > abs(means[carriers.PATCHES])
    pooled = planted(monkeypatch, values, somewhere(), whole=first)
    assert pooled.tokens == (carriers.PATCHES,)
    for ask in (lambda: carriers.carrier_row(pooled, carriers.CLASS_TOKEN),
                lambda: carriers.fired(pooled, carriers.CLASS_TOKEN),
                lambda: near.distances(pooled, near.EVERY, 0, carriers.CLASS_TOKEN)):
        with pytest.raises(ValueError, match="accepted: at the image tokens"):
            ask()


def test_later_blocks_are_stronger_only_where_their_neurons_were_planted(monkeypatch):
    """The best neuron of each block fires more for its class, or all of them do."""
    aligned, values = noise(BLOCKS, NEURONS, CLASSES, seed=9), noise(BLOCKS, IMAGES, NEURONS, 16)
    grows, every = values.copy(), values.copy()
    for block in range(BLOCKS):
        for image, label in enumerate(LABELS):
            grows[block, image, aligned[block, :, label].argmax()] += 0.2 * block
        # classes differ more and more, in all neurons alike
        every[block] += (block * (LABELS - 2.5))[:, None, None]
    row, = carriers.stronger_rows(planted(monkeypatch, grows, somewhere(), aligned)).to_dict(
        "records")
    assert row["low"] > 0.3 and row["late"] > row["early"] + 0.5 and row["late_alike"] < 0.3
    assert row["condition"] == carriers.PATCHES and row["classes"] == CLASSES
    read = planted(monkeypatch, every, somewhere(), aligned)
    row, = carriers.stronger_rows(read).to_dict("records")
    assert row["low"] < 0 < row["high"] or abs(row["value"]) < 0.3
    # by loops
    means = np.stack([read.patch[LABELS == label].mean(0) for label in range(CLASSES)])
    above = (means - means.mean(0)) / read.patch.std(0)
    slow = []
    for label in range(CLASSES):
        best = [aligned[block, :, label].argmax() for block in range(BLOCKS)]
        lead = [above[label, block, number] - above[label, block][read.alike[block, number]].mean()
                for block, number in enumerate(best)]
        slow.append(stats.spearmanr(range(BLOCKS), lead).statistic)
    assert row["value"] == pytest.approx(np.mean(slow))
    still = carriers.stronger_rows(planted(monkeypatch, 0 * values, somewhere(), aligned))
    assert still["value"].tolist() == [0]
    falls = planted(monkeypatch, grows[::-1], somewhere(), aligned[::-1].copy(), scope="cls",
                    whole=grows.mean(-1))
    rows = carriers.stronger_rows(falls).set_index("condition")
    assert rows.loc[carriers.PATCHES, "high"] < -0.3


def test_classes_of_one_outline_are_near_only_where_they_were_planted(monkeypatch):
    """Six classes of two axes: outlines of three and fills of two."""
    taxonomy = {"outline": ("a", "a", "b", "b", "c", "c"), "fill": ("x", "y") * 3}
    shown = SimpleNamespace(taxonomy=taxonomy)
    shift = {name: 6 * noise(NEURONS, 1, seed=number)
             for number, name in enumerate(("a", "b", "c", "x", "y"))}
    values = noise(BLOCKS, IMAGES, NEURONS, 16)
    with_parts = values.copy()
    for label in range(CLASSES):
        for axis in taxonomy.values():
            with_parts[:, LABELS == label] += shift[axis[label]]
    rows = near.near_rows(planted(monkeypatch, with_parts, somewhere()), shown)
    assert len(rows) == 9
    every = rows[rows["over"] == near.EVERY]
    assert (every["value"].astype(float) > 0.6).all() and (every["p"] < 0.05).all()
    nothing = near.near_rows(planted(monkeypatch, values, somewhere()), shown)
    assert (nothing["p"].astype(float) > 0.05).mean() > 0.7
    assert near.near_rows(planted(monkeypatch, values, somewhere()),
                          SimpleNamespace(taxonomy={})).empty
    assert (every["low"] <= every["value"]).all() and (every["value"] <= every["high"]).all()
    # at the class token alone
    first = with_parts.mean(-1)
    rows = near.near_rows(planted(monkeypatch, values, somewhere(), whole=first, scope="cls"),
                          shown)
    own = rows[rows["over"] == near.EVERY].groupby("tokens")["value"]
    assert own.min()[carriers.CLASS_TOKEN] > 0.6 and own.mean()[carriers.PATCHES] < 0.4
    assert len(rows) == 18
    assert near.shared_parts(TAXONOMY)[0, :5].tolist() == [2, 1, 1, 1, 1]
    assert near.shared_parts(TAXONOMY)[0, 5] == 0


def test_the_random_twin_takes_the_place_of_what_was_read(study, images):
    read = measured.read_model(study, "pooled", images)
    twin = npc.TargetModel(helpers.small_vit(77, **{
        "img_size": 16, "patch_size": 8, "in_chans": 1, "num_classes": 10, "global_pool": "avg",
        "depth": 4}))
    other = near.without_training(read, twin)
    assert other.target is twin and not np.allclose(other.patch, read.patch)
    again = measured.measured(twin, read.pixels, read.labels, read.masks, read.correct)
    np.testing.assert_allclose(other.patch, again.patch)
    np.testing.assert_allclose(other.first, again.first)
    np.testing.assert_array_equal(other.written.best, again.written.best)


# --- pixels and objects (A4, A18, the conclusion) ---


def test_dots_at_long_streams_are_told_from_dots_anywhere(monkeypatch):
    inside = somewhere()
    spots = np.zeros((IMAGES, 16))
    rng = np.random.default_rng(3)
    where = np.array([rng.choice(np.flatnonzero(~inside[i])) for i in range(IMAGES)])
    spots[np.arange(IMAGES), where] = 40
    values = with_keys(0.1 * noise(BLOCKS, IMAGES, NEURONS, 16), spots)
    read = planted(monkeypatch, values, inside)
    assert (pixels.dots_of(read, 0) == (spots > 0)).all()
    long = np.repeat((1 + spots)[None], BLOCKS, 0) + 0.01 * noise(BLOCKS, IMAGES, 16)
    monkeypatch.setattr(pixels, "received", lambda read: noise(BLOCKS, IMAGES, 16, seed=4))
    row = pixels.dot_row(replace(read, norms=long))
    assert row["norm_low"] > 0.4 and row["images"] == IMAGES
    assert row["attention_low"] < 0 < row["attention_high"]
    table = pd.DataFrame([{"data": "d", "model": "m", **row}])
    rows = pixels.dot_rows(table)
    assert rows["condition"].tolist() == [pixels.NORM, pixels.ATTENTION]
    bare = pixels.dot_row(planted(monkeypatch, np.zeros((BLOCKS, IMAGES, NEURONS, 16)), inside))
    assert bare["images"] == 0 and np.isnan(bare["norm_value"])
    assert pixels.dot_rows(pd.DataFrame([{"data": "d", "model": "m", **bare}])).empty


def test_saliency_and_attention_are_the_library_s(study, images):
    read = measured.read_model(study, "small", images)
    labels, own = torch.from_numpy(read.labels), read.written.best[:, 0]
    found = pixels.moved_by(read, own)
    patches = predicting_patches(read.target, read.pixels, labels)
    one = saliency(read.target, read.pixels[4:5], torch.from_numpy(own[read.labels[4:5]]),
                   patches[4:5])
    np.testing.assert_allclose(found[4], one[0], rtol=1e-9)
    scores = pixels.salient_aurocs(read)
    assert scores[pixels.OWN][4] == pytest.approx(
        roc_auc_score(read.masks[4].ravel(), found[4].ravel()))
    rows = pixels.salient_rows(read)
    assert rows["against"].tolist() == ["one half", pixels.DEALT, pixels.OTHER]
    chosen = pixels.alike_neurons(read)
    assert (chosen[:, 0] == own[:, 0]).all() and (chosen[:, 1] != own[:, 1]).all()
    seen = pixels.received(read)
    assert seen.shape == (3, 20, 4) and ((seen > 0) & (seen < 1)).all()


def test_background_neurons_and_scenes_without_their_object(monkeypatch):
    inside = somewhere()
    values = with_keys(noise(BLOCKS, IMAGES, NEURONS, 16), 5.0 * ~inside, ranks=5)
    row = objects.background_row(planted(monkeypatch, values, inside))
    assert row["share"] == 1 and row["high"] < 0 and row["gap"] < -1
    row = objects.background_row(planted(monkeypatch, with_keys(values, 5.0 * inside, 5), inside))
    assert row["share"] == 0 and row["low"] > 0.2
    read = planted(monkeypatch, noise(BLOCKS, IMAGES, NEURONS, 16), inside)
    plain = noise(BLOCKS, IMAGES, NEURONS, 16, seed=5)
    for sign, bare in ((0, plain), (1, with_keys(plain, np.full((IMAGES, 16), -9.0))),
                       (-1, with_keys(plain, np.full((IMAGES, 16), 9.0)))):
        maps_ = torch.from_numpy(bare)
        keys = Keys(GRID, maps_, maps_.mean(-1), maps_[..., 0], maps_.abs().mean(2))
        monkeypatch.setattr(objects, "read_keys", lambda *_, keys=keys: keys)
        row = objects.without_object_row(read, None)
        assert (row["low"] > 0.2) == (sign > 0) and (row["high"] < -0.2) == (sign < 0)


# --- tables and examples ---


def test_chosen_images_are_those_that_fit_best(monkeypatch):
    inside = somewhere()
    values = with_keys(noise(BLOCKS, IMAGES, NEURONS, 16), 0.3 * inside + 0.2 * noise(IMAGES, 16))
    read = planted(monkeypatch, values, inside)
    picked = examples.chosen(read, 2)
    first, second = (read.of_key(read.auroc, rank) for rank in (0, 1))
    assert first[picked[0]] == first.max()
    assert len({*read.labels[picked].tolist()}) == 4
    rest = [i for i in range(IMAGES) if read.labels[i] not in read.labels[picked[:2]]]
    assert (second - first)[picked[2]] == (second - first)[rest].max()
    shown = ImageSet(torch.zeros(IMAGES, 1, 8, 8), torch.from_numpy(LABELS), torch.arange(IMAGES),
                     tuple("abcdef"), np.zeros((IMAGES, 8, 8), np.uint8))
    made = examples.examples(read, shown, 1)
    assert len(made) == 2 and made[0].maps.shape == (2, 8, 8)
    assert made[0].found[0] == first.max() and 0 <= made[0].maps.min() <= made[0].maps.max() <= 1
    block, neuron = read.written.best[read.labels[picked[0]], 0]
    assert made[0].neurons[0] == f"block {block + 1}, neuron {neuron}"


def test_tables_of_a_whole_chapter(study, images):
    reads = {("digits", name): measured.read_model(study, name, images) for name in NAMES}
    stacked = measured.stacked

    def every(make):
        return stacked(reads, lambda key, read: make(read))

    effects = every(maps.effect_rows)
    assert key_neurons_words.found_finding(effects).endswith("of 2")
    table = key_neurons_words.effect_table(effects)
    assert list(table)[0] == "minus one half" and len(table) == 2
    assert len(key_neurons_words.found_table(every(maps.found_rows))) == 2
    assert "rank 10" in key_neurons_words.rank_table(every(maps.rank_rows))
    table = key_neurons_words.first_table(*(every(make) for make in (
        maps.first_rank_row, maps.gap_row, maps.best_of_first_row)))
    assert table["of neurons"].tolist() == [48, 64]
    assert len(key_neurons_words.later_table(every(by_block.late_row), every(by_block.together_row))) == 2
    blocks = every(lambda read: weights.block_rows(read.written))
    again = pd.Series({key: "1, 2" for key in reads})
    table = key_neurons_words.block_table(blocks, blocks, again)
    assert table["trained again: commonest block"].tolist() == ["1, 2", "–"] * 2
    told = {key: classes.recognised(study, key[1]) for key in reads}
    directions = {key: weights.direction_rows(read.target, 1) for key, read in reads.items()}
    recalled = stacked(reads, lambda key, read: classes.recall_rows(
        directions[key], read.written, told[key].recall()))
    shared = stacked(reads, lambda key, read: classes.sharing_row(read.written, told[key]))
    assert len(key_neurons_words.recall_table(recalled, shared)) == 2
    beyond = stacked(reads, lambda key, _: weights.beyond_rows(directions[key]))
    named = every(lambda read: weights.name_row(read.written, read.target, 1))
    assert len(key_neurons_words.direction_table(beyond, named)) == 2
    table = key_neurons_words.projection_table(every(lambda read: weights.projection_row(read.written)),
                                    every(maps.projection_rows))
    assert "raw: same first, %" in table
    assert len(key_neurons_words.score_table(every(maps.score_row))) == 2
    assert len(key_neurons_words.dot_table(every(pixels.dot_row))) == 2
    assert len(key_neurons_words.moved_table(every(pixels.salient_rows))) == 2
    background = every(objects.background_row)
    without = background.iloc[:1].assign(change=0.0)
    table = key_neurons_words.object_table(background, without)
    assert table["more by"].tolist()[1] == "–"
    fires = every(carriers.fire_rows)
    table = class_tables.fire_table(fires, every(carriers.published_rows))
    assert len(table) == 3 == len(fires)
    table = class_tables.carrier_table(every(carriers.carried_rows), every(carriers.carrier_rows))
    assert len(table) == 3 and table.notna().all(axis=None)
    assert len(class_tables.stronger_table(every(carriers.stronger_rows))) == 3
    neighbours = stacked(reads, lambda key, read: near.near_rows(
        read, SimpleNamespace(taxonomy={"part": tuple("aabbccddee")})))
    table = class_tables.near_table(neighbours, neighbours)
    assert np.allclose(table["random weights"], neighbours["value"].astype(float))
    assert len(table) == 27 and table["correlation"].str.contains(r"\[").all()
    assert measured.stacked({}, None).empty


# --- claims ---


def row(value, low, high, **fields):
    return {"data": "digits", "model": "m", "value": value, "low": low, "high": high,
            "classes": 10} | fields


def claims_of(**changed):
    """The claims of made-up tables, each with a clear effect in the claim's direction."""
    yes = pd.DataFrame([row(0.2, 0.1, 0.3)])
    tables = {
        "blocks": pd.DataFrame([row(0.3, 0.1, 0.5, condition=words, chance=0.1, p=p,
                                    depth_value=0.2, depth_low=low, depth_high=0.3)
                                for words, p, low in ((weights.BY_SUM, 0.01, 0.1),
                                                      (weights.BY_DIRECTION, 0.2, -0.1))]),
        "beyond": pd.DataFrame([row(0.2, 0.1, 0.3, against="uniform directions"),
                                row(-0.2, -0.3, -0.1, against="rotated neurons")]),
        "recalled": yes.assign(condition=classes.BY_ALIGNMENT),
        "shared": pd.DataFrame([row(value, value - wide, value + wide, chance=0.3, p=p)
                                for value, p, wide in ((0.5, 0.01, 0.1), (-0.5, 0.01, 0.1),
                                                       (0.1, 0.4, 0.05), (0.5, 0.01, 0.6))]),
        "named": yes,
        "effects": pd.DataFrame([row(0.2, low, 0.3, against=words) for words, low in (
            (maps.CHANCE, 0.1), (maps.ALIKE, -0.1), (maps.BLOCK, 0.1), (maps.DEALT, 0.1),
            (maps.PLACE, 0.1))]),
        "later": yes,
        "means": pd.DataFrame([row(0.2, 0.1, 0.3, dealt_value=-0.2, dealt_low=-0.3,
                                   dealt_high=-0.1)]),
        "best": yes,
        "firsts": pd.DataFrame([row(0.2, 0.1, 0.3, ahead_value=-0.2, ahead_low=-0.3,
                                    ahead_high=-0.1)]),
        "gaps": yes,
        "dots": pd.DataFrame([row(0.2, 0.1, 0.3, condition=words, images=33)
                              for words in (pixels.NORM, pixels.ATTENTION)]),
        "moved": pd.DataFrame([row(value, value - 0.1, value + 0.1, against=words) for words, value
                               in (("one half", 0.5), (pixels.DEALT, -0.2), (pixels.OTHER, 0.2))]),
        **dict.fromkeys(("fires", "carriers", "stronger"), yes.assign(condition=carriers.PATCHES)),
        "neighbours": pd.DataFrame([
            row(value, value - 0.1, value + 0.1, over=over, p=0.01, chance=0.1,
                tokens=carriers.PATCHES, condition=f"in the {third} third of the blocks")
            for over, value in ((near.FIRST, 0.4), (near.FIRST_THREE, 0.4), (near.EVERY, -0.4))
            for third in ("first", "last")]),
        "background": yes, "without": yes}
    return {claim.key: claim for claim in verdicts.made_from(**{**tables, **changed})}


def test_claims_are_judged_by_their_own_control_and_sign():
    made = claims_of()
    judged = {key: [each.verdict for each in claim.comparisons] for key, claim in made.items()}
    assert judged["one block"] == ["agrees", "not shown"] == judged["late block"]
    # by the interval over classes and by the permutation, both
    assert judged["shared vectors"] == ["agrees", "contradicts", "not shown", "not shown"]
    assert judged["object"] == ["not shown"] and judged["own object"] == ["agrees"]
    assert judged["near classes"] == ["agrees", "contradicts"]
    for key in ("single neurons", "before activation", "own mean map", "own pixels"):
        assert judged[key] == ["contradicts"]
    for key in ("directions", "recognised", "names", "not its place", "late maps", "mean map",
                "together", "first ranks", "nearly equal", "pixels", "on the object",
                "needs the object", "fires", "few neurons", "later stronger"):
        assert judged[key] == ["agrees"]
    assert [each.n for each in made["dots"].comparisons] == [33, 33] and made["dots"].of == "images"
    assert {each.condition for each in made["near classes"].comparisons} == {
        f"{who}, at the image tokens" for who in ("by the first three key neurons",
                                                  "by all neurons")}
    # a permutation's verdict comes with what it must exceed, and with an interval over classes
    for key in ("one block", "shared vectors", "near classes"):
        assert made[key].of == "classes" and made[key].rule.above == 0
        assert all(each.chance and each.low is not None and each.n == 10
                   for each in made[key].comparisons)
    assert all(claim.unit in UNITS and claim.finding == "key neurons" for claim in made.values())
    assert {claim.by for claim in made.values()} == {"companion", "book"}


def test_of_digits_alone_nothing_is_said_of_scenes():
    empty = pd.DataFrame(columns=["data", "model", "value", "low", "high", "classes", "over",
                                  "condition", "chance", "p"])
    made = claims_of(neighbours=empty, without=pd.DataFrame())
    assert not made["near classes"].comparisons and not made["needs the object"].comparisons
    made = claims_of(neighbours=pd.DataFrame())
    assert not made["near classes"].comparisons
