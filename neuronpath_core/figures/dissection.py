"""Figures of what neurons detect (Chapter 28), from tidy tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neuronpath_core.figures.colours import BROWN, SKY, VERMILION, looks
from neuronpath_core.figures.panels import marks_in_rows, quarters
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
DASHES = ((0, (4, 2)), (0, (6, 1, 1, 1)), (0, (2, 1)), (0, (8, 3)))  # of models
# of kinds, in the order in which they are drawn; told apart by marks too.  All that a panel has
# besides is one curve, so that the legend stays as short as a telephone needs it
# none that a model has
KIND_COLOURS = {"colour": VERMILION, "fill": SKY, "outline": BROWN, "class": SKY}
KIND_WORDS = {"colour": "colours", "fill": "fills", "outline": "outlines", "class": "classes"}
REST, REST_COLOUR = "all else", "0.2"


def _depth_axis(axis: Axes) -> None:
    axis.set(xlim=(0, 1.03))
    axis.set_xlabel("depth, share of the blocks", fontsize=SMALL)
    quarters(axis)
    axis.tick_params(labelsize=LEAST)


@styled
def kinds_by_depth(kinds: pd.DataFrame, detectors: pd.DataFrame) -> Figure:
    """What neurons are called, and how many detect anything, block by block.  Left, a panel per
    model of the first data set with more than one kind of specific label: the share of neurons with
    labels of each specific kind, and of all general ones together.  Right, a panel per data set:
    the share of neurons that detect a concept, in colours, and dotted what dealt masks give.

    ``kinds``: ``data, model, depth, kind, value``.  ``detectors``: ``data, model, depth, value,
    dealt``.
    """
    data = next((name for name, own in kinds.groupby("data", sort=False)
                 if {"outline", "colour"} <= set(own["kind"])), kinds["data"].iloc[0])
    own = kinds[kinds["data"] == data]
    models = list(dict.fromkeys(own["model"]))
    sets = list(dict.fromkeys(detectors["data"]))
    cells = [("kinds", model) for model in models[:4]] + [("detectors", name) for name in sets[:2]]
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 4.9), squeeze=False)
    left = [axes[0, 0], axes[0, 1], axes[1, 0], axes[1, 1]]
    right = [axes[0, 2], axes[1, 2]]
    handles: dict[str, Line2D] = {}
    for (_, model), axis in zip(cells[:len(models[:4])], left, strict=False):
        _kinds(axis, own[own["model"] == model], handles)
        axis.set_title(f"{data}: {model}", fontsize=SMALL)
    named = list(dict.fromkeys(detectors["model"]))
    colours = {model: look.colour for model, look in looks(named).items()}
    for name, axis in zip(sets, right, strict=False):
        _detectors(axis, detectors[detectors["data"] == name], colours, handles)
        axis.set_title(f"{name}: detectors", fontsize=SMALL)
    for axis in axes.flat:
        axis.set_visible(axis.has_data())
    for axis in (axes[0, 0], axes[1, 0]):
        axis.set_ylabel("share of the neurons", fontsize=SMALL)
    legend_above(figure, list(handles.values()), list(handles))
    return figure


def _kinds(axis: Axes, own: pd.DataFrame, handles: dict[str, Line2D]) -> None:
    named = own["kind"].map(KIND_WORDS).fillna(REST)
    shares = own.assign(kind=named).groupby(["kind", "depth"], as_index=False)["value"].sum()
    colours = {KIND_WORDS[kind]: colour for kind, colour in KIND_COLOURS.items()}
    for number, (kind, colour) in enumerate({**colours, REST: REST_COLOUR}.items()):
        rows = shares[shares["kind"] == kind].sort_values("depth")
        if rows.empty:
            continue
        line, = axis.plot(rows["depth"], rows["value"], color=colour, linewidth=1.4,
                          marker=marker(number), markersize=3.5,
                          markevery=max(1, len(rows) // 6))
        handles.setdefault(kind, line)
    axis.set_ylim(-0.02, 1.02)
    _depth_axis(axis)


def _detectors(axis: Axes, own: pd.DataFrame, colours: dict, handles: dict[str, Line2D]) -> None:
    for number, (model, rows) in enumerate(own.groupby("model", sort=False)):
        rows = rows.sort_values("depth")
        style = {"linestyle": DASHES[number % len(DASHES)], "color": colours[model]}
        line, = axis.plot(rows["depth"], rows["value"], linewidth=1.4, **style)
        handles.setdefault(model, line)
        chance, = axis.plot(rows["depth"], rows["dealt"], color=GREY, linewidth=1, linestyle=":")
    handles.setdefault("masks of other images", chance)
    axis.set_ylim(-0.02, 1.02)
    _depth_axis(axis)


@styled
def label_truth(truth: pd.DataFrame, moved: pd.DataFrame) -> Figure:
    """Whether labels are true, a row per labeler and a mark per model: how much better than dealt
    labels they predict scores of other images, by data set, and last how much more what they name
    moves the neuron.  Lines: nothing better.

    ``truth``, ``moved``: ``data, model, condition, value, low, high``.
    """
    panels = [(name, own, "area under the curve,\nbeyond dealt labels")
              for name, own in truth.groupby("data", sort=False)]
    if len(moved):
        panels.append((f"{moved['data'].iloc[0]}, changed", moved,
                       "standard deviations,\nbeyond dealt labels"))
    conditions = list(dict.fromkeys(truth["condition"]))
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.2), squeeze=False, sharey=True)
    models = list(dict.fromkeys(truth["model"]))
    for axis, (title, own, unit) in zip(axes[0], panels, strict=True):
        marks_in_rows(axis, own, "model", models, "condition", conditions, 0.6, size=4)
        axis.axvline(0, color="0.15", linewidth=0.9)
        axis.set_title(title, fontsize=SMALL)
        axis.set_xlabel(unit, fontsize=LEAST)
        axis.tick_params(labelsize=LEAST)
        axis.grid(False, axis="y")
    words = [each.removeprefix("labels by ") for each in conditions]
    axes[0, 0].set_yticks(np.arange(len(conditions)), words, fontsize=SMALL)
    axes[0, 0].set_ylim(len(conditions) - 0.5, -0.5)
    legend_outside(figure, axes[0, 0])
    return figure
