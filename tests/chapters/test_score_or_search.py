"""Scores and searches crossed: every cell against its definition, planted effects and planted nulls
for what is concluded from them."""

import numpy as np
import pandas as pd
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import interventions, random_paths
from neuronpath_core.chapters.score_or_search import cells, shares
from neuronpath_core.chapters.score_or_search import words as score_or_search_words
from neuronpath_core.cost import passes
from neuronpath_core.study.study import Study
from neuronpath_core.variants.ablation import ablation_paths
from tests import small_study, twins


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("factorial")
    small_study.write_profile(root)
    for seed, name in enumerate(small_study.PROFILE["models"]):
        small_study.write_weights(root, name, seed + 3)
    return Study("digits", results=root / "results", root=root)


@pytest.fixture(scope="module")
def images(study):
    return study.images(10)


@pytest.fixture(scope="module")
def table(study, images):
    return cells.factorial(study, ["one", "two"], images)


# --- cells ---


@pytest.mark.parametrize("score", cells.SCORES)
@pytest.mark.parametrize("model", ["one", "two"])
def test_scores_of_whole_paths(study, images, model, score):
    target, (pictures, labels) = study.target(model), study.batch(images, model)
    rng = np.random.default_rng(0)
    paths = torch.from_numpy(rng.integers(target.n_neurons, size=(6, target.n_blocks)))
    rows = torch.tensor([0, 0, 1, 2, 2, 9])
    found = cells.path_scores(target, pictures, labels, paths, rows, score)
    rule = twins.rule("gauss-legendre", 3)
    many = twins.rule("gauss-legendre", cells.CONDUCTANCE_STEPS)
    for path, row, value in zip(paths, rows, found, strict=True):
        arguments = (target.model, target.scope, pictures[row], int(labels[row]))
        listed = [[int(neuron)] for neuron in path]
        if score == "joint":
            expected = twins.joint_attribution_score(*arguments, listed, *rule)
        elif score == "complete":
            expected = twins.complete_attribution(*arguments, listed)
        elif score == "ablation":
            edited = twins.edited_logits(target.model, target.scope, pictures[row], listed,
                                         0.0).softmax(-1)
            expected = float((target(pictures[row][None]).softmax(-1)[0]
                              - edited)[labels[row]].detach())
        else:
            single = {"knowledge": lambda arguments=arguments: twins.knowledge_attribution(
                *arguments, *rule),
                      "gradient_activation": lambda arguments=arguments: twins.gradient_activation(
                *arguments),
                      "conductance": lambda arguments=arguments: twins.conductance(*arguments,
                                                                                   *many)}[score]()
            expected = float(single[torch.arange(len(path)), path].sum())
        assert float(value) == pytest.approx(expected, rel=1e-5 if score == "conductance" else 1e-9,
                                             abs=1e-8 if score == "conductance" else 1e-12)


@pytest.mark.parametrize("score", cells.SCORES)
def test_random_cell_is_the_best_of_the_draws(study, images, score):
    target, (pictures, labels) = study.target("one"), study.batch(images, "one")
    drawn = torch.stack([random_paths.random_paths(target, pictures, seed=5 + draw)[..., 0]
                         for draw in range(3)], 1)
    values = torch.stack([cells.path_scores(target, pictures, labels, drawn[:, draw],
                                                      torch.arange(10), score)
                          for draw in range(3)], 1)
    assert torch.equal(cells.cell_paths(study, "one", images, score, "random", draws=3,
                                                  seed=5), drawn[torch.arange(10),
                                                                 values.argmax(1)])


@pytest.mark.parametrize("model", ["one", "two"])
def test_searched_cells(study, images, model):
    target, (pictures, labels) = study.target(model), study.batch(images, model)
    for score, method in (("joint", "neuron_path"), ("complete", "complete")):
        assert torch.equal(cells.cell_paths(study, model, images, score, "progressive"),
                           npc.find_paths(target, pictures, labels, method).neurons)
        beam = npc.find_paths(target, pictures, labels, method, search="beam", width=3)
        assert torch.equal(cells.cell_paths(study, model, images, score, "beam", width=3),
                           beam.neurons)
    for search in ("progressive", "independent", "beam"):
        expected = ablation_paths(target, pictures, labels, search=search)[0][..., 0]
        assert torch.equal(cells.cell_paths(study, model, images, "ablation", search),
                           expected)


def test_cells_that_are_one_by_definition(study, images):
    """Alone on a path a neuron has no cross term: its joint, its complete and its single
    attribution are the same number."""
    for model in ("one", "two"):
        target, (pictures, labels) = study.target(model), study.batch(images, model)
        rule = {"quadrature": "gauss-legendre", "steps": 3}
        single = npc.knowledge_attribution(target, pictures, labels, **rule)
        first = [npc.find_paths(target, pictures, labels, method, context="full",
                                **rule).neurons[:, 0] for method in ("neuron_path", "complete")]
        assert torch.equal(first[0], single[:, 0].argmax(-1)) and torch.equal(first[1], first[0])
        independent = cells.cell_paths(study, model, images, "joint", "independent")
        assert torch.equal(independent, single.argmax(-1))
        assert torch.equal(cells.cell_paths(study, model, images, "complete",
                                                      "independent"), independent)
        for search in ("progressive", "independent", "beam"):
            assert torch.equal(cells.cell_paths(study, model, images, "knowledge",
                                                          search), independent)


def test_table(study, images, table):
    assert list(table.columns) == ["data", "model", "score", "search", "image", "removal",
                                   "enhancement", "removal_accuracy", "jas", "complete"]
    assert len(table) == 2 * 6 * 4 * 10 and table.notna().all(axis=None)
    target, (pictures, labels) = study.target("two"), study.batch(images, "two")
    neurons = cells.cell_paths(study, "two", images, "ablation", "progressive")
    clean = target(pictures).softmax(-1)[torch.arange(10), labels]
    own = table[(table["model"] == "two") & (table["score"] == "ablation")
                & (table["search"] == "progressive")]
    for operation, column in (("remove", "removal"), ("enhance", "enhancement")):
        edited = interventions.edited_probabilities(target, pictures, neurons,
                                                    operation)[torch.arange(10), labels]
        np.testing.assert_allclose(own[column], ((edited - clean) / clean).detach().numpy(),
                                   rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(own["complete"],
                               npc.complete_attribution(target, pictures, labels, neurons).numpy(),
                               rtol=0, atol=1e-13)
    means = shares.cell_means(table)
    assert means.shape == (6, 4)
    assert means.loc["ablation effect", "progressive"] == pytest.approx(
        table[(table["score"] == "ablation") & (table["search"] == "progressive")].groupby("model")[
        "removal"].mean().mean())


@pytest.mark.parametrize(("arguments", "words"), [
    (("best", "beam"), ["'best'", "joint", "progressive, independent, beam, random"]),
    (("joint", "greedy"), ["'greedy'", "beam"]),
    (("joint", "beam", 0), ["width", "0"]), (("joint", "random", 2, 0), ["draws", "0"]),
    (("joint", "random", 2, True), ["draws", "True"]),
])
def test_what_is_refused(study, images, arguments, words):
    with pytest.raises(ValueError, match=".") as caught:
        cells.cell_paths(study, "one", images, *arguments)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


# --- what is concluded ---


def made_up(effect, images=40, noise=0.05, seed=0):
    """A factorial table whose removal is ``-effect(score number, search number)`` and noise that an
    image's cells share in part."""
    rng, rows = np.random.default_rng(seed), []
    own = rng.normal(size=images)
    for first, score in enumerate(cells.SCORES):
        for second, search in enumerate(cells.SEARCHES):
            value = -effect(first, second) + noise * (own + rng.normal(size=images))
            rows.append(pd.DataFrame({"data": "made", "model": "up", "score": score,
                                      "search": search, "image": range(images), "removal": value,
                                      "enhancement": -value}))
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize(("effect", "factor"), [
    (lambda score, search: 0.3 * (score == 0), "score"),
    (lambda score, search: 0.3 * (search == 2), "search"),
    (lambda score, search: 0.3 * (score == search), "interplay")])
def test_the_factor_that_was_planted_has_the_share(effect, factor):
    found = shares.factor_shares(made_up(effect)).set_index("factor")
    assert found["value"].sum() == pytest.approx(1, abs=0.02) and found["value"].idxmax() == factor
    row = found.loc[factor]
    assert row["low"] > 0.6 and row["low"] <= row["value"] <= row["high"]
    assert found.drop(factor)["high"].max() < 0.4
    exact = shares.factor_shares(made_up(effect, noise=0.0),
                                          resamples=5).set_index("factor")["value"]
    if factor != "interplay":
        assert exact[factor] == pytest.approx(1)


def test_shares_of_nothing_are_nothing():
    assert (shares.factor_shares(made_up(lambda score, search: 0.0, noise=0.0),
                                          resamples=5)["value"] == 0).all()


def test_a_score_may_be_left_out():
    table = made_up(lambda score, search: 1.0 * (score == 5) + 0.1 * (search == 2), noise=0.0)
    assert shares.factor_shares(table,
                                         resamples=5).set_index("factor")["value"]["score"] > 0.9
    assert shares.factor_shares(table[table["score"] != "conductance"],
                                         resamples=5)["value"].tolist() == pytest.approx([0, 1, 0])


def test_random_paths_count_only_if_asked():
    table = made_up(lambda score, search: 0.5 * (search == 3), noise=0.0)
    assert shares.factor_shares(table, resamples=5)["value"].tolist() == [0, 0, 0]
    assert shares.factor_shares(table, deterministic=False,
                                         resamples=5)["value"].tolist() == pytest.approx([0, 1, 0])


def test_the_search_counts_where_random_paths_are_one():
    """Informed searches that find alike, and random paths that do nothing: the score decides among
    the first, the search as soon as the last are in; scores of single neurons are left out."""
    last = cells.SEARCHES.index("random")
    table = made_up(lambda score, search: 0.3 + 0.1 * (score == 0) if search != last else 0.0)
    found = shares.searched_shares(table).set_index(["condition", "factor"])["value"]
    informed, random = shares.KINDS_OF_SEARCH
    assert found[informed, "score"] > 0.8 and found[random, "search"] > 0.8
    lifted = table.assign(removal=table["removal"] - 5 * (table["score"] == "conductance"))
    again = shares.searched_shares(lifted).set_index(["condition", "factor"])["value"]
    pd.testing.assert_series_equal(again, found)


def test_contrasts_of_planted_effects_and_of_a_null():
    # the published cell alone removes more
    better = made_up(lambda score, search: 0.2 * (score == 0 and search == 0), noise=0.05)
    found = shares.contrasts(better).set_index("contrast")
    assert found.loc["cross terms", "value"] == pytest.approx(0.2, abs=0.05)
    assert found["verdict"].to_dict() == {
        "conditioning on the path so far": "not shown", "cross terms": "agrees",
        "both, the published search against integrated gradients": "agrees",
        "a beam instead of one path": "contradicts",
        "the score alone, on the same random paths": "not shown",
        "search instead of random paths": "agrees",
        "attribution instead of the effect itself": "agrees"}
    assert shares.contrasts(better,
                                     "enhancement").set_index("contrast").loc["cross terms",
                                                                              "verdict"] == "agrees"
    null = pd.concat([shares.contrasts(made_up(lambda score, search: 0.2, seed=seed))
                      for seed in range(30)])
    assert (null["verdict"] != "not shown").mean() < 0.15  # five per cent expected, of 210


def test_losses_and_stronger_scores():
    table = made_up(lambda score, search: (score + 1) / 10 + search, noise=0)
    found = shares.losses(table).set_index("score")["value"]
    assert found[shares.RANDOM] == pytest.approx(0.1 + list(cells.SEARCHES).index("random"))
    expected = {name: (place + 1) / 10 for place, name in enumerate(cells.SCORES.values())}
    assert found.drop(shares.RANDOM).to_dict() == pytest.approx(expected)
    stronger = shares.contrasts(table, pairs=shares.STRONGER).set_index("contrast")
    order = list(cells.SCORES)
    for score in ("knowledge", "gradient_activation"):
        row = stronger.loc[f"{cells.SCORES[score]} instead of the joint score"]
        assert row["value"] == pytest.approx((order.index(score) - order.index("joint")) / 10)
        assert row["verdict"] == "agrees"


def test_the_identity_holds_and_can_fail(study, images):
    table = cells.removal_identity(study, ["one", "two"], images)
    assert list(table.columns) == ["data", "model", "image", "complete", "integral", "removal",
                                   "jas"]
    summary = shares.identity_summary(table)
    assert (summary["identity"] < 1e-9).all()
    assert (summary["apart"] > 1e-6).all()  # plain removal is something else
    coarse = shares.identity_summary(cells.removal_identity(study,
                                                                               ["one", "two"],
                                                                               images, steps=1))
    assert (coarse["identity"] > 1e-6).all()
    planted = table.assign(jas=2 * table["complete"])
    assert shares.identity_summary(planted)[["cross", "low",
                                                      "high"]].to_numpy() == pytest.approx(0.5)


def test_scores_of_patch_tokens_are_summed_like_the_attributions(study, images):
    table = cells.removal_identity(study, ["two"], images)
    target, (pictures, labels) = study.target("two"), study.batch(images, "two")
    mean = npc.joint_attribution_score(target, pictures, labels, study.paths("two", images).neurons,
                                       "gauss-legendre", 24)
    np.testing.assert_allclose(table["jas"], 4 * mean.numpy(), rtol=1e-12)  # four patches


def test_identity_by_hand(study, images):
    target, (pictures, labels) = study.target("one"), study.batch(images, "one")
    table = cells.removal_identity(study, ["one"], images)
    path = [[int(neuron)] for neuron in study.paths("one", images).neurons[0]]
    arguments = (target.model, target.scope, pictures[0], int(labels[0]), path)
    assert table["complete"][0] == pytest.approx(twins.complete_attribution(*arguments), abs=1e-12)
    assert table["integral"][0] == pytest.approx(twins.diagonal_attribution(*arguments,
                                                                            *twins.rule(
        "gauss-legendre", 24)), abs=1e-12)
    assert table["jas"][0] == pytest.approx(twins.joint_attribution_score(*arguments,
                                                                          *twins.rule(
        "gauss-legendre", 24)), abs=1e-12)


def test_a_registered_score_joins_the_factorial(study, images):
    """One function and one entry: the neuron with the smallest activation of every block."""
    def least(target, pictures, labels, settings):
        return -npc.read_activations(target, pictures).sum(2)
    npc.register(npc.Method("least", "Least active", rank=least, passes={"forward": 3}))
    try:
        table = cells.factorial(study, ["one"], images, draws=2, scores=("joint", "least"))
        assert set(table["score"]) == {"joint", "least"} and len(table) == 2 * 4 * 10
        own = table[table["score"] == "least"].set_index(["search", "image"])["removal"]
        for search in ("independent", "beam"):
            assert own[search].equals(own["progressive"])
        target, (pictures, labels) = study.target("one"), study.batch(images, "one")
        found = npc.find_paths(target, pictures, labels, "least")
        assert torch.equal(cells.cell_paths(study, "one", images, "least", "progressive"),
                           found.neurons)
        counted = passes.path_passes(target, {"method": "least"})
        assert counted == passes.path_passes(target, {"method": "random"}) + passes.Passes(forward=3)
    finally:
        del npc.METHODS["least"]
    with pytest.raises(ValueError, match="unknown cell 'least'.*accepted: .*joint"):
        cells.cell_paths(study, "one", images, "least", "progressive")


# --- scores published since ---


def test_later_scores_take_the_best_of_every_block_and_are_held_against_the_joint_score(
        study, images, table):
    later = cells.factorial(study, ["one", "two"], images, scores=cells.LATER)
    assert set(later["score"]) == set(cells.LATER)
    target, batch = study.target("one"), study.batch(images, "one")
    for score in cells.LATER:
        single = cells.neuron_scores(target, *batch, score)
        for search in ("progressive", "independent", "beam"):
            assert torch.equal(cells.cell_paths(study, "one", images, score, search),
                               single.argmax(-1))
    both = pd.concat([table, later], ignore_index=True)
    leads = shares.contrasts(both, pairs=shares.later_pairs())
    assert len(leads) == 2 * len(shares.LATER_SEARCHES) * len(cells.LATER)
    # on the same random paths every score chooses one of them, and the best by any is no worse
    own = both[(both["model"] == "one") & (both["search"] == "random")].set_index(
        ["score", "image"])["removal"]
    row = leads[(leads["model"] == "one")
                & leads["contrast"].str.startswith("RelP, the best of the same")].iloc[0]
    assert row["value"] == pytest.approx((own["joint"] - own["relp"]).mean(), abs=1e-12)
    words = score_or_search_words.later_table(both, leads)
    assert len(words) == len(shares.later_pairs())
    cost = -100 * later[(later["score"] == "relp") & (later["search"] == "progressive")].groupby(
        "model")["removal"].mean().mean()
    assert words.loc[("RelP", shares.LATER_SEARCHES["progressive"]),
                     "removal costs"] == f"{cost:.1f} %"


@pytest.mark.parametrize(("lead", "verdict"), [(0.1, "agrees"), (-0.1, "contradicts"),
                                               (0.0, "not shown")])
def test_a_later_score_leads_only_where_it_was_planted(lead, verdict):
    rng = np.random.default_rng(0)
    table = pd.DataFrame([
        {"data": "d", "model": "m", "score": score, "search": search, "image": image,
         "removal": -0.3 - lead * (score != "joint") + rng.normal(0, 0.01)}
        for score in ("joint", *cells.LATER) for search in shares.LATER_SEARCHES
        for image in range(24)])
    leads = shares.contrasts(table, pairs=shares.later_pairs())
    assert set(leads["verdict"]) == {verdict}
