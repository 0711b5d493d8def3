"""The figure of chapter 20, from tidy tables: what the best neurons keep, and what is left without
them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from neuronpath_core.figures.style import (
    SMALL,
    WIDTH,
    legend_outside,
    marker,
    spans,
    styled,
    whiskers,
)

_SIDES = {"keep": ("-", "kept", None), "remove": ("--", "removed", "none")}


@styled
def faithfulness_curves(curves: pd.DataFrame, paths: pd.DataFrame) -> Figure:
    """What is left of the decision when the best share of all neurons is kept (solid lines) and
    when it is removed (dashed), and the place of paths (marks, filled if kept), with 95 %
    intervals: a panel per data set and model, a colour and a mark per ranking.

    The axis of shares is logarithmic.  Lines mark the whole model, 1, and none of its neurons, 0.

    ``curves``, ``paths``: ``data, model, ranking`` (as it is to be called), ``side`` (``"keep"`` or
    ``"remove"``), ``share`` (per cent), ``value, low, high``.
    """
    cells = list(curves[["data", "model"]].drop_duplicates().itertuples(index=False, name=None))
    rankings, named = (list(dict.fromkeys(table["ranking"])) for table in (curves, paths))
    colours = sns.color_palette("colorblind", len(rankings) + len(named))
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
                        whiskers(axis, own["share"], own, fmt=marker(kind), color=colours[kind],
                                 markerfacecolor=face, markersize=7, ecolor=None, zorder=4,
                                 label=f"{name}, {word}")
                        continue
                    axis.plot(own["share"], own["value"], line, marker=marker(kind), markersize=3.5,
                              linewidth=1.2, color=colours[kind], markerfacecolor=face,
                              label=f"{name}, {word}")
                    below, above = spans(own)
                    axis.fill_between(own["share"], own["value"] - below, own["value"] + above,
                                      color=colours[kind], alpha=0.12, linewidth=0)
        for height in (0, 1):
            axis.axhline(height, color="0.25", linewidth=0.8)
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
    legend_outside(figure, axes[0, 0], ncols=2)
    return figure
