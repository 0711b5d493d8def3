"""Figure 3 on tables with a planted lead, a planted null and a planted reversal."""

import re

import pytest

from neuronpath_core.chapters import probability_deviation
from tests.chapters.tables import intervention_table


def test_deviation_summary():
    table = intervention_table(1.0)
    found = probability_deviation.deviation_summary(table)
    assert list(found.columns) == ["model", "method", "operation", "statistic", "value", "low",
                                   "high"]
    assert len(found) == 2 * 4 * 2 * 2
    for row in found.to_dict("records"):
        own = table[(table["model"] == row["model"])
                    & (table["method"] == row["method"])][f"{row['operation']}_probability"]
        assert row["value"] == pytest.approx({"mean": own.mean(),
                                              "median": own.median()}[row["statistic"]], abs=1e-12)


@pytest.mark.parametrize(("lead", "phrase"), [
    (1.0, "4 of 4 agree"), (-1.0, "0 of 4 agree, 4 contradict"),
    (0.0, "0 of 4 agree, 4 not shown")])
def test_deviation_checks(lead, phrase):
    found = probability_deviation.deviation_checks(intervention_table(lead), ["tiny-B-16", "tiny-MAE-B-16"],
                                      ["activation", "influence_pattern"])
    assert found["tally"].tolist() == [phrase] * 2
    for text, effect in zip(found["text"], (0.3, 0.4), strict=True):
        smallest, largest = (float(number) / 100 for number in re.findall(r"[+-]\d+\.\d+", text))
        assert smallest <= largest and abs(smallest
                                           - lead * effect) < 0.12 and abs(
            largest - lead * effect) < 0.12


def test_deviation_checks_go_by_the_median():
    table = intervention_table(1.0)
    wild = (table["method"] == "neuron_path") & (table["image"] == 0)
    table.loc[wild, ["removal_probability", "enhancement_probability"]] = [1e6, -1e6]
    found = probability_deviation.deviation_checks(table, ["tiny-B-16"], ["activation"])
    # one wild image decides the mean, not this
    assert found["tally"].tolist() == ["1 of 1 agree"] * 2


@pytest.mark.parametrize("lead", [1.0, -1.0])
def test_the_finding_is_the_span_of_the_medians(lead):
    table = intervention_table(lead)
    summary = probability_deviation.deviation_summary(table)
    found = probability_deviation.finding(summary)
    own = table[table["method"] == "neuron_path"].groupby("model")["removal_probability"].median()
    span = f"{100 * own.min():+.1f} to {100 * own.max():+.1f} %"
    assert probability_deviation.median_span(summary, "removal") == span and span in found
    wide = probability_deviation.summary_wide(summary, ["tiny-MAE-B-16"])
    assert list(wide.columns) == ["tiny-MAE-B-16"] and len(wide) == 2 * 2 * 4
    checks = probability_deviation.deviation_checks(table, ["tiny-B-16"], ["activation"])
    for lead_span, text in zip(probability_deviation.lead_spans(checks), checks["text"],
                               strict=True):
        assert text == f"median lead {lead_span} of the clean probability"


@pytest.mark.parametrize(("operation", "shift", "words"), [
    ("removal", -9.0, "falls for the middle half of Neuron Path's images in 2 of 2 models"),
    ("removal", 9.0, "falls for the middle half of Neuron Path's images in 0 of 2 models"),
    ("enhancement", 9.0, "rises for the middle half of Neuron Path's images in 2 of 2 models"),
    ("enhancement", 0.0, "rises for the middle half of Neuron Path's images in 0 of 2 models")])
def test_the_boxes_finding_counts_whole_boxes(operation, shift, words):
    table = intervention_table(0.0)
    table[f"{operation}_probability"] += shift
    assert words in probability_deviation.box_finding(table, operation)
