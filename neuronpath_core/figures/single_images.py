"""Paths of single images: the picture, its path through the blocks, and what the path does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuronpath_core import interventions
from neuronpath_core.figures.colours import EDITS
from neuronpath_core.figures.style import LEAST, NARROW, SMALL, WIDTH, block_ticks, styled
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

MOST_IMAGES = 12  # rows that still fit on a printed page
ROW_HEIGHT = 1.25  # inches
MOST_NAMED = 14  # blocks whose neurons' numbers fit beside one another
BEHIND = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 0.5}
STATES = {"untouched": 1.0, "path removed": 0.0, "path doubled": 2.0}  # factors


@styled
def image_paths(target: TargetModel, images: ImageSet, neurons: Int64[Tensor, "image layer"],
                narrow: bool = False) -> Figure:
    """One row for each image: the picture, its path as a line from block to block, and the label's
    probability untouched, with the path removed and with it doubled.

    The line's height is the neuron's index, which has no order: neighbours have nothing in common.

    Args:
        target: the model that the paths were found in.
        images: at most 12, in memory, as the model sees them (``images.loaded(...)``).
        neurons: int64 ``(image, layer)``, their paths, as of ``find_paths(...).neurons``.
        narrow: for a telephone: the bars go below the picture and its path.

    Raises:
        ValueError: no images or too many, paths of several neurons a block, or images and paths
            that do not fit the model or one another.
    """
    if not 1 <= len(images) <= MOST_IMAGES:
        raise ValueError(f"{len(images)} images cannot be drawn; accepted: 1 to {MOST_IMAGES}, "
                         "such as images.select([0, 1])")
    ranked = target.check_neurons(neurons, len(images))
    if ranked.shape[2] != 1:
        raise ValueError(f"paths with {ranked.shape[2]} neurons a block cannot be drawn; accepted: "
                         "one neuron a block, as of find_paths without top")
    seen = images.images.to(device=target.device, dtype=target.dtype)
    labels = images.labels.tolist()
    measured = [interventions.edited_probabilities(target, seen, ranked, factor)
                for factor in STATES.values()]
    probabilities = [each.double().cpu().numpy()[np.arange(len(labels)), labels]
                     for each in measured]
    path = ranked[..., 0].cpu().numpy()
    figure, axes = _narrow_axes(len(labels)) if narrow else plt.subplots(
        len(labels), 3, squeeze=False, figsize=(WIDTH, 0.5 + ROW_HEIGHT * len(labels)),
        gridspec_kw={"width_ratios": [1, 3.4, 1.7]})
    for row, (left, middle, right) in enumerate(axes):
        _picture(left, images.pixels[row], images.class_names[labels[row]])
        _line(middle, path[row], target.n_neurons)
        _bars(right, [values[row] for values in probabilities])
        if narrow or row == len(labels) - 1:
            middle.set_xlabel("block", fontsize=SMALL)
            right.set_xlabel("probability of the label", fontsize=SMALL)
    return figure


def _narrow_axes(count: int) -> tuple[Figure, np.ndarray]:
    """For each image the panels of its picture and its path and, below them, of its bars."""
    figure = plt.figure(figsize=(NARROW, 2.6 * count))
    parts = figure.subfigures(2 * count, 1, height_ratios=[1.4, 1] * count, squeeze=False)[:, 0]
    return figure, np.array([
        [*parts[2 * row].subplots(1, 2, gridspec_kw={"width_ratios": [1, 3]}),
         parts[2 * row + 1].subplots()] for row in range(count)])


def _picture(axis: Axes, pixels: np.ndarray, name: str) -> None:
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    axis.set_axis_off()
    axis.set_title(name, fontsize=SMALL)


def _line(axis: Axes, path: np.ndarray, n_neurons: int) -> None:
    blocks = np.arange(1, len(path) + 1)
    # every block is a column of neurons, the path goes from one to the next
    axis.vlines(blocks, 0, n_neurons - 1, color="0.85", linewidth=3, zorder=1)
    axis.plot(blocks, path, marker="o", markersize=4, linewidth=1.2, zorder=3)
    if len(path) <= MOST_NAMED:
        beside = np.pad(path, 1, mode="reflect" if len(path) > 1 else "edge")
        for block, neuron in zip(blocks, path, strict=True):
            before, after = beside[block - 1] - neuron, beside[block + 1] - neuron
            # on the side that the line does not come from; neuron 0 is at the top
            above = before + after >= 0
            # where it passes, beside it: right of what comes from above when the number is above
            aside = 0 if before * after > 0 else 5 if (before < 0) == above else -5
            axis.annotate(str(neuron), (block, neuron), (aside, 5 if above else -5),
                          textcoords="offset points", ha="center", va="bottom" if above else "top",
                          fontsize=LEAST, zorder=4, bbox=BEHIND)
    axis.grid(False)
    axis.set(xlim=(0.4, len(path) + 0.6), ylim=(1.3 * n_neurons, -0.3 * n_neurons),
             yticks=[0, n_neurons - 1], xticks=block_ticks(len(path)))
    axis.set_ylabel("neuron", fontsize=SMALL)
    axis.tick_params(labelsize=SMALL)
    sns.despine(ax=axis, left=True)


def _bars(axis: Axes, values: list[float]) -> None:
    axis.barh(np.arange(len(values)), values, height=0.6,
              color=EDITS)
    for place, value in enumerate(values):
        axis.annotate(f"{value:.3f}", (1, place), (3, 0), textcoords="offset points", va="center",
                      fontsize=SMALL, annotation_clip=False)
    axis.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    axis.set_yticks(np.arange(len(values)), list(STATES))
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    axis.tick_params(labelsize=SMALL)
