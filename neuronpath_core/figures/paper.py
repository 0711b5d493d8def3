"""Figures of the paper's own experiments on neurons and paths (chapters 1-3), from tidy tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from neuronpath_core.figures.colours import VERMILION, looks
from neuronpath_core.figures.style import (
    SMALL,
    WIDTH,
    beside,
    block_ticks,
    legend_outside,
    marker,
    spans,
    styled,
    whiskers,
)
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats.labels import TABLE1_METRICS, method_labels


@styled
def knowledge_blocks(shares: pd.DataFrame) -> Figure:
    """Fig. 2: share of the knowledge neurons in each block, one panel per model, with 95 %
    intervals; the largest share is written out."""
    models = list(dict.fromkeys(shares["model"]))
    look_of = looks(models)
    figure, axes = plt.subplots(1, len(models), figsize=(WIDTH, 2.9), sharey=True, squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        rows = shares[shares["model"] == model]
        axis.bar(rows["block"], rows["value"], color=look_of[model].colour)
        whiskers(axis, rows["block"], rows)
        largest = rows.loc[rows["value"].idxmax()]
        axis.annotate(f"{100 * largest['value']:.0f} % in block {largest['block']:.0f}",
                      (largest["block"], largest["high"]), (8, 2), textcoords="offset points",
                      fontsize=SMALL)
        axis.set(title=model, xticks=_block_ticks(rows))
        axis.set_xlabel("block", fontsize=SMALL)
        axis.tick_params(labelsize=SMALL)
        axis.margins(y=0.12)
        axis.grid(False, axis="x")
    axes[0, 0].set_ylabel("share of knowledge neurons", fontsize=SMALL)
    return figure


@styled
def scaling_blocks(shares: pd.DataFrame) -> Figure:
    """Share of the knowledge neurons in each block by what is scaled, one panel per model.

    ``shares``: ``model, scaling, block, value, low, high``.
    """
    models, ways = (list(dict.fromkeys(shares[name])) for name in ("model", "scaling"))
    figure, axes = plt.subplots(1, len(models), figsize=(WIDTH, 3), sharey=True, squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        for place, way in enumerate(ways):
            rows = shares[(shares["model"] == model) & (shares["scaling"] == way)]
            aside = 0.3 * (place - (len(ways) - 1) / 2)
            whiskers(axis, rows["block"].to_numpy(dtype=float) + aside, rows, fmt=marker(place),
                     markersize=4.5, label=way, ecolor=None)
        axis.set(title=model, xticks=_block_ticks(rows))
        axis.set_xlabel("block", fontsize=SMALL)
        axis.tick_params(labelsize=SMALL)
    axes[0, 0].set_ylabel("share of knowledge neurons", fontsize=SMALL)
    legend_outside(figure, axes[0, 0])
    return figure


def _block_ticks(rows: pd.DataFrame) -> list[int]:
    """All blocks of a few, every second or fewer of many."""
    return block_ticks(int(rows["block"].max()))


@styled
def digits_and_path(examples: ImageSet, neurons: Sequence[int], units: int, image: int,
                    columns: int = 5) -> Figure:
    """What a model is shown, one image of it, and that image's path as a line through the blocks.

    Args:
        examples: the images of the first panel, left to right and downwards.
        neurons: the path's neuron in each block, counted from 0.
        units: how many neurons a block has.
        image: which of ``examples`` the path is of.
        columns: images side by side.
    """
    figure, (sheet, one, path) = plt.subplots(1, 3, figsize=(WIDTH, 2.6),
                                              width_ratios=(1.25, 0.7, 2))
    gaps = dict(cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    sheet.imshow(_contact_sheet(examples.pixels, columns), **gaps)
    sheet.set_title(f"{len(examples)} of the images", fontsize=SMALL)
    one.imshow(examples.pixels[image], **gaps)
    name = examples.class_names[int(examples.labels[image])]
    one.set_title(f"one of class {name}", fontsize=SMALL)
    for axis in (sheet, one):
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    blocks = np.arange(1, len(neurons) + 1)
    path.scatter(np.repeat(blocks, units), np.tile(np.arange(units), len(blocks)), s=1.5,
                 color="0.7", label="neurons")
    path.plot(blocks, neurons, "o-", markersize=5, linewidth=1.4,
              color=VERMILION, label="its path")
    path.set(xticks=block_ticks(len(blocks)), ylim=(-2, units + 1))
    path.set_title("its path: one neuron in every block", fontsize=SMALL)
    path.set_xlabel("block", fontsize=SMALL)
    path.set_ylabel("neuron (index)", fontsize=SMALL)
    path.tick_params(labelsize=SMALL)
    path.grid(False)
    return figure


def _contact_sheet(pixels: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Images ``(image, height, width, …)`` side by side in rows of ``columns``, with white between
    them; what is left of the last row is white."""
    rows = -(-len(pixels) // columns)
    height, width = (size + gap for size in pixels.shape[1:3])
    sheet = np.full((rows * height - gap, columns * width - gap, *pixels.shape[3:]), 255, np.uint8)
    for place, picture in enumerate(pixels):
        top, left = place // columns * height, place % columns * width
        sheet[top : top + height - gap, left : left + width - gap] = picture
    return sheet


@styled
def table1_intervals(table: pd.DataFrame) -> Figure:
    """Table 1 drawn: a panel per measure, a row per model, a marker per method, with 95 %
    intervals."""
    figure, axes = plt.subplots(1, len(TABLE1_METRICS), figsize=(WIDTH, 3.4), sharey=True)
    for axis, (metric, title) in zip(axes, TABLE1_METRICS.items(), strict=True):
        _method_dots(axis, table[table["metric"] == metric])
        axis.set_xlabel(_in_lines(title), fontsize=SMALL)
    legend_outside(figure, axes[0])
    return figure


@styled
def deviation_dots(summary: pd.DataFrame, statistic: str = "median") -> Figure:
    """Fig. 3 in two panels, removal and enhancement: a row per model, a marker per method, with
    95 % intervals.

    ``summary``: ``model, method, operation, statistic, value, low, high``.
    """
    own = summary[summary["statistic"] == statistic]
    operations = list(dict.fromkeys(own["operation"]))
    figure, axes = plt.subplots(1, len(operations), figsize=(WIDTH, 3.2), sharey=True,
                                squeeze=False)
    for axis, operation in zip(axes[0], operations, strict=True):
        _method_dots(axis, own[own["operation"] == operation])
        axis.set_xlabel(f"{operation}: change of the probability", fontsize=SMALL)
        axis.xaxis.set_major_formatter(FuncFormatter(_percent))
    legend_outside(figure, axes[0, 0])
    return figure


def _method_dots(axis: Axes, rows: pd.DataFrame) -> None:
    """A row per model, from the top, with one marker and interval per method, side by side."""
    models, methods = (list(dict.fromkeys(rows[name])) for name in ("model", "method"))
    look_of = looks(map(method_labels().get, methods))
    for place, method in enumerate(methods):
        own, label = rows[rows["method"] == method], method_labels()[method]
        at = np.array([models.index(model) for model in own["model"]])
        axis.errorbar(own["value"], at + beside(place, len(methods), 0.6),
                      xerr=spans(own), fmt=look_of[label].mark, color=look_of[label].colour,
                      markersize=4.5, elinewidth=1, capsize=2, label=label)
    axis.axvline(0, color="0.25", linewidth=0.8)
    axis.set_yticks(np.arange(len(models)), models)
    axis.set_ylim(len(models) - 0.5, -0.5)
    axis.locator_params(axis="x", nbins=5)
    axis.tick_params(labelsize=SMALL)
    axis.grid(False, axis="y")


def _percent(share: float, _: int | None = None) -> str:
    """``+1.5 %``, and ``0`` without a sign."""
    return f"{100 * share:+.3g} %".replace("-", "\u2212") if share else "0"


def _in_lines(title: str) -> str:
    """A measure's title on two lines."""
    return title.replace(" accuracy deviation (", ":\naccuracy deviation (").replace(
        " attribution score", "\nattribution score")


@styled
def deviation_boxes(table: pd.DataFrame, operation: str) -> Figure:
    """Fig. 3: probability deviation of the true class, a row per model, one box per method.

    ``operation`` is ``"removal"`` or ``"enhancement"``.  Boxes hold the middle half of the images,
    whiskers 5-95 %, the diamond is the mean.  The axis is linear within ±1 % and logarithmic
    beyond, so that neither the boxes nor the whiskers are lost.
    """
    models = list(dict.fromkeys(table["model"]))
    data = table.assign(method=table["method"].map(method_labels()),
                        deviation=table[f"{operation}_probability"])
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.85 * len(models)))
    sns.boxplot(data, x="deviation", y="model", hue="method", orient="h",
                palette={name: look.colour for name, look in looks(data["method"]).items()},
                ax=axis,
                whis=(5, 95), showfliers=False, showmeans=True, linewidth=0.9,
                meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "0.2",
                           "markersize": 4})
    axis.get_legend().remove()
    axis.axvline(0, color="0.25", linewidth=0.8)
    axis.set_xscale("symlog", linthresh=0.01)
    ticks = [value for value in (-1, -0.1, -0.01, 0, 0.01, 0.1, 1, 10, 100)
             if axis.get_xlim()[0] <= value <= axis.get_xlim()[1]]
    axis.set_xticks(ticks, [_percent(value) for value in ticks])
    axis.minorticks_off()
    axis.set_ylabel("")
    axis.set_xlabel(f"{operation}: change of the true class's probability", fontsize=SMALL)
    axis.tick_params(labelsize=SMALL)
    legend_outside(figure, axis)
    return figure
