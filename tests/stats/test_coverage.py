"""How often intervals hold: known cases, and bands that the book's figures must lie in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from neuronpath_core.stats import coverage
from neuronpath_core.stats.coverage import (
    bootstrap_coverage,
    coverage_table,
    coverage_text,
    coverage_words,
)


@pytest.mark.parametrize(("count", "low", "high"), [
    (8, 0.70, 0.83), (24, 0.80, 0.90), (48, 0.85, 0.94)])
def test_of_skewed_losses_few_images_hold_less_than_95_percent(count, low, high):
    found = bootstrap_coverage(count, samples=300)
    assert low < found["holds"] < high
    assert found["below"] > 2 * found["above"]  # what the few large losses of a sample leave out
    assert sum(found.values()) == pytest.approx(1)


def test_what_is_hardly_skewed_is_held_by_many_images():
    """Where the interval must do well, so that what it loses elsewhere is not the simulation's."""
    assert bootstrap_coverage(100, sigma=0.05, samples=300)["holds"] > 0.92


def test_more_skew_holds_less():
    few, many = (bootstrap_coverage(24, sigma=sigma, samples=200)["holds"] for sigma in (0.5, 1.5))
    assert many < few - 0.05


def test_what_holds_is_told_from_what_lies_above_and_below(monkeypatch):
    ends = iter([(0.5, 3.0), (2.0, 3.0), (0.1, 0.2), (1.5, 1.8)])
    monkeypatch.setattr(coverage, "bootstrap_interval", lambda values, statistic: next(ends))
    assert bootstrap_coverage(5, sigma=1.0, samples=4) == {  # of which the mean is 1.65
        "holds": 0.5, "above": 0.25, "below": 0.25}


def test_a_median_is_held_against_the_median():
    """An interval of the median that was held against the mean would never hold it here."""
    assert bootstrap_coverage(100, "median", sigma=2.0, samples=100)["holds"] > 0.85


def test_the_table_has_a_row_for_each_number_of_images():
    table = coverage_table([8, 24], samples=50)
    assert list(table["images"]) == [8, 24, 8, 24]
    assert list(table["statistic"]) == ["mean", "mean", "median", "median"]
    alone = bootstrap_coverage(24, "median", samples=50)
    assert table.iloc[3][["holds", "above", "below"]].to_dict() == alone
    assert not np.isclose(*table["holds"][:2])


def test_table_and_sentences_say_the_shares_in_per_cent():
    table = pd.DataFrame([
        {"images": 8, "statistic": "mean", "holds": 0.75, "above": 0.02, "below": 0.23},
        {"images": 24, "statistic": "mean", "holds": 0.874, "above": 0.01, "below": 0.116},
        {"images": 8, "statistic": "median", "holds": 0.9, "above": 0.06, "below": 0.04}])
    told = coverage_words(table)
    assert told["held mean"] == "75 % (n = 8), 87 % (n = 24)"
    assert (told["above mean"], told["below mean"]) == ("2 % (n = 8), 1 % (n = 24)",
                                                        "23 % (n = 8), 12 % (n = 24)")
    assert told["held median"] == "90 % (n = 8)"
    shown = coverage_text(table)
    assert shown.loc[("mean", 24)].to_dict() == pytest.approx({
        "holds it, %": 87.4, "lies wholly above it, %": 1.0, "lies wholly below it, %": 11.6})
