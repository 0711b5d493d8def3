"""How much of the refined search's effect each method reaches, and who is ahead of whom."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from neuronpath_core.chapters.which_method.method_names import ALIKE, REFINED, REPLACED
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.intervals import interval_row

RESAMPLES = 2000
CELL = ["data", "model", "replacement"]


def share_row(lost: np.ndarray, most: np.ndarray, seed: int = 0) -> dict[str, float]:
    """The mean of ``lost`` as a share of the mean of ``most``, with the percentile bootstrap
    interval over images, which are resampled in pairs: ``value, low, high``.

    Raises:
        ValueError: fewer than two images, or nothing of which there could be a share.
    """
    lost, most = np.asarray(lost, float), np.asarray(most, float)
    if len(lost) < 2 or not most.mean() > 0:
        raise ValueError(f"no share can be had of {len(lost)} images with a mean effect of "
                         f"{most.mean() if len(most) else 0:g}; accepted: at least two, and an "
                         "effect above zero")
    interval = stats.bootstrap(
        (lost, most), lambda one, all_of, axis=-1: one.mean(axis) / all_of.mean(axis), paired=True,
        vectorized=True, n_resamples=RESAMPLES, method="percentile",
        rng=np.random.default_rng(seed)).confidence_interval
    return {"value": float(lost.mean() / most.mean()), "low": float(interval.low),
            "high": float(interval.high)}


def reached(table: pd.DataFrame, passes: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Per model, replacement and method the share of the refined search's effect.

    Args:
        table: of :func:`~neuronpath_core.chapters.which_method.measured.removals`.
        passes: of :func:`~neuronpath_core.chapters.which_method.pass_counts.pass_table`.

    Returns:
        ``data, model, replacement, method, passes, images, lost`` (mean), ``turned`` (share of the
        images whose prediction was right before and is not now, less the opposite), ``value, low,
        high``.
    """
    rows = []
    for cell, own in table.groupby(CELL, sort=False):
        most = own[own["method"] == REFINED].set_index("image")["lost"]
        for method, part in own.groupby("method", sort=False):
            rows.append({**dict(zip(CELL, cell, strict=True)), "method": method,
                         "images": len(part), "lost": part["lost"].mean(),
                         "turned": part["turned"].mean(),
                         **share_row(part["lost"].to_numpy(),
                                     most.loc[part["image"]].to_numpy(), seed)})
    return pd.DataFrame(rows).merge(passes, on=["data", "model", "method"], how="left")


def merged(rows: pd.DataFrame, column: str = "method") -> pd.DataFrame:
    """The rows with RelP and LibraGrad as one, where they are equal to the last digit."""
    first, second = (rows[rows[column] == name] for name in ALIKE)
    if not len(first) or len(first) != len(second) or not first.drop(columns=column).reset_index(
            drop=True).equals(second.drop(columns=column).reset_index(drop=True)):
        return rows
    return rows.drop(second.index).replace({column: {ALIKE[0]: " = ".join(ALIKE)}})


def across_models(share: pd.DataFrame, replacement: str = "zero", seed: int = 0) -> pd.DataFrame:
    """Each method's mean share over models under one replacement, like with like: ``method, models,
    value, low, high`` (percentile bootstrap over models; NaN for one model) and ``least``, that of
    the model with the smallest."""
    rows = []
    for method, own in share[share["replacement"] == replacement].groupby("method", sort=False):
        values = own["value"].to_numpy()
        row = interval_row(values, seed=seed) if len(values) > 1 else {
            "value": values[0], "low": np.nan, "high": np.nan}
        rows.append({"method": method, "models": len(values), **row, "least": values.min()})
    return pd.DataFrame(rows, columns=["method", "models", "value", "low", "high", "least"])


def reaches(share: pd.DataFrame, method: str, least: float) -> pd.DataFrame:
    """Whether a method's share lies above ``least``: its rows of :func:`reached` with a
    ``verdict``, and under which ``condition``."""
    own = share[share["method"] == method]
    return with_verdict(own, threshold=least).assign(condition=[
        when(kind) for kind in own["replacement"]])


def when(replacement: str) -> str:
    """``when set to zero``: under which condition a comparison was made."""
    return f"when {REPLACED[replacement]}"


def leads(table: pd.DataFrame, first: str, second: str, seed: int = 0) -> pd.DataFrame:
    """How much more of the probability the first method's path costs than the second's on the same
    images: ``data, model, replacement, condition, against, images, value, low, high, verdict``,
    where both were measured."""
    rows = []
    for cell, own in table.groupby(CELL, sort=False):
        wide = own[own["method"].isin([first, second])].pivot(index="image", columns="method",
                                                             values="lost").dropna()
        if {first, second} <= set(wide) and len(wide) > 1:
            row = interval_row((wide[first] - wide[second]).to_numpy(), seed=seed)
            rows.append({**dict(zip(CELL, cell, strict=True)), "condition": when(cell[2]),
                         "against": second, "images": len(wide), **row,
                         "verdict": report.verdict(row)})
    return pd.DataFrame(rows)
