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
from neuronpath_core.chapters.controls.paths import CONTROLS
from neuronpath_core.chapters.score_or_search import shares
from neuronpath_core.chapters.verdicts import (
    as_published,
    class_similarity,
    controls,
    mae_against_supervised,
    planted_paths,
    probability_deviation,
    pruning,
    pruning_honest,
    score_or_search,
    stability,
    table1,
)
from neuronpath_core.stats.grades import UNITS

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
    call, = [node for node in ast.walk(ast.parse(last.source)) if isinstance(node, ast.Call)
             and isinstance(node.func, ast.Attribute) and node.func.attr == "made_from"]
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
                         for label in ("true", "predicted", "true - predicted")])
    overlap = pd.DataFrame([{"data": "digits", "model": "m", "difference": 0.2,
                             "permuted_high": 0.03, "verdict": "agrees"}])
    claims = controls.made_from(lead, own, sane, gain, overlap, 48, 168)
    assert of(claims, "own removal") == [(0.03, 0.01, 0.05, "agrees")]
    assert of(claims, "own removal accuracy") == [(2, 0, 6, "not shown")]
    label, = [claim for claim in claims if claim.key == "label"]
    assert [(each.condition, each.n) for each in label.comparisons] == [
        ("with the true label", 168), ("with the predicted label", 168)]
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
    claims = {claim.key: claim.comparisons for claim in pruning_honest.made_from(
        sizes, settings, leads, leaking, tables, 5)}
    assert [each.condition for each in claims["few"]] == [
        "at the class token, with a mask of the class", "at all tokens, with one mask"]
    assert {each.n for rows in claims.values() for each in rows} == {3}
    assert [len(claims[key]) for key in ("label", "label gain", "lead: random")] == [1, 1, 2]
    assert claims["label gain"][0].verdict == "agrees"


def test_inversion_counts_trained_models():
    shares = pd.DataFrame({"data": ["digits"] * 3 + ["shapes"] * 2, "kind": ["a", "b", "a", "a", "b"],
                           "model": ["a", "b", "a seed 1", "a", "b"]})
    cells = pd.DataFrame([row(0.9, 0.8, 1.0, first="a", second="b", differ=differ, own=own,
                              verdict="contradicts")
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
        1, 1, 1]


def test_a_look_is_held_against_permutations():
    own = pd.DataFrame({"difference": [0.4], "low": [0.3], "high": [0.5]}, index=["m"])
    look = pd.DataFrame({"correlation": [0.3, 0.1], "permuted_high": [0.2, 0.2]}, index=["m", "n"])
    claims = class_similarity.made_from(own, look, "digits", 400)
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
    nothing = pd.DataFrame({name: [] for name in ("data", "model", "value", "low", "high",
                                                  "contrast", "factor", "cross", "verdict")})
    claims = {claim.key: claim for claim in score_or_search.made_from(nothing, stronger, nothing,
                                                                      nothing, 20)}
    for score, value, verdict in (("knowledge", -0.2, "contradicts"),
                                  ("gradient_activation", 0.05, "agrees")):
        each, = claims[f"single: {score}"].comparisons
        assert (round(each.value, 6), each.verdict, each.n) == (value, verdict, 20)


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


def test_most_of_a_path_is_more_than_half_of_its_neurons():
    table = pd.DataFrame([row(0.4, 0.32, 0.47, condition="shifted by one pixel", verdict="agrees"),
                          row(0.62, 0.55, 0.7, condition="noise of 0.05", verdict="agrees")])
    seeds = pd.DataFrame([row(0.3, 0.1, 0.5, measure=measure, pair="a – b", verdict="agrees")
                          for measure in stability.SEEDS])
    claims = stability.made_from(table, table, table, table, seeds, 48, 72)
    views, = [claim for claim in claims if claim.key == "again: views"]
    assert [(each.condition, each.verdict) for each in views.comparisons] == [
        ("when shifted by one pixel", "contradicts"), ("with noise of 0.05", "agrees")]
