"""Figures of certified class paths (Chapter 23), from tidy tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    beside,
    legend_outside,
    marker,
    spans,
    styled,
)

ROW = 0.19  # inches a class


@styled
def certified_shares(table: pd.DataFrame, xlabel: str) -> Figure:
    """Share of a class's path that is certain, by each measure: a row per model and a panel per
    data set; 95 % intervals over classes, where a measure has them.

    ``table``: ``data, model, measure`` (in words), ``value, low, high``.
    """
    parts = dict(list(table.groupby("data", sort=False)))
    measures = list(dict.fromkeys(table["measure"]))
    most = max(own["model"].nunique() for own in parts.values())
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 1.3 + 0.42 * most), squeeze=False)
    for axis, (data, own) in zip(axes[0], parts.items(), strict=True):
        models = list(dict.fromkeys(own["model"]))
        for number, measure in enumerate(measures):
            rows = own[own["measure"] == measure]
            heights = [models.index(model) + beside(number, len(measures), 0.6)
                       for model in rows["model"]]
            axis.errorbar(rows["value"], heights, xerr=spans(rows), fmt=marker(number),
                          markersize=4.5, elinewidth=1, capsize=2, label=measure)
        axis.set_yticks(range(len(models)), models, fontsize=SMALL)
        axis.set(title=data, xlabel=xlabel, xlim=(-0.03, 1.03), ylim=(len(models) - 0.5, -0.5))
        axis.grid(False, axis="y")
        for height in range(1, len(models)):
            axis.axhline(height - 0.5, color="0.85", linewidth=0.5)
    legend_outside(figure, axes[0, 0], ncols=2)
    return figure


def _shades(count: int) -> list[tuple]:
    """Blues from light to dark; those in the middle light enough for dark letters."""
    steps = np.linspace(0, 1, count) if count > 1 else np.array([0.3])
    return [tuple(shade) for shade in plt.get_cmap("Blues")(0.15 + 0.75 * steps ** 1.5)]


@styled
def certified_map(table: pd.DataFrame, radius: int) -> Figure:
    """Which neuron of a class's path is certain: a row per class and a column per block, one panel
    per data set.

    A coloured cell has the number of its certified neuron, the darker the more replaced images it
    stands.  A ring: no certificate, but the commonest neuron stands ``radius`` of them by count.

    ``table``: ``data, class, block, neuron`` (of the certified), ``certified, counted`` (edits that
    are stood, -1 for none).
    """
    parts = dict(list(table.groupby("data", sort=False)))
    rows = [own["class"].nunique() for own in parts.values()]
    most = max(int(table["certified"].max()), radius)
    shades = _shades(most - radius + 1)
    figure, axes = plt.subplots(len(parts), 1, squeeze=False, height_ratios=rows,
                                figsize=(WIDTH, 1.2 + sum(ROW * count + 0.45 for count in rows)))
    for axis, (data, own) in zip(axes[:, 0], parts.items(), strict=True):
        wide = {name: own.pivot(index="class", columns="block", values=name).reindex(
            dict.fromkeys(own["class"])) for name in ("certified", "counted", "neuron")}
        value = wide["certified"].to_numpy()
        inside = value >= radius
        numbers = np.array([[f"{neuron:.0f}" if holds else "" for neuron, holds
                             in zip(*pair, strict=True)]
                            for pair in zip(wide["neuron"].to_numpy(), inside, strict=True)])
        sns.heatmap(value, mask=~inside, annot=numbers, fmt="", cmap=ListedColormap(shades),
                    vmin=radius - 0.5, vmax=most + 0.5, cbar=False, ax=axis,
                    annot_kws={"fontsize": LEAST},
                    xticklabels=[str(block) for block in wide["neuron"].columns],
                    yticklabels=list(wide["neuron"].index))
        down, across = np.nonzero(~inside & (wide["counted"].to_numpy() >= radius))
        axis.plot(across + 0.5, down + 0.5, linestyle="none", marker="o", markersize=3.5,
                  markerfacecolor="none", color="0.5", markeredgewidth=0.8)
        axis.grid(False)
        axis.set(title=data, ylabel="class", xlabel="block" if data == list(parts)[-1] else "")
        axis.tick_params(labelsize=LEAST, length=0, rotation=0)
    keys = [Patch(color=shade, label=f"certified to stand {radius + place}")
            for place, shade in enumerate(shades)]
    ring = plt.Line2D([], [], linestyle="none", marker="o", markersize=3.5, color="0.5",
                      markerfacecolor="none", label=f"by count alone {radius}")
    figure.legend(handles=[*keys, ring], loc="outside lower center", ncols=4, fontsize=SMALL,
                  title="replaced images that the neuron stands", title_fontsize=SMALL)
    return figure
