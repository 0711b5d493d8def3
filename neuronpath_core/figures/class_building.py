"""The figure of how each half of a block builds the class (Chapter 25), from tidy tables."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import looks
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    block_ticks,
    legend_outside,
    marker,
    styled,
)

HEIGHT = 1.95  # inches of a row of panels


@styled
def class_curves(table: pd.DataFrame, labels: Mapping[str, str],
                 chance: Mapping[str, str]) -> Figure:
    """Lines over the blocks of one model: a row per data set, a column per panel.

    Args:
        table: ``data, panel, line, block, value, low, high``.
        labels: of the vertical axis, by panel.
        chance: lines that are levels of chance, dashed, and of which line each has the colour; or
            ``""`` for grey.
    """
    data, panels = list(dict.fromkeys(table["data"])), list(labels)
    lines = [line for line in dict.fromkeys(table["line"]) if line not in chance]
    colours = {line: look.colour for line, look in looks(lines).items()}
    figure, axes = plt.subplots(len(data), len(panels), squeeze=False,
                                figsize=(WIDTH, 1.0 + HEIGHT * len(data)), sharex="row")
    shown: dict[str, object] = {}
    for row, name in enumerate(data):
        for axis, panel in zip(axes[row], panels, strict=True):
            here = table[(table["data"] == name) & (table["panel"] == panel)]
            for line, own in here.groupby("line", sort=False):
                colour = colours.get(line) or colours.get(chance[line], "0.45")
                dashed = line in chance
                drawn, = axis.plot(own["block"], own["value"], color=colour, label=line,
                                   linestyle="--" if dashed else "-", linewidth=1.2,
                                   marker="" if dashed else marker(lines.index(line)), markersize=4)
                shown.setdefault(line, drawn)
                if not dashed:
                    axis.fill_between(own["block"], own["low"], own["high"], color=colour,
                                      alpha=0.2, linewidth=0)
            axis.set_xticks(block_ticks(int(here["block"].max())))
            axis.tick_params(labelsize=LEAST)
            axis.set_ylim(0, 1.03)
            axis.set_title(f"{name}: {panel}", fontsize=SMALL)
            axis.set_ylabel(labels[panel], fontsize=LEAST)
            if row == len(data) - 1:
                axis.set_xlabel("block", fontsize=SMALL)
    first = axes[0, 0]
    own = {text.get_label() for text in first.lines}
    # one legend for all panels: lines that the first one lacks are named there as well
    for line, drawn in shown.items():
        if line not in own:
            first.plot([], [], color=drawn.get_color(), linestyle=drawn.get_linestyle(),
                       marker=drawn.get_marker(), linewidth=1.2, markersize=4, label=line)
    legend_outside(figure, first)
    return figure
