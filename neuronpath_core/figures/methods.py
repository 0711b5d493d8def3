"""The figure of Chapter 21: what each method's paths do, against what they cost to find."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from neuronpath_core.figures.colours import VERMILION, looks
from neuronpath_core.figures.style import (
    LEAST,
    MARKERS,
    SMALL,
    WIDTH,
    marker,
    styled,
)

# shares at which the axis has a line, and the room above all of the effect for its labels
TICKS, HIGHEST = (0, 0.25, 0.5, 0.75, 1), 1.12
# where a method that takes no pass is drawn
NO_PASS = 0.2
# where a name may stand, in points from its mark, the best place first
SIDES = ((8, 0, "left"), (-8, 0, "right"), (0, 11, "center"), (0, -11, "center"), (8, 11, "left"),
         (8, -11, "left"), (-8, 11, "right"), (-8, -11, "right"), (8, 22, "left"),
         (8, -22, "left"))
FADED, RECOMMENDED = "0.55", VERMILION
# the line from a name to a mark that it does not stand beside, in points from the mark
LEADER = {"arrowstyle": "-", "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4}
ENDS = {"left": (0, 0.5), "right": (1, 0.5), "center": (0.5, 0.5)}


@styled
def method_front(table: pd.DataFrame, joined: Sequence[str], line: str, marked: str = "",
                 compared: Sequence[str] = ()) -> Figure:
    """Share of the largest effect that each method reaches, over the passes that it takes: a panel
    per condition, the first the largest; a small mark per model, a large one at the mean over them.
    Methods that are one at several budgets are joined by a line; those of ``compared`` are
    coloured, all others grey, each with a shape of its own.

    Args:
        table: ``condition, data, model, method`` (as it is to be called), ``passes, value``. A
            method without passes is drawn at the left edge.
        joined: the methods on the line, of which each point is labelled with its mean.
        line: what the line is called.
        marked: the method on the line that is recommended; it is named so beside its budget.
        compared: methods to set apart from the others by a colour.
    """
    conditions, methods = (list(dict.fromkeys(table[name])) for name in ("condition", "method"))
    alone = [method for method in methods if method not in joined]
    alone = [*(method for method in compared if method in alone),
             *(method for method in alone if method not in compared)]
    bright = {name: look.colour for name, look in looks(compared).items()}
    rest = conditions[1:]
    figure = plt.figure(figsize=(WIDTH, 5.4 + 2.2 * bool(rest)))
    grid = figure.add_gridspec(2, len(rest), height_ratios=(2, 1)) if rest else \
        figure.add_gridspec(1, 1)
    axes = [figure.add_subplot(grid[0, :])]
    axes += [figure.add_subplot(grid[1, place]) for place in range(len(rest))]
    for axis, condition in zip(axes, conditions, strict=True):
        own = table[table["condition"] == condition]
        _line(axis, own[own["method"].isin(joined)], line, axis is axes[0], marked)
        for number, method in enumerate(alone):
            _points(axis, own[own["method"] == method], bright.get(method), number + 1, method)
        _frame(axis, condition, axis is axes[0] or axis is axes[1], axis is axes[0])
    _name_marks(axes[0], {line, *alone}, bright)
    return figure


def _name_marks(axis: Axes, names: Collection[str], colours: Mapping[str, tuple]) -> None:
    """Write each name beside its large mark, at the first side where neither another mark nor a
    word is: a legend of a dozen shapes would be as high as the panel.  A name that stands aslant
    has a thin line to its mark, or it would be read as that of another."""
    axis.figure.canvas.draw()
    drawn = [line for line in axis.lines if line.get_label() in names]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for line in axis.lines
             if line.get_markersize() > 4
             for x, y in axis.transData.transform(line.get_xydata())]
    taken += [text.get_window_extent() for text in axis.texts]
    for line in drawn:
        for x, y, side in SIDES:
            colour = colours.get(line.get_label(), "0.25")
            leader = {**LEADER, "color": colour, "relpos": ENDS[side]} if x and y else None
            text = axis.annotate(line.get_label(), line.get_xydata()[-1], xytext=(x, y),
                                 textcoords="offset points", ha=side, va="center", fontsize=LEAST,
                                 color=colour, arrowprops=leader, zorder=7)
            text.get_window_extent()  # puts the letters in their place
            box = Text.get_window_extent(text).padded(2)  # theirs alone, without the line
            inside = axis.bbox.x0 < box.x0 and box.x1 < axis.bbox.x1
            if (inside and not box.count_overlaps(taken)) or (x, y, side) == SIDES[-1]:
                taken.append(box)
                break
            text.remove()


def _line(axis: Axes, rows: pd.DataFrame, name: str, labelled: bool, marked: str) -> None:
    """The methods that are one at several budgets, the recommended one ringed."""
    means = rows.groupby("method", sort=False)[["passes", "value"]].mean().sort_values("passes")
    axis.plot(rows["passes"], rows["value"], linestyle="none", marker=".", markersize=3,
              color="0.55")
    axis.plot(means["passes"], means["value"], color="0.1", marker=marker(0), markersize=5,
              linewidth=1.8, label=name, zorder=4)
    if marked in means.index:
        axis.plot(means.loc[[marked], "passes"], means.loc[[marked], "value"], marker="o",
                  markersize=11, markerfacecolor="none", markeredgewidth=2, linestyle="none",
                  color=RECOMMENDED, zorder=6)
    for method, passes, value in means.itertuples() if labelled else ():
        # with one decimal, as in the tables
        text, at = f"{100 * value:.1f} %", (passes, value)
        if method == marked:
            axis.annotate(f"recommended ({method.rpartition(', ')[2].split()[0]}): {text}", at,
                          xytext=(10, -12), textcoords="offset points", fontsize=SMALL,
                          fontweight="bold", zorder=7)
        else:
            # above the rising line, left of the marks of single models
            axis.annotate(text, at, xytext=(-9, 6), textcoords="offset points", ha="right",
                          fontsize=LEAST, zorder=5)


def _points(axis: Axes, rows: pd.DataFrame, colour, number: int, name: str) -> None:
    """One method beside the line, grey where it has no colour."""
    if not len(rows):
        return
    colour = FADED if colour is None else colour
    # shapes that come again are open
    shape, is_open = marker(number), number >= len(MARKERS)
    passes = rows["passes"].where(rows["passes"] > 0, NO_PASS)
    axis.plot(passes, rows["value"], linestyle="none", marker=shape, markersize=2.5,
              color=colour, alpha=0.6)
    # a geometric mean lies in the middle of a logarithmic axis
    axis.plot(np.exp(np.log(passes).mean()), rows["value"].mean(), linestyle="none",
              marker=shape, markersize=8, color=colour, label=name, zorder=3,
              **({"markerfacecolor": "none", "markeredgewidth": 1.8} if is_open else
                 {"markeredgecolor": "white", "markeredgewidth": 0.6}))


def _frame(axis: Axes, condition: str, named: bool, large: bool) -> None:
    axis.set_xscale("log")
    axis.set_yticks(TICKS, [f"{100 * tick:g} %" for tick in TICKS])
    axis.tick_params(labelsize=SMALL)
    lowest = min(float(value) for line in axis.lines for value in line.get_ydata())
    axis.set_ylim(min(lowest, 0) - 0.05, HIGHEST)
    places = (1, 10, 100, 1000) if not large else (NO_PASS, 1, 3, 10, 30, 100, 300, 1000)
    axis.set_xticks(places, ["none" if place == NO_PASS else f"{place:g}" for place in places])
    axis.minorticks_off()
    axis.set_title(condition, fontsize=SMALL + 0.5)
    axis.set_xlabel("passes of the whole model, forward and back, for one image", fontsize=SMALL) \
        if large else axis.set_xlabel("passes", fontsize=SMALL)
    if named:
        axis.set_ylabel("share of the best known effect" if large else "share",
                        fontsize=SMALL)
