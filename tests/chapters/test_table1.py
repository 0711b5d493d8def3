"""Table 1 on tables with a planted lead, a planted null and a planted reversal."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neuronpath_core.chapters import table1
from neuronpath_core.stats import report
from neuronpath_core.stats.labels import TABLE1_DIGITS, TABLE1_METRICS, method_labels
from tests.chapters.tables import METHODS, intervention_table

PAPER = Path(__file__).resolve().parents[2] / "data" / "paper" / "table1.csv"


def test_table1_by_hand():
    table = intervention_table(1.0)
    found = table1.table1(table)
    assert list(found.columns) == ["metric", "method", "model", "value", "low", "high"]
    assert len(found) == 3 * 4 * 2 and not found.duplicated(["metric", "method", "model"]).any()
    own = table[(table["model"] == "tiny-MAE-B-16") & (table["method"] == "random")]
    rows = found[(found["model"] == "tiny-MAE-B-16") & (found["method"] == "random")].set_index(
        "metric")["value"]
    assert rows["joint_attribution_score"] == pytest.approx(own["score"].mean(), abs=1e-12)
    assert rows["removal_accuracy_deviation_percent"] == pytest.approx(
        100 * own["removal_accuracy"].mean(), abs=1e-12)
    assert rows["enhancement_accuracy_deviation_percent"] == pytest.approx(
        100 * own["enhancement_accuracy"].mean(), abs=1e-12)
    assert ((found["low"] < found["value"]) & (found["value"] < found["high"])).all()


@pytest.mark.parametrize(("lead", "verdict", "phrase"), [
    (1.0, "agrees", "4 of 4 agree"), (-1.0, "contradicts", "0 of 4 agree, 4 contradict")])
def test_planted_leads_and_reversals(lead, verdict, phrase):
    models, others = ["tiny-B-16", "tiny-MAE-B-16"], ["activation", "influence_pattern", "random"]
    found = table1.method_differences(intervention_table(lead), models, others)
    assert len(found) == 3 * 3 * 2 and set(found["verdict"]) == {verdict}
    for metric, effect in zip(TABLE1_METRICS, (0.2, 30, 30), strict=True):
        own = found[found["column"] == metric]
        # signs turned, in points
        np.testing.assert_allclose(own["value"], lead * effect, rtol=0, atol=0.4 * effect)
        assert ((lead * effect > own["low"]) & (lead * effect < own["high"])).mean() > 0.6
        assert (own["metric"] == TABLE1_METRICS[metric]).all()
    assert (found["against"] == found["method"].map(method_labels())).all()
    summary = table1.table1_summary(found, ["activation", "influence_pattern"])
    assert summary["tally"].tolist() == [phrase] * 3


def test_planted_nulls_are_not_shown():
    """Of 60 comparisons at 95 % each about three may go either way."""
    verdicts = []
    for seed in range(5):
        table = intervention_table(0.0, seed=seed)
        found = table1.method_differences(table, ["tiny-B-16", "tiny-MAE-B-16"],
                                            ["activation", "random"])
        verdicts += found["verdict"].tolist()
    assert verdicts.count("not shown") >= 0.85 * len(verdicts)


def test_table1_summary_by_hand():
    columns = list(TABLE1_METRICS)
    # not asked for
    differences = pd.DataFrame([
        {"column": columns[0], "method": "activation", "value": 0.12345, "verdict": "agrees"},
        {"column": columns[0], "method": "random", "value": 9.0, "verdict": "agrees"},
        {"column": columns[0], "method": "influence_pattern", "value": -0.5,
         "verdict": "contradicts"},
        {"column": columns[1], "method": "activation", "value": 3.21, "verdict": "agrees"},
        {"column": columns[1], "method": "influence_pattern", "value": 1.0, "verdict": "not shown"},
        {"column": columns[2], "method": "activation", "value": 2.0, "verdict": "agrees"},
        {"column": columns[2], "method": "influence_pattern", "value": 4.0, "verdict": "agrees"}])
    found = table1.table1_summary(differences, ["activation", "influence_pattern"])
    numbers = [(-0.5, 0.12345), (1.0, 3.21), (2.0, 4.0)]
    assert found["text"].tolist() == [
        f"ahead by {low:+.{TABLE1_DIGITS[metric]}f} to "
        f"{high:+.{TABLE1_DIGITS[metric]}f}{unit}"
        for metric, (low, high), unit in zip(columns, numbers, ("", " points", " points"),
                                             strict=True)]
    assert found["tally"].tolist() == ["1 of 2 agree, 1 contradict", "1 of 2 agree, 1 not shown",
                                       "2 of 2 agree"]


STAND_FOR = {"tiny-B-16": "ViT-B-16", "tiny-B-32": "ViT-B-32", "tiny-L-32": "ViT-L-32",
             "tiny-MAE-B-16": "MAE-B-16"}


def test_the_papers_numbers_stand_beside_their_own_model():
    # in another order than the file's
    paper, models = pd.read_csv(PAPER), ["tiny-MAE-B-16", "tiny-B-16", "tiny-L-32"]
    rows = [{"metric": metric, "method": method, "model": model, "value": number, "low": -1.0,
             "high": 2.25}
            for number, (model, method, metric) in enumerate((model, method, metric)
                                                             for model in models
                                                             for method in METHODS
                                                             for metric in TABLE1_METRICS)]
    wide = table1.with_paper(pd.DataFrame(rows), paper, STAND_FOR)
    assert wide.shape == (12, 6)
    assert list(wide.columns) == [(model, column) for model in models
                                  for column in ("here", "paper")]
    for row in rows:
        cell = wide.loc[(TABLE1_METRICS[row["metric"]],
                         method_labels()[row["method"]]), row["model"]]
        score = row["metric"] == "joint_attribution_score"
        assert cell["here"] == report.interval_text(row, TABLE1_DIGITS[row["metric"]])
        published = paper[(paper["metric"] == row["metric"])
                          & (paper["method"] == row["method"])][STAND_FOR[row["model"]]]
        expected = "–" if published.empty else f"{published.item():+.4f}" if score else f"{published.item():+.2f}"
        assert cell["paper"] == expected
    assert wide.loc[("Joint attribution score", "Neuron Path"), ("tiny-MAE-B-16", "paper")] == "+0.0095"
    assert wide.loc[("Removal accuracy deviation (points)", "Activation"),
                    ("tiny-B-16", "paper")] == "+0.07"
    assert wide.loc[("Enhancement accuracy deviation (points)", "Neuron Path"),
                    ("tiny-L-32", "paper")] == "+5.02"
    assert wide.loc[("Joint attribution score", "Random"), ("tiny-L-32", "paper")] == "–"


def test_a_model_that_the_paper_does_not_have():
    measured = table1.table1(intervention_table(1.0, models=("ours", "tiny-B-32")))
    wide = table1.with_paper(measured, pd.read_csv(PAPER), STAND_FOR | {"ours": "ours"})
    assert (wide["ours"]["paper"] == "–").all()
    assert wide.loc[("Joint attribution score", "Neuron Path"), ("tiny-B-32", "paper")] == "+0.6610"


@pytest.mark.parametrize(("lead", "counts"), [(1.0, "(4 of 4 intervals above 0)"), (-1.0, "(0 of 4 intervals above 0)")])
def test_the_finding_counts_the_intervals_above_zero(lead, counts):
    against = ["activation", "influence_pattern"]
    differences = table1.method_differences(intervention_table(lead), ["tiny-B-16", "tiny-MAE-B-16"],
                                            [*against, "random"])
    found, spans = table1.finding(differences, against), table1.lead_spans(differences, against)
    assert found.count(counts) == 3
    assert list(spans) == ["score", "removal", "enhancement"]
    assert all(span in found for span in spans.values())
    own = differences[(differences["column"] == list(TABLE1_METRICS)[1])
                      & differences["method"].isin(against)]["value"]
    assert spans["removal"] == f"{own.min():+.1f} to {own.max():+.1f}"
    wide = table1.differences_wide(differences, ["tiny-MAE-B-16", "tiny-B-16"])
    assert list(wide.columns) == ["tiny-MAE-B-16", "tiny-B-16"] and wide.shape == (9, 2)
    assert wide.index.names == ["measure", "ahead of"]


@pytest.mark.parametrize(("change", "words"), [
    (-0.5, "falls when the path's 12 neurons are set to zero: 0.800 before, 0.400 after"),
    (0.1, "does not fall when the path's 12 neurons are set to zero: 0.800 before, 0.880 after")])
def test_the_example_says_whether_the_probability_falls(change, words):
    rows = [{"model": "a", "method": method, "image": image, "probability": 0.8,
             "removal_probability": change if (method, image) == ("neuron_path", 7) else 9.0}
            for method in ("activation", "neuron_path") for image in (3, 7)]
    assert words in table1.path_example(pd.DataFrame(rows), "a", 7, 12)


def test_the_typical_image_is_the_one_nearest_to_the_median():
    rows = [{"model": model, "method": method, "image": image, "removal_probability": value}
            for model in "ab" for method in ("activation", "neuron_path")
            for image, value in ((4, -0.9), (7, -0.2), (9, -0.1), (12, 0.0))]
    table = pd.DataFrame(rows)
    # the median is -0.15, of all four images
    assert table1.typical_image(table, "a", [12, 4, 7]) == 2
    table.loc[(table["model"] == "b") | (table["method"] == "activation"),
              "removal_probability"] = 5.0
    assert table1.typical_image(table, "a", [4, 12]) == 1
