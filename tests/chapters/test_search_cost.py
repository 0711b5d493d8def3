"""Agreement of ways to search, counts and times of the search, and what dearer searches gain."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.autograd import forward_ad

import neuronpath_core as npc
from neuronpath_core.chapters.search_cost import (
    agreement,
    drafts,
    growth,
    integrands,
    searches,
)
from neuronpath_core.cost.passes import search_operations
from neuronpath_core.examined import _EXAMINING
from neuronpath_core.fast.blocks import PlainBlock
from tests.chapters.tables import NAMES

REFERENCE = {"context": "full", "quadrature": "gauss-legendre", "steps": 6}
WAYS = {
    "one left node": {"context": "full", "quadrature": "left", "steps": 1},
    "the reference": REFERENCE,
    "two right nodes": {"context": "full", "quadrature": "right", "steps": 2},
    "fewer nodes": {"context": "full", "quadrature": "left", "steps": 20, "nodes": 3},
    "automatic": {"context": "full", "steps": "auto"}, "frozen": {"context": "frozen"},
    "mixed": {"context": "mixed", "exact_steps": 3},
    "mixed, automatic": {"context": "mixed", "steps": "auto"}, "default": {},
}
TRIED = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48)  # numbers of steps, by steps="auto"


def test_path_agreement(study, images):
    table = agreement.path_agreement(study, NAMES, images, WAYS, REFERENCE)
    assert list(table.columns) == ["model", "way", "evaluations", "neurons", "paths", "score"]
    # what a model that averages its tokens allows
    averaging = [way for way in WAYS if WAYS[way].get("context") not in ("frozen", "mixed")]
    assert table[["model", "way"]].values.tolist() == [["small", way]
                                                       for way in WAYS] + [["pooled", way]
                                                                           for way in averaging]
    same = table[table["way"] == "the reference"]
    assert (same[["neurons", "paths"]] == 1).all(axis=None)  # the rule that it is compared with
    assert (same["score"] == 0).all()
    others = table[table["way"] != "the reference"]
    assert (others["neurons"] < 1).any() and (others["paths"]
                                              <= others["neurons"]).all() and (
        others["score"] > 0).all()
    for row in table.to_dict("records"):
        target, batch = study.target(row["model"]), study.batch(images, row["model"])
        found = npc.find_paths(target, *batch, **WAYS[row["way"]])
        fine = npc.find_paths(target, *batch, **REFERENCE)
        same = found.neurons == fine.neurons
        assert row["neurons"] == pytest.approx(same.double().mean().item(), abs=1e-15)
        assert row["paths"] == same.all(1).double().mean().item()
        # by drafts in single precision
        assert row["score"] == pytest.approx(((found.score - fine.score).abs().max()
                                              / fine.score.abs().mean()).item(), abs=1e-5)
        tried = [[steps for steps in TRIED if steps <= taken] for taken in found.steps.tolist()]
        expected = {"one left node": 1, "the reference": 6, "two right nodes": 2, "fewer nodes": 3,
                    "frozen": 0, "mixed": 3,
                    "automatic": np.mean([sum(steps) for steps in tried]),
                    "mixed, automatic": np.mean([4 * len(steps) for steps in tried]),
                    "default": (6 + 4 + 2) / 3 if row["model"] == "small" else (12 + 6 + 4 + 2) / 4}
        assert row["evaluations"] == pytest.approx(expected[row["way"]], abs=1e-12), row["way"]


@pytest.mark.parametrize("wrong", [{"quadrature": "simpson"}, {"steps": 0}, {"context": "half"},
                                   {"step": 3}], ids=str)
def test_a_way_that_no_model_allows_is_an_error_and_not_left_out(study, images, wrong):
    with pytest.raises(ValueError, match="accepted|whole number"):
        agreement.path_agreement(study, ["small"], images, {"wrong": wrong}, REFERENCE)


def count_blocks(target, image, monkeypatch, hooked):
    """``(copies, whether every token is computed)`` of each block that is run: of suffixes, with a
    tangent, clean."""
    suffix, tangent, clean = [], [], []
    if hooked:
        def count(_module, inputs):
            if _EXAMINING._is_owned():  # held against itself: none of the passes
                return
            value = forward_ad.unpack_dual(inputs[0]) if forward_ad._current_level >= 0 else None
            carries = value is not None and value.tangent is not None
            (tangent if carries else suffix if inputs[0].requires_grad
             else clean).append((len(inputs[0]), True))

        for block in target.model.blocks:
            block.register_forward_pre_hook(count)
        return suffix, tangent, clean

    target.check_images(image)

    def watch(name, seen, place):
        function = getattr(PlainBlock, name)

        def watched(self, stream, *arguments):
            only = arguments[place] if place is not None and len(arguments) > place else None
            assert seen is not suffix or stream.requires_grad
            seen.append((len(stream), only is None))
            return function(self, stream, *arguments)

        monkeypatch.setattr(PlainBlock, name, watched)

    watch("__call__", suffix, 1)
    watch("tangent", tangent, 2)
    watch("activations", clean, None)
    return suffix, tangent, clean


def operations(sizes, width):
    """Multiply-adds of the exact search in a network of these sizes, as the library counts them."""
    target = growth.cost_model(sizes, width, torch.float64, "cpu")[0]
    return search_operations(target, {"context": "full", "quadrature": "left",
                                      "steps": sizes["m"]})


@pytest.mark.parametrize("hooked", [False, True], ids=["written out", "hooked"])
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_the_fast_search_runs_the_blocks_that_its_count_says(depth, hooked, monkeypatch):
    """Every suffix once with a backward, every later block once with a tangent; and the clean model
    once, not m times."""
    sizes, width = {"L": depth, "n": 64, "m": 3, "T": 5}, growth.COST_WIDTH
    target, image, label = growth.cost_model(sizes, width, torch.float64, "cpu")
    suffix, tangent, clean = count_blocks(target, image, monkeypatch, hooked)
    npc.find_paths(target, image, label, context="full", quadrature="left", steps=sizes["m"])
    # written out, the last block is computed for the class token alone
    whole, last = (sizes["m"], True), (sizes["m"], hooked)
    assert suffix == [run for start in range(1, depth) for run in [whole] * (depth - start - 1)
                      + [last]]
    assert tangent == [whole] * (depth - 2) + [last]
    assert clean == [(1, True)] * depth
    if hooked:
        return
    tokens, runs = sizes["T"], [*suffix, *tangent]
    # query, key, value, projection and FFN; both products of the attention
    weights = tokens * (3 * width**2 + width**2 + 2 * 64 * width)
    attention = 2 * tokens * tokens * width
    few_weights = 2 * tokens * width**2 + 2 * width**2 + 2 * 64 * width
    few_attention = 2 * tokens * width
    # forward and back: both factors of an attention product move
    both_ways = {True: 2 * weights + 3 * attention, False: 2 * few_weights + 3 * few_attention}
    assert operations(sizes, width) == sum(copies * both_ways[whole] for copies,
                                                              whole in runs)


def test_the_forward_of_one_block_in_the_count():
    """Multiply-adds of one block's matrices, counted from the weights: what the two brackets say.
    """
    sizes = {"L": 2, "n": 96, "m": 1, "T": 10}
    target, _, _ = growth.cost_model(sizes, growth.COST_WIDTH, torch.float64, "cpu")
    block = target.model.blocks[0]
    matrices = sum(parameter.numel() for parameter in block.parameters() if parameter.ndim == 2)
    keys_values = block.attn.qkv.weight.numel() * 2 // 3
    two, three = (operations({**sizes, "L": depth}, 32) for depth in (2, 3))
    last = 2 * (10 * keys_values + matrices - keys_values) + 3 * 2 * 10 * 32
    assert two == 2 * last
    assert three == 2 * (2 * 10 * matrices + 3 * 2 * 10 * 10 * 32) + 3 * last


@pytest.mark.parametrize("width", [24, 32])
def test_a_network_of_given_sizes_leaves_the_random_state_alone(width):
    before = torch.get_rng_state()
    target, images, labels = growth.cost_model({"L": 2, "n": 48, "T": 10}, width,
                                                    torch.float64, "cpu", seed=3, count=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert (target.n_blocks, target.n_neurons,
            target.embed(images).shape) == (2, 48, (2, 10, width))
    assert labels.tolist() == [0, 0] and images.dtype == target.dtype == torch.float64
    torch.manual_seed(99)
    again, same, _ = growth.cost_model({"L": 2, "n": 48, "T": 10}, width, torch.float64, "cpu",
                                            seed=3, count=2)
    assert torch.equal(images, same)
    assert all(map(torch.equal, target.model.state_dict().values(),
                   again.model.state_dict().values()))


def test_search_cost(study, monkeypatch):
    monkeypatch.setattr(growth, "COST_SIZES", {"L": (2, 3), "n": (32, 64), "m": (1, 2),
                                                    "T": (5, 17)})
    monkeypatch.setattr(growth, "COST_BASE", {"L": 3, "n": 32, "m": 2, "T": 5})
    searched = []
    monkeypatch.setattr(growth, "find_paths", lambda target, image, label, **settings: (
        searched.append((target.n_blocks, target.n_neurons, settings["steps"],
                         target.embed(image).shape[1], settings["search"],
                         settings["context"], settings["quadrature"]))
        or npc.find_paths(target, image, label, **settings)))
    state = torch.get_rng_state()
    table = growth.search_cost(study, repeats=2, search="joint")
    assert torch.equal(torch.get_rng_state(), state)
    assert list(table.columns) == ["varied", "size", "seconds", "published", "operations"]
    assert list(zip(table["varied"], table["size"], strict=True)) == [
        ("L", 2), ("L", 3), ("n", 32), ("n", 64), ("m", 1), ("m", 2), ("T", 5), ("T", 17)]
    assert (table["seconds"] > 0).all()
    settings = [(2, 32, 2, 5), (3, 32, 2, 5), (3, 32, 2, 5), (3, 64, 2, 5),
                (3, 32, 1, 5), (3, 32, 2, 5), (3, 32, 2, 5), (3, 32, 2, 17)]
    # one to warm up, two timed
    assert searched == [(*setting, "joint", "full", "left") for setting in settings
                        for _ in range(3)]
    for row, (blocks, neurons, steps, tokens) in zip(table.to_dict("records"), settings,
                                                     strict=True):
        assert row["published"] == blocks * neurons * steps * tokens * 32**2
        assert row["operations"] == operations({"L": blocks, "n": neurons,
                                                                   "m": steps, "T": tokens}, 32)


def test_the_cost_table_varies_one_size_at_a_time_and_includes_the_base():
    assert set(growth.COST_SIZES) == set(growth.COST_BASE)
    for varied, sizes in growth.COST_SIZES.items():
        assert growth.COST_BASE[varied] in sizes
        assert list(sizes) == sorted(set(sizes))


def test_optimality_gap_is_measured_against_every_path(study, monkeypatch):
    table = searches.optimality_gap(study, networks=3, seed=2, blocks=2, neurons=4 * 3)
    assert list(table.columns) == ["way", "of_best", "found"]
    own = table.set_index("way")
    assert list(own.index) == ["joint", "literal", "beam", "joint, refined", "beam, refined",
                               "best of all"]
    assert own.loc["best of all"].tolist() == [1.0, 1.0]
    assert (own["of_best"] <= 1 + 1e-12).all()
    assert own.loc["joint", "of_best"] <= own.loc["beam",
                                                  "of_best"] <= own.loc["beam, refined", "of_best"]
    assert own.loc["joint", "of_best"] <= own.loc["joint, refined", "of_best"]
    # a search that finds nothing must show: the worst paths instead of the best ones
    real = searches.find_paths

    def worst(target, images, labels, search, **settings):
        found = real(target, images, labels, search=search, **settings)
        return npc.Paths(found.neurons, found.score - 1, found.steps)

    monkeypatch.setattr(searches, "find_paths", worst)
    poor = searches.optimality_gap(study, networks=3, seed=2, blocks=2,
                                      neurons=12).set_index("way")
    assert poor.loc["joint", "found"] == 0
    assert poor.loc["joint", "of_best"] < own.loc["joint", "of_best"]


def test_score_gain(study, images):
    few = images.select(torch.arange(len(images)) < 3)
    table = searches.score_gain(study, ["small"], few, width=2)
    target, (pictures, labels) = study.target("small"), study.batch(few, "small")
    joint = npc.find_paths(target, pictures, labels, context="full", steps=3)
    beam = npc.find_paths(target, pictures, labels, context="full", steps=3, search="beam", width=2)
    refined = npc.refine_paths(target, pictures, labels, joint.neurons)[1]
    own = table.set_index("way")
    np.testing.assert_allclose(own.loc[["joint", "beam", "joint, refined"], "score"],
                               [joint.score.mean(), beam.score.mean(), refined.mean()], rtol=1e-12)
    np.testing.assert_allclose(own["of_joint"], own["score"] / joint.score.mean().item(),
                               rtol=1e-12)
    assert (own["of_joint"] >= 1).all()


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 2.5])
def test_power_law_is_exact_on_one(exponent):
    sizes = [3, 6, 12, 24]
    assert growth.power_law(sizes, [7.5 * size**exponent for size in sizes]) == pytest.approx(
        exponent, abs=1e-12)


def cost_table():
    rows = []
    for varied, exponent in (("L", 2.0), ("n", 0.5), ("m", 1.0), ("T", 1.5)):
        for size in (3, 6, 12):
            rows.append({"varied": varied, "size": size, "seconds": 0.1 * size**exponent,
                         "operations": 40.0 * size**2,
                         "published": 900.0 * size})
    return pd.DataFrame(rows)


def test_cost_exponents():
    found = growth.cost_exponents(cost_table())
    assert list(found.index) == ["L", "n", "m",
                                 "T"] and list(found.columns) == ["measured", "operations",
                                                                  "published"]
    np.testing.assert_allclose(found["measured"], [2, 0.5, 1, 1.5], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[["operations", "published"]], [[2, 1]] * 4, rtol=0, atol=1e-12)


def test_scaled_formula():
    cost = cost_table()
    found = growth.scaled_formula(cost)
    assert list(found.columns) == list(cost.columns)
    pd.testing.assert_frame_equal(found[["varied", "size", "seconds"]],
                                  cost[["varied", "size", "seconds"]])
    for _, own in found.groupby("varied"):
        first = own["seconds"].iloc[0]
        np.testing.assert_allclose(own["operations"], first * np.array([1, 4, 16]), rtol=1e-14)
        np.testing.assert_allclose(own["published"], first * np.array([1, 2, 4]), rtol=1e-14)


def test_agreement_table():
    table = pd.DataFrame([
        {"model": "b", "way": "left, 20", "evaluations": 20.0, "neurons": 0.5, "paths": 0.25},
        {"model": "a", "way": "left, 20", "evaluations": 20.0, "neurons": 1.0, "paths": 1.0},
        {"model": "b", "way": "adaptive", "evaluations": 5.0, "neurons": 0.98765, "paths": 0.9},
        {"model": "a", "way": "adaptive", "evaluations": 7.0, "neurons": 1.0, "paths": 1.0},
        {"model": "b", "way": "frozen", "evaluations": 0.0, "neurons": 0.0, "paths": 0.0},
    ])
    shown = agreement.agreement_table(table)
    assert list(shown.columns) == ["evaluations", "b", "a"]
    assert shown.loc["left, 20"].tolist() == [20.0, "50.0 / 25", "100.0 / 100"]
    assert shown.loc["adaptive"].tolist() == [6.0, "98.8 / 90", "100.0 / 100"]
    assert shown.loc["frozen"].tolist() == [0.0, "0.0 / 0", "–"]
    assert list(shown.index) == ["left, 20", "adaptive", "frozen"]


@pytest.mark.parametrize(("measured", "expected"), [
    ([1.5, 0.25, 0.5, 0.5], "Time grows most with blocks L, to the power 1.5, and with every size "
                            "more slowly than the count"),
    ([2.5, 0.25, 0.5, 1.5], "Time grows most with blocks L, to the power 2.5, and more slowly than "
                            "the count with neurons n, steps m"),
    ([2.5, 1.0, 3.5, 1.5], "Time grows most with steps m, to the power 3.5, and with no size more "
                           "slowly than the count")])
def test_the_finding_on_growth_follows_the_powers(measured, expected):
    exponents = pd.DataFrame({"measured": measured, "operations": [2.0, 0.5, 1.0, 1.0],
                              "published": 1.0}, index=list("LnmT"))
    assert growth.growth_finding(exponents) == expected
    shown = growth.exponents_table(exponents)
    assert shown.loc["steps m", "measured time"] == measured[2]
    rows = growth.conclusion(exponents)
    assert f"L {measured[0]:.1f}" in rows["Measured here"].iloc[0] and len(rows) == 2


@pytest.mark.parametrize(("most", "expected"), [
    ({"a": 1, "b": 3}, "The integrand is furthest from a straight line in the first or second "
                       "block of 1 of 2 models"),
    ({"a": 3, "b": 3}, "In none of 2 models is the integrand furthest from a straight line in the "
                       "first or second block")])
def test_the_finding_on_integrands_follows_the_blocks(most, expected):
    rows = [{"model": model, "image": image, "block": block,
             "curvature": 1.0 if block == most[model] else 0.1}
            for model in most for image in range(3) for block in (1, 2, 3)]
    assert integrands.curvature_finding(pd.DataFrame(rows)) == expected


def test_tables_for_reading():
    cost = growth.counts_table(cost_table())
    assert cost.loc[("blocks L", 12), "formula of App. A, million"] == pytest.approx(0.0108)
    gap = searches.gap_table(pd.DataFrame([{"way": "joint", "of_best": 0.5, "found": 0.25}]))
    assert gap.loc["joint (as published)"].tolist() == [50, 25]
    gain = searches.gain_table(pd.DataFrame([{"model": "m", "way": "beam", "score": 2.0,
                                              "of_joint": 1.25}]))
    assert gain.loc[("m", "beam")].tolist() == [2.0, 25.0]
    shown = drafts.draft_table(pd.DataFrame([{"model": "m", "images": 8, "single": 0.875,
                                              "draft": 1.0, "again": 0.25, "units": 12.4,
                                              "score": 3e-7}]))
    assert shown.loc["m"].tolist() == [8, "87.5 %", "100.0 %", "25.0 %", "12", "3e-07"]


def test_a_power_is_told_only_of_time_that_grows_from_size_to_size():
    cost = cost_table()
    exponents = growth.cost_exponents(cost)
    told = growth.growth_texts(cost, exponents)
    assert set(told) == set(exponents.index) and told["L"] == "to the power 2.0"
    turned = cost["varied"] == "n"
    noisy = cost.assign(seconds=cost["seconds"].where(~turned, cost["seconds"][turned].to_numpy()[0]))
    assert growth.growth_texts(noisy, growth.cost_exponents(noisy))["n"] == "no growth measurable"
