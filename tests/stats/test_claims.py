"""Claims: what a table makes of them, what is refused, and that a stored claim that moved is
noticed."""

from __future__ import annotations

import json
import math
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest

from neuronpath_core.stats import claims
from neuronpath_core.stats.claims import Claim, Comparison, comparisons, with_verdict
from neuronpath_core.stats.rules import Rule
from tests.nbval_tolerance import Tolerance, compare_outputs

TABLE = pd.DataFrame({
    "data": ["digits", "digits", "shapes"], "model": ["a", "b", "a"],
    "value": [0.031234567, math.nan, -0.2], "low": [0.01, math.nan, -0.3],
    "high": [0.05, math.nan, -0.1], "verdict": ["agrees", "not shown", "contradicts"],
    "images": np.array([48, 48, 24]), "control": ["random", "random", "same"]})


def claim(rows: tuple[Comparison, ...], **fields: str) -> Claim:
    return Claim(**{"key": "removal", "finding": "2", "sentence": "A path does more",
                    "comparisons": rows, "unit": "probability", "control": "random paths",
                    "rule": Rule("Agrees if above zero.", above=0.0), "table": "lead"} | fields)


def test_a_row_is_a_comparison_and_a_row_without_an_effect_is_none():
    found = comparisons(TABLE, "images", against="control",
                        constant={"condition": "at all tokens"})
    assert found == (
        Comparison("digits", "a", 0.031234567, 0.01, 0.05, 48, "agrees", "at all tokens", "random"),
        Comparison("shapes", "a", -0.2, -0.3, -0.1, 24, "contradicts", "at all tokens", "same"))


def test_an_interval_that_a_table_lacks_is_none_and_a_band_of_chance_is_kept():
    table = TABLE[["model", "verdict"]].assign(share=0.4, band=[0.1, math.nan, 0.3])
    found = comparisons(table, 7, {"data": "digits"}, value="share", chance="band")
    assert [(row.data, row.value, row.low, row.high, row.n, row.chance) for row in found] == [
        ("digits", 0.4, None, None, 7, 0.1), ("digits", 0.4, None, None, 7, None),
        ("digits", 0.4, None, None, 7, 0.3)]


@pytest.mark.parametrize("wrong", [{"condition": "conditon"}, {"chance": "band"}])
def test_a_column_that_is_not_there_is_no_constant(wrong):
    with pytest.raises(ValueError, match="no column .* to compare by; accepted: .*control"):
        comparisons(TABLE, "images", **wrong)


@pytest.mark.parametrize(("low", "high", "settings", "verdict"), [
    (0.1, 0.3, {}, "agrees"), (-0.1, 0.3, {}, "not shown"), (-0.3, -0.1, {}, "contradicts"),
    (0.1, 0.3, {"expected": -1}, "contradicts"), (-0.3, -0.1, {"expected": -1}, "agrees"),
    (-0.04, 0.3, {"threshold": -0.05}, "agrees"), (-0.06, 0.3, {"threshold": -0.05}, "not shown"),
    (-0.3, -0.06, {"threshold": -0.05}, "contradicts"), (0.45, 0.9, {"threshold": 0.5},
                                                         "not shown")])
def test_a_verdict_is_on_which_side_of_a_threshold_an_interval_lies(low, high, settings, verdict):
    table = with_verdict(pd.DataFrame([{"value": 0, "low": low, "high": high}]), **settings)
    assert list(table["verdict"]) == [verdict]


ROW = Comparison("digits", "a", 0.1, 0.0, 0.2, 48, "agrees")


def ruled(rule) -> dict:
    """A stored claim with another rule."""
    document = claims.as_json([claim((ROW,))])
    document["claims"][0]["rule"] = rule
    return document


@pytest.mark.parametrize(("make", "said"), [
    (lambda: Comparison("digits", "a", 0.1, 0.0, 0.2, 48, "agree"), "accepted: agrees, not shown"),
    (lambda: Comparison("digits", "a", math.nan, 0.0, 0.2, 48, "agrees"), "a finite number"),
    (lambda: claim((ROW,), finding="6"), "accepted: 0, 1, 2, 3, 4, 5, beyond, code"),
    (lambda: claim((ROW,), by="authors"), "accepted: paper, companion, book"),
    (lambda: claim((ROW,), of="pixels"), "accepted: images"),
    (lambda: claims.emit([claim((ROW,)), claim((ROW,))]), "a key for each"),
    (lambda: claims.from_json({"claims": [{"key": "removal"}]}), "the output of"),
    (lambda: claims.from_json({}), "the output of"),
    # a rule that is stored without its side, as a sentence or as a part
    (lambda: claims.from_json(ruled("Agrees if above zero.")), "the output of"),
    (lambda: claims.from_json(ruled({"sentence": "So.", "above": 0.0})), "the output of")])
def test_what_is_refused_says_what_is_accepted(make, said):
    with pytest.raises(ValueError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_claims_come_back_from_json_with_six_decimals():
    written = json.loads(json.dumps(claims.as_json([claim(comparisons(TABLE, "images"))]),
                                    allow_nan=False))
    back, = claims.from_json(written)
    assert back == claim((Comparison("digits", "a", 0.031235, 0.01, 0.05, 48, "agrees"),
                          Comparison("shapes", "a", -0.2, -0.3, -0.1, 24, "contradicts")))


def test_claims_are_shown_once_for_the_pages_and_for_people(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append((data, raw)))
    claims.emit([claim((ROW, ROW)), claim((), key="nothing"), claim((ROW,), key="score")])
    (data, raw), = shown
    assert raw and set(data) == {claims.MIME, "text/plain"}
    assert data["text/plain"] == "removal: 2 of 2 agree\nscore: 1 of 1 agree"
    assert [each.key for each in claims.from_json(data[claims.MIME])] == ["removal", "score"]


def spoilt(change) -> list[dict]:
    """A stored output of claims, after a change of its first comparison."""
    document = claims.as_json([claim(comparisons(TABLE, "images"))])
    change(document["claims"][0]["comparisons"][0])
    return [{"output_type": "display_data", "data": {claims.MIME: document}, "metadata": {}}]


@pytest.mark.parametrize(("change", "noticed"), [
    (lambda row: None, False),
    (lambda row: row.update(value=row["value"] + 1e-6), False),  # the last digit
    (lambda row: row.update(value=row["value"] * 1.01), True),
    (lambda row: row.update(low=-row["low"]), True),
    (lambda row: row.update(low=None), True),
    (lambda row: row.update(n=47), True),
    (lambda row: row.update(verdict="not shown"), True),
    (lambda row: row.update(model="b"), True)])
def test_a_stored_claim_that_moved_is_noticed(change, noticed):
    found = compare_outputs(spoilt(lambda row: None), deepcopy(spoilt(change)), Tolerance())
    assert bool(found) == noticed
