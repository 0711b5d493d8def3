"""Chapter 30: every measure on two small networks against slow twins, on planted effects, and where
nothing was planted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import neuronpath_core as npc
from neuronpath_core.chapters.path_meaning import (
    concepts,
    detects,
    evidence,
    failures,
    looks,
    measured,
    pictures,
    planted,
    seeds,
    wiring,
    words,
    writes,
)
from neuronpath_core.chapters.verdicts import path_meaning as verdicts
from neuronpath_core.images.shapes import TAXONOMY
from neuronpath_core.models.planted import planted_model
from neuronpath_core.neurons.concept_paths import dissociation
from neuronpath_core.neurons.matched import matched, of_path
from neuronpath_core.neurons.spectrum import image_statistics
from neuronpath_core.readings.relevance import relevance
from tests.chapters.tables import NAMES


@pytest.fixture(scope="module")
def cases(study, images):
    return {("digits", name): measured.case_of(study, name, images) for name in NAMES}


@pytest.fixture(scope="module")
def chain():
    return planted_model("chain", seed=2, n_images=8)


@pytest.fixture(scope="module")
def known():
    return planted.planted_rows(1, seed=5)


# --- the common frame ---


def test_a_case_has_the_stored_paths_and_those_made_here(study, images, cases):
    pixels, labels = study.batch(images, "small")
    case = cases["digits", "small"]
    for method in measured.METHODS_USED:
        wanted = npc.find_paths(study.target("small"), pixels, labels, method).neurons
        assert np.array_equal(case.paths[method], wanted.numpy())
    assert case.here.shape == (20, 3, 16) and (case.here >= 0).all()
    np.testing.assert_allclose(case.likeness[0], case.here.mean(0))
    assert cases["digits", "pooled"].here.shape == (20, 4, 16)
    assert measured.stacked({}, None).empty


def test_percentiles_among_directions_are_uniform_for_random_weights():
    """Value vectors of a fresh network point anywhere: one half on average, within four standard
    errors of a uniform variable; a planted class direction is the very last."""
    target = npc.TargetModel(planted_model("parallel", seed=1).target.model)
    found = measured.among_directions(target)
    truth = planted_model("parallel", seed=1)
    own = found[np.arange(5)[None], truth.neurons[..., 0].numpy(), truth.labels[:, None].numpy()]
    assert (own > 0.999).all()
    rest = np.delete(found.ravel(), np.argsort(found.ravel())[-20:])
    assert abs(rest.mean() - 0.5) < 4 * 0.289 / 5  # rows of one block share their class directions


def test_a_property_of_path_neurons_is_an_effect_and_one_of_all_is_none(cases):
    case = cases["digits", "small"]
    own = np.zeros((20, 3, 16))
    np.put_along_axis(own, case.paths["neuron_path"][..., None], 1.0, -1)
    rows = measured.effect_rows(case, own, "planted")
    mine = rows[rows["method"] == "neuron_path"].set_index("against")
    assert (mine["path"] == 1).all() and (mine["value"] > 0.3).all() and (mine["low"] > 0).all()
    assert list(mine.index) == [measured.LIKE, measured.LIKE_HERE, "the path of Activation",
                                "the path of Random"]
    flat = measured.effect_rows(case, np.full((20, 3, 16), 0.7), "same")
    assert (flat["value"].abs() < 1e-12).all() and len(flat) == 8
    # what follows from the activation alone vanishes against neurons as active
    ranks = stats.rankdata(case.here, axis=-1) / 16
    follows = measured.effect_rows(case, ranks, "activity").set_index(["method", "against"])
    gap = follows["value"]["neuron_path"]
    assert abs(gap[measured.LIKE_HERE]) < abs(gap["the path of Random"])


def test_matches_are_found_once_and_are_those_of_the_slow_way(cases):
    case = cases["digits", "small"]
    for method in measured.FOUND:
        for like, first in ((measured.LIKE, case.likeness[0]), (measured.LIKE_HERE, case.here)):
            found = case.matches(method, like)
            np.testing.assert_array_equal(
                found, matched(case.paths[method], first, case.likeness[1]))
            assert case.matches(method, like) is found
            with pytest.raises(ValueError, match="read-only"):
                found[:] = True
    other = replace(case, paths={name: (own + 1) % case.here.shape[-1]
                                 for name, own in case.paths.items()})
    assert not np.array_equal(other.matches("neuron_path"), case.matches("neuron_path"))


def test_gaps_leave_out_what_is_not_defined():
    own = np.array([[1.0, np.nan], [2.0, 4.0], [np.nan, np.nan]])
    row = measured.gap_row(own, np.ones((3, 2)))
    assert row["images"] == 2 and row["path"] == 2 and row["value"] == 1
    # two images of which one differs: flipped signs can do no better
    assert row["p"] == 1
    lost = measured.gap_row(own[2:], np.ones((1, 2)))
    assert np.isnan(lost["value"]) and lost["images"] == 0


def test_effects_are_judged_as_families():
    """Holm over the models and methods of one question, not over the questions; what does not pass
    shows nothing, whatever its interval, and neither does what is not defined."""
    p = [0.004, 0.02, 0.03, 0.9, np.nan, 0.03]
    table = pd.DataFrame({"measure": ["a"] * 5 + ["b"], "against": "like", "p": p, "low": 0.1,
                          "high": 0.3, "value": [0.2] * 4 + [np.nan, 0.2]})
    found = measured.in_families(table)
    np.testing.assert_allclose(found["adjusted"], [0.016, 0.06, 0.06, 0.9, np.nan, 0.03])
    assert list(found["verdict"]) == ["agrees", *["not shown"] * 4, "agrees"]
    below = measured.in_families(table.assign(low=-0.3, high=-0.1))
    assert below["verdict"][0] == "contradicts"
    assert words.starred(found.iloc[0], 2) == "+0.20 [+0.10, +0.30] *"
    assert words.starred(found.iloc[1], 2) == "+0.20 [+0.10, +0.30]"
    assert "verdict" not in measured.in_families(table.drop(columns="p"))
    assert words.tally(found, measure="a").startswith("1 of 4 models")


def test_many_effects_of_nothing_are_rarely_shown_together():
    """Of 200 families of 16 null effects no more than a twentieth shows one; a planted one shows in
    all."""
    rng, zero = np.random.default_rng(0), np.zeros((24, 1))
    shown = planted_shown = 0
    for family in range(200):
        own = rng.standard_normal((16, 24, 1))
        own[0] += 2 * (family % 2)
        table = measured.in_families(pd.DataFrame(
            [{"measure": "a", **measured.gap_row(each, zero)} for each in own]))
        wrong = (table["verdict"][family % 2:] != "not shown").any()
        shown, planted_shown = shown + wrong, planted_shown + (table["verdict"][0] == "agrees")
    # 3 standard errors of 200 draws of 0.05
    assert shown / 200 < 0.05 + 0.046 and planted_shown >= 100


# --- J1 and J2 ---


def test_writing_is_the_alignments_percentile_by_a_loop(cases):
    for case in cases.values():
        values = case.of_label(case.aligned)
        vectors = np.stack([case.target.value_vectors(block).numpy()
                            for block in range(case.target.n_blocks)])
        norm, head = case.target.model.norm, case.target.model.head
        norm = case.target.model.fc_norm if isinstance(norm, torch.nn.Identity) else norm
        weight = (head.weight * norm.weight).detach().numpy()
        effect = np.einsum("lnd,cd->lnc", vectors - vectors.mean(-1, keepdims=True), weight)
        for image in (0, 7):
            for block, neuron in ((0, 3), (2, 11)):
                column = effect[block, :, case.labels[image]]
                slow = np.mean(np.delete(column, neuron) < column[neuron])
                assert values[image, block, neuron] == pytest.approx(slow)


def test_key_neurons_and_used_ones_by_sorting(cases):
    for case in cases.values():
        key = writes.key_neurons(case, 3)
        assert (key.sum(1) == 3).all()
        assert (np.where(key == 1, case.aligned, np.inf).min(1)
                >= np.where(key == 0, case.aligned, -np.inf).max(1)).all()
        used, maps = writes.used(case, 3), case.keys.maps
        if case.target.scope == "cls":
            top = np.argsort(-case.keys.first[1, 4].numpy())[:3]
            assert set(np.flatnonzero(used[4, 1])) == set(top) and set(used[4, 1]) == {0, 1}
        else:
            slow = np.zeros(16)
            for patch in maps[1, 4].T.numpy():
                slow[np.argsort(-patch)[:3]] += 1 / maps.shape[-1]
            np.testing.assert_allclose(used[4, 1], slow)
    rows = writes.overlap_rows(cases["digits", "small"])
    most = rows[(rows["measure"] == writes.USED)
                & (rows["against"] == "the path of Activation")]
    assert (most["other"] == 1).all() and (rows["chance"] == 5 / 16).all()


def test_depth_and_thirds_add_up(cases):
    case = cases["digits", "pooled"]
    blocks = writes.block_rows(case)
    thirds = writes.third_rows(case).set_index(["method", "blocks"])["value"]
    own = blocks[blocks["method"] == "neuron_path"]["value"].to_numpy()
    parts = list(measured.thirds(4).values())
    assert thirds["neuron_path", "first third"] == pytest.approx(own[parts[0]].mean())
    assert thirds["neuron_path", writes.LATER] == pytest.approx(
        own[parts[2]].mean() - own[parts[0]].mean())
    whole = writes.writing_rows(case).set_index(["measure", "method", "against"])["value"]
    assert whole[writes.WRITES, "neuron_path", measured.LIKE] == pytest.approx(own.mean())


# --- J4 and J5 ---


def test_evidence_is_the_rank_with_the_path_removed(cases):
    case = cases["digits", "small"]
    path = torch.from_numpy(case.paths["neuron_path"])
    with npc.edit(case.target, path, "remove"):
        logits = case.target(case.pixels).detach()
    own = logits.gather(1, torch.from_numpy(case.labels)[:, None])
    slow = 1 - (logits > own).sum(1).double() / 9
    np.testing.assert_allclose(evidence.known(case, case.paths["neuron_path"])[:, -1], slow)
    for each in cases.values():  # every block, by the streams that are held against the model
        neurons = torch.from_numpy(each.paths["neuron_path"])
        with npc.edit(each.target, neurons, "remove"):
            slow = evidence.known(each)
        np.testing.assert_array_equal(evidence.known(each, each.paths["neuron_path"]), slow)
    lost = evidence.losses(case, draws=1)
    rows = evidence.evidence_rows(lost)
    assert set(rows["blocks"]) == {"all", "first third", "middle third", "last third"}
    same = {name: {"path": each["path"], measured.LIKE: each["path"]}
            for name, each in lost.items()}
    flat = evidence.evidence_rows(same)
    assert (flat[flat["against"] == measured.LIKE]["value"] == 0).all()


def test_wires_along_a_path_are_its_pairs(cases):
    case = cases["digits", "small"]
    tables = wiring.wires(case, "direct")
    own = wiring.along(tables[wiring.SIZE], case.paths["neuron_path"])
    path, matches = case.paths["neuron_path"], case.matches("neuron_path")
    for image, block in ((0, 0), (9, 1)):
        table = tables[wiring.SIZE][block]
        assert own[image, block] == table[path[image, block], path[image, block + 1]]
        slow = table[path[image, block]][matches[image, block + 1]].mean()
        found = wiring.to_matched(tables[wiring.SIZE], case, "neuron_path")[image, block]
        assert found == pytest.approx(slow)
    for place in tables[wiring.PLACE]:
        assert place.mean() == pytest.approx(0.5)


# --- J6 ---


def test_a_map_that_is_the_relevance_correlates_and_another_images_does_not(cases):
    rng = np.random.default_rng(0)
    case = cases["digits", "small"]
    labels = torch.from_numpy(case.labels)
    maps = relevance(case.target, case.pixels, labels, reduce="block")
    shape = case.keys.maps.shape
    noise = torch.from_numpy(rng.random(shape))
    path = torch.from_numpy(case.paths["neuron_path"]).T[..., None, None].expand(
        *shape[:2], 1, shape[3])
    planted_maps = noise.scatter(2, path, maps.transpose(0, 1)[:, :, None] + 10)
    own = replace(case, keys=replace(case.keys, maps=planted_maps))
    rows = looks.look_rows(own, looks.correlations(own)).set_index(["method", "against"])
    assert rows.loc[("neuron_path", looks.NO_MAP), "value"] == pytest.approx(1)
    assert rows.loc[("neuron_path", looks.OTHER_MAP), "low"] > 0.1
    nothing = replace(case, keys=replace(case.keys, maps=noise))
    found = looks.look_rows(nothing, looks.correlations(nothing))
    assert (found["low"] < 0.05).all() and (found["high"] > -0.05).all()


def test_correlations_are_spearmans(cases):
    case = cases["digits", "pooled"]
    maps = relevance(case.target, case.pixels, torch.from_numpy(case.labels), reduce="block")
    found, turned = looks.rank_correlations(case.keys.maps, maps, -maps)
    np.testing.assert_allclose(turned, -found, rtol=0, atol=1e-12)
    for image, block, neuron in ((0, 0, 1), (7, 2, 9)):
        active = case.keys.maps[block, image, neuron].clamp_min(0).numpy()
        own = found[image, block, neuron]
        if np.unique(active).size == 1:
            assert np.isnan(own)
        else:
            slow = stats.spearmanr(active, maps[image, block].numpy()).statistic
            assert own == pytest.approx(slow, abs=1e-10)
    others = looks.other_of_class(np.array([0, 0, 1, 2, 2, 2]))
    assert others[2] == -1 and sorted(others[3:]) == [3, 4, 5] and others[:2].tolist() == [1, 0]
    assert (others != np.arange(6)).all()


# --- J3 ---


def dissected(auroc):
    """A dissection of two blocks of three neurons with these areas for the 18 concepts that
    compete."""
    from neuronpath_core.images.drawing import FILLS, OUTLINES
    from neuronpath_core.images.shapes import COLOURS

    names = (*OUTLINES, *FILLS, *COLOURS)
    kinds = ("outline",) * 6 + ("fill",) * 4 + ("colour",) * 8
    return detects.Detects(SimpleNamespace(names=names, kinds=kinds, auroc=auroc, iou=auroc / 10),
                           TAXONOMY, auroc)


def test_a_neuron_that_finds_any_object_detects_no_outline():
    every = dissected(np.full((2, 3, 18), 0.9))
    assert all(np.abs(own).max() < 1e-12 for kind in ("outline", "fill", "colour")
               for own in every.ahead(kind).values())
    area = np.full((2, 3, 18), 0.5)
    area[1, 2, 0] = 0.8  # circle
    area[0, 0, 7] = np.nan  # hollow, which nothing shows
    one = dissected(area)
    assert one.ahead("outline")["circle"][1, 2] == pytest.approx(0.3)
    assert one.ahead("outline")["star"][1, 2] == pytest.approx(-0.06)
    found = one.of_classes("outline", np.array([0, 5]))  # a circle, a square
    assert found[0, 1, 2] == pytest.approx(0.3) and found[1, 1, 2] == pytest.approx(-0.06)
    assert one.ahead("fill")["solid"][0, 0] == pytest.approx(0)
    assert one.of_classes("outline", np.array([0]), detects.OVERLAP)[0, 1, 2] == pytest.approx(0.03)


def test_detection_rows_know_the_colour_of_each_scene():
    from neuronpath_core.images.shapes import render, scene_set

    scenes = scene_set([render("train", index) for index in range(24)], range(24))
    area = np.full((2, 3, 18), 0.5)
    area[..., 10:] += np.arange(8) / 10
    colours = [scene.split(" ")[1] for scene in scenes.captions]
    found = detects.of_colours(dissected(area), scenes)
    place = [list(dissected(area).found.names).index(name) - 10 for name in colours]
    slow = [own / 10 - np.mean([other / 10 for other in range(8) if other != own])
            for own in place]
    np.testing.assert_allclose(found[:, 1, 2], slow)


def test_a_neuron_that_is_active_in_images_of_a_concept_tells_them(cases):
    from sklearn.metrics import roc_auc_score

    case = cases["digits", "small"]
    present = np.random.default_rng(0).random((2, 20)) < 0.5
    found = detects.by_image(case.target, case.pixels, SimpleNamespace(present=present))
    for block, neuron, concept in ((0, 3, 0), (2, 9, 1)):
        values = case.keys.first[block, :, neuron].numpy()
        assert found[block, neuron, concept] == pytest.approx(
            roc_auc_score(present[concept], values))
    own = case.keys.first[1, :, 4]
    told = SimpleNamespace(present=(own > own.median()).numpy()[None])
    assert detects.by_image(case.target, case.pixels, told)[1, 4, 0] == 1


# --- J9 ---


def test_two_planted_cues_dissociate_and_one_does_not():
    truth = planted_model("parallel", seed=3, n_images=8)
    target, pixels, labels = planted.two_concepts(truth)
    assert (target(pixels).argmax(1).numpy() == labels).all() and set(labels) <= {0, 1, 2, 3}
    found = concepts.concept_paths(target, pixels, labels, planted.GROUPS, "neuron_path")
    apart = dissociation(found.lost)
    assert (apart["first"] > 0.2).all() and (apart["second"] > 0.2).all()
    assert (found.shared() == 0).all()
    one = concepts.concept_paths(truth.target, truth.images, truth.labels.numpy(),
                                 planted.GROUPS, "neuron_path")
    assert (one.shared() == 1).all()
    np.testing.assert_allclose(dissociation(one.lost)["both"], 0, atol=1e-12)


def test_losses_are_sums_over_classes(cases):
    case = cases["digits", "small"]
    groups = {"parity": np.arange(10) % 2, "half": np.arange(10) // 5}
    neurons = np.stack([case.paths["neuron_path"], case.paths["activation"]])
    found = concepts.losses(case.target, case.pixels, case.labels, groups, neurons)
    with npc.edit(case.target, torch.from_numpy(neurons[1]), "remove"):
        edited = case.target(case.pixels).softmax(-1).detach().numpy()
    clean = case.target(case.pixels).softmax(-1).detach().numpy()
    for image in (0, 11):
        own = [label for label in range(10) if label // 5 == case.labels[image] // 5]
        assert found[1, 1, image] == pytest.approx(clean[image, own].sum()
                                                   - edited[image, own].sum())
    dealt = concepts.dealt(groups, 3)
    assert all(np.array_equal(np.bincount(dealt[name]), np.bincount(groups[name]))
               for name in groups)
    assert len({*zip(dealt["parity"], dealt["half"], strict=True)}) == 4
    tables = concepts.concept_tables(case, groups)
    rows = concepts.dissociation_rows(tables)
    assert set(rows["measure"]) == {"parity", "half", "both", "shared"}
    wide = rows.set_index(["measure", "paths"])["value"]
    assert wide["both", concepts.OWN] == pytest.approx(
        wide["parity", concepts.OWN] + wide["half", concepts.OWN])
    assert len(concepts.loss_rows(tables)) == 12


# --- J8 ---


def test_wrong_images_are_compared_with_as_many_right_ones():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 200)
    labels = rng.integers(0, 4, 200)
    found = failures.kinds(probabilities, labels, 12)
    (wrong, rival), (right, second) = found[failures.WRONG], found[failures.RIGHT]
    assert len(wrong) == len(right) == 12 == len(set(wrong)) == len(set(right))
    assert (probabilities[wrong].argmax(1) == rival).all() and (rival != labels[wrong]).all()
    assert (probabilities[right].argmax(1) == labels[right]).all()
    order = np.argsort(-probabilities[right], 1)
    assert (order[:, 1] == second).all()


def test_failures_of_a_planted_difference_show_and_equal_cases_do_not(study, images, cases):
    # half of the labels are what the model says, so that there are wrong images and right ones
    said = torch.from_numpy(study.probabilities("small", images).argmax(1))
    labels = torch.where(torch.arange(20) < 10, said, (said + 1) % 10)
    assert failures.failure_cases(study, "small", images.relabelled(said)) == {}
    own = failures.failure_cases(study, "small", images.relabelled(labels), 6)
    assert set(own) == {(kind, label) for kind in (failures.WRONG, failures.RIGHT)
                        for label in (failures.TRUE, failures.GIVEN)}
    rows = failures.failure_rows(own)
    assert len(rows) == 7 and (rows["images"] == 6).all()
    same = {key: own[failures.WRONG, failures.TRUE] for key in own}
    equal = failures.failure_rows(same)
    assert np.allclose(equal["value"], 0) and (equal["low"] <= 0).all()
    # the right images' paths are on their class's first key neurons
    best = own[failures.RIGHT, failures.TRUE]
    first = best.of_label(best.aligned).argmax(-1)
    key = (failures.RIGHT, failures.TRUE)
    planted_case = {**same, key: replace(best, paths={next(iter(best.paths)): first})}
    found = failures.failure_rows(planted_case).set_index(["measure", "label"])
    assert found.loc[(writes.KEY, failures.TRUE), "low"] > 0
    assert len(failures.rival_rows(own)) == 2
    assert failures.failure_rows({}).empty and failures.rival_rows({}).empty


# --- J7 ---


def test_class_profiles_count_their_paths():
    profile = pictures.class_profile(np.array([[3, 1], [3, 2], [3, 1]]))
    assert profile == {(0, 3): 3, (1, 1): 2, (1, 2): 1}


def test_images_of_planted_paths_are_named_and_those_of_random_paths_are_not(chain):
    case = measured.make_case(chain.target, chain.images, chain.labels, {
        "conditional_gradient": chain.neurons[..., 0].numpy(),
        "random": np.random.default_rng(0).integers(0, 20, (8, 5))})
    made = pictures.made(case, image_statistics(chain.images, -3.0, 3.0), 60)
    assert list(made) == list(pictures.SOURCES)
    table = pictures.picture_table(made, {pictures.ITSELF: [chain.target], pictures.AGAIN: []})
    rates = pictures.picture_rows(table).set_index("source")["value"]
    assert rates[pictures.PATH] >= 0.75 > 0.5 >= rates[pictures.RANDOMLY]
    leads = pictures.picture_leads(table).set_index("against")["value"]
    assert leads[pictures.RANDOMLY] == pytest.approx(
        rates[pictures.PATH] - rates[pictures.RANDOMLY])
    few = replace(case, labels=np.zeros(8, int))
    with pytest.raises(ValueError, match=r"classes \[1, 2, 3\] have no image"):
        pictures.made(few, image_statistics(chain.images, -3.0, 3.0), 1)
    shown = pictures.as_pixels(made, image_statistics(chain.images, -3.0, 3.0))
    assert shown[pictures.PATH].shape == (4, 16, 16, 3)
    assert shown[pictures.PATH].dtype == np.uint8


def test_readers_are_counted_by_class():
    images = torch.zeros(3, 1, 4, 4, dtype=torch.float64)
    always = SimpleNamespace(dtype=torch.float64)
    calls = iter([torch.tensor([[9.0, 0, 0]] * 3), torch.eye(3)])
    pictures_probabilities = pictures.class_probabilities
    try:
        pictures.class_probabilities = lambda target, own: next(calls)
        assert pictures.named(images, [always, always]).tolist() == [1, 0.5, 0.5]
    finally:
        pictures.class_probabilities = pictures_probabilities


# --- J10 and seeds ---


def test_every_measure_finds_what_was_planted_and_nothing_else(known):
    rows = known
    assert (rows["value"] == 1).all() and len(rows) == 2 * len(planted.TRUTH)
    assert set(zip(rows["kind"], rows["measure"], strict=True)) == set(planted.TRUTH)
    ahead = rows[rows["expected"] == planted.AHEAD]
    assert (ahead["difference"] > 0.3).all()


def test_the_planted_measures_fail_on_neurons_that_were_not_planted():
    truth = planted_model("chain", seed=4, n_images=8)
    moved = replace(truth, neurons=(truth.neurons + 1) % 20)
    found = planted.measures(moved)
    for (kind, name), expected in planted.TRUTH.items():
        if kind == "chain" and expected == planted.AHEAD and "rank" not in name:
            own, other = found[name]
            assert own - other < 0.5, name


def test_trained_models_are_the_unit_of_seeds(study, images, monkeypatch):
    assert seeds.seed_rows(study, "small", images).empty
    values = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr(seeds, "replicas", lambda *_: ["a", "b", "c"])
    monkeypatch.setattr(seeds, "case_of", lambda *_: None)
    monkeypatch.setattr(seeds, "means", lambda _: {"gap": next(values)})
    row, = seeds.seed_rows(study, "small", images).to_dict("records")
    student = stats.ttest_1samp([0.1, 0.3, 0.2], 0)
    interval = student.confidence_interval()
    assert row["p"] == student.pvalue
    assert row["value"] == pytest.approx(0.2) and row["models"] == 3
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


def test_means_of_a_model_are_those_of_its_effects(cases):
    case = cases["digits", "small"]
    found = seeds.means(case)
    rows = writes.writing_rows(case).set_index(["measure", "method", "against"])["value"]
    assert found[writes.WRITES] == pytest.approx(
        rows[writes.WRITES, "conditional_gradient", measured.LIKE])
    wires = wiring.wire_rows(case).set_index(["route", "measure", "method", "against"])["value"]
    assert found[wiring.SIZE] == pytest.approx(
        wires["direct", wiring.SIZE, "conditional_gradient", measured.LIKE])


# --- tables, figure's rows and claims ---


@pytest.fixture(scope="module")
def tables(cases, known):
    rows = {
        "written": measured.stacked(cases, lambda key, case: writes.writing_rows(case)),
        "depths": measured.stacked(cases, lambda key, case: writes.third_rows(case)),
        "overlaps": measured.stacked(cases, lambda key, case: writes.overlap_rows(case)),
        "detected": pd.DataFrame(),
        "evidence": measured.stacked(
            cases, lambda key, case: evidence.evidence_rows(evidence.losses(case, draws=1))),
        "wired": measured.stacked(cases, lambda key, case: wiring.wire_rows(case)),
        "looked": measured.stacked(
            cases, lambda key, case: looks.look_rows(case, looks.correlations(case)))}
    seen = pd.DataFrame([{"source": source, "reader": reader, "class": label,
                          "named": float(source == pictures.PATH)}
                         for source in pictures.SOURCES
                         for reader in (pictures.ITSELF, pictures.OTHERS) for label in range(4)])
    named = {"data": "digits", "model": "small"}
    rows["leads"] = pictures.picture_leads(seen).assign(**named)
    signs = {writes.WRITES: 1, writes.KEY: -1, writes.USED: 1, "outline": 1, "fill": -1}
    rows["failed"] = pd.DataFrame([
        {**named, "measure": measure, "label": failures.TRUE, "value": 0.2 * sign,
         "low": 0.2 * sign - 0.1, "high": 0.2 * sign + 0.1, "right": 0.3, "wrong": 0.1, "images": 9}
        for measure, sign in signs.items()])
    rows["rivals"] = rows["failed"].head(1).drop(columns=["label", "right", "wrong"])
    rows["apart"] = pd.DataFrame()
    rows["known"] = known
    rows["again"] = measured.in_families(pd.DataFrame([
        {**named, "measure": measure, "models": 3, "value": 0.2, "low": 0.1, "high": 0.3, "p": p}
        for measure, p in ((writes.WRITES, 0.01), (writes.KEY, 0.2), (writes.USED, 0.02),
                           (wiring.SIZE, 0.03))]))
    return rows, pictures.picture_rows(seen).assign(**named)


def own_rows(table, measure):
    return table[(table["measure"] == measure) & (table["against"] == measured.LIKE)]


def test_claims_have_their_signs_units_and_controls(tables):
    found = {claim.key: claim for claim in verdicts.made_from(*tables[0].values())}
    assert len(found) == 38
    own = own_rows(tables[0]["written"], writes.WRITES)
    # four comparisons, of two models and two methods, are a family
    adjusted = np.minimum(1, np.maximum.accumulate(np.sort(own["p"]) * [4, 3, 2, 1]))
    np.testing.assert_allclose(np.sort(own["adjusted"]), adjusted)
    claim = found["writes"]
    assert [row.verdict for row in claim.comparisons] == own["verdict"].tolist()
    assert {row.condition for row in claim.comparisons} == {"by Conditional Gradient",
                                                            "by Neuron Path"}
    assert {row.against for row in claim.comparisons} == {measured.LIKE}
    assert [row.n for row in found["pictures"].comparisons] == [4]
    assert all(row.verdict == "agrees" for row in found["pictures"].comparisons)
    assert found["fails"].comparisons[0].verdict == "agrees"
    assert [row.verdict for row in found["fails key"].comparisons] == ["contradicts"]
    assert [row.verdict for row in found["fails used"].comparisons] == ["agrees"]
    assert {row.condition: row.verdict for row in found["fails attributes"].comparisons} == {
        "of the outline": "agrees", "of the fill": "contradicts"}
    for key, said in (("writes again", "agrees"), ("key again", "not shown"),
                      ("used again", "agrees"), ("wire again", "agrees")):
        assert [(row.verdict, row.n) for row in found[key].comparisons] == [(said, 3)], key
    points = own_rows(tables[0]["written"], writes.DIRECTION)
    assert [row.value for row in found["points"].comparisons] == points["value"].tolist()
    assert len(found["planted"].comparisons) == 2 * len(planted.TRUTH)
    # with one network no share is told from one half, so that nothing is claimed
    assert {row.verdict for row in found["planted"].comparisons} == {"not shown"}
    assert not found["attributes"].comparisons and not found["outline"].comparisons
    assert all(claim.by == "book" and claim.finding == "key neurons" for claim in found.values())


def test_each_claim_is_of_its_own_measure(tables):
    """Planted: every score and measure has an effect of its own, so that a claim that took the rows
    of another would be seen."""
    rows, _ = tables
    scores = {(detects.PATCHES, detects.BOTH): 0.1, (detects.OVERLAP, detects.BOTH): 0.2,
              (detects.WHOLE, detects.BOTH): 0.3, (detects.WHOLE, detects.BEYOND): 0.4}
    detected = pd.DataFrame([
        {"data": "shapes", "model": "small", "method": "neuron_path", "score": score,
         "measure": measure, "against": against, "value": value + 0.05 * place,
         "low": 0.01, "high": 0.9, "images": 9, "verdict": "agrees"}
        for (score, measure), value in scores.items()
        for place, against in enumerate((measured.LIKE, measured.LIKE_HERE))])
    found = {claim.key: claim for claim in verdicts.made_from(
        *(rows | {"detected": detected}).values())}
    for key, value in {"attributes": 0.1, "attributes here": 0.15, "overlap": 0.2,
                       "attributes of images": 0.3, "attributes of images here": 0.35,
                       "beyond colour": 0.4}.items():
        assert [row.value for row in found[key].comparisons] == [pytest.approx(value)], key
    wired = rows["wired"]
    own = wired[(wired["against"] == measured.LIKE) & (wired["route"] == "direct")]
    for key, measure in {"wire": wiring.SIZE, "wire percentile": wiring.PLACE}.items():
        assert [row.value for row in found[key].comparisons] == own.loc[
            own["measure"] == measure, "value"].tolist(), key


def test_tables_for_reading_and_what_the_text_says(tables):
    rows, rates = tables
    shown = words.drawn(*(rows[name] for name in (
        "written", "overlaps", "detected", "evidence", "wired", "looked")))
    assert set(shown["panel"]) == set(words.SHOWN) - {"tells the class's outline and fill"}
    assert words.finding(shown).startswith("Path neurons write their class")
    table = words.effect_table(rows["written"], ["measure"])
    assert table.index.names == ["data", "model", "measure", "method"] and len(table) == 8
    # what the text calls the control that can tell is not scrolled off
    assert list(table) == ["path neurons", "minus the path of Activation", f"minus {measured.LIKE}",
                           f"minus {measured.LIKE_HERE}", "minus the path of Random"]
    assert words.effect_table(rows["looked"], []).columns[0] == "path neurons"
    assert list(words.third_table(rows["depths"])) == [
        "first third", "middle third", "last third", writes.LATER]
    assert words.picture_text(rates).shape == (2, 5)
    assert "100 %" in words.picture_finding(rates)
    assert len(words.failure_table(rows["failed"])) == 5
    assert (words.planted_table(rows["known"])["networks where this is found"] == "1 of 1").all()
    glued = words.glued(rows["written"], rows["overlaps"], rows["detected"], rows["evidence"],
                         rows["wired"], rows["looked"], rows["leads"], rates, rows["apart"],
                         rows["failed"], rows["known"])
    assert glued["known"] == f"{2 * len(planted.TRUTH)} of {2 * len(planted.TRUTH)}"
    assert glued["outline"] == "–" and "of 2 models" in glued["writes"]
    assert glued["path named"] == "100 %"


def test_of_path_and_effects_agree_with_plain_loops(cases):
    case = cases["digits", "pooled"]
    values = case.of_label(case.aligned)
    own = of_path(values, case.paths["activation"])
    slow = [[values[image, block, neuron] for block, neuron in enumerate(path)]
            for image, path in enumerate(case.paths["activation"])]
    assert np.array_equal(own, slow)
