"""Figures of what path neurons mean (Chapter 30), from tidy tables and pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import looks
from neuronpath_core.figures.panels import marks_in_rows, quarters
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    legend_outside,
    styled,
)

if TYPE_CHECKING:
    from jaxtyping import UInt8

COLUMNS = 3


@styled
def meanings(table: pd.DataFrame) -> Figure:
    """What path neurons have beyond matched ones: a panel per question with its own unit, a row per
    model, a mark per data set with its 95 % interval; the line is no difference.

    ``table``: ``panel, unit, data, model, value, low, high``; at most six panels.
    """
    panels = list(dict.fromkeys(table["panel"]))
    models, data = (list(dict.fromkeys(table[name])) for name in ("model", "data"))
    lines = -(-len(panels) // COLUMNS)
    figure, axes = plt.subplots(lines, COLUMNS, squeeze=False, sharey=True,
                                figsize=(WIDTH, 0.5 + lines * (1.0 + 0.3 * len(models))))
    for axis, panel in zip(axes.flat, panels, strict=False):
        own = table[table["panel"] == panel]
        marks_in_rows(axis, own, "data", data, "model", models, 0.5)
        axis.axvline(0, color="0.15", linewidth=0.9)
        axis.set_title(panel, fontsize=SMALL)
        axis.set_xlabel(own["unit"].iloc[0], fontsize=LEAST)
        axis.set_yticks(range(len(models)), models, fontsize=SMALL)
        axis.set_ylim(len(models) - 0.5, -0.5)
        axis.grid(False, axis="y")
        axis.tick_params(labelsize=LEAST)
    for axis in axes.flat:
        axis.set_visible(axis.has_data())
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def writing_by_depth(table: pd.DataFrame) -> Figure:
    """What path neurons have beyond matched ones, block by block: a panel per data set, a colour
    and a mark per model, bands for 95 % intervals; the line is no difference.

    ``table``: ``data, model, depth, value, low, high``.
    """
    parts = dict(list(table.groupby("data", sort=False)))
    models = list(dict.fromkeys(table["model"]))
    look_of = looks(models)
    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 3.0), squeeze=False, sharey=True)
    for axis, (data, own) in zip(axes[0], parts.items(), strict=True):
        for number, model in enumerate(models):
            rows = own[own["model"] == model].sort_values("depth")
            every = max(1, len(rows) // 6)
            axis.plot(rows["depth"], rows["value"], color=look_of[model].colour, linewidth=1.4,
                      marker=look_of[model].mark, markersize=4.5, label=model,
                      markevery=(number % every, every))
            axis.fill_between(rows["depth"], rows["low"], rows["high"], color=look_of[model].colour,
                              alpha=0.15, linewidth=0)
        axis.axhline(0, color="0.15", linewidth=0.9)
        axis.set(title=data, xlabel="depth, share of the blocks", xlim=(-0.02, 1.03))
        quarters(axis)
        axis.tick_params(labelsize=LEAST)
    axes[0, 0].set_ylabel("share of the block below it", fontsize=SMALL)
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def path_pictures(pictures: Mapping[str, UInt8[np.ndarray, "class height width 3"]],
                  names: Sequence[str], most: int = 10) -> Figure:
    """Synthetic images: a row for each source, a column for each class.

    Args:
        pictures: by source, from black (0) to white (255).
        names: of the classes.
        most: columns that are shown, spread over the classes.
    """
    shown = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    stacks = [images[shown] for images in pictures.values()]
    height, width = stacks[0].shape[1:3]
    gap = max(1, height // 8)
    sheet = np.full((len(stacks) * (height + gap) - gap, len(shown) * (width + gap) - gap, 4), 0,
                    np.uint8)  # what lies between the images is not painted
    for row, images in enumerate(stacks):
        for column, image in enumerate(images):
            top, left = row * (height + gap), column * (width + gap)
            sheet[top:top + height, left:left + width, :3] = image
            sheet[top:top + height, left:left + width, 3] = 255
    figure, axis = plt.subplots(figsize=(WIDTH, 0.5 + 0.62 * len(stacks)))
    axis.imshow(sheet, interpolation="none")
    axis.set_yticks((height - 1) / 2 + (height + gap) * np.arange(len(stacks)),
                    [textwrap.fill(source, 16) for source in pictures], fontsize=LEAST)
    axis.set_xticks((width - 1) / 2 + (width + gap) * np.arange(len(shown)),
                    [str(names[label]).replace(" ", "\n") for label in shown], fontsize=LEAST)
    axis.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure
