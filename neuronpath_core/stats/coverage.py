"""How often a 95 % interval holds what it should, seen where the answer is known.

A percentile bootstrap holds its 95 % in the limit of many images.  With few, and with losses of
which a few are large, it holds less, and misses on one side more than on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from neuronpath_core.stats.intervals import bootstrap_interval

SAMPLES = 500  # of a percentage about 95 the standard error is then 1


def bootstrap_coverage(count: int, statistic: Literal["mean", "median"] = "mean",
                       sigma: float = 1.0, samples: int = SAMPLES, seed: int = 0) -> dict:
    """How :func:`~neuronpath_core.stats.intervals.bootstrap_interval` does on samples of a
    log-normal distribution of median 1, whose mean is :math:`e^{\\sigma^2 / 2}`.

    Args:
        count: images in each sample.
        statistic: that the interval is of.
        sigma: standard deviation of the logarithm: the larger, the more skewed.
        samples: that are drawn, an interval each.
        seed: of the samples.

    Returns:
        Shares of the samples whose interval ``holds`` the true value, lies wholly ``above`` it and
        wholly ``below`` it.
    """
    truth = np.exp(sigma**2 / 2) if statistic == "mean" else 1.0
    drawn = np.random.default_rng(seed).lognormal(sigma=sigma, size=(samples, count))
    low, high = np.array([bootstrap_interval(each, statistic) for each in drawn]).T
    above, below = float((low > truth).mean()), float((high < truth).mean())
    return {"holds": 1 - above - below, "above": above, "below": below}


def coverage_table(counts: Sequence[int], samples: int = SAMPLES, seed: int = 0) -> pd.DataFrame:
    """:func:`bootstrap_coverage` of the mean and of the median, in a row for each number of
    ``images``, with the ``statistic``."""
    return pd.DataFrame([{"images": count, "statistic": statistic,
                          **bootstrap_coverage(count, statistic, samples=samples, seed=seed)}
                         for statistic in ("mean", "median") for count in counts])


def coverage_text(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`coverage_table` for reading, in per cent."""
    shares = {"holds": "holds it, %", "above": "lies wholly above it, %",
              "below": "lies wholly below it, %"}
    return pd.DataFrame({"interval of the": table["statistic"], "images": table["images"]} | {
        words: 100 * table[name] for name, words in shares.items()}).set_index(
            ["interval of the", "images"])


def coverage_words(table: pd.DataFrame) -> dict[str, str]:
    """What sentences say of :func:`coverage_table`: by statistic, behind ``held``, ``above`` and
    ``below``, the share at every number of images, ``75 % (n = 8), 87 % (n = 24)``."""
    found = {}
    for statistic, own in table.groupby("statistic", sort=False):
        for name, column in (("held", "holds"), ("above", "above"), ("below", "below")):
            found[f"{name} {statistic}"] = ", ".join(
                f"{100 * share:.0f} % (n = {count})" for count, share
                in zip(own["images"], own[column], strict=True))
    return found
