"""Panels that several figures are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import looks
from neuronpath_core.figures.style import SMALL, WIDTH, beside, legend_outside, spans


def model_rows(table: pd.DataFrame, of: str, *, room: float,
               height: float) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A panel per data set with a row per model, and in it a mark for each value of ``of`` with its
    interval.

    Args:
        table: ``data, model``, the column ``of`` in words, ``value, low, high``.
        of: the column that marks tell apart.
        room: share of a row that its marks take.
        height: of a row, in inches.

    Returns:
        The figure, without a legend, and each panel with its rows of the table.
    """
    parts, names = dict(list(table.groupby("data", sort=False))), list(dict.fromkeys(table[of]))
    most = max(own["model"].nunique() for own in parts.values())
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 1.35 + height * most),
                                squeeze=False)
    for axis, (data, own) in zip(axes[0], parts.items(), strict=True):
        models = list(dict.fromkeys(own["model"]))
        marks_in_rows(axis, own, of, names, "model", models, room)
        axis.set_yticks(range(len(models)), models, fontsize=SMALL)
        axis.set(title=data, ylim=(len(models) - 0.5, -0.5))
        ruled(axis, len(models))
    return figure, list(zip(axes[0], parts.values(), strict=True))


def marks_in_rows(axis: Axes, table: pd.DataFrame, of: str, names: Sequence[str], row: str,
                  rows: Sequence[str], room: float, size: float = 4.5, line: float = 1.0,
                  cap: float = 2.0) -> None:
    """Draw each value of a table with its interval in its row, marks of other names beside one
    another in colours and shapes of their own.

    Args:
        axis: an empty panel.
        table: the columns ``of`` and ``row``, ``value, low, high``.
        of, names: the column that marks tell apart, and its values in the order of the legend.
        row, rows: the column that rows tell apart, and its values from above.
        room: share of a row that its marks take.
        size, line, cap: of a mark, of its interval and of the interval's ends, in points.
    """
    for number, (name, look) in enumerate(looks(names).items()):
        own = table[table[of] == name]
        heights = [rows.index(each) + beside(number, len(names), room) for each in own[row]]
        axis.errorbar(own["value"], heights, xerr=spans(own), linestyle="none", **look.drawn,
                      markersize=size, elinewidth=line, capsize=cap, label=name)


def quarters(axis: Axes) -> None:
    """Mark the quarters of an axis that goes from 0 to 1."""
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])


def ruled(axis: Axes, rows: int) -> None:
    """Draw thin lines between a panel's rows, and none through them."""
    axis.grid(False, axis="y")
    for height in range(1, rows):
        axis.axhline(height - 0.5, color="0.85", linewidth=0.5)


def crossed(table: pd.DataFrame, across: str, height: float, xlabel: str,
            ylabel: str) -> tuple[Figure, Iterator[tuple[Axes, pd.DataFrame]]]:
    """A row of panels per data set and a column for each value of ``across``, shares from 0 to 1
    upwards, and in each a dotted line at what guessing would get.

    Args:
        table: ``data``, the column ``across`` in words, ``chance``.
        across: the column whose values stand side by side.
        height: of a row of panels, in inches.
        xlabel, ylabel: of the lowest and of the leftmost panels.

    Returns:
        The figure, and each panel with its rows of the table; when the last was taken the legend of
        the first one is drawn.
    """
    data, columns = (list(dict.fromkeys(table[name])) for name in ("data", across))
    figure, axes = plt.subplots(len(data), len(columns), squeeze=False, sharex=True, sharey=True,
                                figsize=(WIDTH, 0.8 + height * len(data)))

    def panels() -> Iterator[tuple[Axes, pd.DataFrame]]:
        for row, name in enumerate(data):
            for column, value in enumerate(columns):
                axis = axes[row, column]
                own = table[(table["data"] == name) & (table[across] == value)]
                yield axis, own
                axis.axhline(own["chance"].iloc[0], color="0.4", linestyle=":", linewidth=1)
                axis.set(title=f"{name}, {value}", ylim=(0, 1.02),
                         xlabel=xlabel if row == len(data) - 1 else "",
                         ylabel="" if column else ylabel)
        legend_outside(figure, axes[0, 0])
    return figure, panels()
