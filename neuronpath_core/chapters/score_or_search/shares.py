"""Which part of the gain is the score's and which the search's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from neuronpath_core.chapters.score_or_search.cells import (
    LATER,
    SCORES,
    SEARCHED,
    SEARCHES,
    score_labels,
)
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import basic_row, interval_row, percentile_row, resampled

# which searches the shares are over, for the scores of whole paths
KINDS_OF_SEARCH = {"among informed searches": True, "with random paths among the searches": False}


def searched_shares(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """:func:`factor_shares` of the scores for which the search can matter (``SEARCHED``), without
    and with random paths as one of the searches: its columns and ``condition``, one of
    ``KINDS_OF_SEARCH``."""
    own = table[table["score"].isin(SEARCHED)]
    return pd.concat([factor_shares(own, deterministic=informed, seed=seed).assign(condition=words)
                      for words, informed in KINDS_OF_SEARCH.items()], ignore_index=True)


def identity_summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Per model: the largest deviation of the identity, how far plain removal is from it, and how
    much of the score is cross terms.

    Returns:
        ``data, model, identity`` (largest difference between the two sides), ``complete`` and
        ``removal`` (means), ``apart`` (mean absolute difference of the two), ``correlation``
        (Spearman, over images), ``cross`` (share of the joint attribution score's mean that is
        cross terms, with ``low``, ``high``).
    """
    rows = []
    for (data, model), own in table.groupby(["data", "model"], sort=False):
        complete, jas = own["complete"].to_numpy(), own["jas"].to_numpy()

        def cross(chosen: np.ndarray, complete=complete, jas=jas) -> float:
            return 1 - complete[chosen].mean() / jas[chosen].mean()

        everyone = np.arange(len(own))
        row = percentile_row(cross(everyone), resampled(cross, [everyone], seed=seed))
        rows.append({"data": data, "model": model,
                     "identity": (own["complete"] - own["integral"]).abs().max(),
                     "complete": own["complete"].mean(),
                     "removal": own["removal"].mean(),
                     "apart": (own["complete"] - own["removal"]).abs().mean(),
                     "correlation": own["complete"].corr(own["removal"], method="spearman"),
                     "cross": row["value"], "low": row["low"], "high": row["high"]})
    return pd.DataFrame(rows)


def _cube(table: pd.DataFrame, measure: str) -> np.ndarray:
    """``(image, score, search)``."""
    wide = table.pivot(index="image", columns=["score", "search"], values=measure)
    scores = [score for score in SCORES if score in set(table["score"])]
    return wide[[(score, search) for score in scores for search in SEARCHES]].to_numpy().reshape(
        len(wide), len(scores), len(SEARCHES))


def _shares(cells: np.ndarray) -> np.ndarray:
    """Shares of the variance between cells that belong to the score, the search, and both together,
    ``(..., 3)``."""
    centred = cells - cells.mean((-2, -1), keepdims=True)
    score, search = centred.mean(-1), centred.mean(-2)
    parts = np.stack([cells.shape[-1] * np.square(score).sum(-1),
                      cells.shape[-2] * np.square(search).sum(-1),
                      np.square(centred - score[..., None] - search[..., None, :]).sum((-2, -1))],
                     -1)
    total = parts.sum(-1, keepdims=True)
    return np.divide(parts, total, out=np.zeros_like(parts), where=total > 1e-24)


def factor_shares(table: pd.DataFrame, measure: str = "removal", deterministic: bool = True,
                  resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How much of the difference between cells belongs to the score, to the search, and to their
    interplay (two-way decomposition of the cell means).

    Args:
        table: of :func:`~neuronpath_core.chapters.score_or_search.cells.factorial`, or the rows of
            some of its scores.
        measure: a column of it.
        deterministic: leave out the search ``"random"``, which would otherwise be most of the
            search's share.

    Returns:
        one row per model and factor: ``data, model, factor, value, low, high``; value and interval
        corrected for bias by the bootstrap (the basic one) over images, the same in all cells.
    """
    rows, rng = [], np.random.default_rng(seed)
    kept = [index for index, search in enumerate(SEARCHES) if search != "random"
            or not deterministic]
    for (data, model), own in table.groupby(["data", "model"], sort=False):
        cube = _cube(own, measure)[:, :, kept]
        draws = resampled(lambda chosen, cube=cube: _shares(cube[chosen].mean(0)),
                          [np.arange(len(cube))], resamples, rng)
        # noise adds to every sum of squares, and a resample has twice of it: that bias is turned
        # round, which percentiles would keep
        for factor, value, drawn in zip(("score", "search", "interplay"), _shares(cube.mean(0)),
                                        draws.T, strict=True):
            row = {name: np.clip(end, 0, 1) for name, end in basic_row(value, drawn).items()}
            rows.append({"data": data, "model": model, "factor": factor, **row})
    return pd.DataFrame(rows)


# what each difference isolates: (first cell, second cell), first minus second, positive where the
# first removes more of the probability
CONTRASTS = {
    "conditioning on the path so far": (("complete", "progressive"), ("knowledge", "progressive")),
    "cross terms": (("joint", "progressive"), ("complete", "progressive")),
    "both, the published search against integrated gradients": (("joint", "progressive"),
                                                                ("knowledge", "progressive")),
    "a beam instead of one path": (("joint", "beam"), ("joint", "progressive")),
    "the score alone, on the same random paths": (("joint", "random"), ("knowledge", "random")),
    "search instead of random paths": (("joint", "progressive"), ("joint", "random")),
    "attribution instead of the effect itself": (("joint", "progressive"),
                                                 ("ablation", "progressive")),
}


# a score of single neurons in the place of the published one
STRONGER = {f"{SCORES[score]} instead of the joint score": ((score, "progressive"),
                                                            ("joint", "progressive"))
            for score in ("knowledge", "gradient_activation")}
# which searches the scores of LATER are used in: an additive score's informed ones are one
LATER_SEARCHES = {"progressive": "its best neuron of every block",
                  "random": "the best of the same random paths"}


def later_pairs() -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """A score of ``LATER`` in the place of the joint score, in each of ``LATER_SEARCHES``."""
    return {f"{score_labels()[score]}, {words}": ((score, search), ("joint", search))
            for search, words in LATER_SEARCHES.items() for score in LATER}


# how the best of a few random paths is called among the scores
RANDOM = "best of random paths"


def contrasts(table: pd.DataFrame, measure: str = "removal", seed: int = 0,
              pairs: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = CONTRASTS,
              statistic: Literal["mean", "median"] = "mean") -> pd.DataFrame:
    """Paired differences that isolate one ingredient each, positive where the first cell's paths
    remove more (or, for another measure, have more).

    Args:
        pairs: the two cells of each difference, ``(score, search)``, by name.
        statistic: of the images' differences.

    Returns:
        ``data, model, contrast, value, low, high, verdict``: the statistic over images with
        bootstrap intervals.
    """
    rows, sign = [], -1 if measure.startswith("removal") else 1
    for (data, model), own in table.groupby(["data", "model"], sort=False):
        cells = {key: group.set_index("image")[measure] for key,
                 group in own.groupby(["score", "search"])}
        for name, (first, second) in pairs.items():
            row = interval_row(sign * (cells[first] - cells[second]).to_numpy(), statistic, seed)
            rows.append({"data": data, "model": model, "contrast": name, **row,
                         "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def cell_means(table: pd.DataFrame, measure: str = "removal") -> pd.DataFrame:
    """Mean over images, then over models, of a measure: scores by searches."""
    means = table.groupby(["data", "model", "score", "search"])[measure].mean().groupby(
        ["score", "search"]).mean().unstack()
    return means.reindex(index=list(SCORES), columns=list(SEARCHES)).rename(index=SCORES)


def losses(table: pd.DataFrame) -> pd.DataFrame:
    """What removal of each score's paths costs, found block by block: ``data, model, score``
    (in words), ``value``.

    The value is the mean over images of the lost share of the true class's probability. The best of
    some random paths by the joint attribution score is ``RANDOM``.
    """
    shown = table[(table["search"] == "progressive")
                  | ((table["score"] == "joint") & (table["search"] == "random"))]
    means = -shown.groupby(["data", "model", "score", "search"], sort=False)["removal"].mean()
    means = means.rename("value").reset_index()
    names = [SCORES[score] if search == "progressive" else RANDOM
             for score, search in zip(means["score"], means["search"], strict=True)]
    return means.assign(score=names).drop(columns="search")
