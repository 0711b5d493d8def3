"""How knowledge neurons are distributed over the blocks, and how alike two distributions are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from neuronpath_core.stats.intervals import interval_row, percentile_row, resampled


def block_shares(table: pd.DataFrame, blocks: int, seed: int = 0) -> pd.DataFrame:
    """Share of a model's knowledge neurons in each block, with intervals over images:
    ``model, block, value, low, high``."""
    rows = []
    for model, group in table.groupby("model", sort=False):
        counts = group.groupby("image")["block"].value_counts(normalize=True).unstack(
            fill_value=0.0)
        for block in range(1, blocks + 1):
            rows.append({"model": model, "block": block,
                         **interval_row(counts.get(block, pd.Series(0.0, counts.index)).to_numpy(),
                                        seed=seed)})
    return pd.DataFrame(rows)


def relative_depth(table: pd.DataFrame, blocks: dict[str, int], seed: int = 0) -> pd.DataFrame:
    """Mean over images of their knowledge neurons' mean block divided by the number of blocks:
    ``model, value, low, high``."""
    return pd.DataFrame([{"model": model,
                          **interval_row((group.groupby("image")["block"].mean()
                                          / blocks[model]).to_numpy(), seed=seed)}
                         for model, group in table.groupby("model", sort=False)])


def share_correlation(table: pd.DataFrame, first: str, second: str, blocks: int, seed: int = 0,
                      resamples: int = 2000, ranks: bool = False,
                      skip: int = 0) -> dict[str, float]:
    """Correlation of two models' block shares, with a bootstrap interval over images: ``value, low,
    high``; Pearson's, or Spearman's of ``ranks``, without the first ``skip`` blocks.

    It is near 1 if the distributions are alike and negative if blocks that are frequent in one are
    rare in the other.  An image is resampled in both models together.
    """
    shares = [table[table["model"] == model].groupby("image")["block"].apply(
        lambda block: np.bincount(block, minlength=blocks + 1)[1:] / len(block))
              for model in (first, second)]
    if not shares[0].index.equals(shares[1].index):
        raise ValueError(f"{first} and {second} must be measured on the same images")
    counts = [np.stack(rows.to_numpy()) for rows in shares]
    everyone = np.arange(len(counts[0]))

    def correlation(chosen: np.ndarray) -> float:
        pair = [each[chosen].mean(0)[skip:] for each in counts]
        with np.errstate(invalid="ignore"):  # drawn images whose shares are all alike have none
            return np.corrcoef(*(map(rankdata, pair) if ranks else pair))[0, 1]

    return percentile_row(correlation(everyone),
                          resampled(correlation, [everyone], resamples, seed))


def in_blocks(shares: pd.DataFrame, first: int, last: int) -> dict[str, float]:
    """Each model's share of its knowledge neurons in these blocks, both included; ``shares`` as of
    :func:`block_shares`."""
    chosen = shares[shares["block"].between(first, last)]
    return chosen.groupby("model", sort=False)["value"].sum().to_dict()
