"""Chapter 23: certificates of planted class paths, and every control where it must find nothing."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from neuronpath_core.chapters.certified_paths import certain, elsewhere, tables, words
from neuronpath_core.chapters.stability.overlap import augmented
from neuronpath_core.circuits.certified_classes import certified_table, certify_classes
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.images.shape_pairs import CHANGED, pairs_for
from neuronpath_core.stats import report, tests
from neuronpath_core.stats.claims import with_verdict
from tests.chapters.test_controls import (
    label_network,
    network,
    picture_set,
    planted_study,
    shared_network,
)

SHAPES = {"name": "shapes", "train_images": 24, "held_out_images": 48}


def planted(share=0.9, classes=4, images=20, layers=5, neurons=64, seed=0):
    """Paths through their class's own neuron of each block in a ``share`` of the images, else through any."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), images)
    own = 10 * labels[:, None] + np.arange(layers)
    often = rng.random(own.shape) < share
    return np.where(often, own, rng.integers(0, neurons, own.shape)), labels


def certificates(paths, labels, radius=1):
    return certify_classes(paths, labels, keep=0.2, radius=radius)


# --- images ---


def test_images_to_test_on_are_none_of_those_that_certify(study):
    own, others = elsewhere.images_apart(study, 40, 23)
    assert (len(own), len(others)) == (40, 23)
    assert not set(own.ids.tolist()) & set(others.ids.tolist())
    assert own.sha256() == study.images(40).sha256()  # so that a stored path table is found
    assert np.bincount(own.labels.numpy()).tolist() == [4] * 10
    assert set(np.bincount(others.labels.numpy())) == {2, 3}


def test_changes_are_those_that_can_be_had(study, images):
    found = elsewhere.changed_images(study, images)
    assert list(found) == list(elsewhere.CHANGES)[:3]
    assert found[elsewhere.UNSEEN] is images
    shift = found["shifted by one pixel"]
    assert torch.equal(shift.images[..., 1:], images.images[..., :-1])
    noise = found["noise of 0.05"].images - images.images
    assert 0 < noise.abs().max() < 0.3
    assert all(torch.equal(each.labels, images.labels) for each in found.values())
    files = FileImages.__new__(FileImages)
    assert elsewhere.changed_images(study, files) == {elsewhere.UNSEEN: files}
    scenes = load_part(SHAPES, "held_out").balanced(24)
    found = elsewhere.changed_images(SimpleNamespace(settings={"dataset": SHAPES}), scenes, 3)
    assert list(found) == list(elsewhere.CHANGES)
    behind = found["another background"]
    assert torch.equal(behind.images, pairs_for(SHAPES, scenes, "background", 3).images)
    same = ~torch.from_numpy(behind.masks[CHANGED])[:, None].expand_as(scenes.images)
    assert torch.equal(behind.images[same], scenes.images[same])


# --- how much is certified ---


def test_shares_are_those_of_the_certificates():
    paths, labels = planted(share=0.45)
    found = certificates(paths, labels)
    shares, table = certain.class_shares(found), certified_table(found)
    for row in shares.to_dict("records"):
        own = table[table["label"] == row["label"]]
        assert row["certified"] == own["certified"].sum() / 5
        plain = found[row["label"]].table["plain_radius"]
        assert row["counted"] == (plain >= 1).sum() / 5
        assert row["voted"] == (plain >= 0).sum() / 5
    assert 0 < shares["certified"].mean() < shares["counted"].mean() <= 1
    rows = certain.share_rows(found).set_index("measure")
    assert (rows["classes"] == 4).all()
    for name in ("certified", "counted", "voted"):
        assert rows.loc[name, "value"] == pytest.approx(shares[name].mean())
        assert rows.loc[name, "low"] <= rows.loc[name, "value"] <= rows.loc[name, "high"]
    assert rows.loc["certified - counted", "value"] == pytest.approx(
        (shares["certified"] - shares["counted"]).mean())
    with pytest.raises(ValueError, match="unknown kind 'best'; accepted: certified"):
        certain.chosen(found[0], "best")


def test_kinds_of_neurons():
    paths, labels = planted(share=0.45)
    for path in certificates(paths, labels).values():
        kinds = {kind: certain.chosen(path, kind) for kind in ("certified", "voted", "counted", "uncertified")}
        assert kinds["certified"] | kinds["uncertified"] >= kinds["voted"]
        assert not kinds["certified"] & kinds["uncertified"]
        assert kinds["voted"] >= kinds["counted"]
        assert kinds["certified"] == {(block, neuron) for block, own in enumerate(path.neurons, 1) for neuron in own}


def test_every_number_of_edits_is_certified_by_itself():
    paths, labels = planted(share=0.5)
    edits = certain.edit_shares(certificates(paths, labels)).set_index("edits")
    assert edits.index.tolist() == [0, 1, 2, 3]
    for radius in edits.index:
        alone = certain.class_shares(certificates(paths, labels, radius))
        assert edits.loc[radius, "certified"] == pytest.approx(alone["certified"].mean())
        assert edits.loc[radius, "counted"] == pytest.approx(alone["counted"].mean())
    assert edits["certified"].iloc[0] > edits["certified"].iloc[-1]


def test_the_map_has_the_neuron_of_each_cell():
    paths, labels = planted()
    paths[labels == 1] = np.arange(20)[:, None]  # a class without any common neuron
    table = certain.class_map(certificates(paths, labels), ["a", "b", "c", "d"])
    assert len(table) == 20
    for row in table[table["class"] != "b"].to_dict("records"):
        assert row["neuron"] == 10 * "abcd".index(row["class"]) + row["block"] - 1
        assert row["certified"] >= 1 and row["counted"] >= row["certified"]
    assert (table.loc[table["class"] == "b", ["certified", "counted"]] == -1).all(axis=None)
    found = words.map_finding(table.assign(data="digits"), "m", 1)
    assert found == ("A neuron of m is certain in 15 of 20 cells on digits, most for class a (5), "
                     "none for 1 of 4")
    few = table.assign(data="shapes", certified=table["certified"].clip(lower=1))
    few.loc[:1, "certified"] = 0
    assert words.map_finding(few, "m", 1).endswith("18 of 20 cells on shapes, most for class b (5), fewest for "
                                                    "class a (3)")


@pytest.mark.parametrize(("kind", "verdict"), [("planted", "agrees"), ("shared", "not shown"),
                                               ("random", "not shown")])
def test_classes_dealt_at_random_are_told_from_the_true_ones(kind, verdict):
    """What is planted is found; neurons that all classes share, and random ones, are not about the classes."""
    paths, labels = planted(share=0 if kind == "random" else 0.9)
    if kind == "shared":
        paths = np.where(np.random.default_rng(1).random(paths.shape) < 0.9, 7, paths)
    found = certificates(paths, labels)
    row = certain.shuffled_row(paths, labels, found, deals=59)
    assert row["classes"] == 4 and row["value"] == pytest.approx(row["certified"] - row["shuffled"])
    assert row["certified"] == pytest.approx({"planted": 1, "shared": 1, "random": 0}[kind], abs=0.05)
    assert tests.judged(pd.DataFrame([row]))["verdict"].tolist() == [verdict]
    if kind == "shared":
        assert row["shuffled"] > 0.9 and row["counted_shuffled"] > 0.9
    else:
        assert row["shuffled"] < 0.05 and row["counted_shuffled"] < 0.6


def test_the_least_p_value_outlives_the_correction_for_eight_models():
    assert tests.holm([1 / (certain.DEALS + 1)] * 8)[0] < 0.05


def test_counts_of_dealt_classes():
    paths = np.array([[1, 5]] * 6 + [[2, 5], [3, 6], [4, 7]] * 2)
    labels = np.repeat([0, 1], 6)
    # class 0 stands two replaced images in both blocks; in class 1 neurons tie
    assert certain.mean_counted(paths, labels, 2) == 0.5
    assert certain.mean_counted(paths, labels, 3) == 0
    assert certain.mean_counted(paths, 1 - labels, 2) == 0.5


# --- what it means for other images ---


def test_halves_say_more_where_certified_neurons_win_again_and_nothing_where_all_do():
    paths, labels = planted(share=0.1, images=40)
    paths[:, :2] = planted(share=0.95, images=40)[0][:, :2]
    row = certain.half_rows(paths, labels, 3, keep=0.2, radius=1)
    assert row["again"] > 0.95 > row["uncertified_again"] and row["low"] > 0 and row["classes"] == 4
    # the failure: those that are not certified win again as surely
    sure = np.arange(1000, 1160)[:, None] + 1000 * np.arange(5)
    sure[:, :2] = paths[:, :2]
    sure[np.arange(160) % 40 < 10, 2:] = 5
    rng = np.random.default_rng(0)
    sure = np.concatenate([own[rng.permutation(40)] for own in sure.reshape(4, 40, 5)])
    row = certain.half_rows(sure, labels, 3, keep=0.2, radius=1)
    assert row["uncertified_again"] > 0.9 and report.verdict(row) == "not shown"
    nothing = certain.half_rows(planted(share=0)[0], planted()[1], 2, keep=0.2, radius=1)
    assert np.isnan(nothing["value"]) and nothing["classes"] == 0


def made_up():
    """Certified in every class: block 1; voted for only: block 2, by hand."""
    return {label: SimpleNamespace(table=pd.DataFrame({
        "block": [1, 2, 2], "neuron": [label, 10 + label, 20], "decision": ["in", "abstained", "out"],
        "plain_radius": [4, 0, -1]}), radius=1, blocks=2, neurons=[[label], []]) for label in (0, 1, 3)}


def test_found_again_counts_the_class_own_neurons():
    neurons = np.array([[0, 10], [0, 20], [1, 10], [3, 13]])
    table = elsewhere.found_again(made_up(), neurons, np.array([0, 0, 0, 1]))
    assert table["certified"].tolist() == [1, 1, 0, 0]
    assert table["uncertified"].tolist() == [1, 0, 1, 0]
    assert table["other"].tolist() == [0, 0, 0.5, 0.5]
    row, = elsewhere.again_rows({"as they are": table}).to_dict("records")
    assert (row["certified"], row["uncertified"], row["images"], row["value"]) == (0.5, 0.5, 4, 0)
    nothing = {label: SimpleNamespace(table=path.table.assign(decision="out"), radius=1)
               for label, path in made_up().items()}
    empty = elsewhere.found_again(nothing, neurons, np.array([0, 0, 0, 1]))
    row, = with_verdict(elsewhere.again_rows({"as they are": empty})).to_dict("records")
    assert np.isnan(row["value"]) and row["images"] == 0 and row["verdict"] == "not shown"


@pytest.mark.parametrize(("kind", "verdict"), [("planted", "agrees"), ("random", "not shown"),
                                               ("all", "not shown")])
def test_certified_neurons_are_found_on_new_paths_only_where_these_have_them(kind, verdict):
    """Certain in the first two blocks; in the others a neuron has a fourth of the images. New paths go through
    both as often as the class's, through none more than chance, or through all of them."""
    paths, labels = planted(share=0.25, images=24)
    paths[:, :2] = planted(share=0.95, images=24)[0][:, :2]
    found = certificates(paths, labels)
    rng = np.random.default_rng(3)
    if kind == "planted":
        new = np.concatenate([paths[labels == label][rng.permutation(24)[:12]] for label in range(4)])
    elif kind == "random":
        new = rng.integers(0, 64, (48, 5))
    else:
        chosen = [sorted(certain.chosen(path, "certified") | certain.chosen(path, "uncertified"))
                  for path in found.values()]
        new = np.array([[dict(own).get(block, 0) for block in range(1, 6)] for own in chosen]).repeat(12, 0)
    table = elsewhere.found_again(found, new, np.repeat(np.arange(4), 12))
    row, = with_verdict(elsewhere.again_rows({kind: table})).to_dict("records")
    assert row["verdict"] == verdict and row["images"] == 48


def test_masks_are_as_large_and_of_other_neurons():
    found = certificates(*planted(share=0.6))
    masks = elsewhere.neuron_masks(found, 70, seed=2)
    assert list(masks) == list(elsewhere.SETS)
    own, drawn = masks["certified"], masks["random"]
    assert own.sum() > 0 and not (own & drawn).any()
    np.testing.assert_array_equal(own.sum(2), drawn.sum(2))
    np.testing.assert_array_equal(masks["other"], own[[1, 2, 3, 0]])
    for label, path in found.items():
        assert {(block + 1, neuron) for block, neuron in np.argwhere(masks["voted"][label]).tolist()} == certain.chosen(
            path, "voted")
    np.testing.assert_array_equal(elsewhere.neuron_masks(found, 70, seed=2)["random"], drawn)
    assert (elsewhere.neuron_masks(found, 70, seed=3)["random"] != drawn).any()


def leads_of(folder, model, neurons, labels=(1, 2, 3, 4) * 6):
    """Verdicts by operation and set for a network in which ``neurons(label)`` of each block are certified."""
    paths = np.repeat([[neurons(label)] * 3 for label in range(1, 5)], 12, axis=0)
    found = certificates(paths, np.repeat(np.arange(1, 5), 12))
    effects = elsewhere.edited_effects(planted_study(folder, model), "planted", picture_set(list(labels)), found)
    leads = with_verdict(elsewhere.effect_leads(effects))
    return effects, leads.set_index(["operation", "against"])["verdict"]


def test_a_label_s_own_neurons_are_told_from_random_ones_and_from_another_label_s(tmp_path):
    effects, verdicts = leads_of(tmp_path, label_network(), lambda label: label)
    assert verdicts["remove", "random"] == verdicts["remove", "other"] == "agrees"
    assert verdicts["keep", "random"] == verdicts["keep", "other"] == "agrees"
    assert verdicts["keep", "voted"] == "not shown"  # they are the voted path
    assert (effects["neurons"] == 3).all()
    means = effects.groupby(["set", "operation"])["probability"].mean()
    assert means["certified", "remove"] < -0.1 and abs(means["random", "remove"]) < 0.1
    table = tables.effect_table(effects.assign(data="made up", model="planted"))
    assert len(table) == 5 and table["number"].tolist() == ["", "3.0", "3.0", "3.0", "3.0"]


def test_nothing_is_shown_where_all_labels_share_their_neurons_or_no_neuron_matters(tmp_path):
    """The failures: what is another class's as well, and a network whose neurons do nothing."""
    _, verdicts = leads_of(tmp_path, shared_network(), lambda label: 5)
    assert verdicts["remove", "other"] == verdicts["keep", "other"] == "not shown"
    _, verdicts = leads_of(tmp_path, network(lambda number, mlp: None), lambda label: label)
    assert (verdicts == "not shown").all()


def changed_of(folder, model, neurons, labels=(1, 2, 3, 4) * 6):
    """Effects on changed images, and their leads, for a network of which ``neurons(label)`` of each block are
    certified."""
    paths = np.repeat([[neurons(label)] * 3 for label in range(1, 5)], 12, axis=0)
    found = certificates(paths, np.repeat(np.arange(1, 5), 12))
    effects = elsewhere.changed_effects(planted_study(folder, model), "planted", picture_set(list(labels)), found)
    effects = effects.assign(data="made up", model="planted")
    return found, effects, with_verdict(elsewhere.changed_leads(effects))


def test_on_changed_images_a_label_s_own_neurons_are_told_as_well(tmp_path):
    found, effects, leads = changed_of(tmp_path, label_network(), lambda label: label)
    # made-up pictures are no scenes, which alone have another background
    assert set(effects["condition"]) == {"noise of 0.05", "shifted by one pixel"}
    assert set(effects["set"]) == set(elsewhere.COMPARED) and (leads["images"] == 24).all()
    assert (leads["verdict"] == "agrees").all() and leads["telling"].isna().all() and len(leads) == 8
    # image by image the same as on images that were changed by hand
    noisy = augmented(picture_set([1, 2, 3, 4] * 6), "noise of 0.05", 0)
    twin = elsewhere.edited_effects(planted_study(tmp_path, label_network()), "planted", noisy, found)
    for name in elsewhere.COMPARED:
        for column in ("probability", "correct"):
            own, other = (table[(table["set"] == name) & (table.get("condition", "noise of 0.05") == "noise of 0.05")]
                          [column].to_numpy() for table in (effects, twin))
            np.testing.assert_allclose(own, other, atol=1e-14)
    table = tables.changed_table(effects, leads)
    assert table.index.get_level_values("images").tolist() == ["with noise of 0.05", "when shifted by one pixel"]
    said = words.glued_changes(leads, effects)
    assert said["changed keep"] == said["changed remove"] == "4 of 4 comparisons"


def test_on_changed_images_nothing_is_shown_where_nothing_is_the_label_s_own(tmp_path):
    _, _, leads = changed_of(tmp_path, shared_network(), lambda label: 5)
    assert set(leads.loc[leads["against"] == "other", "verdict"]) == {"not shown"}
    _, _, leads = changed_of(tmp_path, network(lambda number, mlp: None), lambda label: label)
    assert set(leads["verdict"]) == {"not shown"}


def test_images_that_cannot_be_changed_have_no_rows(monkeypatch):
    monkeypatch.setattr(elsewhere, "changed_images", lambda study, images, seed: {elsewhere.UNSEEN: images})
    effects = elsewhere.changed_effects(None, "m", None, {}).assign(data="d", model="m")
    leads = elsewhere.changed_leads(effects)
    assert effects.empty and leads.empty and tables.changed_table(effects, leads).empty
    assert set(words.glued_changes(leads, effects).values()) == {"–"}


# --- as a graph ---


def test_pairs_of_images_by_hand():
    """Of three images two share block 1, two block 2, all block 3; no two share the first two."""
    found = certain.shared_pairs(np.array([[1, 5, 7], [1, 6, 7], [2, 6, 7]]))
    assert found == pytest.approx({"single": (1 / 3 + 1 / 3 + 1) / 3, "both": (0 + 1 / 3) / 2,
                                   "dealt": (1 / 9 + 1 / 3) / 2})


def test_dealt_neurons_share_as_many_pairs_as_expected():
    """Over all ways to deal the blocks among four images the mean share of pairs is the product; images that go
    two ways share more."""
    paths = np.array([[1, 5], [1, 5], [2, 6], [2, 7]])
    every = [certain.shared_pairs(np.stack([paths[:, 0], paths[list(order), 1]], 1))
             for order in itertools.permutations(range(4))]
    assert np.mean([each["both"] for each in every]) == pytest.approx(every[0]["dealt"], abs=1e-12)
    ways = certain.shared_pairs(np.array([[1, 5]] * 5 + [[2, 6]] * 5))
    assert ways["both"] == pytest.approx(ways["single"]) and ways["both"] > 1.5 * ways["dealt"]


def test_the_class_that_is_drawn_and_what_is_said_of_it():
    paths, labels = planted(share=0.9)
    paths[labels == 0] = np.arange(20)[:, None]
    assert certain.leading_class(certificates(paths, labels)) == 1
    assert words.graph_finding({"single": 0.5, "both": 0.3, "dealt": 0.25}, 40, "3") == (
        "Two of 40 images of class 3 have the same neuron in a block in 50 % of cases, and the same two in "
        "neighbouring blocks in 30 %; 25 % if every block's neurons are dealt among the images")


# --- in words ---


def test_leading_neurons_by_count():
    def path(radii, decisions):
        return SimpleNamespace(table=pd.DataFrame({"plain_radius": radii, "decision": decisions}))
    assert certain.among_leading({0: path([5, 4, 1], ["in", "in", "out"])}) == 1
    assert certain.among_leading({0: path([5, 4, 1], ["in", "out", "in"])}) == 0.5
    assert certain.among_leading({0: path([5, 1, 1], ["in", "in", "out"])}) == 0.75  # lots for the last place
    assert certain.among_leading({0: path([5, 1], ["in", "out"]), 1: path([6, 0], ["out", "in"])}) == 0.5
    assert np.isnan(certain.among_leading({0: path([5, 1], ["out", "out"])}))


def test_words_and_tables():
    names = [("digits", "m"), ("shapes", "n")]
    found = {name: certificates(*planted(share=0.5, seed=seed)) for seed, name in enumerate(names)}
    shares = pd.concat([certain.share_rows(path).assign(data=data, model=model)
                        for (data, model), path in found.items()], ignore_index=True)
    dealt = pd.DataFrame([{"data": data, "model": model, "shuffled": 0.0, "counted_shuffled": 0.2, "adjusted": 0.01}
                          for data, model in names])
    own = words.of_measure(shares, "certified")["value"]
    sentence = words.finding(shares, dealt, 1)
    assert sentence.startswith(f"{report.percent_span(own)} of a class's path is certified to survive the "
                               "replacement of one image, 0 % when class labels are shuffled; by count ")
    assert sentence.endswith("and 20 % when they are shuffled")
    assert "the replacement of 2 images" in words.finding(shares, dealt, 2)
    assert [words.replaced_text(radius) for radius in (1, 3)] == [
        "any one image of the class is replaced", "any 3 images of the class are replaced"]
    drawn = words.figure_shares(shares, dealt)
    assert list(drawn["measure"].unique()) == [words.SHARES[name] for name in (
        "counted", "certified", "counted_shuffled", "shuffled")]
    assert len(drawn) == 8 and not drawn.isna().any(axis=None)
    assert tables.share_table(shares, dealt).index.tolist() == names
    edits = pd.concat([certain.edit_shares(path).assign(data=data, model=model)
                       for (data, model), path in found.items()])
    assert list(tables.edits_table(edits).columns) == [f"{number} replaced" for number in range(4)]
    table = tables.decision_table(found, {"digits": (range(80), None), "shapes": (range(80), None)})
    for name, path in found.items():
        pairs = pd.concat([each.table for each in path.values()])
        assert table.loc[name, ["in", "out", "abstained from"]].sum() == pytest.approx(len(pairs) / 20)
    assert (table["least radius by count"] <= table["radius by count"]).all()
    assert words.span_of([24, 10, 10]) == "10 or 24" and words.span_of([16, 40, 17]) == "16 to 40"
    again = pd.DataFrame({"condition": ["a", "b", "a"], "certified": [1, 2, 3]})
    assert words.at(again, "a", "certified") == [1, 3]


@pytest.mark.parametrize(("voted", "telling"), [(0.9, True), (0.3, False)])
def test_a_whole_path_that_keeps_no_more_than_random_neurons_tells_nothing(voted, telling):
    right = {"certified": 0.8, "voted": voted, "random": 0.3, "other": 0.3}
    effects = pd.DataFrame([{"image": image, "set": name, "operation": operation,
                             "probability": -share, "correct": float(image < 100 * share),
                             "clean": 1.0} for operation in ("remove", "keep")
                            for name, share in right.items() for image in range(100)])
    leads = elsewhere.effect_leads(effects)
    assert set(leads.loc[leads["operation"] == "keep", "telling"]) == {telling}
    said = words.glued_leads(leads, 0.01)
    assert said["telling"] == f"{int(telling)} of 1"
    assert said["tally whole"] == ("0 of 1 models; the other contradicts" if telling
                                   else "0 of 0 models")
    assert said["tally keep"] == said["tally remove"] == "2 of 2 comparisons"
    text = words.hardly_more(pd.concat([
        effects.assign(data="d", model="a"),
        effects.assign(data="d", model="b", correct=effects["correct"].where(
            effects["set"] != "random", effects["image"] < 75))]))
    assert text == "0.80 against 0.75 (b, d)"
