"""Intervals: how often they hold the truth, by hand, and against scipy's."""

import math

import numpy as np
import pytest
from scipy import stats

from neuronpath_core.stats import intervals
from neuronpath_core.stats.intervals import (
    basic_row,
    bootstrap_interval,
    interval_row,
    jackknife_row,
    members,
    normal_row,
    percentile_row,
    resampled,
    stratified_row,
)


@pytest.mark.parametrize(("statistic", "draw", "truth"), [
    ("mean", lambda rng: rng.normal(2, 3, 30), 2.0),
    ("mean", lambda rng: rng.exponential(1.0, 60), 1.0),
    ("median", lambda rng: rng.exponential(1.0, 31), math.log(2))])
def test_a_95_percent_interval_covers_the_truth_about_that_often(statistic, draw, truth):
    """400 simulations: one standard error is 1.1 points; percentile intervals of few values are a
    little too narrow."""
    rng, below, above = np.random.default_rng(5), 0, 0
    for number in range(400):
        low, high = bootstrap_interval(draw(rng), statistic, resamples=400, seed=number)
        assert low < high
        below, above = below + (high < truth), above + (low > truth)
    assert 0.90 <= 1 - (below + above) / 400 <= 0.98
    assert below >= 2 and above >= 2  # it can miss on either side


def test_a_50_percent_interval_is_narrower_and_covers_half():
    rng, covered = np.random.default_rng(6), 0
    for number in range(400):
        values = rng.normal(0, 1, 30)
        low, high = bootstrap_interval(values, confidence=0.5, resamples=400, seed=number)
        covered += low <= 0 <= high
    assert 0.42 <= covered / 400 <= 0.56  # 2.5 standard errors on either side, and the narrowness


def test_an_interval_of_the_mean_is_about_two_standard_errors_wide_on_either_side():
    values = np.random.default_rng(7).normal(10, 2, 400)
    low, high = bootstrap_interval(values, resamples=20_000)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.06 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.06 * error)


def test_the_median_ignores_an_outlier_and_the_mean_does_not():
    values = np.append(np.linspace(-1, 1, 41), 1e6)
    assert bootstrap_interval(values, "median")[1] < 1
    assert bootstrap_interval(values, "mean")[1] > 1e4


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_constant_has_an_interval_of_width_zero(statistic):
    assert bootstrap_interval(np.full(7, 0.25), statistic) == (0.25, 0.25)


def test_an_interval_depends_on_the_seed_and_on_nothing_else():
    values = np.random.default_rng(8).normal(size=20)
    expected = bootstrap_interval(values, seed=3)
    np.random.seed(0)
    assert bootstrap_interval(values.tolist(), seed=3) == expected
    assert bootstrap_interval(values, seed=4) != expected


@pytest.mark.parametrize("values", [[], [1.0], [[1.0, 2.0], [3.0, 4.0]], [1.0, math.nan],
                                    [1.0, math.inf]])
def test_values_that_have_no_interval(values):
    with pytest.raises(ValueError, match="at least two finite values"):
        bootstrap_interval(np.array(values))


def test_an_unknown_statistic():
    with pytest.raises(ValueError, match="accepted: mean, median"):
        bootstrap_interval(np.arange(3.0), "mode")


def test_interval_row():
    values = np.random.default_rng(0).exponential(size=30)
    for statistic, function in (("mean", np.mean), ("median", np.median)):
        row = interval_row(values, statistic, seed=2)
        assert (row["low"], row["high"]) == bootstrap_interval(values, statistic, seed=2)
        assert row["value"] == function(values) and row["low"] < row["value"] < row["high"]


def test_jackknife_of_means_is_students_and_welchs():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=5), rng.normal(1, 2, 4)
    mean = jackknife_row(lambda chosen: one[chosen].mean(), [5])
    interval = stats.ttest_1samp(one, 0).confidence_interval()
    assert [mean["value"], mean["low"],
            mean["high"]] == pytest.approx([one.mean(), interval.low, interval.high], abs=1e-12)
    both = jackknife_row(lambda first, second: one[first].mean()
                                                - two[second].mean(), [5, 4])
    interval = stats.ttest_ind(one, two, equal_var=False).confidence_interval()
    assert [both["low"], both["high"]] == pytest.approx([interval.low, interval.high], abs=1e-9)
    assert jackknife_row(lambda chosen: 2.0,
                                                [3]) == {"value": 2, "low": 2, "high": 2}
    with pytest.raises(ValueError, match="the unit is the training seed"):
        jackknife_row(lambda first, second: 0.0, [4, 1])


def test_interval_over_seeds_covers_the_mean_of_pairs():
    """Values of pairs that share a model are not independent: the interval must cover as often as
    it says, or more often."""
    covered, rng = 0, np.random.default_rng(0)
    for _ in range(300):
        table = 0.3 + rng.normal(0, 0.2, 4)[:,
                                            None] + rng.normal(0, 0.2,
                                                               4) + rng.normal(0, 0.05, (4, 4))
        row = jackknife_row(lambda rows, columns,
                                                   table=table: table[np.ix_(rows, columns)].mean(),
                                                   (4, 4))
        covered += row["low"] < 0.3 < row["high"]
    assert covered / 300 > 0.93


def test_stratified_row_is_the_weighted_mean():
    rng = np.random.default_rng(0)
    parts = (rng.normal(3, 1, 50), rng.normal(-1, 1, 200))
    row = stratified_row(parts, (0.25, 0.75))
    assert row["value"] == pytest.approx(0.25 * parts[0].mean() + 0.75 * parts[1].mean(), abs=1e-12)
    error = np.sqrt(0.25**2 * parts[0].var() / 50 + 0.75**2 * parts[1].var() / 200)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * error, rel=0.1)


# --- statistics of drawn positions ---


def mean_of(values):
    return lambda chosen: values[chosen].mean()


def test_percentiles_of_resampled_means_are_those_of_scipy():
    """One stratum is the plain bootstrap, draw by draw."""
    values = np.random.default_rng(3).exponential(size=25)
    everyone = np.arange(25)
    row = percentile_row(values.mean(), resampled(mean_of(values), [everyone], 2000, 7))
    assert row == pytest.approx(interval_row(values, seed=7), abs=1e-12)


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_intervals_are_scipys_to_the_last_bit_whether_draws_are_kept_or_not(statistic, kept,
                                                                            monkeypatch):
    monkeypatch.setattr(intervals, "KEPT", kept)
    rng = np.random.default_rng(11)
    for count, seed in ((2, 0), (48, 0), (48, 0), (48, 9), (49, 9)):
        values = rng.normal(size=count)
        for confidence in (0.5, 0.95):
            slow = stats.bootstrap(
                (values,), getattr(np, statistic), confidence_level=confidence, n_resamples=2000,
                method="percentile", rng=np.random.default_rng(seed)).confidence_interval
            assert bootstrap_interval(values, statistic, confidence, seed=seed) == (
                slow.low, slow.high)


def test_a_stratum_is_resampled_among_itself():
    labels = np.repeat(["b", "a"], [3, 5])
    assert [own.tolist() for own in members(labels)] == [[3, 4, 5, 6, 7], [0, 1, 2]]
    drawn = resampled(lambda chosen: chosen, members(labels), 50)
    assert drawn.shape == (50, 8)
    assert (drawn[:, :5] >= 3).all() and (drawn[:, 5:] < 3).all()
    assert len(np.unique(drawn, axis=0)) > 40


def test_a_generator_goes_on_where_a_seed_begins_anew():
    statistic, everyone = mean_of(np.arange(9.0)), [np.arange(9)]
    rng = np.random.default_rng(2)
    first, second = (resampled(statistic, everyone, 20, rng) for _ in range(2))
    assert (first == resampled(statistic, everyone, 20, 2)).all() and (first != second).any()


def test_the_basic_interval_turns_a_bias_round_and_the_normal_one_is_centred():
    draws = np.random.default_rng(4).normal(1.5, 0.2, 20_000)  # half above the value
    basic, normal = basic_row(1.0, draws), normal_row(1.0, draws)
    assert basic["value"] == pytest.approx(0.5, abs=0.01)
    for end, sign in (("low", -1), ("high", 1)):
        assert basic[end] == pytest.approx(0.5 + sign * 1.96 * 0.2, abs=0.02)
        assert normal[end] == pytest.approx(1.0 + sign * 1.96 * 0.2, abs=0.01)
