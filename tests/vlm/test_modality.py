"""Types of neurons: python loops, exact thresholds, planted tables and a planted model, nulls that
must find nothing and what they must find."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from neuronpath_core.vlm.batches import caption_batches
from neuronpath_core.vlm.modality import (
    LEVELS,
    TYPES,
    Criteria,
    confident,
    counts,
    layer_means,
    layer_profile,
    layer_trend,
    normalised,
    probabilities,
    sample_types,
    top_places,
    type_shares,
)
from neuronpath_core.vlm.modality_nulls import (
    modality_auroc,
    permuted_labels,
    permuted_probabilities,
    rotation,
    threshold_grid,
)
from neuronpath_core.vlm.records import Records, TopSamples, collect
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.sequences import caption_turn
from tests.helpers import refused
from tests.vlm.planted import ASK, image, planted_vlm, random_vlm

IMAGE, TEXT = 20, 12  # tokens that count in the tables below, behind one that does not
SCENES = compose_many("held_out", 9)


def table(values, top=None):
    """Records of neurons on all samples: values ``(neuron, sample, 1 + IMAGE + TEXT)``."""
    neurons, samples, tokens = values.shape
    visual = np.zeros((samples, tokens), bool)
    visual[:, 1:1 + IMAGE] = True
    text = np.zeros_like(visual)
    text[:, 1 + IMAGE:] = True
    counted = np.where(visual | text, values, -np.inf)
    order = np.argsort(-counted.max(2), axis=1, kind="stable")
    values = np.take_along_axis(values, order[..., None], 1)
    return Records(values, order, top or samples, visual, text, counted.max((1, 2)),
                   values.mean((1, 2)), (values > 0).mean((1, 2)), np.arange(neurons) // 2)


def random_table(seed=0, neurons=8, samples=30):
    rng = np.random.default_rng(seed)
    return table(np.maximum(rng.standard_normal((neurons, samples, 1 + IMAGE + TEXT)) ** 3, -0.2))


def loops(records, criteria, levels):
    """Every definition with scalars."""
    found = []
    for neuron in range(len(records.values)):
        kinds = [0, 0, 0, 0]
        for slot in range(records.top):
            sample, visual, text = records.samples[neuron, slot], 0, 0
            for token in range(records.values.shape[2]):
                level = 10 * max(records.values[neuron, slot, token], 0) / records.maxima[neuron]
                level = min(10, math.floor(level)) if levels == "floor" else level
                visual += records.visual[sample, token] and level > criteria.visual_level
                text += records.text[sample, token] and level > criteria.text_level
            seen, told = visual > criteria.visual_count, text > criteria.text_count
            kinds[2 if seen and told else 0 if seen else 1 if told else 3] += 1
        found.append([kind / records.top for kind in kinds])
    return np.array(found)


@pytest.mark.each_value
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("criteria", [Criteria(), Criteria(1, 0, 2, 1), Criteria(5, 2, 1, 0)])
def test_types_by_python_loops(criteria, levels):
    records = random_table()
    np.testing.assert_array_equal(probabilities(records, criteria, levels),
                                  loops(records, criteria, levels))


@pytest.mark.parametrize("levels", LEVELS)
def test_a_neurons_scale_does_not_matter(levels):
    records, rng = random_table(), np.random.default_rng(1)
    scale = rng.uniform(0.01, 100, 8)
    scaled = Records(**{**vars(records), "values": records.values * scale[:, None, None],
                        "maxima": records.maxima * scale})
    np.testing.assert_array_equal(probabilities(scaled, levels=levels),
                                  probabilities(records, levels=levels))


def test_normalised_values_at_exact_levels():
    values = np.array([-1.0, 0, 0.5, 1, 1.999, 2, 2.5, 3, 5])
    np.testing.assert_array_equal(normalised(values, np.array(5.0)), [0, 0, 1, 2, 3, 4, 5, 6, 10])
    np.testing.assert_allclose(normalised(values, np.array(5.0), "continuous"),
                               [0, 0, 1, 2, 3.998, 4, 5, 6, 10], rtol=1e-15)
    # "above 2" is 30 % of the maximum with whole levels, 20 % without
    high = np.array([0.2, 0.201, 0.299, 0.3])
    assert (normalised(high, np.array(1.0)) > 2).tolist() == [False, False, False, True]
    assert (normalised(high, np.array(1.0), "continuous") > 2).tolist() == [False, True, True, True]
    assert normalised(values, np.array(-1.0)).max() == 0
    refused(lambda: normalised(values, np.array(1.0), "round"), "unknown levels 'round'; accepted: fl")


def test_criteria_are_strict():
    visual, text = np.array([4, 5, 4, 5]), np.array([2, 2, 3, 3])
    assert [TYPES[kind] for kind in sample_types(visual, text)] == [
        "unknown", "visual", "text", "multi-modal"]


def test_fewer_patches_need_fewer_tokens():
    assert Criteria().for_patches(576) == Criteria()
    assert Criteria().for_patches(64).visual_count == 0
    assert Criteria().for_patches(256).visual_count == 2
    # one patch is enough then, none is not
    scaled = Criteria().for_patches(64)
    assert sample_types(np.array([0, 1]), np.array([0, 0]), scaled).tolist() == [3, 0]


def planted(kind, rng, samples=50):
    """A neuron of a type: 8 image tokens or 4 text tokens near its maximum, or one of each."""
    values = rng.uniform(-0.2, 0.15, (samples, 1 + IMAGE + TEXT))
    visual = values[:, 1:1 + IMAGE]
    text = values[:, 1 + IMAGE:]
    if kind in ("visual", "multi-modal"):
        visual[:, rng.permutation(IMAGE)[:8]] = rng.uniform(0.5, 1, (samples, 8))
    if kind in ("text", "multi-modal"):
        text[:, rng.permutation(TEXT)[:4]] = rng.uniform(0.5, 1, (samples, 4))
    if kind == "unknown":
        visual[:, 3], text[:, 5] = 1, rng.uniform(0.5, 1, samples)
    values[:, 0] = 50  # where no token counts: it must not set the maximum
    return values


@pytest.mark.parametrize("levels", LEVELS)
def test_planted_neurons_of_each_type(levels):
    rng = np.random.default_rng(0)
    records = table(np.stack([planted(kind, rng) for kind in TYPES]))
    np.testing.assert_array_equal(probabilities(records, levels=levels), np.eye(4))


def test_a_dead_neuron_is_counted_apart():
    values = np.stack([planted("visual", np.random.default_rng(0)),
                       np.full((50, 1 + IMAGE + TEXT), -0.1)])
    records = table(values)
    p = probabilities(records)
    assert records.live.tolist() == [True, False] and np.isnan(p[1]).all()
    np.testing.assert_array_equal(type_shares(p), [[1, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(confident(p), [1, 0, 0, 0])
    assert np.isnan(confident(p[1:])).all()


def test_above_and_at_the_level_differ():
    p = np.array([[40, 10, 0, 0], [41, 9, 0, 0], [10, 40, 0, 0], [39, 11, 0, 0]]) / 50
    np.testing.assert_array_equal(confident(p), [0.25, 0, 0, 0])
    np.testing.assert_array_equal(confident(p, strict=False), [0.5, 0.25, 0, 0])


def test_most_probable_types_that_tie_share_the_neuron():
    p = np.array([[0.5, 0.5, 0, 0], [0.25] * 4, [0.2, 0.1, 0.6, 0.1], [np.nan] * 4])
    np.testing.assert_array_equal(type_shares(p), [[0.5, 0.5, 0, 0], [0.25] * 4, [0, 0, 1, 0],
                                                   [0] * 4])


def test_top_places_by_hand():
    p = np.array([0.9, 0.7, 0.7, 0.7, 0.1, np.nan, 0.2, 0.3, 0, 0, 0])
    # ten live neurons: a fifth of them is two places, the second shared by three
    np.testing.assert_allclose(top_places(p, 0.2), [1, 1 / 3, 1 / 3, 1 / 3] + [0] * 7)
    np.testing.assert_allclose(top_places(p, 0.25), [1, 0.5, 0.5, 0.5] + [0] * 7)
    np.testing.assert_allclose(top_places(p, 1).sum(), 10)
    np.testing.assert_allclose(top_places(np.zeros(7), 0.03), 0.03)
    assert top_places(np.full(3, np.nan)).tolist() == [0, 0, 0]
    refused(lambda: top_places(p, 0), "share cannot be 0; accepted: a number above 0, up to 1")


def test_layers_of_a_type():
    layers = np.array([0, 0, 1, 1, 2, 2])
    p = np.array([0.2, 0.2, 0.5, 0.1, 1, np.nan])
    np.testing.assert_allclose(layer_profile(p, layers), [0.2, 0.3, 0.5])
    np.testing.assert_allclose(layer_profile(top_places(p, 0.4), layers), [0, 0.5, 0.5])
    assert np.isnan(layer_profile(np.zeros(6), layers)).all()
    four = np.stack([p, p, p, p], 1)
    np.testing.assert_allclose(layer_means(four, layers)[:, 0], [0.2, 0.3, 1])
    assert layer_trend(layer_means(four, layers)[:, 0]) == 1
    assert layer_trend(np.array([3, 2, 1, 0.5])) == -1 and math.isnan(layer_trend(np.ones(4)))


# --- nulls ---


def test_permuted_labels_keep_the_numbers_of_tokens():
    records = random_table()
    visual, text = permuted_labels(records, np.random.default_rng(0))
    assert not (visual & text).any()
    np.testing.assert_array_equal(visual | text, records.visual | records.text)
    np.testing.assert_array_equal(visual.sum(1), records.visual.sum(1))
    drawn = np.mean([permuted_labels(records, np.random.default_rng(seed))[0]
                     for seed in range(400)], 0)[:, 1:]
    # every token is as often visual as any other: a share of 20 in 32, 3 standard errors of many
    assert np.abs(drawn - IMAGE / (IMAGE + TEXT)).max() < 4.5 * (0.234 / 400) ** 0.5


def test_the_permutation_takes_a_planted_modality_away_and_nothing_from_a_null():
    rng = np.random.default_rng(0)
    seen = table(np.stack([planted("visual", rng) for _ in range(20)]))
    null = permuted_probabilities(seen, 5)
    assert probabilities(seen)[:, 0].min() == 1 and null[..., 0].mean() < 0.75
    assert null[..., 2].mean() > 0.2  # the same eight tokens, dealt out, are of both kinds
    # a neuron that does not look at the modality has the types of its permutations
    blind = table(np.where(rng.random((40, 50, 1 + IMAGE + TEXT)) < 0.3, 1.0, 0.0))
    own, drawn = probabilities(blind), permuted_probabilities(blind, 10)
    assert np.abs(own.mean(0) - drawn.mean((0, 1))).max() < 0.03
    refused(lambda: permuted_probabilities(blind, 0), "draws cannot be 0; accepted: a whole number")


def test_rotations_are_uniform_and_keep_lengths():
    turned = rotation([6, 6], seed=3)
    values = torch.randn(2, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(turned(0, values).norm(dim=-1), values.norm(dim=-1))
    assert (turned(0, values) - turned(1, values)).abs().max() > 0.1
    torch.testing.assert_close(turned(0, values), rotation([6, 6], seed=3)(0, values))
    # of a uniform direction in R^3 each coordinate is uniform in [-1, 1] (Archimedes)
    first = torch.eye(3, dtype=torch.float64)[None, :1]
    drawn = [rotation([3], seed)(0, first)[0, 0].numpy() for seed in range(400)]
    for coordinate in np.array(drawn).T:
        assert kstest(coordinate, "uniform", (-1, 2)).pvalue > 0.001


def test_the_grid_of_thresholds_is_every_combination():
    records = random_table()
    found = threshold_grid(records, (1, 2), (3,), (0, 4), (2,))
    assert len(found) == 4
    row = found[(found["visual_level"] == 2) & (found["visual_count"] == 4)].iloc[0]
    p = probabilities(records)
    np.testing.assert_allclose(row[list(TYPES)].astype(float), type_shares(p).mean(0))
    np.testing.assert_allclose(row[[f"sure {name}" for name in TYPES]].astype(float), confident(p))


def test_auroc_is_scikit_learns():
    rng = np.random.default_rng(0)
    records = table(np.round(rng.standard_normal((4, 12, 1 + IMAGE + TEXT)), 1))
    found = modality_auroc(records)
    for neuron in range(4):
        visual = records.visual[records.samples[neuron]]
        text = records.text[records.samples[neuron]]
        values = records.values[neuron]
        wanted = roc_auc_score([1] * visual.sum() + [0] * text.sum(),
                               np.concatenate([values[visual], values[text]]))
        assert math.isclose(found[neuron], wanted, abs_tol=1e-12)


# --- from a model ---


def batches(vlm, images, answers, size=3):
    def made():
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            yield vlm.encode(images[part], [ASK] * len(images[part]), answers[part])
    return made


def test_running_tops_are_those_of_the_whole_table():
    values = torch.randn(40, 6).round(decimals=1)  # with ties
    running = TopSamples(7)
    for start in range(0, 40, 9):
        running.add(values[start:start + 9], start)
    order = values.T.argsort(dim=1, descending=True, stable=True)[:, :7]
    torch.testing.assert_close(running.values, values.T.gather(1, order))
    torch.testing.assert_close(running.samples, order)


@pytest.mark.parametrize("site", ["activation", "product"])
def test_records_are_those_of_all_activations_at_once(site):
    vlm = random_vlm()
    images = [scene.pixels for scene in SCENES]
    turns = [caption_turn(scene) for scene in SCENES]
    answers = [turn[1] for turn in turns]
    found = collect(vlm, batches(vlm, images, answers), site, top=4, random=2)
    inputs = vlm.encode(images, [turn[0] for turn in turns], answers)
    every = torch.cat(vlm.activations(inputs, site), -1).permute(2, 0, 1)
    counted = inputs.visual | inputs.text()
    most = every.masked_fill(~counted, -torch.inf).amax(2)
    np.testing.assert_allclose(found.maxima, most.amax(1).numpy(), rtol=1e-6)
    np.testing.assert_array_equal(found.samples[:, :4],
                                  most.argsort(dim=1, descending=True, stable=True)[:, :4])
    np.testing.assert_allclose(found.mean, every[:, counted].mean(1).numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.active, (every[:, counted] > 0).double().mean(1), atol=1e-12)
    for neuron in range(20):
        for slot, sample in enumerate(found.samples[neuron]):
            length = int(inputs.values["attention_mask"][sample].sum())
            np.testing.assert_allclose(found.values[neuron, slot, :length],
                                       every[neuron, sample, :length], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found.visual, inputs.visual)
    assert found.layers.tolist() == [0] * 10 + [1] * 10


PLANTED_WORDS = "red red red star ."


def test_the_planted_models_types_are_found():
    """Red patches and three times the word "red" in every sample: four types, and a dead neuron."""
    vlm = planted_vlm()
    images = [image(5 + place) for place in range(6)]
    records = collect(vlm, batches(vlm, images, [PLANTED_WORDS] * 6), top=6, random=0)
    p = probabilities(records, Criteria().for_patches(64))
    np.testing.assert_array_equal(p[:4], np.eye(4))
    assert records.live.tolist() == [True] * 4 + [False]
    auroc = modality_auroc(records)
    assert auroc[0] > 0.5 and auroc[1] < 0.3


def test_the_planted_types_follow_what_samples_show():
    """In half of them no patch is red: the neuron that reads both is textual there."""
    vlm = planted_vlm()
    images = [image(8 if place % 2 else 0) for place in range(8)]
    records = collect(vlm, batches(vlm, images, [PLANTED_WORDS] * 8), top=8, random=0)
    p = probabilities(records, Criteria().for_patches(64))
    np.testing.assert_array_equal(p[2], [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(p[0], [0.5, 0, 0, 0.5])
    # with the captions of others that say nothing of red, nothing is textual
    silent = collect(vlm, batches(vlm, images, ["a blue cross ."] * 8), top=8, random=0)
    p = probabilities(silent, Criteria().for_patches(64))
    np.testing.assert_array_equal(p[2], [0.5, 0, 0, 0.5])
    assert np.isnan(p[1]).all()


def test_a_rotation_takes_planted_types_away():
    vlm = planted_vlm()
    images = [image(5 + place) for place in range(6)]
    turned = collect(vlm, batches(vlm, images, [PLANTED_WORDS] * 6), top=6, random=0,
                     transform=rotation([5]))
    assert not np.array_equal(np.nan_to_num(probabilities(
        turned, Criteria().for_patches(64)))[:4], np.eye(4))


def test_batches_of_scenes_are_their_captions():
    vlm = random_vlm()
    found = list(caption_batches(vlm, SCENES, size=4)())
    assert [len(inputs.roles) for inputs in found] == [4, 4, 1]
    said = [[inputs.words[row][place] for place in inputs.text()[row].nonzero()[:, 0]]
            for inputs in found for row in range(len(inputs.roles))]
    assert [" ".join(words) for words in said] == [caption_turn(scene)[1] for scene in SCENES]
    other = list(caption_batches(vlm, SCENES[:2], ["a red star ."] * 2)())
    assert other[0].words[1][-5:] == ("a", "red", "star", ".", "<eos>")
    refused(lambda: caption_batches(vlm, SCENES, ["a"]), "9 scenes and 1 captions; accepted: as many")
    refused(lambda: caption_batches(vlm, SCENES, size=0), "size cannot be 0; accepted: a whole")


def test_too_few_samples_are_refused():
    vlm = planted_vlm()
    given = batches(vlm, [image(2)], ["a red star ."])
    refused(lambda: collect(vlm, given), "1 samples for 50 top and 5 random ones",
            "accepted: at least one top sample")
    assert counts(collect(vlm, given, top=1, random=0))[0].shape == (5, 1)
