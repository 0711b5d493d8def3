"""The study's 95 % intervals, each by the unit that is resampled or left out.

==================  ==================================  ========================================
unit                function                            interval
==================  ==================================  ========================================
image               :func:`interval_row`                percentile bootstrap of a mean or median
image, by stratum   :func:`stratified_row`              the same, of a mean over strata
any                 :func:`resampled` with              percentile, basic (bias corrected) or
                    :func:`percentile_row`,             normal bootstrap of any statistic of
                    :func:`basic_row`,                  drawn positions
                    :func:`normal_row`
split of images     :func:`split_interval`              Student's t, corrected for the overlap
trained model       :func:`jackknife_row`               jackknife with Student's t
network             :func:`wilson_interval`             Wilson's score interval of a share
==================  ==================================  ========================================

A row is a dict of ``value``, ``low`` and ``high``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

TAILS = (0.025, 0.975)
KEPT = 1 << 20  # numbers of a set of draws that is kept, 8 MB


def _row(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": float(value), "low": float(low), "high": float(high)}


def bootstrap_interval(
    values: Float[np.ndarray, "image"], statistic: Literal["mean", "median"] = "mean",
    confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic; the unit resampled is the entry of ``values``
    (an image).

    Raises:
        ValueError: fewer than two values, a value that is not finite, or an unknown statistic.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"no interval can be had of an array of shape {values.shape}; accepted: "
                         f"one dimension of at least two finite values")
    if statistic not in ("mean", "median"):
        raise ValueError(f"unknown statistic {statistic!r}; accepted: mean, median")
    # scipy.stats.bootstrap's own draws and quantiles, to the last bit; it draws anew every time
    draw = _drawn if len(values) * resamples <= KEPT else _drawn.__wrapped__
    draws = getattr(np, statistic)(values[draw(len(values), resamples, seed)], axis=-1)
    tail = (1 - confidence) / 2
    low, high = stats.quantile(draws, np.array([tail, 1 - tail]))
    return float(low), float(high)


@lru_cache(maxsize=4)
def _drawn(count: int, resamples: int, seed: int) -> Int64[np.ndarray, "resample unit"]:
    """Whom each resample draws: alike for all effects of as many images."""
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    drawn.setflags(write=False)
    return drawn


def interval_row(values: Float[np.ndarray, "image"],
                 statistic: Literal["mean", "median"] = "mean", seed: int = 0) -> dict[str, float]:
    """``value``, ``low``, ``high``: a statistic over images with :func:`bootstrap_interval`."""
    return _row(getattr(np, statistic)(values),
                *bootstrap_interval(values, statistic, seed=seed))


def stratified_row(parts: Sequence[Float[np.ndarray, "image"]], shares: Sequence[float],
                   seed: int = 0) -> dict[str, float]:
    """A mean over strata that count by their shares, with a percentile bootstrap interval; the
    images of each stratum are resampled among themselves."""
    def mean(*values: np.ndarray, axis: int = -1) -> np.ndarray:
        return sum(share * value.mean(axis) for share, value in zip(shares, values, strict=True))

    interval = stats.bootstrap(tuple(parts), mean, n_resamples=2000, method="percentile",
                               rng=np.random.default_rng(seed)).confidence_interval
    return _row(mean(*parts), interval.low, interval.high)


def resampled(
    statistic: Callable[[Int64[np.ndarray, "unit"]], np.ndarray | float],
    strata: Sequence[Int64[np.ndarray, "unit"]], resamples: int = 2000,
    seed: int | np.random.Generator = 0
) -> Float[np.ndarray, "resample *statistic"]:
    """A statistic of units that are drawn anew, with replacement, within each stratum.

    It is a loop because ``scipy.stats.bootstrap`` neither draws positions within strata nor
    returns the draws of a statistic of several numbers.

    Args:
        statistic: is given the positions of the drawn units, stratum after stratum.
        strata: the positions of each stratum's units; one stratum, where all are alike.  For
            clusters the unit is the cluster, and the statistic takes all of its members.
        seed: a seed, or a generator that goes on from where it is.
    """
    rng = np.random.default_rng(seed)
    return np.array([statistic(np.concatenate([rng.choice(own, len(own)) for own in strata]))
                     for _ in range(resamples)])


def members(names: Sequence) -> list[Int64[np.ndarray, "unit"]]:
    """The positions of each name's units, names in sorted order: the images of each class."""
    names = np.asarray(names)
    return [np.flatnonzero(names == name) for name in np.unique(names)]


def percentile_row(value: float, draws: Float[np.ndarray, "resample"]) -> dict[str, float]:
    """The interval between the 2.5 and 97.5 % quantiles of the resamples."""
    return _row(value, *np.quantile(draws, TAILS))


def basic_row(value: float, draws: Float[np.ndarray, "resample"]) -> dict[str, float]:
    """The basic bootstrap interval, the resamples mirrored at the value, and the value corrected
    for the same bias: for statistics that noise moves one way only, such as sums of squares."""
    low, high = np.quantile(draws, TAILS)
    return _row(2 * value - draws.mean(), 2 * value - high, 2 * value - low)


def normal_row(value: float, draws: Float[np.ndarray, "resample"]) -> dict[str, float]:
    """The value ± 1.96 standard deviations of the resamples (Davison and Hinkley, 1997, 5.2.1):
    for statistics whose resamples are biased, such as the correlation of similarities, which
    repeated images blur."""
    half = stats.norm.ppf(TAILS[1]) * draws.std(ddof=1)
    return _row(value, value - half, value + half)


def split_interval(values: Float[np.ndarray, "split"], share: float) -> tuple[float, float]:
    r"""Interval of a mean over random splits of one set of images,
    :math:`\bar x \pm t_{k-1} s \sqrt{1/k + n_{test}/n_{probe}}`; the unit is the split.

    The second term corrects for the images that the splits have in common (Nadeau and Bengio,
    2003).

    Args:
        values: one value per split.
        share: of the images that are for probing.

    Raises:
        ValueError: fewer than two splits.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"no interval over splits can be had of shape {values.shape}; accepted: "
                         f"one value a split, at least two splits")
    spread = values.std(ddof=1) * np.sqrt(1 / len(values) + (1 - share) / share)
    half = stats.t.ppf(TAILS[1], len(values) - 1) * spread
    return float(values.mean() - half), float(values.mean() + half)


def jackknife_row(statistic: Callable[..., float], sizes: Sequence[int],
                  confidence: float = 0.95) -> dict[str, float]:
    r"""A statistic of one or several groups of trained models; the unit is the training seed.

    .. math::

        \theta \pm t\,
        \Big[\sum_g \frac{n_g-1}{n_g} \sum_i (\theta_{g,-i} - \bar\theta_g)^2\Big]^{1/2}

    with each model left out in turn (Arvesen, 1969, for statistics of pairs) and Student's t with
    the degrees of freedom of Welch and Satterthwaite. For a mean it is Student's interval, for a
    difference of two means Welch's.

    Args:
        statistic: takes one array of positions per group.
        sizes: number of models in each group.

    Raises:
        ValueError: a group of fewer than two models.
    """
    if min(sizes) < 2:
        raise ValueError(f"groups of {list(sizes)} models; accepted: at least two in each, for "
                         f"the unit is the training seed")
    groups, variances = [np.arange(size) for size in sizes], []
    for number, size in enumerate(sizes):
        without = [statistic(*(np.delete(group, left) if index == number else group
                               for index, group in enumerate(groups))) for left in range(size)]
        variances.append((size - 1)
                         / size * np.square(np.subtract(without, np.mean(without))).sum())
    variance, value = sum(variances), statistic(*groups)
    freedom = variance**2 / sum(own**2 / (size - 1) for own, size
                                in zip(variances, sizes, strict=True)) if variance else 1
    margin = stats.t.ppf(0.5 + confidence / 2, freedom) * np.sqrt(variance)
    return _row(value, value - margin, value + margin)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share of ``count`` independent trials (Wilson, 1927); the unit
    is the trial, such as a network.

    For a mean of values in 0..1 that are not only 0 and 1 it is wider than need be, because their
    variance is at most p(1 - p); and unlike a bootstrap interval it does not collapse where all
    values are equal.  Statsmodels computes it, because scipy's takes whole successes only.

    Raises:
        ValueError: a share outside 0..1, or no trial.
    """
    from statsmodels.stats.proportion import proportion_confint

    if not 0 <= share <= 1 or count < 1:
        raise ValueError(f"the share must lie in 0..1 and the count be at least 1, got {share!r} "
                         f"and {count!r}")
    low, high = proportion_confint(share * count, count, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))
