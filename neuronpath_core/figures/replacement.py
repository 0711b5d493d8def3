"""What removal of paths costs, by what the removed neurons are set to."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import cell_looks
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    beside,
    legend_outside,
    spans,
    styled,
)

_TITLE = 18  # letters of a panel's title on one line


@styled
def replacement_dots(table: pd.DataFrame, xlabel: str, own: str = "",
                     notes: Mapping[str, str] | None = None) -> Figure:
    """What removing the paths of each method (rows) costs, a panel per replacement, a colour and a
    shape per data set and model, with 95 % intervals.

    Args:
        table: ``data, model, path`` and ``kind`` (both as they are to be called), ``value, low,
            high``.
        xlabel: what the values are.
        own: the path whose row is shaded; empty for none.
        notes: by kind, what is said below its panel.
    """
    kinds, paths = (list(dict.fromkeys(table[name])) for name in ("kind", "path"))
    cells = list(dict.fromkeys(zip(table["data"], table["model"], strict=True)))
    look_of = cell_looks(cells)
    figure, axes = plt.subplots(1, len(kinds), figsize=(WIDTH, 2.3 + 0.42 * len(paths)),
                                sharex=True, sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        for number, (data, model) in enumerate(cells):
            rows = table[(table["kind"] == kind) & (table["data"] == data)
                         & (table["model"] == model)]
            heights = [paths.index(path) + beside(number, len(cells)) for path in rows["path"]]
            axis.errorbar(rows["value"], heights, xerr=spans(rows), linestyle="none",
                          **look_of[data, model].drawn, markersize=3.5, elinewidth=1,
                          capsize=0,
                          label=f"{model}, {data}")
        if own in paths:
            axis.axhspan(paths.index(own) - 0.5, paths.index(own) + 0.5, color="0.9", zorder=0)
        axis.axvline(0, color="0.25", linewidth=0.8)
        note = (notes or {}).get(kind, "")
        axis.set_title(textwrap.fill(kind, _TITLE), fontsize=SMALL)
        axis.set_xlabel(f"{textwrap.fill(xlabel, 22)}\n\n{note}".strip(), fontsize=LEAST)
        axis.tick_params(axis="x", labelsize=LEAST)
        axis.locator_params(axis="x", nbins=4)
        axis.grid(False, axis="y")
    axes[0, 0].set_yticks(range(len(paths)), [textwrap.fill(path, 20) for path in paths],
                          fontsize=SMALL)
    axes[0, 0].set_ylim(len(paths) - 0.5, -0.5)
    legend_outside(figure, axes[0, 0])
    return figure
