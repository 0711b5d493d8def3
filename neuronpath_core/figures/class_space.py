"""Figures of what tokens say of the class (Chapter 24), from tidy tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neuronpath_core.figures.colours import Look, looks
from neuronpath_core.figures.panels import model_rows, quarters
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    legend_above,
    legend_outside,
    marker,
    styled,
)

GREY = "0.5"
DASHED = (0, (4, 2))
# of band, fill area and background; the models of the same figure have the first colours
REGION_COLOURS = ("#7a3e9d", "#8c510a", "#35978f")


def _depth_axis(axis: Axes) -> None:
    axis.set(xlabel="depth, share of the blocks", xlim=(-0.02, 1.03))
    quarters(axis)
    axis.tick_params(labelsize=LEAST)


def _line(axis: Axes, rows: pd.DataFrame, number: int, look: Look, label: str,
          style: object = "-", marked: bool = True) -> None:
    """A curve over the depth with its interval as a band, and a mark every few blocks."""
    every = max(1, len(rows) // 6)
    axis.plot(rows["depth"], rows["value"], color=look.colour, linestyle=style, linewidth=1.4,
              marker=look.mark if marked else None, markersize=4.5, label=label,
              markevery=(number % every, every))
    axis.fill_between(rows["depth"], rows["low"], rows["high"], color=look.colour, alpha=0.18,
                      linewidth=0)


@styled
def identifiability_curves(table: pd.DataFrame) -> Figure:
    """How high tokens rank their label after every block: a panel per data set, a colour and a mark
    per model; image tokens in full, class tokens dashed without marks, random weights dotted in
    grey, and what a random order has on average as a line.

    ``table``: ``data, model, tokens, depth, value, low, high, chance``.
    """
    parts = dict(list(table.groupby("data", sort=False)))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.6), squeeze=False, sharey=True)
    models = list(dict.fromkeys(table["model"]))
    look_of = looks(models)
    for axis, (data, own) in zip(axes[0], parts.items(), strict=True):
        for number, model in enumerate(models):
            rows = own[own["model"] == model]
            kinds = {name: each.sort_values("depth") for name, each in rows.groupby("tokens")}
            if "random weights" in kinds:
                random = kinds["random weights"]
                axis.plot(random["depth"], random["value"], color=GREY, linewidth=0.9,
                          linestyle=":", label="random weights" if not number else None)
            if "class token" in kinds:
                _line(axis, kinds["class token"], number, look_of[model], f"{model}, class token",
                      DASHED, marked=False)
            if "image tokens" in kinds:
                _line(axis, kinds["image tokens"], number, look_of[model], f"{model}, image tokens")
        axis.axhline(own["chance"].iloc[0], color="0.15", linewidth=0.9, label="random order")
        axis.set(title=data, ylim=(0.4, 1.03))
        _depth_axis(axis)
    axes[0, 0].set_ylabel("identifiability (1: label first)")
    # colours tell the models, dashes the class tokens: not a line of the legend for each of both
    handles, labels = axes[0, 0].get_legend_handles_labels()
    drawn = dict(zip(labels, handles, strict=True))
    named = {model: drawn[label] for model in models
             if (label := f"{model}, image tokens") in drawn}
    if any(label.endswith(", class token") for label in drawn):
        named["class token"] = Line2D([], [], color=GREY, linestyle=DASHED, linewidth=1.4)
    named |= {label: drawn[label] for label in ("random weights", "random order") if label in drawn}
    legend_above(figure, list(named.values()), list(named))
    return figure


@styled
def token_cuts(table: pd.DataFrame) -> Figure:
    """Share of image tokens that identify their class in the last block, as the model is and under
    each cut: a row per model and a panel per data set; intervals over images, and a line at 1/C.

    ``table``: ``data, model, cut`` (in words), ``value, low, high, chance``.
    """
    figure, panels = model_rows(table, "cut", room=0.7, height=0.55)
    for axis, own in panels:
        axis.axvline(own["chance"].iloc[0], color="0.15", linewidth=0.9, linestyle=DASHED,
                     label="chance, 1/classes")
        axis.set(xlabel="share of the image tokens", xlim=(-0.02, 0.85))
        axis.tick_params(labelsize=LEAST)
    legend_outside(figure, panels[0][0])
    return figure


@styled
def where_it_is_known(gaps: pd.DataFrame, regions: pd.DataFrame) -> Figure:
    """Where the tokens lie that know the class.  Upper row, a panel per data set: identifiability
    of tokens on the object minus that of others after every block, a line per model, and in grey
    the same with the masks of other images of the class.  Lower row, for the scenes of one model:
    how high tokens of each part rank the outline and the fill; one half is chance.

    ``gaps``: ``data, model, depth, value, low, high, dealt``.  ``regions``: ``group, region, depth,
    value, low, high``; none, no lower row.
    """
    parts = dict(list(gaps.groupby("data", sort=False)))
    groups = dict(list(regions.groupby("group", sort=False))) if len(regions) else {}
    columns = max(len(parts), len(groups), 1)
    lines = 1 + bool(groups)
    figure, axes = plt.subplots(lines, columns, figsize=(WIDTH, 2.6 * lines + 0.7), squeeze=False)
    models = list(dict.fromkeys(gaps["model"]))
    look_of = looks(models)
    for axis, (data, own) in zip(axes[0], parts.items(), strict=False):
        for number, model in enumerate(models):
            rows = own[own["model"] == model].sort_values("depth")
            axis.plot(rows["depth"], rows["dealt"], color=GREY, linewidth=1, linestyle=":",
                      label=None if number else "mask of another image")
            _line(axis, rows, number, look_of[model], model)
        axis.axhline(0, color="0.15", linewidth=0.9)
        axis.set_title(data, fontsize=SMALL)
        _depth_axis(axis)
    axes[0, 0].set_ylabel("identifiability on the object\nminus elsewhere", fontsize=SMALL)
    for axis, (name, own) in zip(axes[-1] if groups else [], groups.items(), strict=False):
        for number, (region, rows) in enumerate(own.groupby("region", sort=False)):
            _line(axis, rows.sort_values("depth"), number,
                  Look(REGION_COLOURS[number % 3], marker(number)), region)
        axis.axhline(0.5, color="0.15", linewidth=0.9)
        axis.set_title(f"shapes: the {name} alone", fontsize=SMALL)
        axis.set_ylim(min(0.4, axis.get_ylim()[0]), 1.03)
        _depth_axis(axis)
    if groups:
        axes[1, 0].set_ylabel("rank of the right one (1: first)", fontsize=SMALL)
    for axis in axes.flat:
        axis.set_visible(axis.has_data())
    handles = [pair for axis in (axes[0, 0], axes[-1, 0]) if axis.has_data()
               for pair in zip(*axis.get_legend_handles_labels(), strict=True)]
    named = {label: handle for handle, label in handles}
    legend_above(figure, list(named.values()), list(named))
    return figure
