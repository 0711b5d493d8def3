"""Figures of relevance maps, removal curves and probes (Chapter 26), from tidy tables and
pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import GREY, Look, looks
from neuronpath_core.figures.panels import crossed, marks_in_rows, ruled
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    block_ticks,
    legend_outside,
    marker,
    styled,
)

if TYPE_CHECKING:
    from jaxtyping import Float

# orange to purple through white, told apart by all kinds of colour vision
SIGNED = "PuOr_r"
DASHES = ("-", "--", "-.", ":")
RANDOM = "random order"  # grey, as all that is drawn at random


@dataclass(frozen=True)
class Map:
    """A map over a picture.

    Attributes:
        picture: ``(height, width)`` or ``(height, width, 3)``, 0 to 255.
        title: what it shows.
        values: ``(row, column)`` of one map, or ``(block, head, row, column)``.
    """

    picture: np.ndarray
    title: str
    values: Float[np.ndarray, "... row column"]


@styled
def removal_gains(table: pd.DataFrame, xlabel: str) -> Figure:
    """By how much each order of removal is better than a random one: a row per order, a panel per
    data set and test, a mark per model with its 95 % interval; the line is the random
    order.

    ``table``: ``data, test, model, order`` (in words), ``value, low, high``.
    """
    data, tests, models, orders = (list(dict.fromkeys(table[name]))
                                   for name in ("data", "test", "model", "order"))
    figure, axes = plt.subplots(len(data), len(tests), squeeze=False, sharex=True, sharey=True,
                                figsize=(WIDTH, 1.0 + len(data) * (0.4 + 0.22 * len(orders))))
    for row, name in enumerate(data):
        for column, test in enumerate(tests):
            axis, own = axes[row, column], table[(table["data"] == name) & (table["test"] == test)]
            marks_in_rows(axis, own, "model", models, "order", orders, 0.66, 3.2, 0.7, 0)
            axis.axvline(0, color="0.4", linewidth=1.2, label="random order")
            axis.set_yticks(range(len(orders)), orders, fontsize=LEAST)
            axis.set(title=f"{name}, {test}", ylim=(len(orders) - 0.4, -0.6))
            axis.set_xlabel(xlabel if row == len(data) - 1 else "", fontsize=SMALL)
            ruled(axis, len(orders))
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def removal_lines(table: pd.DataFrame) -> Figure:
    """Accuracy while patches are removed, a panel per data set and test, a line per order; dotted:
    what guessing would get.

    ``table``: ``data, test, order`` (in words), ``removed, accuracy, chance``.
    """
    orders = list(dict.fromkeys(table["order"]))
    look_of = looks(order for order in orders if order != RANDOM) | {
        RANDOM: Look(GREY, "P")}
    figure, panels = crossed(table, "test", 1.9, "share of patches removed", "accuracy")
    for axis, own in panels:
        for number, order in enumerate(orders):
            line = own[own["order"] == order]
            axis.plot(line["removed"], line["accuracy"], **look_of[order].drawn, markersize=4,
                      linestyle=DASHES[number % len(DASHES)], linewidth=1.3, label=order)
    return figure


@styled
def head_maps(pairs: Sequence[tuple[Map, Map]]) -> Figure:
    """The maps of every block and head for two classes of one image: the picture, and beside it a
    row of maps per head and a column per block for either class; both on one scale, orange for more
    of the class, purple for less.

    Args:
        pairs: of each image its two maps by block and head; the picture is the first one's.
    """
    figure = plt.figure(figsize=(WIDTH, 0.3 + 2.9 * len(pairs)))
    grid = figure.add_gridspec(2 * len(pairs), 2, width_ratios=(1, 4.4))
    for number, pair in enumerate(pairs):
        _picture(figure.add_subplot(grid[2 * number:2 * number + 2, 0]), pair[0].picture)
        most = max(np.abs(each.values).max() for each in pair) or 1.0
        for place, each in enumerate(pair):
            axis = figure.add_subplot(grid[2 * number + place, 1])
            blocks, heads, high, wide = each.values.shape
            # a gap of one cell between maps
            sheet = np.full((heads * (high + 1) - 1, blocks * (wide + 1) - 1), np.nan)
            for block in range(blocks):
                for head in range(heads):
                    sheet[head * (high + 1):head * (high + 1) + high,
                          block * (wide + 1):block * (wide + 1) + wide] = each.values[block, head]
            axis.imshow(sheet, cmap=SIGNED, vmin=-most, vmax=most, interpolation="none",
                        aspect="auto")
            named = block_ticks(blocks)
            axis.set_xticks([(block - 1) * (wide + 1) + (wide - 1) / 2 for block in named],
                            [str(block) for block in named], fontsize=LEAST)
            axis.set_yticks([head * (high + 1) + (high - 1) / 2 for head in range(heads)],
                            [str(head + 1) for head in range(heads)], fontsize=LEAST)
            axis.set_title(each.title, fontsize=SMALL)
            axis.set_ylabel("head", fontsize=SMALL)
            if place:
                axis.set_xlabel("block", fontsize=SMALL)
            axis.grid(False)
            axis.tick_params(length=0)
    return figure


@styled
def global_maps(maps: Sequence[Map]) -> Figure:
    """Maps summed over blocks and heads over their pictures, each on its own scale: orange for the
    class, purple against it; at most six."""
    columns = min(3, len(maps))
    rows = -(-len(maps) // columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False,
                                figsize=(WIDTH, 0.3 + 2.25 * rows))
    for axis, each in zip(axes.flat, maps, strict=False):
        _picture(axis, _faint(each.picture))
        high, wide = each.picture.shape[:2]
        most = np.abs(each.values).max() or 1.0
        axis.imshow(each.values, cmap=SIGNED, vmin=-most, vmax=most, alpha=0.5,
                    interpolation="none", extent=(-0.5, wide - 0.5, high - 0.5, -0.5))
        axis.set_title(each.title, fontsize=SMALL)
    for axis in list(axes.flat)[len(maps):]:
        axis.remove()
    return figure


def _faint(picture: np.ndarray) -> np.ndarray:
    """A picture in light greys, so that the colours over it are a map's own."""
    grey = picture.mean(-1) if picture.ndim == 3 else picture
    return 255 - 0.6 * (255 - grey.astype(float))


def _picture(axis: Axes, picture: np.ndarray) -> None:
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)


@styled
def probe_shares(table: pd.DataFrame) -> Figure:
    """The share of patch tokens whose class is read right, block by block, a panel per data set and
    place, a line per reader with its mean over models and a band from the least to the largest of
    them; dotted: what guessing would get.

    ``table``: ``data, place, reader`` (in words), ``model, block, depth, value, chance``.
    """
    readers = list(dict.fromkeys(table["reader"]))
    figure, panels = crossed(table, "place", 1.7, "depth, share of blocks", "share of tokens")
    for axis, own in panels:
        for number, reader in enumerate(readers):
            # models of other depths are read at the same tenths of their depth
            by_depth = own[own["reader"] == reader].groupby("depth")["value"]
            means = by_depth.mean()
            line, = axis.plot(means.index, means, marker=marker(number), markersize=3.5,
                              linestyle=DASHES[number % len(DASHES)], linewidth=1.2, label=reader)
            axis.fill_between(means.index, by_depth.min(), by_depth.max(), alpha=0.15,
                              color=line.get_color(), linewidth=0)
    return figure
