"""Chapter 26: orders of removal on networks with a planted need, probes against scikit-learn, counted
costs, and every control where it must find nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import neuronpath_core as npc
from neuronpath_core.chapters.relevance import costs, measured, orders, pictures, probed, words
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.readings.grids import coverage, grid_of
from neuronpath_core.readings.projection import identifiability
from neuronpath_core.readings.streams import PLACES, read_streams
from neuronpath_core.stats.claims import with_verdict
from tests.helpers import network, small_vit
from tests.readings.test_removal import planted

SHAPES = {"name": "shapes", "train_images": 24, "held_out_images": 48}


# --- orders ---


def test_another_image_is_of_the_same_class_where_there_is_one():
    labels = torch.tensor([2, 0, 2, 1, 0, 2])
    found = orders.next_of_class(labels)
    assert found.tolist() == [2, 4, 5, 4, 1, 0]
    others = torch.ones(6, dtype=torch.bool)
    others[3] = False  # it is alone in its class
    assert torch.equal(labels[found][others], labels[others]) and (found != torch.arange(6)).all()


def test_the_runner_up_is_a_class_of_its_own():
    target, images, labels = network("cls", 5, batch=6)
    found = orders.runners_up(target, images, labels)
    for image, logits in enumerate(target(images).tolist()):
        ranked = sorted(range(5), key=lambda each, logits=logits: -logits[each])
        ranked.remove(int(labels[image]))
        assert found[image] == ranked[0]


def test_every_order_has_a_map():
    pytest.importorskip("captum")
    target, images, labels = network("cls", 5, batch=6)
    maps = orders.model_maps(target, images, labels)
    assert {*maps, "projection", "probes", "dealt", orders.RANDOM} == set(orders.ORDERS)
    assert all(each.shape == (6, 4) and each.dtype == torch.float64 for each in maps.values())
    own = npc.relevance(target, images, labels)
    torch.testing.assert_close(maps["own"], own, rtol=0, atol=1e-14)
    torch.testing.assert_close(maps["other image"], own[orders.next_of_class(labels)], rtol=0, atol=1e-14)
    assert not torch.allclose(maps["twin"], own, atol=1e-3)
    assert not torch.allclose(maps["other class"], own, atol=1e-3)
    draft = target.in_dtype(torch.float32)
    light = orders.model_maps(target, images, labels, draft=draft)["integrated_gradients"]
    assert light.dtype == torch.float64
    torch.testing.assert_close(light, maps["integrated_gradients"], rtol=1e-3, atol=1e-4)


# --- removal ---


def leads_of(maps, seed=0, repeats=12):
    target, images, labels, needed, patches = planted()
    maps = {name: own.repeat(repeats, 1) for name, own in maps(needed).items()}
    found, curves = measured.removed(target, images.repeat(repeats, 1, 1, 1), labels.repeat(repeats), maps, None, 3,
                                     seed)
    return with_verdict(measured.lead_rows(found.assign(data="d", model="m"), [
        (name, orders.RANDOM) for name in maps], seed)), curves


def test_an_order_that_knows_the_needed_patch_is_better_in_both_tests_and_its_opposite_worse():
    leads, curves = leads_of(lambda needed: {
        "own": nn.functional.one_hot(needed, 16).double(), "block": -nn.functional.one_hot(needed, 16).double()})
    verdicts = leads.set_index(["order", "test"])["verdict"]
    assert set(verdicts["own"]) == {"agrees"} and set(verdicts["block"]) == {"contradicts"}
    # half of a random order's area against all of it, or nearly none
    np.testing.assert_allclose(leads.loc[leads["order"] == "own", "value"].abs(), 0.47, atol=0.1)
    kept = curves[(curves["order"] == "own") & (curves["test"] == "negative")]
    assert (kept["accuracy"] == 1).all() and kept["removed"].tolist() == [step / 16 for step in range(16)]


def test_an_order_that_knows_nothing_of_the_image_shows_nothing():
    """The same map for every image, as the middle of the image is; and a map without values."""
    leads, _ = leads_of(lambda needed: {"own": torch.zeros(5, 16), "block": torch.rand(
        5, 16, generator=torch.Generator().manual_seed(8))}, repeats=40)
    assert set(leads.loc[leads["order"] == "own", "verdict"]) == {"not shown"}


def test_a_lead_is_paired_and_signed_by_the_test():
    rows = [{"data": "d", "model": "m", "image": image, "order": order, "test": test, "area": area + 0.1 * image}
            for image in range(4) for order, area in (("own", 0.5), ("random", 0.3)) for test in measured.GOOD]
    found = measured.lead_rows(pd.DataFrame(rows), [("own", "random")])
    assert found["test"].tolist() == ["negative", "positive"]
    np.testing.assert_allclose(found["value"], [0.2, -0.2])
    np.testing.assert_allclose(found[["low", "high"]], [[0.2, 0.2], [-0.2, -0.2]])  # images differ alike
    assert found["images"].tolist() == [4, 4]


def test_random_orders_are_averaged_image_by_image():
    target, images, labels, needed, patches = planted()
    maps = {"own": nn.functional.one_hot(needed, 16).double()}
    one = [measured.removed(target, images, labels, maps, 4, 1, seed)[0] for seed in (0, 1)]
    both = measured.removed(target, images, labels, maps, 4, 2, 0)[0]
    alone = [own.loc[own["order"] == "random", "area"].to_numpy() for own in one]
    np.testing.assert_allclose(both.loc[both["order"] == "random", "area"], np.mean(alone, 0))
    assert not np.allclose(*alone)


def test_both_rules_of_areas():
    target, images, labels, needed, patches = planted()
    rules = measured.by_both_rules(target, images, labels, {"own": nn.functional.one_hot(needed, 16).double()}, 4)
    own = rules[rules["order"] == "own"].set_index("test")
    np.testing.assert_allclose(own.loc["negative", ["published", "corrected"]].astype(float), [15 / 16, 1])
    # the whole image has no point in the published curve, which is 0 throughout: there is no maximum
    assert np.isnan(own.loc["positive", "published"])
    np.testing.assert_allclose(own.loc["positive", "corrected"], 0.5 / 15)
    shared = rules[rules["order"] == "random"]
    assert shared[["published", "corrected"]].notna().all().all()
    # one order for all images: each point is a multiple of 1/5, and no image is averaged over draws
    assert not np.allclose(shared["published"], shared["corrected"])


# --- probes ---


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_shares_and_sums_are_those_of_one_probe_after_the_other(name, monkeypatch):
    target, images, labels = network(name, 5, batch=20)
    tested = images[:6], labels[:6] % 3
    trained = images[6:], torch.arange(14) % 4
    shares, summed = probed.probed(target, trained, tested)
    known, new = (read_streams(target, each[0]) for each in (trained, tested))
    wanted = 2 * np.eye(5)[trained[1].numpy()] - 1
    seen = np.zeros((6, 4))
    for row, place in enumerate(PLACES):
        for block in range(3):
            right = np.zeros((6, 4))
            for token in range(4):
                twin = Ridge(alpha=1.0).fit(known.at(place)[block][:, 1 + token].numpy(), wanted)
                scores = twin.predict(new.at(place)[block][:, 1 + token].numpy())
                right[:, token] = scores.argmax(1) == tested[1].numpy()
                if place == "block":
                    own = scores[np.arange(6), tested[1].numpy()]
                    # classes that were never taught tie, at -1: the label is one of three that were
                    seen[:, token] += 1 - (scores > own[:, None] + 1e-9).sum(1) / 5
            np.testing.assert_allclose(shares["probes"][row, block], right.mean(1))
    np.testing.assert_allclose(summed["probes"].numpy(), seen, rtol=0, atol=1e-12)
    projected = identifiability(target, *tested)[:, :, 1:]
    torch.testing.assert_close(summed["projection"], projected.sum(0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(shares["projection"][0], (projected == 1).double().mean(-1))
    assert shares["dealt"].shape == (3, 3, 6) and not np.array_equal(shares["dealt"], shares["probes"])
    monkeypatch.setattr(probed, "BYTES_AT_ONCE", 1)
    again, others = probed.probed(target, trained, tested)
    assert all(np.array_equal(again[each], shares[each]) for each in shares)
    torch.testing.assert_close(others["probes"], summed["probes"], rtol=0, atol=1e-10)


def test_a_taught_class_is_read_and_a_dealt_one_is_not(study):
    tested, trained = study.images(40), study.images(240, 1)
    model = study.model_names[0]
    shares, _ = probed.probed(study.target(model), study.batch(trained, model), study.batch(tested, model))
    rows = probed.share_rows(shares).set_index(["reader", "place", "block"])
    leads = with_verdict(probed.last_leads(shares)).set_index(["first", "place"])
    assert rows.loc[("probes", "block", 1), "low"] > 0.15
    assert abs(rows.loc[("dealt", "block", 1), "value"] - 0.1) < 0.1
    assert (leads.loc["probes", "verdict"] == "agrees").all()
    # dealt against dealt is nothing
    none = with_verdict(probed.last_leads(shares | {"probes": shares["dealt"]})).set_index(["first", "place"])
    assert (none.loc["probes", "verdict"] == "not shown").all()
    block = shares["projection"].shape[1]
    np.testing.assert_allclose(leads.loc[("projection", "ffn"), "value"],
                               shares["projection"][2, block - 1].mean() - shares["probes"][2, block - 1].mean())


# --- costs ---


def test_operations_are_those_that_torch_counts_without_its_hooks():
    target, images, labels = network("cls", 5, batch=4)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), costs.Counter() as own:
        target(images)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as theirs:
        target.model(images)
    assert own.operations == theirs.get_total_flops() > 0
    one = costs.multiply_adds(lambda pictures, _: target.model(pictures), images, labels)
    # by hand: 4 patches of 48 pixels; three blocks of 5 tokens: projections, products, two layers
    block = 5 * 16 * (3 * 16 + 16 + 16 + 16) + 2 * 5 * 5 * 16
    assert one == 4 * 48 * 16 + 3 * block + 16 * 5
    with pytest.raises(ValueError, match="accepted: at least 4"):
        costs.multiply_adds(lambda pictures, _: target.model(pictures), images[:3], labels)


def test_the_closed_form_costs_less_than_any_backward_pass():
    pytest.importorskip("captum")
    target, images, labels = network("cls", 5, batch=4)
    rows = costs.cost_rows(target, images, labels).set_index("method")
    forwards = rows["forwards"]
    # the last block's FFN and head are small here, so that a map is little more than a pass
    assert 1 <= forwards["class space, closed form"] < 1.25
    assert forwards["class space, closed form"] < forwards["class space, by autograd"] < forwards["Chefer et al."]
    assert 1.5 < forwards["gradient × input"] < 3 and forwards["integrated gradients"] > 12
    assert forwards["projection of the stream"] > 2  # one pass, and one that checks it
    probes = rows.loc["linear probes of the stream"]
    fits = 3 * 3 * 4 * (50 * 16 * 21 + 16**3 // 3 + 16**2 * 5)
    one = costs.multiply_adds(lambda pictures, _: target.model(pictures), images, labels)
    np.testing.assert_allclose(probes["before"], 50 + fits / one)
    np.testing.assert_allclose(probes["forwards"], 1 + 3 * 4 * 16 * 5 / one)


# --- pictures ---


@pytest.fixture(scope="module")
def scenes():
    return load_part(SHAPES, "held_out").balanced(48)


@pytest.fixture(scope="module")
def reader():
    return npc.TargetModel(small_vit(5, img_size=32, patch_size=8, num_classes=24))


def test_a_map_of_what_is_drawn_is_found_there_and_a_shared_place_is_no_finding(scenes, reader):
    seen = scenes.images.double()
    inside = coverage(grid_of(reader, seen), scenes.masks["object"])
    beyond = {"own": inside, "chefer": -inside, "published": torch.zeros_like(inside)}
    rows = pictures.place_rows(reader, scenes, seen, beyond).set_index("order")
    assert rows.loc["own", "own"] == 1 and rows.loc["chefer", "own"] == 0
    np.testing.assert_allclose(rows["base"], (inside >= 0.5).double().mean())
    # objects lie nearly alike: what knows the image exactly is hardly ahead of its neighbour's mask
    assert rows.loc["own", "value"] == 1 - rows.loc["own", "other"] < 0.2
    np.testing.assert_allclose(rows.loc["published", "own"], rows.loc["published", "base"], atol=0.25)
    moved = replace(scenes, masks=dict(scenes.masks) | {"object": np.stack([
        np.roll(mask, 16 * (place % 2), 1) for place, mask in enumerate(scenes.masks["object"])])})
    inside = coverage(grid_of(reader, seen), moved.masks["object"])
    rows = with_verdict(pictures.place_rows(reader, moved, seen, {"own": inside}))
    assert rows["verdict"].tolist() == ["agrees"]  # where places differ, the control does not know them


def test_photographs_have_no_place(scenes, reader):
    rows = pictures.place_rows(reader, replace(scenes, masks={}, class_names=("a", "b")), scenes.images.double(),
                               {"own": torch.zeros(48, 16)})
    assert rows.empty
    assert words.place_table(rows.assign(data="", model="")).empty
    assert words.place_finding(rows.assign(data="", model=""), "m") == "Maps of m, summed over blocks and heads"


def test_two_classes_of_one_image_are_its_label_and_what_was_said_instead(scenes, reader):
    seen = scenes.images.double()
    one, two = pictures.two_classes(reader, scenes, seen, scenes.labels, "scenes")
    said = reader(seen).argmax(-1)
    place = int((said != scenes.labels).nonzero()[0, 0])
    assert one.title == f"scenes: for the label, {scenes.class_names[scenes.labels[place]]}"
    assert two.title == f"scenes: for the predicted, {scenes.class_names[said[place]]}"
    wanted = npc.relevance(reader, seen[[place]], said[[place]], reduce="head")[0]
    np.testing.assert_allclose(two.values, wanted.numpy().reshape(3, 2, 4, 4), rtol=0, atol=1e-12)
    assert np.array_equal(one.picture, scenes.pixels[place])
    right = pictures.two_classes(reader, scenes, seen, said, "scenes")
    assert "for the second" in right[1].title


def test_maps_of_different_classes_are_shown(scenes, reader):
    found = pictures.whole_maps(reader, scenes, scenes.images.double(), scenes.labels)
    assert len({each.title for each in found}) == 3
    assert all(each.values.shape == (4, 4) for each in found)


def test_each_blocks_own_map_is_measured(scenes, reader):
    seen = scenes.images.double()
    rows = pictures.block_rows(reader, reader, seen, scenes.labels, 4, 1)
    assert rows["order"].tolist() == [1, 2, 3] * 2 and set(rows["test"]) == set(measured.GOOD)
    table = words.block_table(rows.assign(data="scenes"))
    assert table.index.names == ["data", "block"] and len(table) == 3


# --- words ---


def small_leads():
    rows = [{"data": data, "model": model, "test": test, "order": order, "against": "random", "images": 9,
             "value": value, "low": value - 0.1, "high": value + 0.1}
            for data in ("digits", "shapes") for model in ("a", "b") for test, sign in measured.GOOD.items()
            for order, value in (("own", -0.2 * sign), ("published", 0.02), ("chefer", 0.3), ("probes", 0.05))]
    return pd.DataFrame(rows)


def test_leads_of_the_paper_are_differences_of_its_areas():
    found = {key: round(value, 3) for key, value in words.paper_gains().items()}
    assert found == {("published", "negative"): 0.120, ("published", "positive"): 0.303,
                     ("chefer", "negative"): 0.129, ("chefer", "positive"): 0.323,
                     ("probes", "negative"): 0.023, ("probes", "positive"): 0.033}


def test_tables_and_findings_count_models():
    leads = small_leads()
    pairs = leads[leads["order"] == "own"].assign(against="other image", value=0.0, low=-0.1, high=0.1)
    assert words.finding(leads, pairs) == (
        "Maps in class space find patches that matter in 4 of 4 models, but better than the map of another image in "
        "0 of 4; patches that do not matter in 0 of 4")
    assert words.told(words.of(leads, "own", "negative")) == "0 of 4 models; 4 contradict"
    assert words.points(words.of(leads, "own", "negative")) == "−20 points"
    table = words.gain_table(leads)
    least = table.loc["class space", "least relevant first"]
    assert least["median, points"] == -20 and least["better, worse"] == "0, 4 of 4" and np.isnan(least["the paper"])
    assert round(table.loc["Chefer et al.", ("most relevant first", "the paper")], 1) == 32.3
    wide = words.lead_table(leads)
    assert wide.loc[("digits", "a", "Chefer et al.", "random order"), "most relevant first"] == "+30.0 [+20.0, +40.0]"
    shown = words.figure_gains(leads)
    assert list(dict.fromkeys(shown["order"])) == ["class space", "Chefer et al.", "linear probes, summed"]
    assert shown["value"].max() == 30


def test_tables_of_probes_put_the_paper_and_chance_beside():
    rows = [{"data": "digits", "model": model, "reader": reader, "place": place, "block": block, "value": block / 100,
             "low": 0.0, "high": 1.0} for model, depth in (("a", 2), ("b", 4)) for reader in probed.READERS
            for place in PLACES for block in range(1, depth + 1)]
    shares = pd.DataFrame(rows)
    table = words.share_table(shares, {"digits": 0.1})
    assert table.loc[("digits", "b", "stream"), "linear probe"] == "0.04 [0.00, 1.00]"
    assert table.loc[("ImageNet-S", "ViT-B/32 (the paper)", "FFN output"), "projection"] == "≈0.00"
    assert table["chance"].tolist()[:6] == ["0.10"] * 6
    shown = words.figure_shares(shares, {"digits": 0.1})
    assert sorted(set(shown["depth"])) == [0.5, 1.0]  # depths that both models have
    last = pd.DataFrame([{"data": "digits", "model": "a", "place": place, "first": "projection", "against": "probes",
                          "value": -0.1, "low": -0.2, "high": high}
                         for place, high in zip(PLACES, (-0.1, 0.1, -0.1), strict=True)])
    assert words.probe_finding(last).endswith(
        "in 1 of 1 models (stream), 0 of 1 models (attention output), 1 of 1 models (FFN output)")


def test_rules_and_areas_are_named():
    rules = pd.DataFrame([{"data": "digits", "order": order, "test": "positive", "published": 0.4, "corrected": 0.5}
                          for order in ("published", "own", "chefer", "random")])
    paper = words.rule_table(rules)["the paper, ViT-B/32, published rule"].tolist()
    assert paper[0] == 0.413 and np.isnan(paper[1]) and paper[2:] == [0.393, 0.716]
    found = pd.DataFrame([{"data": "digits", "model": "a", "order": "own", "test": test, "image": image, "area": image / 4}
                          for test in measured.GOOD for image in range(3)])
    # with a fifth gone accuracy is as it was, with two fifths it is not; that it comes back does not count
    fall = pd.DataFrame([{"data": "digits", "model": "a", "order": order, "test": test, "removed": removed,
                          "accuracy": accuracy} for order, kept in (("own", 0.86), ("random", 0.84))
                         for test in measured.GOOD for removed, accuracy in (
                             (0.6, 0.9), (0.4, 0.8), (0.2, kept), (0.0, 0.9)) if (test, removed) != ("positive", 0.4)])
    assert measured.removable(fall).to_dict() == {("digits", "a", "own"): 0.2, ("digits", "a", "random"): 0.0}
    assert words.area_table(found, fall).loc[("digits", "a", "class space")].tolist() == [0.25, 0.25, 0.2]
    curves = pd.DataFrame([{"data": "digits", "order": order, "test": "positive", "removed": removed,
                            "accuracy": 0.5 - 0.1 * (order == "own")} for order in ("own", "random", "middle")
                           for removed in (0.0, 0.5, 0.9)])
    assert "0.40 against 0.50 on digits" in words.curve_finding(curves, "m")
    lines = words.figure_lines(curves, {"digits": 0.1})
    assert list(dict.fromkeys(lines["order"])) == ["class space", "random order"] and set(lines["chance"]) == {0.1}
    one = pictures.Map(np.zeros((2, 2)), "", np.arange(4.0).reshape(1, 1, 2, 2))
    assert words.map_finding([(one, replace(one, values=-one.values))], ["digits"], "m") == (
        "The maps of two classes of one image have a correlation of -1.00 (digits) in m")
    assert words.span([1.01, 1.13]) == "1.0 to 1.1" and words.span([1.01, 1.02]) == "1.0"
