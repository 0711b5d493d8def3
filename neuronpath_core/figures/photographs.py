"""Figures of Chapter 31: data sets beside one another."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    beside,
    legend_above,
    marker,
    spans,
    styled,
)
from neuronpath_core.stats.units import UNITS

# how a mark is filled, by verdict, and what the legend says
FILLED = {"agrees": "for", "not shown": "neither shown", "contradicts": "against"}
_ACROSS, _TITLE = 3, 30  # panels in a row, letters of a title on a line


@styled
def data_sets(rows: pd.DataFrame) -> Figure:
    """The effects of several questions, a panel each, a row per data set, a mark per model with its
    95 % interval where there is one.

    A mark is full where the comparison speaks for the claim, open where it shows neither, and
    crossed where it speaks against.

    Args:
        rows: ``question, unit, data, model, value, low, high, verdict``; up to six questions.
    """
    questions, data = (list(dict.fromkeys(rows[name])) for name in ("question", "data"))
    down = -(-len(questions) // _ACROSS)
    figure, axes = plt.subplots(down, _ACROSS, figsize=(WIDTH, 0.5 + 2.1 * down), squeeze=False,
                                sharey=True)
    colours = dict(zip(data, sns.color_palette("colorblind", len(data)), strict=True))
    for axis, question in zip(axes.flat, questions, strict=False):
        own = rows[rows["question"] == question]
        _panel(axis, own, data, colours)
        axis.set_title(textwrap.fill(question, _TITLE), fontsize=SMALL)
    for axis in axes.flat[len(questions):]:
        axis.set_visible(False)
    axes[0, 0].set_yticks(range(len(data)), data, fontsize=SMALL)
    axes[0, 0].set_ylim(len(data) - 0.5, -0.5)
    legend_above(figure, [Line2D([], [], linestyle="", marker="X" if name == "contradicts" else "o",
                                 color="0.25", markersize=5, markerfacecolor="white"
                                 if name == "not shown" else "0.25") for name in FILLED],
                 list(FILLED.values()))
    return figure


def _panel(axis: Axes, own: pd.DataFrame, data: list[str], colours: dict) -> None:
    unit = UNITS[own["unit"].iloc[0]]
    scaled = own.assign(**{end: unit.factor * own[end].astype(float)
                           for end in ("value", "low", "high")})
    scaled[["low", "high"]] = scaled[["low", "high"]].where(
        scaled[["low", "high"]].notna(), scaled[["value", "value"]].to_numpy())
    for name, part in scaled.groupby("data", sort=False):
        for number, (_, row) in enumerate(part.iterrows()):
            mark = "X" if row["verdict"] == "contradicts" else marker(0)
            axis.errorbar(row["value"], data.index(name) + beside(number, len(part)),
                          xerr=spans(pd.DataFrame([row])), fmt=mark, color=colours[name],
                          markerfacecolor="white" if row["verdict"] == "not shown"
                          else colours[name], markersize=5, elinewidth=1, capsize=0)
    axis.axvline(0, color="0.25", linewidth=0.8)
    axis.set_xlabel(unit.words.strip(), fontsize=LEAST)
    axis.tick_params(axis="x", labelsize=LEAST)
    axis.locator_params(axis="x", nbins=4)
    axis.grid(False, axis="y")
