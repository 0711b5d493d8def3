"""Figures of what the search costs (chapters 7 and 8), from tidy tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from neuronpath_core.figures.colours import cell_looks, looks
from neuronpath_core.figures.style import (
    WIDTH,
    beside,
    block_ticks,
    legend_outside,
    spans,
    styled,
)


def _decimals(axis: Axis) -> None:
    """Have a logarithmic axis say 0.01, not a power of ten, whose exponent would be too small to
    read."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _sizes(axis: Axes, sizes: Sequence[float], label: str) -> None:
    """A logarithmic axis that names the sizes measured."""
    axis.set(xscale="log", xlabel=label)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()


@styled
def cost_curves(table: pd.DataFrame, exponents: pd.DataFrame | None = None) -> Figure:
    """App. A: measured time against each size, on logarithmic axes, beside two counts, as of
    ``scaled_formula``; with ``exponents``, as of ``cost_exponents``, every panel says its own."""
    names = {"L": "blocks L", "n": "neurons per block n", "m": "steps m", "T": "tokens T"}
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.2), sharey=True)
    for axis, (varied, title) in zip(axes.flat, names.items(), strict=True):
        rows = table[table["varied"] == varied]
        axis.plot(rows["size"], rows["seconds"], marker="o", label="measured")
        axis.plot(rows["size"], rows["operations"], linestyle="--", color="0.4",
                  label="count of this search")
        axis.plot(rows["size"], rows["published"], linestyle=":", color="0.4",
                  label="formula of App. A")
        axis.set_yscale("log")
        _sizes(axis, rows["size"], title)
        if exponents is not None:
            own = exponents.loc[varied]
            axis.set_title(f"exponents: measured {own['measured']:.1f}, "
                           f"counted {own['operations']:.1f}", loc="left")
    _decimals(axes[0, 0].yaxis)
    for axis in axes[:, 0]:
        axis.set_ylabel("seconds per image")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def integrand_curves(table: pd.DataFrame) -> Figure:
    """How far the integrand of a path neuron varies, against its block: median over images, with
    the middle half; ``table`` as of ``integrands.integrand_curvature``."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6))
    look_of = looks(table["model"])
    for model, rows in table.groupby("model", sort=False):
        colour, mark, _ = look_of[model]
        quartiles = rows.groupby("block")["curvature"].quantile([0.25, 0.5, 0.75]).unstack()
        axis.plot(quartiles.index, quartiles[0.5], marker=mark,
                  markersize=4, label=model, color=colour)
        axis.fill_between(quartiles.index, quartiles[0.25], quartiles[0.75], color=colour,
                          alpha=0.15, linewidth=0)
    axis.set(yscale="log", xlabel="block", ylabel="distance from a straight line",
             xticks=block_ticks(int(table["block"].max())))
    _decimals(axis.yaxis)
    legend_outside(figure, axis)
    return figure


@styled
def benchmark_ratios(table: pd.DataFrame) -> Figure:
    """How many times faster than the published procedure, against each size, with minimum and
    maximum; ``table`` as of ``benchmarks.growth``."""
    names = {"L": "blocks L", "T": "tokens T", "n": "neurons per block n", "m": "steps m",
             "batch": "images in a batch"}
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 4.4), sharey=True)
    axes[1, 2].remove()
    for axis, (varied, title) in zip(axes.flat, names.items(), strict=False):
        rows = table[table["varied"] == varied]
        axis.errorbar(rows["size"], rows["ratio"], [rows["ratio"] - rows["minimum"],
                                                    rows["maximum"] - rows["ratio"]], marker="o",
                      capsize=3)
        _sizes(axis, rows["size"], title)
    axes[0, 0].set_ylim(0, None)
    for axis in axes[:, 0]:
        axis.set_ylabel("times as fast")
    return figure


def _dots(axis: Axes, rows: pd.DataFrame, ways: Sequence[str]) -> None:
    """Values with intervals, a row a way, a marker and a colour a model; the models of a second
    data set are open."""
    data = list(dict.fromkeys(rows["profile"]))
    named = list(dict.fromkeys(zip(rows["profile"], rows["model"], strict=True)))
    look_of = cell_looks(named)
    for number, (profile, model) in enumerate(named):
        own = rows[(rows["profile"] == profile) & (rows["model"] == model)]
        places = np.array([ways.index(way) for way in own["way"]], dtype=float)
        axis.errorbar(own["value"], places + beside(number, len(named)),
                      xerr=spans(own), linestyle="none",
                      **look_of[profile, model].drawn, markersize=5, elinewidth=1,
                      label=f"{profile}, {model}" if len(data) > 1 else model)
    axis.set_yticks(np.arange(len(ways)), ways)
    axis.set_ylim(len(ways) - 0.5, -0.5)
    axis.grid(False, axis="y")


@styled
def search_speed(table: pd.DataFrame) -> Figure:
    """How many times faster than the published procedure each way to search is, on a logarithmic
    axis, with minimum and maximum; ``table``: ``model, way, value, low, high``."""
    ways = list(dict.fromkeys(table["way"]))
    figure, axis = plt.subplots(figsize=(WIDTH, 1.2 + 0.5 * len(ways)))
    _dots(axis, table.assign(profile=""), ways)
    ticks = [each for each in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
             if each <= 1.2 * table["high"].max()]
    axis.axvline(1, color="0.25", linewidth=0.8)
    _sizes(axis, ticks, "times as fast as the published procedure (1: as fast)")
    legend_outside(figure, axis)
    return figure


@styled
def rule_agreement(table: pd.DataFrame) -> Figure:
    """The share of whole paths that each rule has in common with the reference, in per cent, with
    95 % intervals; ``table``: ``profile, model, way, value, low, high``."""
    ways = list(dict.fromkeys(table["way"]))
    figure, axis = plt.subplots(figsize=(WIDTH, 1.6 + 0.75 * len(ways)))
    _dots(axis, table, ways)
    axis.set(xlabel="whole paths equal to those of the reference, %", xlim=(None, 101))
    legend_outside(figure, axis)
    return figure
