"""Figures of certified class paths (Chapter 23), from tidy tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from neuronpath_core.figures.panels import model_rows
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    legend_above,
    legend_outside,
    styled,
)

ROW = 0.19  # inches a class
BLUE = "#1f6fc4"
# opacity from which white letters are told from the blue on a light page; no grey, so that they do
# not follow the page
SOLID, ON_SOLID = 0.8, "#fffffe"


@styled
def certified_shares(table: pd.DataFrame, xlabel: str) -> Figure:
    """Share of a class's path that is certain, by each measure: a row per model and a panel per
    data set; 95 % intervals over classes, where a measure has them.

    ``table``: ``data, model, measure`` (in words), ``value, low, high``.
    """
    figure, panels = model_rows(table, "measure", room=0.6, height=0.42)
    for axis, _ in panels:
        axis.set(xlabel=xlabel, xlim=(-0.03, 1.03))
    legend_outside(figure, panels[0][0])
    return figure


def _shades(count: int) -> list[tuple]:
    """A blue from thin to solid: what is thin has the page's own colour behind it, so that the
    strongest stands out most on a light page and on a dark one."""
    return [(*to_rgb(BLUE), float(share)) for share in
            (np.linspace(0.22, 0.95, count) if count > 1 else [0.5])]


@styled
def certified_map(table: pd.DataFrame, radius: int) -> Figure:
    """Which neuron of a class's path is certain: a row per class and a column per block, one panel
    per data set.

    A coloured cell has the number of its certified neuron, the bluer the more replaced images it
    survives.  A ring: no certificate, but the commonest neuron survives ``radius`` by count.

    ``table``: ``data, class, block, neuron`` (of the certified), ``certified, counted`` (edits that
    are survived, -1 for none).
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
        for row, block in np.argwhere(inside):
            shade = shades[int(value[row, block]) - radius]
            axis.add_patch(Rectangle((block, row), 1, 1, facecolor=shade, edgecolor="none"))
            # on a thin blue letters are the page's ink, on a solid one they stay white
            axis.text(block + 0.5, row + 0.5, f"{wide['neuron'].to_numpy()[row, block]:.0f}",
                      ha="center", va="center", fontsize=LEAST,
                      color=ON_SOLID if shade[3] > SOLID else "0.15")
        blocks, classes = list(wide["neuron"].columns), list(wide["neuron"].index)
        axis.set_xticks(np.arange(len(blocks)) + 0.5, [str(block) for block in blocks])
        axis.set_yticks(np.arange(len(classes)) + 0.5, classes)
        axis.set(xlim=(0, len(blocks)), ylim=(len(classes), 0))
        down, across = np.nonzero(~inside & (wide["counted"].to_numpy() >= radius))
        axis.plot(across + 0.5, down + 0.5, linestyle="none", marker="o", markersize=3.5,
                  markerfacecolor="none", color="0.5", markeredgewidth=0.8)
        axis.grid(False)
        axis.set(title=data, ylabel="class", xlabel="block" if data == list(parts)[-1] else "")
        axis.tick_params(labelsize=LEAST, length=0, rotation=0)
    keys = [Patch(facecolor=shade, label=f"certified to survive {radius + place}")
            for place, shade in enumerate(shades)]
    ring = plt.Line2D([], [], linestyle="none", marker="o", markersize=3.5, color="0.5",
                      markerfacecolor="none", label=f"by count alone {radius}")
    legend_above(figure, [*keys, ring], [key.get_label() for key in (*keys, ring)],
                 title="replaced images that the neuron survives", title_fontsize=SMALL,
                 alignment="left")
    return figure
