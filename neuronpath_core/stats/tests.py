"""The study's tests of significance, and how a family of them becomes verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from neuronpath_core.stats import report

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

LEVEL = 0.05
FLIPS = 9999  # of the signs of all images
ROUNDING = 1e-9  # statistics that differ by no more than this are taken for equal


def holm(p_values: Float[np.ndarray, "test"]) -> Float[np.ndarray, "test"]:
    """Holm's step-down adjustment of a family of p-values (Holm, 1979), in 0..1.

    Of the sorted values, times the number of those that are at least as large, the running maximum.
    statsmodels computes the same, and collects the garbage of the whole process at every call.
    """
    values = np.asarray(p_values, float)
    order, adjusted = np.argsort(values, kind="stable"), np.empty_like(values)
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted


def sign_test(differences: Float[np.ndarray, "image"]) -> float:
    """Two-sided sign test: the probability of differences that are as one-sided or more, if either
    sign is as likely.  Ties are left out; of accuracies it is McNemar's test."""
    differences = np.asarray(differences, float)
    positive, negative = int((differences > 0).sum()), int((differences < 0).sum())
    return float(stats.binomtest(positive, positive + negative).pvalue) if positive + negative \
        else 1.0


def sign_flip_test(differences: Float[np.ndarray, "image"], seed: int = 0) -> float:
    """Two-sided permutation test of a mean difference: the signs of the images' differences are
    flipped at random."""
    return float(stats.permutation_test(
        (np.asarray(differences, float),), np.mean, permutation_type="samples", n_resamples=FLIPS,
        vectorized=True, rng=np.random.default_rng(seed)).pvalue)


def sign_flip_p(differences: Float[np.ndarray, "image"], seed: int = 0) -> float:
    r""":func:`sign_flip_test` for tables of very many effects: the signs of every effect of as many
    images are flipped alike, so that a p takes one product with a matrix,

    .. math:: p = \frac{1 + \#\{s : |s \cdot d| \ge |\sum_i d_i|\}}{1 + 9999}.

    Ties count, so that it is never too small.
    """
    differences = np.asarray(differences, float)
    flipped = np.abs(_signs(len(differences), seed) @ differences)
    least = abs(differences.sum()) - ROUNDING * np.abs(differences).sum()
    return float((1 + (flipped >= least).sum()) / (1 + len(flipped)))


@lru_cache(maxsize=8)
def _signs(count: int, seed: int) -> Float[np.ndarray, "flip image"]:
    return np.random.default_rng(seed).choice([-1.0, 1.0], (FLIPS, count))


def judged(family: pd.DataFrame, by: str | None = None, level: float = LEVEL,
           expected: Sequence[int] | None = None) -> pd.DataFrame:
    """A table of comparisons with ``adjusted``, their ``p`` after Holm's correction, and
    ``verdict``: one whose adjusted p exceeds ``level`` is not shown, whatever its own interval.

    Args:
        family: ``low, high, p``.
        by: a column whose values each make a family of their own; ``None``: the table is one.
        expected: the sign that each row's effect should have, 1 or -1; ``None``: all 1.
    """
    adjusted = holm(family["p"]) if by is None else family.groupby(
        by, sort=False)["p"].transform(holm)
    signs = [1] * len(family) if expected is None else expected
    family = family.assign(adjusted=adjusted)
    return family.assign(verdict=[
        report.verdict(row, sign) if row["adjusted"] <= level else "not shown"
        for row, sign in zip(family.to_dict("records"), signs, strict=True)])


def shuffled_labels(
    statistic: Callable[[Int64[np.ndarray, "image"]], float], labels: Int64[np.ndarray, "image"],
    permutations: int = 1000, seed: int | np.random.Generator = 0
) -> tuple[float, Float[np.ndarray, "permutation"]]:
    """A statistic of the class labels, and what it is when they are dealt to the images anew.

    A loop of our own, because the numbers of the book come from its draws;
    ``scipy.stats.permutation_test`` makes others of the same seed.
    """
    rng = np.random.default_rng(seed)
    return statistic(labels), np.array([statistic(rng.permutation(labels))
                                        for _ in range(permutations)])


def kind_contrast(correlation: Float[np.ndarray, "model model"], is_first: np.ndarray) -> float:
    """Mean correlation over pairs of models of one kind minus that over pairs of two."""
    first, second = np.triu_indices(len(correlation), 1)
    same = is_first[first] == is_first[second]
    values = correlation[first, second]
    return float(values[same].mean() - values[~same].mean())


def kind_test(
    matrices: Sequence[tuple[Float[np.ndarray, "model model"], np.ndarray]]
) -> dict[str, float]:
    """Permutation test of :func:`kind_contrast`: the kinds' names are dealt to the models in every
    possible way, in each data set apart.

    Args:
        matrices: per data set the correlations of its models and, bool, which are of the first
            kind.

    Returns:
        ``value`` (mean contrast over data sets), ``p`` (share of deals with at least that, the true
        one among them), ``deals`` and ``smallest``, the smallest p that the number of models
        allows: where both kinds have as many models, swapping their names changes nothing.

    Raises:
        ValueError: a data set without two models of either kind.
    """
    observed, dealt = [], []
    for correlation, is_first in matrices:
        is_first = np.asarray(is_first, bool)
        count, size = len(is_first), int(is_first.sum())
        if min(size, count - size) < 2 or np.shape(correlation) != (count, count):
            raise ValueError(f"{size} and {count - size} models of the two kinds, correlations "
                             f"{np.shape(correlation)}; accepted: at least two of each")
        observed.append(kind_contrast(correlation, is_first))
        dealt.append([kind_contrast(correlation, np.isin(np.arange(count), chosen))
                      for chosen in combinations(range(count), size)])
    sums = np.zeros(1)
    for values in dealt:
        sums = np.add.outer(sums, values).ravel()
    ties = np.prod([2 if 2 * int(np.sum(is_first)) == len(is_first) else 1
                    for _, is_first in matrices])
    reached = int((sums >= np.sum(observed) - ROUNDING).sum())
    return {"value": float(np.mean(observed)), "p": reached / len(sums), "deals": len(sums),
            "smallest": float(ties / len(sums))}


def permutation_verdict(row: Mapping[str, float], level: float = LEVEL) -> str:
    """Whether a correlation shows: its ``adjusted`` p, else its ``p``, below ``level`` and
    positive, the same and negative, or neither.

    The interval over images is not asked, because it takes the classes as given: with enough images
    it excludes zero for every relation, true or made up.
    """
    if row["adjusted" if "adjusted" in row else "p"] >= level:
        return "not shown"
    return "agrees" if row["value"] > 0 else "contradicts"
