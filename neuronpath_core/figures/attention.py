"""Figures of paths over other sites than FFN neurons (chapter 17), from tidy tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from neuronpath_core.figures.style import block_ticks, legend_outside, styled, whiskers


@styled
def half_curves(summary: pd.DataFrame) -> Figure:
    """What removing each half of each block costs, one panel per model, one line per half, with 95
    % intervals.

    ``summary``: ``model, half, block, value, low, high``.
    """
    models, halves = (list(dict.fromkeys(summary[name])) for name in ("model", "half"))
    figure, axes = plt.subplots(1, len(models), figsize=(1.2 + 3.2 * len(models), 2.9),
                                squeeze=False, sharey=True)
    for axis, model in zip(axes[0], models, strict=True):
        for number, half in enumerate(halves):
            rows = summary[(summary["model"] == model) & (summary["half"] == half)]
            whiskers(axis, rows["block"] + 0.2 * (number - (len(halves) - 1) / 2), rows, fmt="o-",
                     markersize=3, linewidth=1, ecolor=None, label=half)
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(title=model, xlabel="block", xticks=block_ticks(int(summary["block"].max())))
    axes[0, 0].set_ylabel("loss of probability")
    legend_outside(figure, axes[0, 0], "upper", ncols=len(halves))
    return figure
