"""Figures of paths over other sites than FFN neurons (chapter 17), from tidy tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import looks
from neuronpath_core.figures.style import (
    WIDTH,
    beside,
    block_ticks,
    legend_outside,
    spans,
    styled,
    whiskers,
)


def _rows(axis: Axes, table: pd.DataFrame, names: Sequence[str], kinds: Sequence[str],
          place: str, kind: str) -> None:
    """Values with intervals, a row a ``place`` and a marker a ``kind``; a line marks zero."""
    for number, (each, look) in enumerate(looks(kinds).items()):
        own = table[table[kind] == each]
        heights = np.array([names.index(name) for name in own[place]], dtype=float)
        axis.errorbar(own["value"], heights + beside(number, len(kinds)),
                      xerr=spans(own), linestyle="none", markersize=4,
                      **look.drawn, elinewidth=1, capsize=2, label=each)
    axis.axvline(0, color="0.25", linewidth=0.8)
    axis.set_yticks(np.arange(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.locator_params(axis="x", nbins=5)
    axis.grid(False, axis="y")


@styled
def site_dots(table: pd.DataFrame) -> Figure:
    """What removing each kind of path does, a panel per model, a row per kind of sites, a marker
    per method, with 95 % intervals; ``table``: ``model, sites, paths, value, low, high``."""
    models, sites, paths = (list(dict.fromkeys(table[name]))
                            for name in ("model", "sites", "paths"))
    figure, axes = plt.subplots(1, len(models), figsize=(WIDTH, 1.4 + 0.6 * len(sites)),
                                squeeze=False, sharey=True, sharex=True)
    for axis, model in zip(axes[0], models, strict=True):
        _rows(axis, table[table["model"] == model], sites, paths, "sites", "paths")
        axis.set(title=model, xlabel="change of probability, relative")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def site_forest(table: pd.DataFrame) -> Figure:
    """How far the neuron path is ahead of other paths over the same sites, a panel per measure, a
    row per comparison, a marker per model, with 95 % intervals.

    The axis is linear to 0.01 and logarithmic beyond, since heads do a hundred times what neurons
    do.  ``table``: ``data, control, model, measure, value, low, high``.
    """
    named = table.assign(row=table["data"] + " vs " + table["control"].str.lower())
    measures, models, rows = (list(dict.fromkeys(named[name]))
                              for name in ("measure", "model", "row"))
    figure, axes = plt.subplots(1, len(measures), figsize=(WIDTH, 1.4 + 0.33 * len(rows)),
                                squeeze=False, sharey=True, sharex=True)
    for axis, measure in zip(axes[0], measures, strict=True):
        _rows(axis, named[named["measure"] == measure], rows, models, "row", "model")
        axis.set_xscale("symlog", linthresh=0.01, linscale=0.7)
        ticks = (-0.1, 0, 0.01, 0.1, 1)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set(title=measure, xlabel="neuron path's lead")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def half_curves(summary: pd.DataFrame) -> Figure:
    """What removing each half of each block costs, one panel per model, one line per half, with 95
    % intervals.

    ``summary``: ``model, half, block, value, low, high``.
    """
    models, halves = (list(dict.fromkeys(summary[name])) for name in ("model", "half"))
    figure, axes = plt.subplots(1, len(models), figsize=(WIDTH, 3.3), squeeze=False, sharey=True)
    for axis, model in zip(axes[0], models, strict=True):
        for number, (half, look) in enumerate(looks(halves).items()):
            rows = summary[(summary["model"] == model) & (summary["half"] == half)]
            whiskers(axis, rows["block"] + 0.2 * (number - (len(halves) - 1) / 2), rows,
                     fmt="-", **look.drawn, markersize=4, linewidth=1,
                     ecolor=None, label=half)
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(title=model, xlabel="block", xticks=block_ticks(int(summary["block"].max())))
    axes[0, 0].set_ylabel("loss of probability")
    legend_outside(figure, axes[0, 0])
    return figure
