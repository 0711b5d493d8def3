"""Which method to use: what is measured against direct computation, and every verdict on planted
leads, planted failures and planted nulls."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.chapters.which_method import (
    agreement,
    answer_rows,
    beam_search,
    measured,
    method_names,
    pair_changes,
    pass_counts,
    questions,
    shares,
    tables,
    toys,
    tried,
)
from neuronpath_core.chapters.which_method import (
    words as words_of,
)
from neuronpath_core.circuits.pairs import PairPaths, pair_paths
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.replacement import replacement_values
from neuronpath_core.scores.exact import exact_effects
from neuronpath_core.variants.conditional_gradient import (
    QUESTIONS,
    conditional_gradient_by_passes,
    conditional_gradient_paths,
)
from tests import helpers
from tests.helpers import refused


def losses(by_method: dict[str, float], images: int = 30, seed: int = 0,
           replacement: str = "zero") -> pd.DataFrame:
    """A table of removals in which each method costs so many times what the refined search does,
    with a little noise of its own."""
    rng = np.random.default_rng(seed)
    most = rng.uniform(0.1, 0.5, images)
    rows = []
    for method, times in {method_names.REFINED: 1.0, **by_method}.items():
        noise = 0 if method == method_names.REFINED else rng.normal(0, 0.002, images)
        rows += [{"data": "d", "model": "m", "replacement": replacement, "method": method,
                  "image": image, "lost": times * most[image] + (noise if isinstance(noise, int)
                                                                 else noise[image]),
                  "turned": float(image % 2)} for image in range(images)]
    return pd.DataFrame(rows)


def passes(**costs: float) -> pd.DataFrame:
    return pd.DataFrame([{"data": "d", "model": "m", "method": method, "passes": cost}
                         for method, cost in costs.items()])


def verdicts(table: pd.DataFrame, column: str) -> dict[str, str]:
    return dict(zip(table[column], table["verdict"], strict=True))


# --- what is measured ---


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_the_effect_of_a_path_is_that_of_its_edit(name):
    target, images, labels = helpers.network(name, 541, batch=6)
    paths = torch.randint(16, (6, target.n_blocks), generator=torch.Generator().manual_seed(1))
    clean = class_probabilities(target, images)
    for question, sign in (("remove", -1), ("enhance", 1)):
        there = edited_probabilities(target, images, paths, question)
        effect, turned = measured.path_effect(target, images, labels, paths, question)
        expected = sign * (there - clean).gather(1, labels[:, None])[:, 0]
        np.testing.assert_allclose(effect, expected.numpy(), rtol=0, atol=1e-12)
        before, after = ((each.argmax(1) == labels).double() for each in (clean, there))
        assert turned.tolist() == (sign * (after - before)).tolist()
    for question in QUESTIONS:
        own, value = conditional_gradient_paths(target, images, labels, question=question)
        effect, _ = measured.path_effect(target, images, labels, own[..., 0], question)
        np.testing.assert_allclose(effect, value.numpy(), rtol=0, atol=1e-12)


def test_every_method_gives_the_path_that_find_paths_gives():
    target, images, labels = helpers.network("cls", 542, batch=3)
    values = torch.full((1, target.n_blocks, 1, 16), 0.1, dtype=torch.float64)
    published = npc.find_paths(target, images, labels, settings="published").neurons
    for given in (None, values):
        found = measured.found_paths(target, images, labels, given,
                                     published if given is None else None)
        # the published search is given the baseline that the others are given
        own = published if given is None else npc.find_paths(
            target, images, labels, settings="published", baseline=given).neurons
        assert torch.equal(found[method_names.PUBLISHED], own)
        for key, name in (method_names.SCORES | method_names.SEARCHED).items():
            baseline = given if npc.METHODS[key].with_baseline else None
            own = npc.find_paths(target, images, labels, key, baseline=baseline).neurons
            assert torch.equal(found[name], own), name
        for budget in method_names.BUDGETS:
            own = npc.find_paths(target, images, labels, "recommended", budget=budget,
                                 baseline=given).neurons
            assert torch.equal(found[method_names.conditional(budget)], own)
        assert not torch.equal(found[method_names.CONTROL], found[method_names.conditional(3)])
        assert all(paths.shape == (3, target.n_blocks) for paths in found.values())


def test_the_reference_starts_from_the_best_path_of_each_image():
    found = {"a": torch.tensor([[0, 0], [1, 1]]), "b": torch.tensor([[2, 2], [3, 3]]),
             "of one image": torch.tensor([[9, 9]])}
    effects = {"a": (np.array([0.5, 0.1]), None), "b": (np.array([0.2, 0.3]), None),
               "of one image": (np.array([7.0]), None)}
    assert measured._best_of(found, effects).tolist() == [[0, 0], [3, 3]]


def test_passes_are_counted_in_units_of_one():
    target, _, _ = helpers.network("cls", 543)
    cost = pass_counts.passes_of(target)
    assert cost[method_names.ONE_PASS] == 1 and cost[method_names.CONTROL] == 0
    forward = cost["activation"]
    assert 0.4 < forward < 0.5  # a way back has more products than the way there
    one = (2 + forward) / 3  # of three blocks the first is run without its way back
    for budget in method_names.BUDGETS[1:]:
        # the last path of each start, and of the whole, is judged by a forward
        judged = 1 if budget <= 3 else 2 if budget <= 6 else 3
        assert cost[method_names.conditional(budget)] == pytest.approx(budget * one + judged * forward,
                                                                   abs=1e-12)
    assert cost["RelP"] == cost["LibraGrad"] == 1
    # the score comes on top of the path: a forward, and four ways there and back
    assert cost[method_names.conditional(3)] + 4 > pass_counts.passes_as_typed(target) > cost[
        method_names.conditional(3)] + 1
    assert cost[method_names.PUBLISHED] > cost[method_names.DEFAULT] > cost[method_names.conditional(3)]
    assert cost[method_names.EXACT] > cost[method_names.REMOVAL]


def test_nothing_costs_more_than_the_refined_path_and_random_neurons_cost_little(study):
    images = study.images(10)
    table = measured.removals(study, study.model_names, images, measured.every_nth(images, 4), 20)
    wide = table.pivot(index=["model", "replacement", "image"], columns="method", values="lost")
    # in float64 an edit by hooks and one of streams round differently
    assert (wide.drop(columns=method_names.REFINED).le(wide[method_names.REFINED] + 1e-10, axis=0)
            | wide.drop(columns=method_names.REFINED).isna()).all(axis=None)
    means = wide.mean()
    assert means[method_names.CONTROL] < 0.8 * means[method_names.conditional(3)]
    counts = table.groupby("replacement")["image"].nunique()
    assert counts.to_dict() == {"zero": 10, "mean": 3, "resample": 3}
    assert wide[method_names.EXACT].notna().sum() == method_names.EXACT_IMAGES
    assert wide[method_names.PUBLISHED].groupby("replacement").count().to_dict() == {
        "zero": 20, "mean": 6, "resample": 6}
    found = shares.reached(table, pass_counts.pass_table(study, study.model_names))
    assert found["value"].max() <= 1 + 1e-9 and not found["passes"].isna().any()
    refused(lambda: measured.every_nth(images, 10), "at least two images")


# --- shares and leads ---


def test_a_share_is_a_ratio_of_means_with_images_resampled_in_pairs():
    lost, most = np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.2, 0.4])
    row = shares.share_row(lost, most)
    assert row["value"] == pytest.approx(0.75, abs=1e-12)
    ratios = [(lost[list(drawn)].sum() / most[list(drawn)].sum())
              for drawn in itertools.product(range(3), repeat=3)]
    assert min(ratios) - 1e-12 <= row["low"] < 0.75 < row["high"] <= max(ratios) + 1e-12
    # the same share of every image leaves nothing uncertain, however the images differ
    same = shares.share_row(0.9 * most, most)
    assert same["low"] == pytest.approx(0.9) == same["high"]
    refused(lambda: shares.share_row(lost[:1], most[:1]), "1 images", "at least two")
    refused(lambda: shares.share_row(lost, 0 * most), "above zero")


def test_a_share_reaches_a_goal_falls_short_of_it_or_leaves_it_open():
    names = {words_of.FEW: 0.97, "half": 0.5, "close": 0.95}
    table = shares.reached(losses(names), passes(**{name: 3.5 for name in
                                                    [*names, method_names.REFINED]}))
    found = {name: shares.reaches(table, name, 0.95)["verdict"].item() for name in names}
    assert found == {words_of.FEW: "agrees", "half": "contradicts", "close": "not shown"}
    assert shares.reaches(table, words_of.FEW, 0.95)["condition"].item() == "when set to zero"
    own = table.set_index("method").loc[method_names.REFINED]
    assert (own["value"], own["low"], own["high"], own["images"]) == (1, 1, 1, 30)
    assert own["turned"] == 0.5


@pytest.mark.parametrize(("times", "verdict"), [(0.9, "agrees"), (0.7, "contradicts"),
                                                (0.8, "not shown")])
def test_a_lead_shows_only_where_it_was_planted(times, verdict):
    own = shares.leads(losses({"one": times, "other": 0.8}), "one", "other")
    assert own["verdict"].item() == verdict and own["images"].item() == 30
    assert own["value"].item() == pytest.approx((times - 0.8) * 0.3, abs=0.01)
    assert shares.leads(losses({"one": times}), "one", "other").empty


# --- single neurons ---


def test_correlations_are_those_of_ranks():
    exact = np.array([[1.0, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [5, 5, 5, 5]])
    score = np.array([[10.0, 20, 30, 99], [4, 3, 2, 1], [0, 0, 0, 0], [1, 2, 3, 4]])
    assert agreement.rank_correlations(exact, score).tolist() == pytest.approx([1, -1, 0, 0])


def test_a_sample_of_neurons_has_each_once():
    target, _, _ = helpers.network("cls", 544)
    chosen = agreement.sampled_neurons(target, 5, 3)
    assert chosen.shape == (1, 3, 5) and all(len(set(row)) == 5 for row in chosen[0].tolist())
    assert torch.equal(chosen, agreement.sampled_neurons(target, 5, 3))
    assert agreement.sampled_neurons(target, 99)[0].sort().values.tolist() == [list(range(16))] * 3


def test_scores_agree_with_the_exact_effect_as_far_as_they_do(study):
    few = study.images(10)
    table = agreement.agreements(study, study.model_names[:1], few, 6, 20)
    assert set(table["score"]) == {*agreement.RANKED.values(), agreement.SIZES}
    assert set(table["replacement"]) == set(method_names.REPLACED)
    assert len(table) == 10 * (1 + len(agreement.RANKED)) * len(method_names.REPLACED)
    rows = agreement.agreement_rows(table).set_index(["replacement", "score"])
    for kind in method_names.REPLACED:
        own = rows.loc[kind]
        # a network with small weights is nearly linear in one neuron; its activation tells nothing
        assert own.loc[method_names.ONE_PASS, "value"] > 0.9 > own.loc["activation", "high"]
        # a score without a sign ranks sizes
        assert own.loc[agreement.SIZES, "value"] > 0.9 > own.loc[agreement.GRADDROP, "high"]
    lead = agreement.agreement_leads(table, "activation", method_names.ONE_PASS)
    assert set(lead["verdict"]) == {"contradicts"} and len(lead) == len(method_names.REPLACED)
    planted = table.assign(correlation=np.where(table["score"] == agreement.RELP, 0.9, 0.5)
                           + 0.01 * (table["image"] % 3))
    assert set(agreement.agreement_leads(planted, agreement.RELP,
                                         method_names.ONE_PASS)["verdict"]) == {"agrees"}
    # scores and exact effects compare with the same values
    name, values = study.model_names[0], measured.values_for(study, study.model_names[0], few,
                                                             "mean", 20)
    target, batch = study.target(name), study.batch(few, name)
    chosen = agreement.sampled_neurons(target, 6)
    exact = exact_effects(target, *batch, neurons=chosen, baseline=values).reshape(10, -1)
    score = npc.METHODS["relp"].rank(target, *batch, npc.SearchSettings(
        method="relp").complete(target), baseline=values).gather(
            2, chosen.expand(10, -1, -1)).reshape(10, -1)
    own = table[(table["replacement"] == "mean") & (table["score"] == "RelP")]
    np.testing.assert_allclose(own["correlation"], agreement.rank_correlations(
        exact.double().numpy(), score.double().numpy()), rtol=0, atol=1e-12)
    share = pd.DataFrame([{"method": score, "passes": 1.0} for score in method_names.ALIKE])
    words = tables.agreement_table(agreement.agreement_rows(table), share)
    both, = {"RelP", "RelP = LibraGrad"} & set(words.index)  # one row where they are equal
    assert words.loc["activation", "passes"] == "–"
    assert both == "RelP" or words.loc[both, "passes"] == "1.0"
    assert words.index[0] in (method_names.ONE_PASS, agreement.SIZES)
    wide = tables.agreement_models(agreement.agreement_rows(table))
    assert (both, "set to zero") in wide.index


# --- toys ---

def test_a_toy_is_its_seeds_alone():
    """Whatever was drawn before; and what was to be drawn after is left alone."""
    torch.manual_seed(1)
    first, after = toys.toy(3).model.state_dict(), torch.rand(1)
    torch.manual_seed(2)
    torch.rand(7)
    second = toys.toy(3).model.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    assert not torch.equal(first["patch_embed.proj.bias"],
                           toys.toy(4).model.state_dict()["patch_embed.proj.bias"])



@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_the_best_path_of_a_toy_is_the_best_of_all(scope):
    model = helpers.small_vit(9, depth=2, global_pool="token" if scope == "cls" else "avg")
    target = npc.TargetModel(model, scope)
    images, labels = helpers.small_batch(1)
    clean = class_probabilities(target, images)[0, labels[0]]
    every = [clean - edited_probabilities(target, images, torch.tensor([path]), "remove")[
        0, labels[0]] for path in itertools.product(range(16), repeat=2)]
    assert toys.best_effect(target, images[0], int(labels[0])) == pytest.approx(
        float(max(every)), abs=1e-12)
    large = npc.TargetModel(helpers.small_vit(9, depth=4))
    refused(lambda: toys.best_effect(large, images[0], 0), "65,536 paths", "at most 4,096")


def test_no_method_beats_the_best_path_and_the_refined_search_nearly_reaches_it():
    table = toys.toy_effects(2, 2)
    assert (table["lost"] <= table["best"] + 1e-12).all() and (table["best"] > 0).all()
    rows = toys.toy_shares(table).set_index("method")
    assert set(rows.index) == {method_names.REFINED, *toys.OF_TOYS}
    assert rows.loc[method_names.REFINED, "value"] > 0.97
    assert rows.loc[method_names.CONTROL, "verdict"] == "contradicts"
    assert rows.loc[method_names.REFINED, "exact"] >= rows.loc[method_names.ONE_PASS, "exact"]


# --- questions and pairs ---


def test_paths_found_for_a_question_are_measured_by_it(study):
    images = study.images(10)
    few = measured.every_nth(images, 4)
    table = questions.question_effects(study, study.model_names[:1], images, few)
    target, batch = study.target(study.model_names[0]), study.batch(images, study.model_names[0])
    for question in QUESTIONS:
        for gradients in questions.GRADIENTS:
            own = table[(table["question"] == question)
                        & (table["method"] == questions.asked(gradients))]
            effect = conditional_gradient_paths(target, *batch, passes=gradients,
                                                question=question)[1]
            np.testing.assert_allclose(own["effect"], effect.numpy(), rtol=0, atol=1e-12)
    removal = table[table["question"] == "remove"].pivot(index="image", columns="method",
                                                         values="effect")
    assert (removal[questions.MATCHED] == removal[questions.OTHER]).all()
    assert method_names.REFINED not in removal
    lead = questions.question_leads(table)
    assert questions.OTHER not in set(lead.loc[lead["question"] == "remove", "against"])
    assert not {questions.asked(10), method_names.REFINED} & set(lead["against"])
    assert len(questions.question_rows(table)) == 3 * 7 + len(questions.BEYOND)
    # no path does more than the best known one, which is of the few images
    for question in questions.BEYOND:
        wide = table[table["question"] == question].pivot(index="image", columns="method",
                                                          values="effect")
        assert wide[method_names.REFINED].notna().sum() == len(few)
        assert set(wide.index[wide[method_names.REFINED].notna()]) == set(few.ids.tolist())
        known = wide.dropna()
        assert known.le(known[method_names.REFINED] + 1e-10, axis=0).all(axis=None)
    found = questions.question_shares(table)
    assert set(found["question"]) == set(questions.BEYOND) and set(found["images"]) == {3}
    assert found.loc[found["method"] == method_names.REFINED, "value"].tolist() == [1.0, 1.0]
    assert found["value"].max() <= 1 + 1e-9
    words = tables.question_table(questions.question_rows(table), found, {
        name: [cost] for name, cost in questions.question_passes(target).items()})
    assert words.loc[questions.asked(1), "passes"] == "1.0"
    assert words.loc[method_names.REFINED, "points, removed"] == "–"
    assert words.loc[method_names.REFINED, "share of the best known, doubled"].startswith("100.0 %")
    assert method_names.REFINED not in tables.question_models(found)
    assert words_of.glued_questions(found)["keep ten"].endswith("%")


@pytest.mark.parametrize(("times", "verdict"), [(0.99, "agrees"), (0.8, "contradicts"),
                                                (0.95, "not shown")])
def test_a_question_reaches_its_goal_or_not(times, verdict):
    rng = np.random.default_rng(0)
    most = rng.uniform(0.2, 0.4, 20)
    table = pd.DataFrame([
        {"data": "d", "model": "m", "question": "keep", "method": method, "image": image,
         "effect": share * most[image] + (share < 1) * rng.normal(0, 0.005)}
        for method, share in ((questions.MATCHED, times), (method_names.REFINED, 1.0))
        for image in range(20)])
    row, = questions.question_goal(questions.question_shares(table), 3, 0.95).to_dict("records")
    assert row["verdict"] == verdict and row["condition"] == "where the path is kept alone"
    # of a best path that does nothing there is no share
    nothing = table.assign(effect=-table["effect"])
    assert questions.question_shares(nothing).empty


@pytest.mark.parametrize(("ahead", "verdict"), [(0.1, "agrees"), (-0.1, "contradicts"),
                                                (0.0, "not shown")])
def test_a_question_that_matters_is_told_from_one_that_does_not(ahead, verdict):
    rng = np.random.default_rng(0)
    table = pd.DataFrame([
        {"data": "d", "model": "m", "question": "keep", "method": method, "image": image,
         "effect": 0.3 + ahead * (method == questions.MATCHED) + rng.normal(0, 0.01)}
        for method in (questions.MATCHED, questions.OTHER) for image in range(20)])
    lead = questions.question_leads(table)
    assert lead["verdict"].item() == verdict
    assert lead["condition"].item() == "where the path is kept alone"


def pairs(same: float, other: float, background: float) -> PairPaths:
    """Paths of 40 images and 10 blocks of which two outlines have so many neurons in common, and an
    outline and a fill."""
    rng, shape = np.random.default_rng(0), (40, 10)
    outline = rng.integers(0, 100, shape)

    def like(share):
        return np.where(rng.random(shape) < share, outline, outline + 100)

    shared = {"outline": 1, pair_changes.AGAIN: same, "fill": other}
    sizes = {"outline": 0.3, pair_changes.AGAIN: 0.3, "fill": 0.2, "object": 0.5, "colour": 0.02,
             "background": background}
    neurons = np.stack([like(shared.get(name, 0.1)) for name in pair_changes.PAIRS])
    attribution = np.stack([rng.normal(sizes[name], 0.05, 40) for name in pair_changes.PAIRS])
    return PairPaths(tuple(pair_changes.PAIRS), neurons, attribution, attribution, attribution,
                     (300,) * 10)


@pytest.mark.parametrize(("same", "other", "background", "expected"), [
    (0.8, 0.3, 0.01, {"difference": "agrees", "less background": "agrees",
                      "background share": "agrees"}),
    (0.3, 0.8, 0.6, {"difference": "contradicts", "less background": "contradicts",
                     "background share": "contradicts"}),
    (0.5, 0.5, 0.3, {"difference": "not shown", "less background": "not shown"}),
    (0.5, 0.5, 0.075, {"less background": "agrees", "background share": "not shown"})])
def test_changes_that_find_other_neurons_are_told_from_such_that_do_not(same, other, background,
                                                                       expected):
    rows = pair_changes.change_rows("shapes", {"m": pairs(same, other, background)})
    found = verdicts(rows, "measure")
    assert {name: found[name] for name in expected} == expected
    values = rows.set_index("measure")["value"]
    assert values["same change"] == pytest.approx(same, abs=0.06)
    assert values["background"] == pytest.approx(background, abs=0.03)
    assert values["background share"] == pytest.approx(
        values["background"] / values["outline"], abs=1e-12)
    assert "two other outlines" in tables.change_table(rows)
    # where it is above zero is said beside whether it is small
    texts = words_of.glued_changes(rows, pd.DataFrame())
    above = "1 of 1" if background > 0.05 else "0 of 1"
    assert texts["background above zero gradient"] == above
    assert texts["background share integral"] == texts["same path"] == "–"


def test_the_integral_of_a_pair_adds_up_and_agrees_with_the_gradient_where_all_is_linear():
    target, images, labels = helpers.network("cls", 546, batch=4)
    others = images + 0.3 * torch.randn(images.shape, dtype=images.dtype,
                                        generator=torch.Generator().manual_seed(3))
    found, gradient = (make(target, images, labels, {"one": others})
                       for make in (pair_changes.integrated_paths, pair_paths))
    np.testing.assert_array_equal(found.effect, gradient.effect)
    # the sum of a block's attributions is what replacing all of its neurons costs
    values = replacement_values(target, "counterfactual", images, labels, pairs=others)[0]
    every = pair_changes.eap_ig(target, images, labels, "activations", "gauss-legendre", 8,
                             baseline=values)
    clean = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]
    for block in range(target.n_blocks):
        factors = torch.ones(4, target.n_blocks, target.n_neurons, dtype=target.dtype)
        factors[:, block] = 0
        there = npc.interventions.scaled_probabilities(target, images, factors, values=values)
        lost = clean - there.gather(1, labels[:, None])[:, 0]
        np.testing.assert_allclose(every[:, block].sum(1).numpy(), lost.numpy(), rtol=0, atol=1e-9)
    # the path is the best neuron of every block, and its attribution theirs
    two = pair_changes.eap_ig(target, images, labels, "activations", "gauss-legendre",
                           pair_changes.PAIR_NODES, baseline=values)
    assert torch.equal(torch.from_numpy(found.neurons[0]), two.argmax(2))
    np.testing.assert_allclose(found.attribution[0], two.amax(2).sum(1).numpy(), atol=1e-12)
    # of a pair so close that the model is linear between the two, both are the same
    close = [make(target, images, labels, {"one": images + 1e-4 * (others - images)})
             for make in (pair_changes.integrated_paths, pair_paths)]
    np.testing.assert_allclose(close[0].attribution, close[1].attribution, rtol=1e-2)
    same = pair_changes.path_agreement("d", {"m": close[0]}, {"m": close[1]}, range(4))
    assert same["value"].tolist() == [1.0]
    # the planted failure: other images' paths
    moved = pair_changes.path_agreement("d", {"m": pairs(0.5, 0.5, 0.1)}, {"m": pairs(0.5, 0.5, 0.1)},
                                     list(range(39, -1, -1)))
    assert moved.set_index("change").loc["outline", "value"] < 0.1
    assert tables.same_path_table(moved).loc[("d", "m"), "outline"].startswith("0.0")


def test_equal_images_have_no_path_by_the_integral_either():
    target, images, labels = helpers.network("cls", 547, batch=3)
    found = pair_changes.integrated_paths(target, images, labels, {"same": images.clone()})
    assert (found.neurons == -1).all()
    np.testing.assert_allclose(found.attribution, 0, atol=1e-14)  # what rounding leaves


def test_a_data_set_without_pairs_has_none(study):
    for integrated in (False, True):
        assert pair_changes.change_paths(study, study.model_names, study.images(10),
                                      integrated=integrated) == {}
    assert pair_changes.path_agreement("digits", {}, {}, []).empty
    nothing = pair_changes.change_rows("digits", {})
    assert nothing.empty and len(tables.change_table(nothing)) == 1


# --- what else was tried ---


def test_the_nearest_paths_differ_in_the_block_that_loses_least():
    scores = torch.tensor([[[5.0, 1, 4], [9, 8, 0], [7, 2, 3]]])
    assert beam_search.nearest_paths(scores, 3).tolist() == [[[0, 0, 0], [2, 0, 0], [0, 1, 0]]]
    assert beam_search.nearest_paths(scores, 1).tolist() == [[[0, 0, 0]]]
    assert beam_search.nearest_paths(scores, 9).shape == (1, 4, 3)  # no more than blocks


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_a_beam_takes_the_best_of_its_candidates(name):
    target, images, labels = helpers.network(name, 548, batch=3)
    clean = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]

    def effect(paths):
        there = edited_probabilities(target, images, paths, "remove")
        return (clean - there.gather(1, labels[:, None])[:, 0]).numpy()

    # one candidate is the conditional gradient as long as no path comes back
    for gradients in (1, 2):
        paths, lost = beam_search.beam_paths(target, images, labels, gradients, 1)
        own, most = conditional_gradient_paths(target, images, labels, passes=gradients)
        assert torch.equal(paths, own[..., 0])
        np.testing.assert_allclose(lost, most.numpy(), rtol=0, atol=1e-12)
    # after one gradient it is the best of the nearest paths, by their effects
    slopes = npc.METHODS["gradient_activation"].rank(
        target, images, labels, npc.SearchSettings(method="gradient_activation").complete(target))
    candidates = beam_search.nearest_paths(slopes, 3)
    every = np.stack([effect(each) for each in candidates.unbind(1)])
    paths, lost = beam_search.beam_paths(target, images, labels, 1, 3)
    np.testing.assert_allclose(lost, every.max(0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(effect(paths), lost, rtol=0, atol=1e-12)
    assert (beam_search.beam_paths(target, images, labels, 3, 3)[1] >= lost - 1e-12).all()


def test_a_beam_costs_a_forward_for_each_candidate():
    target, _, _ = helpers.network("cls", 549)
    cost, forward = pass_counts.passes_of(target), pass_counts.forward_passes(target)
    for budget in method_names.BUDGETS:
        assert pass_counts.conditional_passes(target, budget) == cost[method_names.conditional(budget)]
    assert beam_search.beam_passes(target, 3, 1) == pytest.approx(
        cost[method_names.conditional(3)] + 2 * forward)
    assert beam_search.beam_passes(target, 3, 4) - beam_search.beam_passes(target, 3, 3) == pytest.approx(
        3 * forward)


def step_table(curves: dict[int, list[float]]) -> pd.DataFrame:
    return pd.DataFrame([
        {"data": "d", "model": "m", "image": image, "gradients": number, "passes": 1.0 * number,
         "lost": lost, "changed": number > 1 and lost > curve[number - 2]}
        for image, curve in curves.items() for number, lost in enumerate(curve, 1)])


def test_stopping_waits_for_as_many_idle_gradients_as_it_is_told():
    steps = step_table({0: [0.1, 0.2, 0.2, 0.4, 0.4, 0.4], 1: [0.3, 0.3, 0.3, 0.3, 0.3, 0.5],
                        2: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]})
    one, two = (tried.stopped(steps, patience).set_index("image") for patience in (1, 2))
    assert one["passes"].tolist() == [3, 2, 6] and one["lost"].tolist() == [0.2, 0.3, 0.6]
    assert two["passes"].tolist() == [6, 3, 6] and two["lost"].tolist() == [0.4, 0.3, 0.6]
    assert one["method"].iloc[0] == "stopping after 1 gradient without a gain"


@pytest.mark.parametrize(("lost", "verdict"), [(0.35, "agrees"), (0.05, "contradicts"),
                                               (0.2, "not shown")])
def test_what_was_tried_is_held_against_as_many_passes(lost, verdict):
    rng = np.random.default_rng(0)
    steps = step_table({image: [0.1, 0.3, 0.4] for image in range(12)})
    best = pd.DataFrame([{"data": "d", "model": "m", "replacement": "zero",
                          "method": method_names.REFINED, "image": image, "lost": 0.5}
                         for image in range(12)])
    own = pd.DataFrame([{"data": "d", "model": "m", "image": image, "method": "beam",
                         "passes": 1.5, "lost": lost + rng.normal(0, 0.01)}
                        for image in range(12)])
    row, = tried.tried_rows(own, steps, best).to_dict("records")
    # half way between one gradient and two
    assert row["alike"] == pytest.approx(0.2 / 0.5) and row["verdict"] == verdict
    assert row["value"] == pytest.approx((lost - 0.2) / 0.5, abs=0.02)
    rows = pd.DataFrame([row, row | {"model": "n"}])
    table = tables.tried_table(rows)
    assert table.loc["beam", "passes"] == "1.5" and "points [" in table.loc["beam", "lead"]
    settled = tried.settling(steps, best, after=2)
    assert (settled["changed"].item(), settled["images"].item()) == (12, 12)
    assert settled["value"].item() == pytest.approx(0.1 / 0.5)
    none = tried.settling(step_table({image: [0.1, 0.3, 0.3] for image in range(12)}), best, 2)
    assert none["changed"].item() == 0 and none["value"].item() == 0
    texts = words_of.glued_tried(rows, pd.concat([settled, settled]), {"beam": "beam"})
    assert texts["tried beam alike"] == "40.0 %" and texts["settled changed"] == "24"


def test_steps_are_those_of_the_conditional_gradient(study):
    few = measured.every_nth(study.images(10), 4)
    name = study.model_names[0]
    steps = tried.by_gradients(study, [name], few, most=8)
    target, batch = study.target(name), study.batch(few, name)
    for number in (1, 3, 4, 7, 8):
        own = steps[steps["gradients"] == number]
        _, effect = conditional_gradient_by_passes(target, *batch, [number])
        np.testing.assert_allclose(own["lost"], effect[:, 0].numpy(), rtol=0, atol=1e-12)
    assert (steps.groupby("image")["lost"].diff().dropna() >= 0).all()
    beams = beam_search.beams(study, [name], few)
    assert set(beams["method"]) == {beam_search.beam(*each) for each in beam_search.BEAMS}


def test_scores_of_permuted_weights_find_what_chance_finds(study):
    images, names = study.images(10), study.model_names[:1]
    table = measured.removals(study, names, images, measured.every_nth(images, 4), 20)
    permuted = tried.permuted_effects(study, names, images)
    rows = tried.permuted_rows(permuted, table).set_index("method")
    assert set(rows.index) == set(tried.PERMUTED.values())
    own = rows.loc[method_names.ONE_PASS]
    assert own["own"] > 0.8 > 0.5 > own["permuted"] and own["verdict"] == "agrees"
    assert own["condition"] == f"by {method_names.ONE_PASS}"
    # the planted failure: what the permuted weights find is as good as the model's own
    zero = table[(table["replacement"] == "zero") & table["method"].isin(tried.PERMUTED.values())]
    same = tried.permuted_rows(zero[permuted.columns], table)
    assert (same["value"] == 0).all() and "agrees" not in set(same["verdict"])
    words = tables.permuted_table(pd.concat([rows.reset_index(), rows.reset_index()]))
    assert words.loc[method_names.ONE_PASS, "models ahead of permuted weights"] == "2 of 2 agree"


# --- words ---


def test_what_is_said_of_a_table():
    names = {method_names.conditional(3): 0.9, method_names.conditional(10): 0.995, method_names.PUBLISHED: 0.6,
             method_names.ONE_PASS: 0.8, method_names.CONTROL: 0.01}
    cost = dict(zip(names, (3.47, 10.47, 111.3, 1.0, 0.0), strict=True)) | {method_names.REFINED: 80.0}
    share = pd.concat([shares.reached(losses(names, replacement=kind), passes(**cost))
                       for kind in method_names.REPLACED], ignore_index=True)
    assert words_of.passes_span(share, method_names.PUBLISHED) == "111"
    assert words_of.passes_span(share, method_names.conditional(3)) == "3.5"
    zero = share[share["replacement"] == "zero"].set_index("method")["value"]
    few, published = (words_of.percent(zero[name]) for name in (words_of.FEW, method_names.PUBLISHED))
    assert words_of.finding(share) == (
        f"With neurons set to zero, three gradients (3.5 passes) reach {few} of the best known "
        f"effect (least {few}), the published search (111 passes) {published} (least {published})")
    missed = words_of.missed(share)
    assert missed.startswith("With 3 gradients the mean is below 95 % in 3 of 3 comparisons "
                             "(m on d, set to zero (")
    assert missed.endswith("With 10 gradients the mean is below 99 % in 0 of 3 comparisons; in 0 "
                           "more the mean is above it and the interval is not")
    front = tables.front_table(share)
    assert list(front.index)[0] == method_names.CONTROL and list(front.index)[-1] == method_names.PUBLISHED
    assert "refined search" not in set(words_of.drawn(share)["method"])
    assert [words_of.percent(value) for value in (0.98999, 0.88849, 0.77151)] == [
        "99.0 %", "88.8 %", "77.2 %"]
    assert words_of.share_text({"value": 0.5, "low": 0.25, "high": 0.75}) == "50.0 % [25.0, 75.0]"
    assert words_of.share_text({"value": 0.5, "low": np.nan, "high": np.nan}) == "50.0 %"
    wide = tables.share_table(share)
    assert list(wide.columns) == [method_names.conditional(1), method_names.conditional(3),
                                  method_names.conditional(10), method_names.PUBLISHED]


def test_means_over_models_are_of_one_replacement():
    share = pd.DataFrame([{"replacement": replacement, "method": "one", "model": model,
                           "value": value}
                          for replacement, model, value in (
                              ("zero", "a", 0.9), ("zero", "b", 0.7), ("mean", "a", 0.1))])
    zero, mean = (shares.across_models(share, kind).iloc[0] for kind in ("zero", "mean"))
    assert zero["value"] == pytest.approx(0.8) and zero["least"] == 0.7 and zero["models"] == 2
    assert zero["low"] < 0.8 < zero["high"]
    assert mean["value"] == 0.1 and np.isnan(mean["low"])
    assert words_of.like_for_like(share.assign(data="d"), "other")["mean"] == "–"


def test_scores_are_one_row_only_where_they_are_equal():
    rows = pd.DataFrame([{"method": method, "model": model, "value": value}
                         for method in (*method_names.ALIKE, "other")
                         for model, value in (("a", 0.5), ("b", 0.6))])
    together = shares.merged(rows)
    assert list(together["method"]) == ["RelP = LibraGrad"] * 2 + ["other"] * 2
    rows.loc[2, "value"] += 1e-9
    assert shares.merged(rows).equals(rows)
    assert shares.merged(rows[rows["method"] != "LibraGrad"])["method"].iloc[0] == "RelP"


def test_what_was_measured_on_other_images_is_not_set_beside_the_rest():
    share = pd.concat([shares.reached(losses({method_names.ONE_PASS: 0.8}),
                                      passes(**{method_names.ONE_PASS: 1.0, method_names.REFINED: 80.0})),
                       pd.DataFrame([{"data": "d", "model": "m", "replacement": "zero",
                                      "method": method_names.EXACT, "images": 4, "turned": 0.0,
                                      "value": 0.7, "low": 0.6, "high": 0.8, "passes": 500.0}])],
                      ignore_index=True)
    front = tables.front_table(share)
    own = front.loc[method_names.EXACT]
    assert own["set to zero"] == "[70.0 %: 4 images of 1 of 1 models]"
    assert own["predictions lost, set to zero"] == "–"
    assert front.loc[method_names.ONE_PASS, "predictions lost, set to zero"] == "50 %"
    assert front.loc[method_names.ONE_PASS, "predictions lost, set to the mean over images"] == "–"
    assert front.loc[method_names.ONE_PASS, "method="] == '"gradient_activation"'
    assert front.loc[method_names.REFINED, "method="] == "–"


def test_a_method_is_called_as_the_table_says():
    target, images, labels = helpers.network("cls", 545, batch=2)
    found = measured.found_paths(target, images, labels)
    for name, call in method_names.CALLED.items():
        if name in found and "settings" not in call:
            method, _, budget = call.partition(", budget=")
            own = npc.find_paths(target, images, labels, method.strip('"'),
                                 **({"budget": int(budget)} if budget else {}))
            assert torch.equal(own.neurons, found[name]), name


@pytest.mark.parametrize(("first", "verdict"), [(0.9, "agrees"), (0.3, "contradicts")])
def test_a_lead_on_toys_is_of_the_same_images(first, verdict):
    table = pd.DataFrame([{"method": method, "lost": times * best, "best": best}
                          for method, times in (("first", first), ("second", 0.6))
                          for best in (0.1, 0.2, 0.4)])
    row = toys.toy_lead(table, "first", "second")
    assert row["value"] == pytest.approx(first - 0.6) and row["low"] == pytest.approx(row["high"])
    assert words_of.points_text(row).startswith(f"{100 * (first - 0.6):+.1f} points [")


def test_differences_of_correlations_are_put_into_words():
    words = answer_rows._correlation_apart
    assert words(pd.Series([-0.69, -0.32])) == "correlation lower by 0.32 to 0.69"
    assert words(pd.Series([0.1, 0.2])) == "correlation higher by 0.10 to 0.20"
    assert words(pd.Series([-0.1, 0.2])) == "correlation different by -0.10 to +0.20"


def test_texts_that_pages_name_are_of_their_own_replacement():
    names = {"three": words_of.FEW, "published": method_names.PUBLISHED}
    cost = {words_of.FEW: 3.4, method_names.PUBLISHED: 111.0, method_names.REFINED: 80.0}
    share = pd.concat([
        shares.reached(losses({words_of.FEW: few, method_names.PUBLISHED: 0.6}, replacement=kind),
                       passes(**cost)) for kind, few in (("zero", 0.9), ("resample", 0.5))],
        ignore_index=True)
    texts = words_of.glued_shares(share, names)
    shown = {name: float(texts[name].removesuffix(" %")) for name in ("zero three", "other three")}
    assert shown == pytest.approx({"zero three": 90, "other three": 50}, abs=1)
    assert texts["mean three"] == texts["mean three interval"] == "–"
    assert texts["passes published"] == "111" and texts["zero three least"] == texts["zero three"]
    lead = pd.concat([pd.DataFrame([{"replacement": kind, "verdict": verdict}] * 2)
                      for kind, verdict in (("zero", "agrees"), ("mean", "not shown"))])
    tallies = words_of.glued_leads({"three": lead})
    assert tallies["zero tally three"] == "2 of 2 models"
    assert tallies["mean tally three"] == "0 of 2 models; 2 are not shown"
    tried = pd.DataFrame([{"method": words_of.FEW, "value": 0.95, "low": 0.9, "high": 0.99}])
    for low, words in ((0.01, "can be told apart"), (-0.01, "cannot be told apart")):
        found = words_of.glued_toys(tried, {"value": 0.02, "low": low, "high": 0.05}, names)
        assert found["toys apart"] == words and found["toys three"] == "95.0 % [90.0, 99.0]"
