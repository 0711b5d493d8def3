"""The figure of chapter 20, from tidy tables: what the best neurons keep, and what is left without
them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import cell_looks, looks
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    beside,
    legend_outside,
    spans,
    styled,
    whiskers,
)

# beyond which curves are cut: a few intervals would flatten all the rest
LIMITS = (-0.5, 1.5)
_SIDES = {"keep": ("-", "kept", None), "remove": ("--", "removed", "none")}


@styled
def faithfulness_curves(curves: pd.DataFrame, paths: pd.DataFrame) -> Figure:
    """What is left of the decision when the best share of all neurons is kept (solid lines) and
    when it is removed (dashed), and the place of paths (marks, filled if kept), with 95 %
    intervals: a panel per data set and model, a colour and a mark per ranking.

    The axis of shares is logarithmic.  Lines mark the whole model, 1, and none of its neurons, 0;
    what lies beyond ``LIMITS`` is cut.

    ``curves``, ``paths``: ``data, model, ranking`` (as it is to be called), ``side`` (``"keep"`` or
    ``"remove"``), ``share`` (per cent), ``value, low, high``.
    """
    cells = list(curves[["data", "model"]].drop_duplicates().itertuples(index=False, name=None))
    rankings, named = (list(dict.fromkeys(table["ranking"])) for table in (curves, paths))
    look_of = list(looks([*rankings, *named]).values())
    across, down = min(2, len(cells)), -(-len(cells) // 2)
    figure, axes = plt.subplots(down, across, figsize=(WIDTH, 1.3 + 2.3 * down), sharex=True,
                                squeeze=False)
    for axis, (data, model) in zip(axes.flat, cells, strict=False):
        for number, (names, table) in enumerate(((rankings, curves), (named, paths))):
            for place, name in enumerate(names):
                for side, (line, word, face) in _SIDES.items():
                    own = table[(table["data"] == data) & (table["model"] == model)
                                & (table["ranking"] == name) & (table["side"] == side)]
                    own = own.sort_values("share")
                    kind = place + number * len(rankings)
                    if number:  # a path is one point
                        whiskers(axis, own["share"], own, fmt=look_of[kind].mark,
                                 color=look_of[kind].colour,
                                 markerfacecolor=face, markersize=7, ecolor=None, zorder=4,
                                 label=f"{name}, {word}")
                        continue
                    axis.plot(own["share"], own["value"], line, marker=look_of[kind].mark,
                              markersize=3.5, linewidth=1.2, color=look_of[kind].colour,
                              markerfacecolor=face, label=f"{name}, {word}")
                    below, above = spans(own)
                    axis.fill_between(own["share"], own["value"] - below, own["value"] + above,
                                      color=look_of[kind].colour, alpha=0.12, linewidth=0)
        for height in (0, 1):
            axis.axhline(height, color="0.25", linewidth=0.8)
        axis.set_ylim(*LIMITS)
        axis.set_xscale("log")
        axis.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axis.minorticks_off()
        axis.tick_params(labelbottom=True)
        axis.set_title(f"{data}, {model}")
        if axis.get_subplotspec().is_last_row():
            axis.set_xlabel("share of all neurons (%)", fontsize=SMALL)
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel("share of what all neurons do", fontsize=SMALL)
    for axis in list(axes.flat)[len(cells):]:
        axis.set_visible(False)
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def faithfulness_dots(places: pd.DataFrame) -> Figure:
    """What is left of the decision with one neuron of every block: a row of panels per replacement,
    at the left with the path alone, at the right without it; a row per path, a colour and a mark
    per model, with 95 % intervals, which are cut at the panel's edge.

    ``places``: ``condition`` ("set to zero"), ``side`` (``"keep"`` or ``"remove"``), ``path`` (as
    it is to be called),
    ``data, model, value, low, high``.
    """
    words = {"keep": "kept alone, all others", "remove": "removed, its own neurons"}
    conditions, paths = (list(dict.fromkeys(places[name])) for name in ("condition", "path"))
    cells = list(dict.fromkeys(zip(places["data"], places["model"], strict=True)))
    look_of = cell_looks(cells)
    figure, axes = plt.subplots(len(conditions), 2, figsize=(WIDTH, 1.1 + 1.9 * len(conditions)),
                                sharex=True, sharey=True, squeeze=False)
    for row, condition in zip(axes, conditions, strict=True):
        for axis, (side, title) in zip(row, words.items(), strict=True):
            for number, (data, model) in enumerate(cells):
                own = places[(places["condition"] == condition) & (places["side"] == side)
                             & (places["data"] == data) & (places["model"] == model)]
                heights = [paths.index(path) + beside(number, len(cells)) for path in own["path"]]
                axis.errorbar(own["value"], heights, xerr=spans(own), linestyle="none",
                              **look_of[data, model].drawn, markersize=4.5, elinewidth=1,
                              capsize=0,
                              label=f"{model}, {data}")
            for share in (0, 1):
                axis.axvline(share, color="0.25", linewidth=0.8)
            axis.set_xlim(-0.15, 1.25)
            axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"],
                            fontsize=LEAST)
            axis.tick_params(labelbottom=True)
            axis.set_yticks(range(len(paths)), paths, fontsize=SMALL)
            axis.set_ylim(len(paths) - 0.5, -0.5)
            axis.grid(False, axis="y")
            axis.set_title(f"{title} {condition}", fontsize=SMALL)
    for axis in axes[-1]:
        axis.set_xlabel("share left (0: no neuron, 1: the model)", fontsize=SMALL)
    legend_outside(figure, axes[0, 0])
    return figure
