"""Figures of the paper's own experiments on neurons, paths and pruning (chapters 1-3 and 6), from
tidy tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from neuronpath_core.figures.style import legend_outside, method_colours, styled, whiskers
from neuronpath_core.stats.labels import TABLE1_METRICS, method_labels


@styled
def knowledge_blocks(shares: pd.DataFrame) -> Figure:
    """Fig. 2: share of the knowledge neurons in each block, one panel per model, with 95 %
    intervals."""
    models = list(dict.fromkeys(shares["model"]))
    figure, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models), 3), sharey=True,
                                squeeze=False)
    for index, (axis, model) in enumerate(zip(axes[0], models, strict=True)):
        rows = shares[shares["model"] == model]
        axis.bar(rows["block"], rows["value"], color=sns.color_palette("colorblind")[index])
        whiskers(axis, rows["block"], rows)
        axis.set(title=model, xlabel="block",
                 xticks=rows["block"].to_numpy()[:: max(1, len(rows) // 12)])
    axes[0, 0].set_ylabel("share of knowledge neurons")
    return figure


@styled
def table1_intervals(table: pd.DataFrame) -> Figure:
    """Table 1 drawn: a row of panels per metric, one panel per model, with 95 % intervals."""
    models, colours = list(dict.fromkeys(table["model"])), method_colours()
    figure, axes = plt.subplots(len(TABLE1_METRICS), len(models), figsize=(2.6 * len(models), 6.6),
                                squeeze=False)
    for index, (metric, title) in enumerate(TABLE1_METRICS.items()):
        row, is_last = axes[index], index == len(axes) - 1
        for axis, model in zip(row, models, strict=True):
            rows = table[(table["metric"] == metric) & (table["model"] == model)]
            names = [method_labels()[method] for method in rows["method"]]
            axis.bar(names, rows["value"], color=[colours[name] for name in names])
            whiskers(axis, np.arange(len(rows)), rows)
            axis.axhline(0, color="0.25", linewidth=0.8)
            axis.set_xticks(np.arange(len(names)), [name.replace(" ", "\n") for name in names]
                            if is_last else [""] * len(names), fontsize=7)
            axis.grid(False, axis="x")
            axis.margins(y=0.12)
            if index == 0:
                axis.set_title(model)
        row[0].set_ylabel(title.replace(" (", "\n(").replace("accuracy deviation",
                                                             "accuracy\ndeviation"))
    return figure


@styled
def deviation_boxes(table: pd.DataFrame, operation: str) -> Figure:
    """Fig. 3: probability deviation of the true class, one box per method, one panel per model.

    ``operation`` is ``"removal"`` or ``"enhancement"``.  Boxes hold the middle half of the images,
    whiskers 5-95 %, the diamond is the mean.
    """
    models, colours = list(dict.fromkeys(table["model"])), method_colours()
    data = table.assign(method=table["method"].map(method_labels()),
                        deviation=table[f"{operation}_probability"])
    figure, axes = plt.subplots(1, len(models), figsize=(2.7 * len(models), 3.2), squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        sns.boxplot(data[data["model"] == model], x="method", y="deviation", hue="method",
                    palette=colours, legend=False, ax=axis,
                    whis=(5, 95), showfliers=False, showmeans=True, linewidth=0.9,
                    meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "0.2",
                               "markersize": 4})
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(title=model, xlabel="", ylabel="")
        axis.set_xticks(axis.get_xticks(), [label.get_text().replace(" ", "\n")
                                            for label in axis.get_xticklabels()], fontsize=7)
    axes[0, 0].set_ylabel(f"{operation}: probability deviation")
    return figure


@styled
def pruning_curves(summary: pd.DataFrame, baselines: dict[str, float], measure: str) -> Figure:
    """Fig. 6: test ``measure`` against t, one row per model, one panel per pruned share; the dotted
    line is the whole model.

    ``summary``: ``model, kept, top, share, value, low, high``.
    """
    models, shares = list(dict.fromkeys(summary["model"])), sorted(summary["share"].unique())
    figure, axes = plt.subplots(len(models), len(shares),
                                figsize=(0.3 + 2.25 * len(shares), 0.4 + 2.4 * len(models)),
                                sharey="row", sharex=True,
                                squeeze=False)
    for row, model in zip(axes, models, strict=True):
        is_last = model == models[-1]
        for axis, share in zip(row, shares, strict=True):
            for offset, (kept,
                         own) in enumerate(summary[(summary["model"] == model)
                                                   & (summary["share"] == share)].groupby(
                    "kept", sort=False)):
                positions = np.arange(len(own)) + 0.08 * (offset - 1)
                whiskers(axis, positions, own, fmt="o-", markersize=3, linewidth=1, label=kept,
                         ecolor=None)
                axis.set_xticks(np.arange(len(own)), [str(top) for top in own["top"]])
            axis.axhline(baselines[model], color="0.25", linestyle=":", linewidth=1,
                         label="whole model")
            axis.set(title=f"{model}, p = {share:.0%}", xlabel="kept per block (t)" if is_last
                     else "")
        row[0].set_ylabel(measure)
    legend_outside(figure, axes[0, 0])
    return figure
