"""Figures of what the search costs (chapters 7 and 8), from tidy tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from neuronpath_core.figures.style import block_ticks, legend_outside, styled


@styled
def cost_curves(table: pd.DataFrame) -> Figure:
    """App. A: measured time against each size, on logarithmic axes, beside two counts, as of
    ``scaled_formula``."""
    names = {"L": "blocks L", "n": "neurons per block n", "m": "steps m", "T": "tokens T"}
    figure, axes = plt.subplots(1, len(names), figsize=(2.3 * len(names), 2.9), squeeze=False)
    for axis, (varied, title) in zip(axes[0], names.items(), strict=True):
        rows = table[table["varied"] == varied]
        axis.plot(rows["size"], rows["seconds"], marker="o", label="measured")
        axis.plot(rows["size"], rows["operations"], linestyle="--", color="0.4",
                  label="count of the fast search")
        axis.plot(rows["size"], rows["published"], linestyle=":", color="0.4",
                  label="formula of App. A")
        axis.set(xscale="log", yscale="log", xlabel=title)
        axis.set_xticks(rows["size"], [str(size) for size in rows["size"]])
        axis.minorticks_off()
    axes[0, 0].set_ylabel("seconds per image")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def integrand_curves(table: pd.DataFrame) -> Figure:
    """How far the integrand of a path neuron varies, against its block: median over images, with
    the middle half; ``table`` as of ``integrands.integrand_curvature``."""
    figure, axis = plt.subplots(figsize=(6.2, 3.2))
    for (model, rows), colour in zip(table.groupby("model", sort=False),
                                     sns.color_palette("colorblind"), strict=False):
        quartiles = rows.groupby("block")["curvature"].quantile([0.25, 0.5, 0.75]).unstack()
        axis.plot(quartiles.index, quartiles[0.5], marker="o", markersize=3, label=model,
                  color=colour)
        axis.fill_between(quartiles.index, quartiles[0.25], quartiles[0.75], color=colour,
                          alpha=0.15, linewidth=0)
    axis.set(yscale="log", xlabel="block", ylabel="distance from a straight line",
             xticks=block_ticks(int(table["block"].max())))
    legend_outside(figure, axis)
    return figure


@styled
def benchmark_ratios(table: pd.DataFrame) -> Figure:
    """How many times faster than the published procedure, against each size, with minimum and
    maximum; ``table`` as of ``benchmarks.growth``."""
    names = {"L": "blocks L", "T": "tokens T", "n": "neurons per block n", "m": "steps m",
             "batch": "images in a batch"}
    figure, axes = plt.subplots(1, len(names), figsize=(2.3 * len(names), 2.7), squeeze=False,
                                sharey=True)
    for axis, (varied, title) in zip(axes[0], names.items(), strict=True):
        rows = table[table["varied"] == varied]
        axis.errorbar(rows["size"], rows["ratio"], [rows["ratio"] - rows["minimum"],
                                                    rows["maximum"] - rows["ratio"]], marker="o",
                      capsize=3)
        axis.set(xscale="log", xlabel=title)
        axis.set_xticks(rows["size"], [str(size) for size in rows["size"]])
        axis.minorticks_off()
    axes[0, 0].set(ylabel="times faster", ylim=(0, None))
    return figure
