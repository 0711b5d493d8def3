"""Whether neurons suffice: planted networks in which a path does everything or nothing, shares and
areas in closed form, and controls that are seen to fail."""

import numpy as np
import pandas as pd
import pytest
import torch

from neuronpath_core.chapters.faithfulness import circuits, measured, rates, tables, words
from neuronpath_core.chapters.faithfulness.measured import MATCHED, Case
from neuronpath_core.circuits.circuit_tests import TESTS
from neuronpath_core.circuits.curves import Faithfulness
from neuronpath_core.circuits.faithfulness import faithfulness
from neuronpath_core.circuits.masked_model import SHARES
from neuronpath_core.models.planted import planted_model
from neuronpath_core.random_paths import random_paths

SETTINGS = {"context": "full", "quadrature": "gauss-legendre", "steps": 2}


def planted_case(kind="chain", images=8, seed=0) -> tuple[Case, torch.Tensor]:
    network = planted_model(kind, n_images=images, blocks=3, seed=seed)
    zero = torch.zeros(1, 1, 3, 1, network.target.n_neurons, dtype=torch.float64)
    return Case("planted", kind, network.target, network.images, network.labels,
                {"mean": zero}), network.neurons[..., 0]


def made(rows, images=(1.0, 3.0), **fields) -> pd.DataFrame:
    """A table of measures: of each ranking, side and share the f of every image, whose gains are
    ``images``, with a model without neurons at 2."""
    return pd.DataFrame([
        {"data": "d", "model": "m", "replaced": "mean", "measure": "logit_difference",
         "ranking": ranking, "side": side, "share": share, "image": image,
         "value": 2 + gain * f, "full": 2 + gain, "empty": 2.0} | fields
        for (ranking, side, share), f in rows.items() for image, gain in enumerate(images)])


# --- shares and areas ---


def test_shares_are_ratios_of_means():
    table = made({("a", "keep", 1.0): 0.5})
    table.loc[table["image"] == 1, "value"] = 2 + 3 * 0.9
    row, = rates.shares(table).to_dict("records")
    # (0.5 * 1 + 0.9 * 3) / (1 + 3), to which the second image contributes three times as much
    assert row["value"] == pytest.approx(0.8, abs=1e-12) and row["images"] == 2
    # resamples of two images are one of them twice, or both
    assert (row["low"], row["high"]) == pytest.approx((0.5, 0.9), abs=1e-12)


def test_areas_in_closed_form():
    f = {0.1: 0.0, 50.1: 2.0, 100.0: 1.0}
    table = made({("a", "keep", share): value for share, value in f.items()})
    found = rates.areas(table).set_index("area")
    first, second = 0.5 / 0.999, 0.499 / 0.999
    assert found.loc["CPR", "value"] == pytest.approx(first * 1 + second * 1.5, abs=1e-12)
    # |1 - f| at the measured shares is 1, 1 and 0
    assert found.loc["CMD", "value"] == pytest.approx(first * 1 + second * 0.5, abs=1e-12)
    np.testing.assert_allclose(found["low"], found["high"], atol=1e-12)  # all images are alike


def test_the_area_of_removal_in_closed_form():
    """It is taken on the removed side alone, is better where it is lower, and of a ranking that was
    not measured there is none."""
    left = {0.1: 1.0, 50.1: 0.5, 100.0: 0.0}
    table = made({**{("a", "remove", share): value for share, value in left.items()},
                  **{("a", "keep", share): 1.0 for share in left},
                  **{("b", "keep", share): 0.0 for share in left}})
    found = rates.areas(table).set_index(["ranking", "area"])["value"]
    first, second = 0.5 / 0.999, 0.499 / 0.999
    assert found["a", rates.REMOVED] == pytest.approx(first * 0.75 + second * 0.25, abs=1e-12)
    assert found["a", "CPR"] == pytest.approx(1, abs=1e-12)
    assert ("b", rates.REMOVED) not in found and found["b", "CPR"] == pytest.approx(0, abs=1e-12)
    own = made({("a", "remove", share): value for share, value in left.items()} | {
        ("a", "keep", share): 1.0 for share in left})
    network = faithfulness_of(own)
    assert found["a", rates.REMOVED] == pytest.approx(float(network.removal()[0]), abs=1e-12)
    text = tables.area_table(rates.areas(table).assign(ranking=lambda rows: rows["ranking"].map(
        {"a": "relp", "b": MATCHED})))
    assert list(text[f"{rates.REMOVED}, logit difference"]) == ["0.50 [0.50, 0.50]", "–"]


def faithfulness_of(table: pd.DataFrame) -> Faithfulness:
    """The library's curves of the means over images of one ranking's table."""
    means = table.groupby(["side", "share"])["value"].mean()
    ends = table.groupby("image")[["full", "empty"]].first().mean()
    shares = tuple(means["keep"].index)
    return Faithfulness("logit_difference", shares, (1,) * len(shares), np.array([ends["full"]]),
                        np.array([ends["empty"]]), means["keep"].to_numpy()[None],
                        means["remove"].to_numpy()[None])


@pytest.mark.parametrize(("lead", "verdict"), [(0.2, "agrees"), (-0.2, "contradicts"),
                                               (0.0, "not shown")])
def test_removing_the_best_first_is_judged_by_what_is_left(lead, verdict):
    gains = tuple(np.random.default_rng(0).uniform(1, 2, 20))
    base = {0.1: 0.9, 50.0: 0.5, 100.0: 0.0}
    table = made({(ranking, "remove", share): value - each * (share < 100)
                  for ranking, each in ((MATCHED, 0.0), ("relp", lead))
                  for share, value in base.items()}, gains)
    row, = rates.area_leads(table).to_dict("records")
    assert (row["area"], row["ranking"], row["verdict"]) == (rates.REMOVED, "relp", verdict)
    assert row["value"] == pytest.approx(lead * (49.9 + 50 / 2) / 99.9, abs=1e-9)


def test_rankings_are_held_against_one_another_and_one_is_taken():
    def rivals(relp, knowledge):
        own = curves_of({"gradient_activation": 0.1, "relp": 0.1 + relp,
                         "knowledge": 0.1 + knowledge})
        return rates.rival_leads(own)

    found = rivals(0.2, -0.1)
    of = found[found["area"] == "CPR"].set_index("ranking")
    assert of["verdict"].to_dict() == {"relp": "agrees", "knowledge": "contradicts"}
    assert set(found["against"]) == {"gradient_activation"}
    assert words.to_take(found, "logit_difference") == "RelP"
    assert words.to_take(rivals(0.1, 0.3), "logit_difference").startswith("single-neuron")
    # the planted failures: each is behind, or neither can be told from it
    assert words.to_take(rivals(-0.2, -0.1), "logit_difference") == "gradient × activation"
    assert words.to_take(rivals(0.0, -0.1), "logit_difference") == "no ranking"
    rows = pd.DataFrame([{"value": 0.1, "low": 0.05, "high": 0.15},
                         {"value": -0.2, "low": -0.3, "high": -0.1}])
    assert words.ends_text(rows) == "-0.20 [-0.30, -0.10] to +0.10 [+0.05, +0.15]"
    assert words.ends_text(rows.iloc[:0]) == "–"


def curves_of(leads: dict[str, float], images: int = 20) -> pd.DataFrame:
    """Rankings whose f is so much above that of matched random neurons, until all are kept."""
    gains = tuple(np.random.default_rng(0).uniform(1, 2, images))
    base = {0.1: 0.1, 50.0: 0.4, 100.0: 1.0}
    return made({(ranking, "keep", share): value + lead * (share < 100)
                 for ranking, lead in {MATCHED: 0.0, **leads}.items()
                 for share, value in base.items()}, gains)


def test_a_lead_in_cpr_may_be_none_in_cmd():
    """One that keeps more than the model does is further from it."""
    found = rates.area_leads(curves_of({"relp": 0.2, "gradient_activation": 3.0, "knowledge": 0.0,
                                        "activation": -0.1}))
    verdicts = {(row["ranking"], row["area"]): row["verdict"] for row in found.to_dict("records")}
    assert verdicts == {
        ("relp", "CPR"): "agrees", ("relp", "CMD"): "agrees",
        ("gradient_activation", "CPR"): "agrees", ("gradient_activation", "CMD"): "contradicts",
        ("knowledge", "CPR"): "not shown", ("knowledge", "CMD"): "not shown",
        ("activation", "CPR"): "contradicts", ("activation", "CMD"): "contradicts"}
    lead = found.set_index(["ranking", "area"])["value"]
    # of three shares, the last of which is the model in every ranking
    assert lead["relp", "CPR"] == pytest.approx(0.2 * (49.9 + 50 / 2) / 99.9, abs=1e-9)
    assert lead["relp", "CMD"] == pytest.approx(lead["relp", "CPR"], abs=1e-9)


def paths_of(keep: dict[str, float], left: dict[str, float], images: int = 20) -> pd.DataFrame:
    gains = tuple(np.random.default_rng(1).uniform(1, 2, images))
    rows = {(path, side, 0.7): f for side, values in (("keep", keep), ("remove", left))
            for path, f in values.items()}
    table = made(rows, gains)
    return pd.concat([table, table.assign(measure="probability")], ignore_index=True)


def test_leads_of_paths_are_signed_by_what_is_asked():
    table = paths_of({"neuron_path": 0.3, MATCHED: 0.1, "keep": 0.6, "remove": 0.4},
                     {"neuron_path": 0.7, MATCHED: 0.9, "keep": 0.8, "remove": 0.5})
    found = rates.path_leads(table)
    found = found[found["measure"] == "probability"].set_index("lead")
    assert found["value"].round(9).to_dict() == {
        "own, kept": 0.2, "own, removed": 0.2, "question, kept": 0.2, "question, removed": 0.3}
    assert (found["verdict"] == "agrees").all()
    # the planted failure: the other question's path is the better one, and chance is as good
    table = paths_of({"neuron_path": 0.1, MATCHED: 0.1, "keep": 0.4, "remove": 0.6},
                     {"neuron_path": 0.9, MATCHED: 0.9, "keep": 0.5, "remove": 0.8})
    found = rates.path_leads(table).set_index(["measure", "lead"])["verdict"]
    for measure in ("probability", "logit_difference"):
        assert found[measure].to_dict() == {
            "own, kept": "not shown", "own, removed": "not shown",
            "question, kept": "contradicts", "question, removed": "contradicts"}


# --- what is measured ---


def test_curves_are_the_librarys_and_controls_fail_on_planted_networks():
    case, path = planted_case()
    table = measured.curves(case)
    scores = measured.scores_of(case, "mean")
    assert list(scores) == list(measured.RANKINGS)
    curve = faithfulness(case.target, case.pictures, case.labels, scores["relp"],
                         values=case.values["mean"])["probability"]
    own = table[(table["ranking"] == "relp") & (table["measure"] == "probability")]
    for side, expected in (("keep", curve.kept), ("remove", curve.removed)):
        wide = own[own["side"] == side].pivot(index="image", columns="share", values="value")
        np.testing.assert_allclose(wide.to_numpy(), expected, atol=1e-12)
    assert set(table["share"]) == set(SHARES)
    leads = rates.area_leads(table)
    leads = leads[(leads["measure"] == "logit_difference")
                  & (leads["ranking"] == "gradient_activation")]
    assert set(leads["against"]) == set(measured.CONTROLS)
    # scores that find the planted neurons are ahead of all controls, by every area; removed first,
    # matched neurons too take the few planted ones away before long
    assert set(leads["area"]) == set(rates.AREAS)
    assert (leads["value"] > np.where(leads["area"] == rates.REMOVED, 0.03, 0.1)).all()


def test_only_one_replacement_has_all_controls_and_removal():
    case, _ = planted_case(images=4)
    other = Case(case.data, case.model, case.target, case.pictures, case.labels,
                 {"zero": case.values["mean"]})
    table = measured.curves(other, shares=(10.0, 100.0))
    assert set(table["side"]) == {"keep"}
    assert not set(measured.ALSO) & set(table["ranking"]) and MATCHED in set(table["ranking"])
    assert table.notna().all().all()
    assert other.baseline("zero") is None and case.baseline("mean") is not None


def test_a_planted_path_is_sufficient_and_necessary_and_a_random_one_neither():
    case, path = planted_case(images=12)
    random = random_paths(case.target, case.pictures, 1, 3)[..., 0]
    found = {"mean": {"neuron_path": path, MATCHED: random, "keep": path, "remove": random}}
    places = rates.shares(measured.places(case, found)).query("measure == 'logit_difference'")
    f = places.set_index(["ranking", "side"])["value"]
    assert f["neuron_path", "keep"] > 0.9 and f["neuron_path", "remove"] < 0.1
    assert f[MATCHED, "keep"] < 0.3 and f[MATCHED, "remove"] > 0.7
    assert places["share"].unique() == pytest.approx([100 / case.target.n_neurons])
    apart = measured.differing(case, found)
    assert apart["apart"].tolist() == (path != random).double().mean(1).tolist()
    same = measured.differing(case, {"mean": {"keep": path, "remove": path}})
    assert rates.apart(same)["value"].tolist() == [0.0]


def test_a_study_gives_cases_and_paths(study, images):
    few = images.select(np.arange(0, 20, 4))
    case = measured.case(study, "small", few, images, draws=2, seed=1)
    assert {kind: each.shape[0] for kind, each in case.values.items()} == {
        "zero": 1, "mean": 1, "resample": 2}
    torch.testing.assert_close(case.baseline("resample"), case.values["resample"].mean(0))
    half = case.select(slice(None, None, 2))
    torch.testing.assert_close(half.values["resample"], case.values["resample"][:, ::2])
    assert len(half.pictures) == len(half.labels) == 3
    found = measured.paths(case, study, few, **SETTINGS)
    assert list(found) == list(measured.REPLACED)
    own = study.paths("small", few, **SETTINGS).neurons
    for kind in found:
        assert set(found[kind]) == set(measured.PATHS)
        assert torch.equal(found[kind]["neuron_path"], own)
    assert not torch.equal(found["mean"]["keep"], found["mean"]["remove"])


# --- tests of circuits ---


def test_of_many_circuits_the_one_that_does_it_all_passes():
    rng = np.random.default_rng(2)
    full = rng.normal(5, 1, 20)
    kept = rng.normal(0, 0.1, (31, 20))
    left = full + rng.normal(0, 0.1, (31, 20))
    kept[4], left[4] = full + 0.01, 0.0  # the planted circuit
    table = circuits.passing(full, kept, left, margin=0.2).set_index("test")
    assert (table["paths"] == 31).all()
    assert table.loc[circuits.ALL, "passed"] == 1
    assert table.loc["equivalence", "passed"] == table.loc["independence", "passed"] == 1
    # the planted failure: without it none passes
    kept[4], left[4] = kept[5], left[5]
    none = circuits.passing(full, kept, left, margin=0.2).set_index("test")["passed"]
    assert none[circuits.ALL] == none["equivalence"] == none["independence"] == 0
    shares = circuits.random_rates(table.reset_index().assign(data="d", model="m"))
    assert (shares["low"] <= shares["value"]).all() and (shares["value"] <= shares["high"]).all()


def test_planted_paths_pass_and_random_ones_fail():
    found = circuits.planted_tests(networks=1, draws=29)
    assert set(found["test"]) == set(TESTS) and len(found) == 3 * 2 * len(TESTS)
    table = circuits.planted_rates(found)
    assert (table["value"] == 1).all() and (table["networks"] == 1).all()
    # the planted failure: a test that a planted path does not stand counts the whole path out
    found.loc[found["path"].eq("planted") & found["test"].eq("minimality"), "passes"] = False
    broken = circuits.planted_rates(found).set_index("path")["value"]
    assert (broken["planted"] == 0).all() and (broken["random"] == 1).all()


def test_paths_of_a_case_are_tested_on_every_second_image():
    case, path = planted_case(images=12)
    random = random_paths(case.target, case.pictures, 1, 3)[..., 0]
    tests, others = (circuits.path_tests(case, {"mean": {"neuron_path": each}}, draws=29)
                     for each in (path, random))
    assert words.passed(tests, "neuron_path") == "1 of 1"
    assert words.passed(others, "neuron_path") == "0 of 1"
    assert (tests[tests["test"] == "equivalence"]["n"] == 6).all()
    chance = circuits.random_tests(case, draws=29)
    assert chance.set_index("test").loc[circuits.ALL, "passed"] <= 1
    assert words.passed_most(chance).endswith("of 30")


def test_a_positive_control_passes_and_no_neurons_do_not():
    network = planted_model("chain", "cls", n_images=12, blocks=4)
    target = network.target
    zero = torch.zeros(1, 1, 4, 1, target.n_neurons, dtype=target.dtype)
    case = measured.Case("d", "m", target, network.images, network.labels, {"mean": zero})
    table = circuits.large_tests(case)
    assert list(table.columns) == ["data", "model", "path", "test", "statistic", "p", "passes", "n"]
    assert (table["n"] == 6).all()
    passed = words.large_passed(table)
    assert passed["best equivalence"] == passed["best independence"] == "1 of 1"
    # all neurons are the model and leave nothing behind; what is left without none is the model
    every, none = (circuits.large_tests(case, share=share).set_index(["path", "test"])["p"]
                   for share in (1.0, 0.0))
    assert every[circuits.BEST, "equivalence"] == every[circuits.BEST, "independence"] == 1
    assert none[circuits.BEST, "independence"] < 0.05
    assert tables.large_table(table).loc[("d", "m", circuits.BEST), "equivalence"].startswith(
        "passes")


# --- words ---


def test_words():
    keep = {"neuron_path": 0.3, MATCHED: 0.1, "keep": 0.6, "remove": 0.4}
    places = rates.shares(paths_of(keep, {name: 0.8 for name in keep}))
    assert words.finding(places) == (
        "With 0.7 % of the neurons and all others set to the mean, the path keeps 30 % of what all "
        "neurons do, a random path 10 %")
    zero = words.finding(pd.concat([places, places.assign(replaced="zero", value=0.5)]))
    assert "all others set to zero, the path keeps 50 %" in zero
    shown = words.dots(places)
    assert list(shown[shown["side"] == "keep"]["path"]) == [
        "neuron path", "matched random path", "best path for it"]
    assert shown[(shown["side"] == "keep") & (shown["path"] == "best path for it")][
        "value"].item() == pytest.approx(0.6)
    assert words.percent(pd.Series([-0.02, 0.314])) == "-2 to 31 %"
    table = tables.place_table(places)
    assert table.index.names == ["data", "model", "path", "replaced"]
    assert table.loc[("d", "m", "neuron path", "by the mean"),
                     "logit difference, kept alone"].startswith("+0.30 [")
    curves, own = words.drawn(rates.shares(curves_of({"gradient_activation": 0.2, "relp": 0.1})),
                               places)
    assert list(curves["ranking"].unique()) == ["matched random neurons", "gradient × activation"]
    assert list(own["ranking"].unique()) == ["neuron path"]


def test_the_claims_name_the_base_of_their_leads_and_give_no_verdict_without_power():
    """Leads of paths are shares of what all neurons do, leads of rankings areas, one row an area;
    tests that let random paths pass have no verdict in trained models."""
    keep = {"neuron_path": 0.3, MATCHED: 0.1, "keep": 0.6, "remove": 0.4}
    table = paths_of(keep, {name: 0.8 - value for name, value in keep.items()})
    leads = rates.area_leads(curves_of({"gradient_activation": 0.2, "relp": 0.1,
                                        "activation": 0.5}))
    tests = pd.DataFrame({"data": "d", "model": "m", "path": "neuron_path",
                          "test": ["equivalence", "independence"], "passes": [True, False]})
    apart = pd.DataFrame({"value": [0.6], "low": [0.55], "high": [0.65]})
    planted = pd.DataFrame({"path": ["planted", "random"], "value": 1.0, "low": 1.0, "high": 1.0})
    rows = {claim: rest for claim, *rest in words.conclusion(
        rates.shares(table), rates.path_leads(table), leads, apart, tests, planted)}
    assert len(rows) == 12
    assert rows["The neuron path alone keeps more than a random path as active"][0] == (
        "lead 20 % of what all neurons do")
    assert rows["The best path to keep does more, kept alone, than the best path to remove"][0] == (
        "lead 20 % of what all neurons do to the probability")
    text, tally = rows["The best neurons by the scores that know the label keep more than matched "
                       "random ones (CPR)"]
    assert text.startswith("area +0.") and "%" not in text and tally.startswith("2 of 2")
    assert rows["The neuron path stands all tests of a circuit"] == [
        "stands them in 0 of 1 models", words.NO_POWER]


def test_the_captions_say_which_way_p_is_read():
    """As the tests themselves judge: the first three are passed by a large p, the others by a small
    one."""
    above, below = tables.PASSES.split(" are passed if p is above 0.05")
    assert above == "Equivalence, independence and minimality"
    assert "sufficiency and partial necessity if p is at most 0.05" in below
    case, path = planted_case(images=12)
    random = random_paths(case.target, case.pictures, 1, 3)[..., 0]
    found = pd.concat([circuits.path_tests(case, {"mean": {"neuron_path": each}}, draws=29)
                       for each in (path, random)])
    assert found["passes"].nunique() == 2
    for row in found.to_dict("records"):
        assert row["passes"] == (row["p"] > 0.05 if row["test"] in above.lower() else
                                 row["p"] <= 0.05)
