"""Figures of images that drive single neurons (Chapter 29), from tidy tables and from the images
themselves, which are made and no photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from scipy.stats import norm

from neuronpath_core.figures.panels import marks_in_rows, ruled
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    legend_above,
    legend_outside,
    marker,
    styled,
)

if TYPE_CHECKING:
    from jaxtyping import Float

DASHED = (0, (4, 2))
RIM = 0.12  # of an image's side, between two images of a gallery
RIGHT, OTHERS = "#1b7837", "#762a83"  # named by its own model, by half of the other models
COLUMNS = 12  # images of a gallery's row that a page has room for


@styled
def recognition(table: pd.DataFrame) -> Figure:
    """How many classes are recognised in the image of one neuron: above by the model that it was
    made for, below by others; a panel per data set, a row per model, a mark per kind of neuron,
    chance as a dashed line.

    ``table``: ``data, model, measure`` (``own``, ``transfer``), ``condition, value, low, high,
    chance``.
    """
    data = list(dict.fromkeys(table["data"]))
    measures = {"own": "its own model", "transfer": "other models"}
    most = table.groupby("data")["model"].nunique().max()
    figure, axes = plt.subplots(2, len(data), squeeze=False, sharex=True,
                                figsize=(WIDTH, 1.4 + 1.2 * most))
    for row, (measure, words) in enumerate(measures.items()):
        for column, name in enumerate(data):
            own = table[(table["data"] == name) & (table["measure"] == measure)]
            _model_marks(axes[row, column], own)
            axes[row, column].set_title(f"{name}, {words}", fontsize=SMALL)
    for axis in axes[1]:
        axis.set_xlabel("share of the classes that are recognised", fontsize=SMALL)
    legend_outside(figure, axes[0, 0])
    return figure


def _model_marks(axis: Axes, table: pd.DataFrame) -> None:
    models, kinds = (list(dict.fromkeys(table[name])) for name in ("model", "condition"))
    marks_in_rows(axis, table, "condition", kinds, "model", models, 0.7)
    if len(table):
        axis.axvline(table["chance"].iloc[0], color="0.15", linewidth=0.9, linestyle=DASHED,
                     label="chance, 1/classes")
    axis.set_yticks(range(len(models)), models, fontsize=SMALL)
    axis.set(xlim=(-0.03, 1.03), ylim=(len(models) - 0.5, -0.5))
    axis.tick_params(labelsize=LEAST)
    ruled(axis, len(models))


def columns_of(classes: int) -> Float[np.ndarray, "column"]:
    """Which classes a gallery shows: all of a few, of more some that lie evenly among them."""
    return np.unique(np.linspace(0, classes - 1, min(classes, COLUMNS)).round().astype(int))


@styled
def gallery(images: Mapping[str, Mapping[str, np.ndarray]], names: Mapping[str, Sequence[str]],
            marks: pd.DataFrame) -> Figure:
    """Made images: a part per data set, a row per kind of neuron, a column per class.  A green
    frame: its own model names the class; a purple dot: so do at least half of the other models.

    ``images``: data -> row -> ``(class, height, width, colour)`` in 0..1, with one or three
    colours; ``names``: data -> a name a class; ``marks``: ``data, condition, class, own,
    transfer``, conditions that are rows.
    """
    heights = [len(rows) for rows in images.values()]
    figure, axes = plt.subplots(len(images), 1, squeeze=False, gridspec_kw={
        "height_ratios": heights}, figsize=(WIDTH, 0.5 * sum(heights) + 0.75 * len(images)))
    for axis, (data, rows) in zip(axes[:, 0], images.items(), strict=True):
        chosen = columns_of(len(names[data]))
        axis.imshow(mosaic([pictures[chosen] for pictures in rows.values()]), aspect="equal",
                    interpolation="nearest", extent=(0, len(chosen), len(rows), 0), cmap="gray",
                    vmin=0, vmax=1)
        for height, row in enumerate(rows):
            own = marks[(marks["data"] == data) & (marks["condition"] == row)].set_index("class")
            for place, number in enumerate(chosen):
                if number in own.index:
                    _mark(axis, place, height, own.loc[number])
        axis.set_yticks(np.arange(len(rows)) + 0.5, list(rows), fontsize=LEAST)
        axis.set_xticks(np.arange(len(chosen)) + 0.5, [
            names[data][number].replace(" ", "\n") for number in chosen], fontsize=LEAST)
        axis.tick_params(length=0)
        axis.grid(False)
        axis.set_frame_on(False)
        axis.set_title(data, fontsize=SMALL, loc="left")
    legend_above(figure, [
        Line2D([], [], marker="s", color=RIGHT, linestyle="", markerfacecolor="none"),
        Line2D([], [], marker="o", color=OTHERS, linestyle="", markersize=4)],
        ["its own model names the class", "half of the other models do"])
    return figure


def mosaic(rows: Sequence[Float[np.ndarray, "image height width colour"]]
           ) -> Float[np.ndarray, "row column colour"]:
    """Rows of images as one picture, a white rim around each."""
    lines = []
    for pictures in rows:
        side = round(RIM / 2 * pictures.shape[1])
        pictures = np.pad(pictures, ((0, 0), (side, side), (side, side), (0, 0)),
                          constant_values=1)
        lines.append(np.concatenate(list(pictures), 1))
    whole = np.concatenate(lines, 0)
    return whole[..., 0] if whole.shape[-1] == 1 else whole


def _mark(axis: Axes, place: int, height: int, row: pd.Series) -> None:
    if row["own"] == 1:
        axis.add_patch(Rectangle((place + 0.02, height + 0.02), 0.96, 0.96, fill=False,
                                 edgecolor=RIGHT, linewidth=1.6))
    if row["transfer"] >= 0.5:
        axis.plot(place + 0.88, height + 0.88, "o", color=OTHERS, markersize=4,
                  markeredgecolor="white", markeredgewidth=0.5)


@styled
def after_activation(table: pd.DataFrame) -> Figure:
    """What share of a neuron's gain an image reaches that is made after the activation function,
    over the neuron's mean pre-activation on the first image; a panel per data set, and the slope
    of GELU as a line.

    ``table``: ``data, start, reached, failed``.
    """
    parts = dict(list(table.groupby("data", sort=False)))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.0), squeeze=False, sharey=True)
    colours = sns.color_palette("colorblind", 4)
    places = np.linspace(min(-3, table["start"].min()), max(2, table["start"].max()), 200)
    for axis, (data, own) in zip(axes[0], parts.items(), strict=True):
        axis.plot(places, norm.cdf(places) + places * norm.pdf(places), color="0.4",
                  linewidth=1.2, linestyle=DASHED, label="slope of GELU")
        kinds = ((False, "at least half"), (True, "less: failed"))
        for number, (failed, words) in enumerate(kinds):
            rows = own[own["failed"] == failed]
            axis.plot(rows["start"], rows["reached"].clip(-1, 1.5), marker(number),
                      color=colours[(0, 3)[number]], markersize=4.5, label=words)
        axis.axhline(0.5, color="0.15", linewidth=0.8)
        axis.set(title=data, ylim=(-1.05, 1.55))
        axis.set_xlabel("mean pre-activation on the first image", fontsize=SMALL)
        axis.tick_params(labelsize=LEAST)
    axes[0, 0].set_ylabel("share of the gain that is reached", fontsize=SMALL)
    legend_outside(figure, axes[0, 0])
    return figure
