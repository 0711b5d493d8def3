"""Figures of neurons that write a class (Chapter 27), from tidy tables and small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import looks
from neuronpath_core.figures.panels import model_rows, quarters
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    legend_outside,
    marker,
    styled,
)

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

DASHED = (0, (4, 2))
LEVEL = "0.15"
CONTOUR = "#d7301f"


@dataclass(frozen=True)
class Example:
    """One image and what key neurons make of it.

    Attributes:
        name: the class.
        pixels: of the original.
        mask: of the object.
        neurons: the first two key neurons, blocks and numbers from 1 and 0 as paths have them.
        maps: of these, as large as the image, each in [0, 1] on its neuron's scale over the images
            of the class.
        found: their AUROC.
    """

    name: str
    pixels: np.ndarray
    mask: Bool[np.ndarray, "height width"]
    neurons: tuple[str, str]
    maps: Float[np.ndarray, "rank height width"]
    found: tuple[float, float]


@styled
def found_objects(table: pd.DataFrame) -> Figure:
    """What maps find, a row per model and a panel per image set: the area under the ROC curve of
    each thing that is looked at, with intervals over classes, and a line at one half.

    ``table``: ``data, model, of`` (in words), ``value, low, high``.
    """
    figure, panels = model_rows(table, "of", room=0.7, height=0.75)
    for number, (axis, _) in enumerate(panels):
        axis.axvline(0.5, color=LEVEL, linewidth=0.9, linestyle=DASHED, label="chance")
        axis.set(xlim=(0.15, 0.95), xlabel="area under the ROC curve" if number == 1 or len(
            panels) < 2 else "")
        axis.set_xticks([0.25, 0.5, 0.75])
        axis.tick_params(labelsize=LEAST)
        if number:
            axis.set_yticklabels([])
    legend_outside(figure, panels[0][0])
    return figure


def _depth_axis(axis: Axes) -> None:
    axis.set(xlabel="depth, share of the blocks", xlim=(-0.02, 1.03))
    quarters(axis)
    axis.tick_params(labelsize=LEAST)


def _panels(table: pd.DataFrame) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    parts = dict(list(table.groupby("data", sort=False)))
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 2.9), squeeze=False, sharey=True)
    for axis, data in zip(axes[0], parts, strict=True):
        axis.set_title(data)
        _depth_axis(axis)
    return figure, list(zip(axes[0], parts.values(), strict=True))


@styled
def best_blocks(table: pd.DataFrame) -> Figure:
    """Up to which depth the best neuron of how many classes lies, a line per model; the dashed line
    is a block drawn uniformly for each class.

    ``table``: ``data, model, block, classes``.
    """
    figure, panels = _panels(table)
    for axis, own in panels:
        look_of = looks(own["model"])
        for model, rows in own.groupby("model", sort=False):
            counts = rows.sort_values("block")["classes"].to_numpy()
            depth = np.arange(len(counts) + 1) / len(counts)
            axis.plot(depth, np.concatenate([[0], counts.cumsum() / counts.sum()]), label=model,
                      **look_of[model].drawn, markersize=4.5, linewidth=1.4,
                      markevery=max(1, len(counts) // 6))
        axis.plot([0, 1], [0, 1], color=LEVEL, linewidth=0.9, linestyle=DASHED,
                  label="drawn uniformly")
        axis.set_ylim(-0.02, 1.03)
    panels[0][0].set_ylabel("share of the classes", fontsize=SMALL)
    legend_outside(figure, panels[0][0])
    return figure


@styled
def over_depth(table: pd.DataFrame, ylabel: str, level: float) -> Figure:
    """Curves over the depth, a panel per image set and a line for each value of ``of``, with bands
    over classes; the dashed line is chance.

    ``table``: ``data, of, depth, value, low, high``, of one model.
    """
    figure, panels = _panels(table)
    colours = sns.color_palette("colorblind", max(3, table["of"].nunique()))
    names = list(dict.fromkeys(table["of"]))
    for axis, own in panels:
        for number, name in enumerate(names):
            rows = own[own["of"] == name].sort_values("depth")
            if len(rows):
                axis.plot(rows["depth"], rows["value"], color=colours[number], label=name,
                          marker=marker(number), markersize=4.5, linewidth=1.4,
                          markevery=max(1, len(rows) // 6))
                axis.fill_between(rows["depth"], rows["low"], rows["high"], linewidth=0,
                                  color=colours[number], alpha=0.18)
        axis.axhline(level, color=LEVEL, linewidth=0.9, linestyle=DASHED)
    panels[0][0].set_ylabel(ylabel, fontsize=SMALL)
    most = max(panels, key=lambda pair: len(pair[0].get_legend_handles_labels()[0]))[0]
    legend_outside(figure, most)
    return figure


@styled
def map_examples(examples: Sequence[Example]) -> Figure:
    """Rendered scenes or scanned digits with maps of their class's key neurons, a row for each.

    The columns are the image with the edge of its object and the maps of the first two key neurons,
    each on its neuron's scale over the images of the class.
    """
    figure, axes = plt.subplots(len(examples), 3, figsize=(WIDTH, 2.4 * len(examples) + 0.3),
                                squeeze=False)
    for row, example in zip(axes, examples, strict=True):
        row[0].imshow(example.pixels, cmap="gray_r", interpolation="nearest")
        row[0].set_ylabel(example.name, fontsize=SMALL)
        row[0].set_title("image and object", fontsize=SMALL)
        for axis, rank in zip(row[1:], (0, 1), strict=True):
            axis.imshow(example.maps[rank], cmap="viridis", vmin=0, vmax=1)
            axis.set_title(f"{example.neurons[rank]}: AUROC {example.found[rank]:.2f}",
                           fontsize=SMALL)
        for axis in row:
            _edge(axis, example.mask)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
    return figure


def _edge(axis: Axes, mask: np.ndarray) -> None:
    if mask.any() and not mask.all():
        axis.contour(mask, levels=[0.5], colors=CONTOUR, linewidths=1)
