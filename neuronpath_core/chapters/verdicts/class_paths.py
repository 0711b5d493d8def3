"""What Chapter 4 says of the paper's Figure 4."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.stats.claims import Claim, comparisons
from neuronpath_core.stats.rules import Rule


def made_from(overview: pd.DataFrame, data: str, images: int) -> list[Claim]:
    """``overview`` is that of :func:`~neuronpath_core.chapters.class_paths.concentration_summary`,
    by model."""
    rows = overview.rename_axis("model").reset_index()
    rows["value"] = rows["share"] - rows["shuffled"]
    return [Claim(
        "concentration", "3", "At most blocks, images of one class pass one neuron more often "
        "than images with shuffled labels do", comparisons(rows, images, {"data": data}), "images",
        "class labels shuffled",
        Rule("The share of a class's images that pass their block's commonest neuron, minus the "
             "same with shuffled labels, averaged over blocks; agrees if in more than half of "
             "the blocks the share exceeds the 97.5 % quantile of the shuffles."), "overview")]
