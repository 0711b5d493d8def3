"""What the chapters' tables become as claims: signs, thresholds, conditions, and that every chapter
hands over its own."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from neuronpath_core.chapters import verdicts
from neuronpath_core.chapters.class_space import cuts as space_cuts
from neuronpath_core.chapters.controls import leads
from neuronpath_core.chapters.controls.paths import CONTROLS
from neuronpath_core.chapters.faithfulness.measured import SCORES
from neuronpath_core.chapters.faithfulness.rates import REMOVED, RIVALS
from neuronpath_core.chapters.knowledge_neurons import scaling as knowledge_neurons_scaling
from neuronpath_core.chapters.mae_against_supervised import kinds_compared
from neuronpath_core.chapters.replacement.searched_paths import NEW, OWN
from neuronpath_core.chapters.score_or_search import shares
from neuronpath_core.chapters.verdicts import (
    as_published,
    certified,
    class_building,
    class_similarity,
    class_space,
    controls,
    edges,
    faithfulness,
    knowledge_neurons,
    mae_against_supervised,
    planted_paths,
    probability_deviation,
    pruning,
    pruning_honest,
    relevance,
    replacement,
    score_or_search,
    stability,
    table1,
    which_method,
)
from neuronpath_core.stats.grades import where
from neuronpath_core.stats.units import UNITS

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in Path(verdicts.__file__).parent.glob("[a-z]*.py"))


def of(claims, key):
    """The comparisons of one claim as ``(value, low, high, verdict)``."""
    found, = [claim for claim in claims if claim.key == key]
    return [(round(row.value, 6), row.low if row.low is None else round(row.low, 6),
             row.high if row.high is None else round(row.high, 6), row.verdict)
            for row in found.comparisons]


def row(value: float, low: float, high: float, **fields) -> dict:
    return {"data": "digits", "model": "m", "value": value, "low": low, "high": high} | fields


@pytest.mark.parametrize("name", MODULES)
def test_a_notebook_ends_by_handing_its_variables_over(name):
    """The last code cell calls the chapter's ``made_from`` with as many arguments as it takes, and
    each is a variable, or what is said of one, that the cells before have set."""
    path, = (ROOT / "notebooks").glob(f"[0-9][0-9]_{name}.ipynb")
    nb = nbformat.read(path, 4)
    *before, last = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert last.id == f"{path.stem[:2]}-claims" and last.metadata.tags == ["remove-cell"]
    made, call = next((cell, node) for cell in [last, *reversed(before)]
                      for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)
                      and isinstance(node.func, ast.Attribute) and node.func.attr == "made_from")
    before = before if made is last else before[:before.index(made)]
    module = importlib.import_module(f"neuronpath_core.chapters.verdicts.{name}")
    inspect.signature(module.made_from).bind(*call.args)
    known = {part.id for cell in before for part in ast.walk(ast.parse(cell.source))
             if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    used = {part.id for argument in call.args for part in ast.walk(argument)
            if isinstance(part, ast.Name)} - {"len"}
    assert used <= known, used - known


def test_a_loss_is_positive_where_the_path_costs_something():
    own = pd.DataFrame([row(-0.03, -0.05, -0.01, measure="removal"),
                        row(-2, -6, 0, measure="removal accuracy"),
                        row(0.1, 0.05, 0.2, measure="score")])
    lead = pd.DataFrame([row(0.1, 0.0, 0.2, measure=measure, control=control, images=images,
                             verdict="not shown")
                         for control, images in (("random", 48), ("randomised", 24),
                                                 ("late_randomised", 12))
                         for measure in ("score", "removal", "enhancement", "removal accuracy",
                                         "enhancement accuracy")])
    sane = pd.DataFrame([row(0.1, 0.0, 0.2, control=control, verdict="agrees")
                         for control in ("randomised", "late_randomised")])
    gain = pd.DataFrame([row(1, 0.5, 2, label=label, verdict="agrees")
                         for label in leads.GAINS])
    overlap = pd.DataFrame([{"data": "digits", "model": "m", "difference": 0.2,
                             "permuted_high": 0.03, "verdict": "agrees"}])
    claims = controls.made_from(lead, own, sane, gain, overlap, 48, 168)
    assert of(claims, "own removal") == [(0.03, 0.01, 0.05, "agrees")]
    assert of(claims, "own removal accuracy") == [(2, 0, 6, "not shown")]
    label, = [claim for claim in claims if claim.key == "label"]
    assert [(each.condition, each.n) for each in label.comparisons] == [
        ("with the true label", 168), ("with the predicted label", 168)]
    foreign, = [claim for claim in claims if claim.key == "label control"]
    assert [each.against for each in foreign.comparisons] == [
        CONTROLS["matched_random"], CONTROLS["same_class"]]
    shared, = [claim for claim in claims if claim.key == "class"]
    assert (shared.comparisons[0].chance, shared.comparisons[0].low) == (0.03, None)
    assert {each.against for claim in claims if claim.key == "removal"
            for each in claim.comparisons} == {CONTROLS[name] for name in (
                "random", "randomised", "late_randomised")}
    assert [(claim.key, each.n) for claim in claims if "randomised" in claim.key
            for each in claim.comparisons] == [("randomised", 24), ("late_randomised", 12)]
    assert all(claim.unit in UNITS for claim in claims)


def test_a_defect_changes_as_many_neurons_as_do_not_stay():
    table = pd.DataFrame([row(-0.72, -0.8, -0.6, defect="normalisation", number="neurons", count=24,
                              verdict="changes the number"),
                          row(0, 0, 0, defect="normalisation", number="neurons", count=24,
                              verdict="not shown"),
                          row(9, 9, 9, defect="normalisation", number="score", count=24,
                              verdict="changes the number")])
    claim, = as_published.made_from(table)
    assert of([claim], claim.key) == [(0.72, 0.6, 0.8, "agrees"), (0, 0, 0, "not shown")]


def test_accuracy_is_kept_within_five_points_of_the_whole_models():
    accuracy = pd.DataFrame([
        {"model": model, "kept": kept, "top": top, "share": share, "value": value,
         "low": value - 0.02, "high": value + 0.02}
        for model, value in (("a", 0.9), ("b", 0.84), ("c", 0.8))
        for kept in ("neuron path", "random") for top in (5, 10) for share in (0.5, 1.0)])
    claims = pruning.made_from(accuracy, {"correct": dict.fromkeys("abc", 0.9)}, "digits", 80)
    assert of(claims, "robust") == of(claims, "sparse") == [
        (0, -0.02, 0.02, "agrees"), (-0.06, -0.08, -0.04, "not shown"),
        (-0.1, -0.12, -0.08, "contradicts")]
    assert of(claims, "best") == [(0, None, None, "not shown")] * 3
    accuracy.loc[(accuracy["top"] == 5) & (accuracy["model"] == "b"), "value"] += 0.03
    claims = pruning.made_from(accuracy, {"correct": dict.fromkeys("abc", 0.9)}, "digits", 80)
    assert of(claims, "best")[1] == (0.03, None, None, "agrees")


def test_as_published_and_as_a_smaller_network_are_two_conditions():
    sizes = pd.DataFrame([row(-0.1, -0.2, 0, mask=mask, tokens=tokens, top=top, verdict="not shown")
                          for mask in ("one for all", "own class")
                          for tokens in ("class token", "all tokens") for top in (5, 30)])
    settings = pd.DataFrame([row(0.1, 0, 0.2, effect=effect, at=at, top=top, verdict="agrees")
                             for effect in ("label", "tokens")
                             for at in ("class token", "all tokens") for top in (5, 30)])
    leads = pd.DataFrame([row(0.1, 0, 0.2, mask=mask, tokens="all tokens", against="random",
                              top=top, verdict="agrees")
                          for mask in ("one for all", "own class") for top in (5, 30)])
    leaking = pd.DataFrame([row(0.1, 0.05, 0.2, measure=measure, tokens=tokens)
                            for measure in ("label gain", "leak")
                            for tokens in ("class token", "all tokens")])
    tables = {"digits": pd.DataFrame({"image": [1, 1, 2, 3]})}
    leads = pd.concat([leads, leads.assign(tokens="class token", value=0.3)], ignore_index=True)
    control = pd.DataFrame([row(value, value - 0.1, value + 0.1, kept=kept, verdict=verdict)
                            for kept, value, verdict in (("random", -0.3, "contradicts"),
                                                         ("no neuron", 0.1, "agrees"))])
    made = pruning_honest.made_from(sizes, settings, leads, leaking, tables, 5, control)
    assert [of(made, key) for key in ("few: random", "few: none", "few: lead")] == [
        [(-0.3, -0.4, -0.2, "contradicts")], [(0.1, 0.0, 0.2, "agrees")], [(0.3, 0, 0.2, "agrees")]]
    claims = {claim.key: claim.comparisons for claim in made}
    assert [each.condition for each in claims["few"]] == [
        "at the class token, with a mask of the class", "at all tokens, with one mask"]
    assert {each.n for rows in claims.values() for each in rows} == {3}
    assert [len(claims[key]) for key in ("label", "label gain", "lead: random")] == [1, 1, 2]
    assert claims["label gain"][0].verdict == "agrees"


def test_inversion_counts_trained_models():
    shares = pd.DataFrame({"data": ["digits"] * 3 + ["shapes"] * 2, "kind": ["a", "b", "a", "a", "b"],
                           "model": ["a", "b", "a seed 1", "a", "b"]})
    cells = pd.DataFrame([row(0.9, 0.8, 1.0, condition=condition, first="a", second="b",
                              differ=differ, own=own, verdict="contradicts")
                          for condition in kinds_compared.BLOCKS
                          for differ, own in (("kind and scope", True), ("kind", False),
                                              ("scope", False))])
    contrast = pd.DataFrame([row(0.02, -0.01, 0.05, verdict="not shown") | {"data": data}
                             for data in ("digits", "shapes", "together")])
    claims = {claim.key: claim for claim in mae_against_supervised.made_from(
        cells, contrast, contrast.iloc[:2], shares)}
    assert [(each.data, each.n) for each in claims["kind"].comparisons] == [
        ("digits and shapes", 5)]
    assert claims["inversion"].of == "trained models"
    assert [len(claims[key].comparisons) for key in ("inversion", "one scope", "scope alone")] == [
        2, 2, 2]
    assert [each.condition for each in claims["inversion"].comparisons] == [
        "over all blocks", "without block 1"]


def test_an_inversion_is_judged_with_and_without_the_first_block():
    """By either form of scaling, each over as many images as it was measured on."""
    names = ["correlation of block shares", "correlation without block 1"]
    rows = pd.DataFrame([
        {"number": number, "scaling": scaling, "value": value, "low": value - 0.1,
         "high": value + 0.1}
        for scaling in knowledge_neurons_scaling.SCALINGS.values()
        for number, value in zip(names, (0.7, -0.05), strict=True)])
    every, rest = ({"value": value, "low": value - 0.1, "high": value + 0.1}
                   for value in (0.9, -0.3))
    claims = knowledge_neurons.made_from(
        knowledge_neurons_scaling.by_condition(every, rest, rows, 60, 20), ["a", "b"], "digits")
    assert of(claims, "inversion") == [
        (0.9, 0.8, 1.0, "contradicts"), (-0.3, -0.4, -0.2, "agrees"),
        (0.7, 0.6, 0.8, "contradicts"), (-0.05, -0.15, 0.05, "not shown")]
    assert [(each.condition.endswith(", without block 1"), each.n)
            for each in claims[0].comparisons] == [(False, 60), (True, 60), (False, 20), (True, 20)]
    assert where(claims[0].comparisons) == "with the whole block scaled, without block 1 only"


def test_a_look_is_held_against_permutations():
    own = pd.DataFrame({"difference": [0.4], "low": [0.3], "high": [0.5]}, index=["m"])
    look = pd.DataFrame({"correlation": [0.3, 0.1], "permuted_high": [0.2, 0.2]}, index=["m", "n"])
    parts = pd.DataFrame({"value": [0.1, -0.1], "low": [0.05, -0.2], "high": [0.2, 0.1]},
                         index=["m", "n"])
    claims = class_similarity.made_from(own, look, "digits", 400, parts, 100)
    assert of(claims, "label") == [(0.1, 0.05, 0.2, "agrees"), (-0.1, -0.2, 0.1, "not shown")]
    assert of(claims, "class") == [(0.4, 0.3, 0.5, "agrees")]
    assert of(claims, "look") == [(0.3, None, None, "agrees"), (0.1, None, None, "not shown")]


def test_single_neurons_lead_where_their_removal_costs_more():
    """Removal deviations are negative: the lower, the more is lost."""
    table = pd.DataFrame([
        {"data": "digits", "model": "m", "image": image, "score": score, "search": "progressive",
         "removal": loss + 0.001 * image}
        for score, loss in (("joint", -0.1), ("knowledge", -0.3), ("gradient_activation", -0.05))
        for image in range(20)])
    stronger = shares.contrasts(table, pairs=shares.STRONGER)
    table.loc[table["image"] < 9, "removal"] *= 10  # moves means, and no median
    medians = shares.contrasts(table, pairs=shares.STRONGER, statistic="median")
    nothing = pd.DataFrame({name: [] for name in ("data", "model", "value", "low", "high",
                                                  "contrast", "factor", "cross", "verdict")})
    searched = pd.DataFrame([row(value, value - 0.1, value + 0.1, factor=factor,
                                 condition=condition)
                             for condition, value in (("informed", 0.7), ("random", 0.2))
                             for factor in ("score", "search")])
    claims = {claim.key: claim for claim in score_or_search.made_from(
        nothing, stronger, medians, searched, nothing, 20)}
    assert [(each.condition, each.verdict) for each in claims["score or search"].comparisons] == [
        ("informed", "agrees"), ("random", "contradicts")]
    for score, value, verdict in (("knowledge", -0.2, "contradicts"),
                                  ("gradient_activation", 0.05, "agrees")):
        each, = claims[f"single: {score}"].comparisons
        assert (round(each.value, 6), each.verdict, each.n) == (value, verdict, 20)
        median = claims[f"single median: {score}"]
        assert median.statistic == "median" and "median difference" in median.rule.sentence
        assert round(median.comparisons[0].value, 6) == value


def test_table_1_and_figure_3_are_judged_against_the_baselines_alone():
    table = pd.DataFrame([row(0.1, 0.05, 0.2, column="joint_attribution_score", method=method,
                              against=method, verdict="agrees")
                          for method in ("activation", "random")]).drop(columns="data")
    score = table1.made_from(table, ["activation"], "digits", 100)[0]
    assert [each.against for each in score.comparisons] == ["activation"]
    effects = pd.DataFrame([{"model": "m", "image": image, "method": method,
                             "removal_probability": loss + 0.001 * image,
                             "enhancement_probability": 0.0}
                            for method, loss in (("neuron_path", -0.2), ("activation", -0.1),
                                                 ("random", 0.0)) for image in range(20)])
    removal = probability_deviation.made_from(effects, ["m"], ["activation"], "digits")[0]
    assert [(each.against, each.verdict) for each in removal.comparisons] == [("Activation",
                                                                               "agrees")]


def test_decoys_that_change_nothing_leave_the_search_as_good():
    rate = pd.DataFrame({"value": [0.9], "low": [0.8], "high": [1.0]}, index=["none"])
    loss = pd.DataFrame({"value": [0.0, -0.5, 0.0], "low": [-0.04, -0.6, -0.2],
                         "high": [0.02, -0.4, 0.1]}, index=["loud", "steep", "all"])
    decoys = planted_paths.made_from(rate, loss, {}, 24)[1]
    assert [each.verdict for each in decoys.comparisons] == ["agrees", "contradicts", "not shown"]
    found = {claim.key: claim for claim in planted_paths.made_from(rate, loss, {}, 24)}
    assert found["conditional"].comparisons == found["literal"].comparisons == ()
    lead = {"literal": {"value": 0.43, "low": 0.41, "high": 0.46},
            "activation": {"value": 0.2, "low": -0.1, "high": 0.3}}
    claims = planted_paths.made_from(rate, loss, lead, 24)
    assert of(claims, "literal") == [(0.43, 0.41, 0.46, "agrees")]
    lead["conditional"] = {"value": -0.1, "low": -0.2, "high": -0.05}
    claims = planted_paths.made_from(rate, loss, lead, 24)
    assert of(claims, "conditional") == [(-0.1, -0.2, -0.05, "contradicts")]


@pytest.mark.parametrize(("low", "high", "verdict"), [(0.51, 0.7, "agrees"), (0.2, 0.4,
                                                      "contradicts"), (0.4, 0.6, "not shown")])
def test_most_planted_neurons_are_more_than_half(low, high, verdict):
    """By the criterion that the chapter's own table has."""
    rate = pd.DataFrame({"value": [(low + high) / 2], "low": [low], "high": [high]}, index=["none"])
    claims = planted_paths.made_from(rate, rate, {}, 12)
    assert [row[3] for row in of(claims, "recovery")] == [verdict]


def test_most_of_a_path_is_more_than_half_of_its_neurons():
    table = pd.DataFrame([row(0.4, 0.32, 0.47, condition="shifted by one pixel", verdict="agrees"),
                          row(0.62, 0.55, 0.7, condition="noise of 0.05", verdict="agrees")])
    seeds = pd.DataFrame([row(0.3, 0.1, 0.5, measure=measure, pair="a – b", verdict="agrees")
                          for measure in stability.SEEDS])
    claims = stability.made_from(table, table, table, table, seeds, 48, 72)
    views, = [claim for claim in claims if claim.key == "again: views"]
    assert [(each.condition, each.verdict) for each in views.comparisons] == [
        ("when shifted by one pixel", "contradicts"), ("with noise of 0.05", "agrees")]


def test_a_certificate_is_judged_over_classes_and_against_the_count():
    def shares(own, less):
        return [row(own, own - 0.1, own + 0.1, measure="certified", classes=10),
                row(less, less - 0.05, less + 0.05, measure="certified - counted", classes=10),
                row(0.9, 0.8, 1, measure="voted", classes=10)]
    dealt = pd.DataFrame([row(0.3, 0.2, 0.4, classes=24, verdict="agrees")])
    halves = pd.DataFrame([row(0.3, 0.2, 0.4, classes=9, verdict="agrees"),
                           row(float("nan"), float("nan"), float("nan"), classes=0, verdict="not shown")])
    again = pd.DataFrame([row(0.3, 0.2, 0.4, images=22, condition=condition, verdict="agrees")
                          for condition in ("another image", "shifted by one pixel")])
    leads = pd.DataFrame([row(value, value - 0.02, value + 0.02, operation=operation, against=against,
                              telling=telling)
                          for operation in ("remove", "keep")
                          for against, value, telling in (
                              ("random", 0.05, True), ("other", 0.0, True), ("voted", -0.05, True),
                              ("voted", 0.0, False))])  # where random neurons keep as much
    changed = pd.DataFrame([row(value, value - 0.02, value + 0.02, operation=operation, against=against,
                                condition=condition, images=96)
                            for operation, value in (("remove", 0.05), ("keep", 0.0))
                            for against in ("random", "other")
                            for condition in ("noise of 0.05", "another background")])
    made = certified.made_from(pd.DataFrame(shares(0.3, -0.4) + shares(0.8, 0.0)), dealt, halves, again, leads,
                               changed, 120, 1)
    assert of(made, "share") == [(0.3, 0.2, 0.4, "contradicts"), (0.8, 0.7, 0.9, "agrees")]
    assert [verdict for *_, verdict in of(made, "count")] == ["contradicts", "not shown"]
    assert [verdict for *_, verdict in of(made, "keep")] == ["agrees", "not shown"]
    assert of(made, "keep whole") == [(-0.05, -0.07, -0.03, "not shown")]  # within five points, or not
    claims = {claim.key: claim for claim in made}
    assert {key: (claim.of, {each.n for each in claim.comparisons}) for key, claim in claims.items()} == {
        "share": ("classes", {10}), "dealt": ("classes", {24}), "count": ("classes", {10}),
        "halves": ("classes", {9}), "again": ("images", {22}), "remove": ("images", {120}),
        "keep": ("images", {120}), "keep whole": ("images", {120}),
        "changed: remove": ("images", {96}), "changed: keep": ("images", {96})}
    assert [{each.verdict for each in claims[f"changed: {operation}"].comparisons}
            for operation in ("remove", "keep")] == [{"agrees"}, {"not shown"}]
    assert {each.condition for each in claims["changed: keep"].comparisons} == {
        "with noise of 0.05", "on another background"}
    assert [each.condition for each in claims["again"].comparisons] == ["on other images",
                                                                       "when shifted by one pixel"]
    assert {each.against for each in claims["remove"].comparisons} == {
        "random neurons", "another class's certified neurons"}
    assert all(claim.unit in UNITS and claim.by == "book" for claim in made)
    assert "the replacement of 2 images" in certified.made_from(pd.DataFrame(shares(0.3, 0)), dealt, halves, again, leads, changed, 9,
                                                      2)[0].sentence


def test_each_replacement_is_a_condition_of_its_own():
    kinds = ("zero", "mean", "resample", "class_resample")
    lost = pd.DataFrame([row(value, value - 0.02, value + 0.02, method=method, kind=kind,
                             measure=measure, images=48,
                             verdict="agrees" if value > 0.02 else "not shown")
                         for method in ("neuron_path", "activation")
                         for measure in ("probability", "accuracy")
                         for kind, value in zip(kinds, (0.2, 0.1, 0.1, 0.0), strict=True)])
    lead = pd.DataFrame([row(0.1, 0.0, 0.2, method=method, against=method, kind=kind,
                             measure=measure, images=48, verdict="not shown")
                         for method in ("activation", "influence_pattern", "matched_random",
                                        "moved_random", "gradient_activation")
                         for measure in ("probability", "accuracy") for kind in kinds])
    gains = pd.DataFrame([row(0.1, 0.05, 0.2, method=method, kind=kind, seen=seen, images=24,
                              measure=measure, verdict="agrees")
                          for method in ("neuron_path", "gradient_activation")
                          for measure in ("gain", "stay")
                          for kind, seen in (("mean", OWN), ("resample", OWN), ("resample", NEW))])
    sizes = pd.DataFrame([row(0.0, -0.02, 0.02, tokens=tokens, kind=kind, kept=kept, images=96,
                              verdict="agrees")
                          for tokens in ("class token", "patch tokens", "all tokens")
                          for kind in kinds
                          for kept in ("neuron path", "none")])
    better = sizes.assign(against=sizes["kept"].map({"neuron path": "random",
                                                     "none": "activation"}))
    nearer = pd.DataFrame([row(value, value - 0.02, value + 0.02, kind=kind, images=48,
                               verdict="agrees")
                           for kind, value in (("mean", 0.3), ("class_resample", 0.1))])
    pair_lost, pair_lead = (table[table["kind"].isin(["zero", "mean"])].assign(kind=lambda rows: rows[
        "kind"].map({"zero": "outline", "mean": "background"})) for table in (lost, lead))
    less = pd.DataFrame([row(0.1, 0.05, 0.2, images=48, verdict="agrees")])
    made = replacement.made_from(lost, lead, lost.assign(value=0.3), lead, nearer, pair_lost,
                                 pair_lead, less, gains, sizes, better, 5)
    assert of(made, "probability") == [
        (0.2, 0.18, 0.22, "agrees"), (0.1, 0.08, 0.12, "agrees"), (0.1, 0.08, 0.12, "agrees"),
        (0.0, -0.02, 0.02, "not shown")]
    claims = {claim.key: claim for claim in made}
    assert where(claims["probability"].comparisons) == (
        "not when set to the value of another image of the class")
    assert {each.against for each in claims["baselines accuracy"].comparisons} == {
        "activation", "influence_pattern"}
    for key in ("random probability", "enhanced random probability", "outline: random"):
        assert {each.against for each in claims[key].comparisons} == {
            "matched_random", "moved_random"}
    # of the outline alone, and of the class's values alone
    assert of(made, "outline") == [(0.2, 0.18, 0.22, "agrees")]
    assert of(made, "class distance") == [(0.1, 0.08, 0.12, "agrees")]
    assert {each.value for each in claims["enhanced probability"].comparisons} == {0.3}
    assert [each.condition for each in claims["enhanced accuracy"].comparisons][:2] == [
        "away from zero", "away from the mean"]
    nothing = lost.iloc[:0]
    assert not [claim for claim in replacement.made_from(
        lost, lead, lost, lead, nearer, nothing, nothing.assign(against=""), nothing, gains, sizes, better, 5)
        if claim.key.startswith("outline") and claim.comparisons]
    # with values of the class the label is told: these are held apart
    assert [each.condition for each in claims["five"].comparisons] == [
        "at the class token with the others set to zero",
        "at the class token with the others set to the mean",
        "at the class token with the others set to another image's value"]
    assert [each.condition for each in claims["class values"].comparisons] == [
        "at the class token", "at patch tokens", "at all tokens"]
    # where a model is pruned decides what is left of it: tokens are not pooled
    assert {each.condition.partition(" with")[0]
            for each in claims["five patch tokens"].comparisons} == {"at patch tokens"}
    assert [each.condition for each in claims["searched"].comparisons] == [
        "when set to the mean", "when set to the values it was searched with",
        "when set to a new image's values"]
    assert [len(claims[key].comparisons) for key in ("stay", "five: random", "five everywhere")] == [
        2, 9, 3]
    assert {claim.finding for claim in made} == {"1", "2", "5", "beyond"}
    assert all(claim.unit in UNITS and claim.by == "book" for claim in made)


def test_little_of_an_activation_is_not_most_of_it():
    """Far below one half contradicts; a lead keeps the verdict of its test; routes and planted
    networks have a condition for each scope."""
    def own(measure, *interval):
        return row(*interval, scope="cls", replaced="zero", control="path", measure=measure,
                   images=24)

    share = pd.DataFrame([own("activation", 0.02, 0.01, 0.03), own("label", 0.6, 0.55, 0.7),
                          own("signed", 0.001, -0.002, 0.004),
                          own("activation", 0.9, 0.8, 0.95) | {"control": "matched"}])
    lead = pd.DataFrame([row(0.01, 0.005, 0.02, scope="cls", replaced=replaced, control=control,
                             measure=measure, images=24, verdict="not shown")
                         for replaced in ("zero", "mean") for control in ("matched", "another image")
                         for measure in ("activation", "own activation", "label", "cosine")])
    routes = pd.DataFrame([row(value, value - 0.05, value + 0.05, scope=scope, pairs=pairs,
                               route=route, images=24)
                           for scope, value in (("cls", 0.3), ("patch", 0.7))
                           for pairs in ("the next block", "later blocks")
                           for route in ("residual", "through attention")])
    planted = pd.DataFrame([{"kind": kind, "scope": "cls", "control": "path", "networks": 4,
                             "measure": "activation", "value": value, "low": value - 0.01,
                             "high": value + 0.01}
                            for kind, value in (("chain", 0.99), ("parallel", 0.02))])
    files = pd.DataFrame([row(1, 0.9, 1, file="GraphML", damage=damage, paths=24, verdict="agrees")
                          for damage in ("", "cut short")])
    claims = edges.made_from(share, lead, routes, planted, files)
    assert of(claims, "most") == [(0.02, 0.01, 0.03, "contradicts")]
    assert of(claims, "most label") == [(0.6, 0.55, 0.7, "agrees")]
    assert of(claims, "signed") == [(0.001, -0.002, 0.004, "not shown")]
    named = {claim.key: claim.comparisons for claim in claims}
    assert {each.verdict for each in named["matched"]} == {"not shown"} and len(
        named["matched"]) == len(named["partners"]) == 4
    assert [(each.condition, each.verdict) for each in named["attention"]] == [
        ("at the class token", "contradicts"), ("at the patch tokens", "agrees")]
    assert [each.verdict for key in ("chain", "parallel") for each in named[key]] == [
        "agrees", "agrees"]
    assert {each.n for each in named["chain"]} == {4}
    assert all(claim.unit in UNITS and claim.by == "book" for claim in claims)


def test_which_method_is_told_by_share_by_lead_and_by_change():
    lead = pd.DataFrame([row(value, value - 0.03, value + 0.03, condition=condition, images=24,
                             replacement=kind, against="published search", verdict="agrees")
                         for value, kind, condition in (
                             (0.05, "zero", "set to zero"),
                             (0.2, "mean", "set to the mean over images"))])
    share = pd.DataFrame([row(value, value - 0.02, value + 0.02, condition=condition, images=images,
                              verdict=verdict)
                          for value, condition, images, verdict in (
                              (0.98, "set to zero", 24, "agrees"),
                              (0.90, "set to the mean over images", 8, "contradicts"))])
    ranks = pd.DataFrame([row(-0.4, -0.5, -0.3, images=8, condition="when set to zero",
                              verdict="contradicts")])
    permuted = pd.DataFrame([row(0.1, 0.05, 0.15, images=24, condition="by RelP",
                                 verdict="agrees")])
    asked = pd.DataFrame([row(0.1, 0.05, 0.15, condition="where the path is kept alone", images=24,
                              against="asked what removal costs", verdict="agrees")])
    changes = pd.DataFrame([row(value, value - 0.1, value + 0.1, measure=measure, images=images,
                                verdict="agrees")
                            for measure, value, images in (("difference", 0.3, 22),
                                                           ("less background", 0.2, 24),
                                                           ("background share", 0.3, 24),
                                                           ("outline", 0.4, 24))])
    changes = pd.concat([changes.assign(condition=how) for how in ("by one", "by the other")])
    toys = pd.DataFrame([{"method": "refined search", "images": 16, "value": 0.999, "low": 0.998,
                          "high": 1.0, "exact": 0.9, "verdict": "agrees"}])
    made = which_method.made_from(lead, lead, share, share, lead, lead, ranks, asked, share,
                                  share.iloc[:1], changes, toys, permuted)
    claims = {claim.key: claim for claim in made}
    assert of(made, "three passes") == [(0.98, 0.96, 1.0, "agrees"),
                                        (0.9, 0.88, 0.92, "contradicts")]
    assert [(each.condition, each.n) for each in claims["ten passes"].comparisons] == [
        ("set to zero", 24), ("set to the mean over images", 8)]
    assert of(made, "outline") == [(0.3, 0.2, 0.4, "agrees")] * 2
    assert of(made, "background") == [(0.2, 0.1, 0.3, "agrees")] * 2
    assert [each.condition for each in claims["background"].comparisons] == [
        "by one", "by the other"]
    assert of(made, "background: next to nothing") == [(0.3, 0.2, 0.4, "agrees")] * 2
    assert [len(of(made, key)) for key in ("question: three", "question: ten", "permuted")] == [
        2, 1, 1]
    # the paper's own condition is judged by itself
    for key in ("published", "one backward"):
        assert of(made, key) == [(0.05, 0.02, 0.08, "agrees")]
        assert of(made, f"{key}, other values") == [(0.2, 0.17, 0.23, "agrees")]
    assert claims["published"].comparisons[0].against == "published search"
    assert (claims["refined"].comparisons[0].data, claims["refined"].of) == ("toys", "images")
    assert of(made, "RelP")[0][3] == "contradicts"
    assert all(claim.unit in UNITS and claim.by == "book" and claim.statistic == "mean"
               for claim in made)
    # of data sets without pairs nothing is said
    empty = which_method.made_from(lead, lead, share, share, lead, lead, ranks, asked, share, share,
                                   changes.iloc[:0], toys, permuted)
    assert {claim.key for claim in empty if not claim.comparisons} == {
        "outline", "background", "background: next to nothing"}


def test_sufficient_and_necessary_are_judged_against_one_half_under_each_replacement():
    def of_path(value, side, measure="logit_difference", ranking="neuron_path", replaced="mean"):
        return row(value, value - 0.05, value + 0.05, side=side, measure=measure, ranking=ranking,
                   replaced=replaced, images=32)

    places = pd.DataFrame([of_path(0.6, "keep"), of_path(0.3, "keep", replaced="zero"),
                           of_path(0.35, "remove"), of_path(0.95, "remove", replaced="zero"),
                           of_path(0.9, "keep", "probability"), of_path(0.9, "keep", ranking="keep")])
    ahead = pd.DataFrame([row(value, value - 0.02, value + 0.02, replaced="mean", lead=lead,
                              measure=measure, images=32, verdict="agrees")
                          for lead, value in (("own, kept", 0.1), ("own, removed", 0.2),
                                              ("question, kept", 0.3), ("question, removed", 0.4))
                          for measure in ("logit_difference", "probability")])
    leads = pd.DataFrame([row(0.5, 0.4, 0.6, replaced="mean", measure=measure, area=area,
                              ranking=ranking, against=against, images=32,
                              verdict="agrees" if area == "CPR" else "contradicts")
                          for measure in ("logit_difference", "probability")
                          for area in ("CPR", "CMD", REMOVED)
                          for ranking, against in (*((score, "matched") for score in SCORES),
                                                   ("gradient_activation", "permuted"))])
    rivals = pd.DataFrame([row(0.1, 0.05, 0.15, replaced="mean", measure=measure, area=area,
                               ranking=ranking, against="gradient_activation", images=32,
                               verdict=verdict)
                           for ranking in RIVALS for area in ("CPR", "CMD")
                           for measure, verdict in (("logit_difference", "contradicts"),
                                                    ("probability", "agrees"))])
    apart = pd.DataFrame([row(0.4, 0.3, 0.45, replaced="mean", images=32)])
    planted = pd.DataFrame([{"data": "planted", "model": "chain", "path": path, "networks": 4,
                             "value": 1.0, "low": low, "high": 1.0}
                            for path, low in (("planted", 0.51), ("random", 0.4))])
    claims = faithfulness.made_from(places, ahead, leads, rivals, apart, planted)
    assert of(claims, "sufficient") == [(0.6, 0.55, 0.65, "agrees"), (0.3, 0.25, 0.35, "contradicts")]
    assert of(claims, "necessary") == [(0.65, 0.6, 0.7, "agrees"), (0.05, 0.0, 0.1, "contradicts")]
    assert of(claims, "question: apart") == [(0.4, 0.3, 0.45, "contradicts")]
    named = {claim.key: claim for claim in claims}
    assert [each.condition for each in named["sufficient"].comparisons] == [
        "where the mean replaces", "where zero replaces"]
    assert [each.value for each in named["question: remove"].comparisons] == [0.4]
    assert all(len(named[f"{kind}: {score}"].comparisons) == 1
               for kind in ("ranking", "distance", "removal") for score in SCORES)
    # one ranking against another: by CPR alone, and each measure by itself
    for key, verdict in (("", "contradicts"), (", probability", "agrees")):
        found = named[f"ranking: relp or gradient_activation{key}"].comparisons
        assert [each.verdict for each in found] == [verdict]
    assert {each.verdict for each in named["distance: relp"].comparisons} == {"contradicts"}
    assert len(named["ranking: controls"].comparisons) == 1
    assert [each.verdict for key in ("tests: planted", "tests: random")
            for each in named[key].comparisons] == ["agrees", "not shown"]
    assert named["tests: planted"].of == "networks"
    assert all(claim.unit in UNITS and claim.by == "book" for claim in claims)


def test_orders_are_judged_over_images_and_probes_by_how_little_they_gain():
    def leads(order, against, *values):
        return [row(value, value - 0.02, value + 0.02, order=order, against=against, test=test, images=96)
                for value, test in zip(values, ("negative", "positive"), strict=True)]
    every = pd.DataFrame([each for order, values in {
        "own": (-0.1, 0.25), "probes": (0.01, 0.2), "chefer": (0.2, 0.3)}.items()
        for each in leads(order, "random", *values)])
    pairs = pd.DataFrame([each for order, against in relevance.PAIRS for each in leads(order, against, 0.0, 0.1)])
    last = pd.DataFrame([row(value, value - 0.02, value + 0.05, first=first, against=against, place=place)
                         for first, against, value in (("projection", "probes", -0.3), ("probes", "dealt", 0.6))
                         for place in ("block", "attention", "ffn")])
    placed = pd.DataFrame([row(value, value - 0.05, value + 0.05, order=order)
                           for order, value in (("own", -0.01), ("chefer", 0.2))])
    made = relevance.made_from(every, pairs, last, placed, 96)
    assert of(made, "placed") == [(-0.01, -0.06, 0.04, "not shown")]  # of the map in class space alone
    assert not {claim.key: claim for claim in relevance.made_from(every, pairs, last, placed.iloc[:0], 96)
                }["placed"].comparisons  # images without masks
    assert of(made, "least") == [(-0.1, -0.12, -0.08, "contradicts")]
    assert of(made, "most") == [(0.25, 0.23, 0.27, "agrees")]
    assert [verdict for *_, verdict in of(made, "probes random")] == ["agrees", "contradicts"]  # five points
    assert of(made, "probes stream") == [(-0.3, -0.32, -0.25, "contradicts")]
    assert of(made, "probes halves") == [(0.3, 0.25, 0.32, "agrees")] * 2  # turned round
    assert [verdict for *_, verdict in of(made, "probes dealt")] == ["agrees"] * 3
    claims = {claim.key: claim for claim in made}
    assert len(claims["controls"].comparisons) == 8 and len(claims["gradients"].comparisons) == 8
    assert {each.against for each in claims["controls"].comparisons} == {
        "map of another image", "map of another class", "map of a random twin", "middle of the image first"}
    assert [each.condition for each in claims["chefer"].comparisons] == [
        "with the least relevant first", "with the most relevant first"]
    assert {each.condition for each in claims["probes halves"].comparisons} == {
        "in the attention output", "in the FFN output"}
    assert all(claim.unit in UNITS and claim.finding == "class space" and claim.of == "images" for claim in made)
    assert {each.n for claim in made for each in claim.comparisons} == {96}
    by = {who: {claim.key for claim in made if claim.by == who} for who in ("companion", "book")}
    assert by["companion"] == {"least", "most", "placed", "chefer", "probes order", "probes random", "probes stream",
                               "probes halves"}
    assert by["book"] == {"probes dealt", "controls", "gradients", "once", "written", "attended", "reach"}


def test_tokens_in_class_space_lose_keep_and_lead_by_their_own_signs():
    effects = pd.DataFrame([row(0.3, 0.2, 0.4, measure=name) for name in (
        "rate", "random", "one", "depth", "grown", "rises", "ahead")]
        + [row(-0.1, -0.2, 0.0, measure="ahead")])
    spreads = pd.DataFrame([row(0.1, 0.05, 0.2)])
    trained = pd.DataFrame([row(float("nan"), float("nan"), float("nan"), stage="epoch 1"),
                            row(0.1, -0.1, 0.2, stage="fully trained")])
    seeds = pd.DataFrame([row(0.2, 0.1, 0.4, models=8), row(-0.2, -0.4, -0.1, models=6)])
    lost = pd.DataFrame([row(value, value - 0.02, value + 0.02, cut=cut) for cut, value in (
        (space_cuts.UNCUT, 0), (space_cuts.SELF, 0.3), (space_cuts.NO_CLS, 0.01),
        (space_cuts.NO_CLS, 0.04), (space_cuts.NO_CLS, 0.3))])
    leads = pd.DataFrame([row(value, value - 0.05, 0.2, cut=cut) for cut, value in (
        (space_cuts.OTHER, 0.1), (space_cuts.NO_PATCH, 0.03))])
    kept = pd.DataFrame([row(0.2, 0.1, 0.3, kept=name, images=number) for number, name in (
        (40, space_cuts.OBJECT), (39, space_cuts.CONTEXT), (38, space_cuts.FAR))])
    hole = pd.DataFrame([row(-0.1, -0.2, -0.05, images=37)])
    thirds = pd.DataFrame([row(-0.2, -0.3, -0.1, condition="in the last third of the blocks",
                               images=36, beyond_value=0.1, beyond_low=0.05, beyond_high=0.2)])
    parts = pd.DataFrame([row(0.2, 0.1, 0.3, condition="in the last third of the blocks",
                              images=35)])
    made = class_space.made_from(effects, spreads, trained, seeds, lost, leads, kept, hole, thirds,
                                 parts, 48)
    claims = {claim.key: claim for claim in made}
    assert [each[3] for each in of(made, "ahead")] == ["agrees", "not shown"]
    # a loss is positive, and fewer tokens of the pooled model speak for the paper
    assert of(made, "self only") == [(0.3, 0.28, 0.32, "agrees")]
    assert of(made, "pooled") == [(-0.2, -0.4, -0.1, "contradicts"), (0.2, 0.1, 0.4, "agrees")]
    # what may be lost without the class token is five of a hundred tokens
    assert of(made, "no class token") == [(-0.01, -0.03, 0.01, "agrees"),
                                          (-0.04, -0.06, -0.02, "not shown"),
                                          (-0.3, -0.32, -0.28, "contradicts")]
    # the first stage has none before it
    assert of(made, "training") == [(0.1, -0.1, 0.2, "not shown")]
    assert of(made, "object")[0][3] == "contradicts"
    assert of(made, "own object") == [(0.1, 0.05, 0.2, "agrees")]
    assert of(made, "leak")[0][3] == "contradicts"
    assert {key: claims[key].comparisons[0].n for key in (
        "rate", "pooled", "context", "far context", "leak", "object", "parts")} == {
            "rate": 48, "pooled": 8, "context": 39, "far context": 38, "leak": 37, "object": 36,
            "parts": 35}
    assert of(made, "one other") == [(0.1, 0.05, 0.2, "agrees")]
    assert of(made, "patches hidden") == [(0.03, -0.02, 0.2, "not shown")]
    assert of(made, "grown") == [(0.3, 0.2, 0.4, "agrees")] and claims["pooled"].of == "trained models"
    assert all(claim.unit in UNITS and claim.finding == "class space" for claim in made)
    # of images without masks, and of models without replicas, nothing is said
    bare = class_space.made_from(effects, spreads, trained.iloc[:0], seeds.iloc[:0], lost, leads,
                                 kept.iloc[:0], hole.iloc[:0], thirds.iloc[:0], parts.iloc[:0], 48)
    assert {claim.key for claim in bare if not claim.comparisons} == {
        "training", "pooled", "context", "far context", "leak", "object", "own object", "parts"}


def test_how_the_class_is_built_is_judged_against_other_classes_memories_and_models():
    def at(value, tokens="class token", **fields):
        return row(value, value - 0.05, value + 0.05, tokens=tokens, images=240, **fields)

    changes = pd.DataFrame([at(value, tokens, measure=measure)
                            for measure, value in (("attention", 0.3), ("ffn", 0.2),
                                                   ("later", 0.02), ("lowers", -0.2))
                            for tokens in ("class token", "image tokens")])
    context = pd.DataFrame([at(value, against=against) for value, against in (
        (0.1, "the other patches"), (0.0, "mask of another image"))])
    values = pd.DataFrame([row(0.1, 0.06, 0.14, half=half, against="rotated neurons", classes=10)
                           for half in ("attention", "ffn")])
    similar = pd.DataFrame([{"data": "shapes", "model": "m", "value": 0.3, "chance": 0.1,
                             "half": "ffn", "against": "rotated neurons", "classes": 24,
                             "verdict": "agrees"}])
    used = pd.DataFrame([at(0.4, half="ffn", against="other classes")])
    correct = pd.DataFrame([row(value, value - 0.05, value + 0.05, half="ffn", images=80,
                                measure=measure)
                            for measure, value in (("as published", 0.3), ("with the label", 0.2),
                                                   ("with the prediction", 0.01))])
    pooled = pd.DataFrame([row(value, value - 0.05, value + 0.05, half="ffn", tokens=tokens,
                               trained=8)
                           for tokens, value in (("value vectors", -0.1), ("image tokens", 0.5),
                                                 ("where the head reads", 0.1))])
    made = class_building.made_from(changes, context, changes.iloc[:2], values, similar, used,
                                    correct, used, pooled)
    claims = {claim.key: claim for claim in made}
    assert [each.condition for each in claims["attention"].comparisons] == [
        "at the class token", "at image tokens"]
    assert {key: [each.verdict for each in claims[key].comparisons] for key in (
        "attention", "ffn late", "ffn lowers", "context")} == {
        "attention": ["agrees"] * 2, "ffn late": ["not shown"] * 2,
        "ffn lowers": ["contradicts"] * 2, "context": ["agrees", "not shown"]}
    assert [each.condition for each in claims["value vectors"].comparisons] == [
        "in the attention", "in the FFN"]
    assert (claims["similar"].comparisons[0].chance, claims["similar"].comparisons[0].low) == (
        0.1, None)
    assert claims["agreement"].comparisons[0].condition == "in the FFN at the class token"
    assert [of(made, key)[0][3] for key in ("correct, published", "correct", "correct, predicted")
            ] == ["agrees", "agrees", "not shown"]
    assert of(made, "pooled") == [(-0.1, -0.15, -0.05, "contradicts")]
    assert of(made, "pooled, used") == [(0.1, 0.05, 0.15, "agrees")]
    assert (claims["pooled"].of, claims["pooled"].comparisons[0].n) == ("trained models", 8)
    assert (claims["value vectors"].of, claims["correct"].comparisons[0].n) == ("classes", 80)
    assert all(claim.unit in UNITS and claim.finding == "class space" for claim in made)
    assert [claim.key for claim in made if claim.by == "book"] == ["pooled, used"]
    # without attributes, wrong images or replicas nothing is said of them
    empty = class_building.made_from(changes, context, changes.iloc[:2], values, similar.iloc[:0],
                                     used, correct.iloc[:0], used, pooled.iloc[:0])
    assert {claim.key for claim in empty if not claim.comparisons} == {
        "similar", "correct, published", "correct", "correct, predicted", "pooled",
        "pooled, used"}
