"""Numbers, intervals and verdicts in words."""

import math

import pandas as pd
import pytest

from neuronpath_core.stats import report


# this interval does not exclude zero
@pytest.mark.parametrize(("row", "settings", "text"), [
    ((1.234, 0.98, 1.466), {}, "+1.23 [+0.98, +1.47]"),
    ((1.234, 0.98, 1.466), {"unit": "points"}, "+1.23 points [+0.98, +1.47]"),
    ((-0.5, -1.0, 0.04), {"digits": 1}, "-0.5 [-1.0, +0.0]"),
    ((0.91249, 0.9, 1.0), {"digits": 3, "signed": False}, "0.912 [0.900, 1.000]"),
    ((-0.91249, -1.0, -0.9), {"digits": 3, "signed": False}, "-0.912 [-1.000, -0.900]"),
    ((0.0014, -0.0004, 0.0032), {"digits": 3}, "+0.001 [-0.000, +0.003]"),
    ((math.nan, math.nan, math.nan), {"unit": "points"}, "–"),
    ((12.0, 3.0, 20.0), {"digits": 0, "unit": "%"}, "+12 % [+3, +20]")])
def test_interval_text(row, settings, text):
    named = dict(zip(("value", "low", "high"), row, strict=True))
    assert report.interval_text(named, **settings) == text
    assert report.interval_text(pd.Series(named), **settings) == text


def test_points_and_per_cents_of_shares():
    row = {"value": -0.107, "low": -0.1734, "high": 0.04}
    assert report.points_text(row) == "-10.7 points [-17.3, +4.0]"
    assert report.points_text(row, 0, "%", signed=False) == "-11 % [-17, 4]"


def test_minus_signs_and_per_cent_signs_as_typeset():
    told = "-0.9 % [-1.0, +2.0] of tiny-B-16, 5-95 % (-3), a -.5, per % and -x"
    assert report.typeset(told) == ("\u22120.9\u00a0% [\u22121.0, +2.0] of tiny-B-16, 5-95\u00a0% "
                                    "(\u22123), a \u2212.5, per % and -x")


@pytest.mark.parametrize(("values", "digits", "text"), [
    ([0.2, -0.31, 0.05], 2, "-0.31 to +0.20"), ([-0.0004, 0.0101], 3, "+0.000 to +0.010"),
    ([2.0], 1, "+2.0 to +2.0")])
def test_span_text(values, digits, text):
    assert report.span_text(values,
                            digits) == report.span_text(pd.Series(values,
                                                                  index=range(5, 5 + len(values))),
                                                        digits) == text


@pytest.mark.parametrize(("low", "high", "positive", "negative"), [
    (0.1, 0.3, "agrees", "contradicts"),
    (-0.3, -0.1, "contradicts", "agrees"),
    (-0.1, 0.1, "not shown", "not shown"),
    (0.0, 0.3, "not shown", "not shown"),  # an interval that touches zero does not exclude it
    (-0.3, 0.0, "not shown", "not shown"),
    (0.0, 0.0, "not shown", "not shown"),
    (5e-324, 1.0, "agrees", "contradicts"),
    (0.2, 0.2, "agrees", "contradicts"),
    (math.nan, math.nan, "not shown", "not shown")])
def test_verdict(low, high, positive, negative):
    row = {"value": (low + high) / 2, "low": low, "high": high}
    assert report.verdict(row) == report.verdict(row, expected=1) == positive
    assert report.verdict(row, expected=-1) == negative


@pytest.mark.parametrize(("verdicts", "phrase"), [
    (["agrees"] * 4, "4 of 4 agree"),
    (["agrees", "not shown", "agrees", "agrees"], "3 of 4 agree, 1 not shown"),
    (["contradicts", "not shown", "agrees", "contradicts"], "1 of 4 agree, 1 not shown, 2 "
                                                            "contradict"),
    (["contradicts"], "0 of 1 agree, 1 contradict"),
    ([], "0 of 0 agree")])
def test_tally(verdicts, phrase):
    assert report.tally(verdicts) == phrase


@pytest.mark.parametrize(("verdicts", "phrase"), [
    (["agrees"] * 8, "8 of 8 models"),
    (["agrees"] * 7 + ["not shown"], "7 of 8 models; the other is not shown"),
    (["agrees"] * 3 + ["contradicts"], "3 of 4 models; the other contradicts"),
    (["not shown", "not shown", "agrees"], "1 of 3 models; 2 are not shown"),
    (["agrees", "contradicts", "contradicts", "not shown"],
     "1 of 4 models; 1 is not shown and 2 contradict")])
def test_a_tally_that_a_sentence_goes_on_with(verdicts, phrase):
    assert report.in_words(verdicts) == phrase


def test_conclusion():
    rows = [("A claim", "a number", "agrees"), ("Another", "none", "not shown")]
    found = report.conclusion(rows)
    assert found.index.name == "The paper" and list(found.columns) == ["Measured here", "Agreement"]
    assert list(found.itertuples(name=None)) == rows
    titled = report.conclusion(rows, "The question")
    assert titled.index.name == "The question" and list(
        titled.itertuples(name=None)) == rows and list(titled.columns) == list(found.columns)
    assert report.conclusion(pd.DataFrame(rows).itertuples(index=False)).equals(found)


@pytest.mark.parametrize("verdicts", [["agrees"], ["agrees", "not shown", "contradicts"], ["not shown"] * 2])
def test_how_many_agree_is_what_the_tally_says(verdicts):
    told = report.agreeing(report.tally(verdicts))
    assert told == f"{verdicts.count('agrees')} of {len(verdicts)}"
