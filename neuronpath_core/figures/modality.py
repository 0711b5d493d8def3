"""Figures of which modality neurons answer to (Chapter 32), from tidy tables and pictures."""

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

from neuronpath_core.figures.colours import BLUE, GREEN, VERMILION, looks
from neuronpath_core.figures.panels import ruled
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    beside,
    block_ticks,
    legend_above,
    marker,
    spans,
    styled,
)

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

GREY = "0.5"
COLOURS = {"visual": VERMILION, "text": BLUE, "multi-modal": GREEN, "unknown": "0.35"}
LINES = {"trained": "-", "labels dealt": ":", "before training": (0, (4, 2))}


@styled
def sure_and_layers(sure: pd.DataFrame, profiles: pd.DataFrame,
                    paper: Mapping[str, Sequence[float]]) -> Figure:
    """Left, a row per type: the share of neurons that are surely of it, a mark per model, with
    dealt labels, and in the paper's two models.  Right, a panel per type: its mean probability
    layer by layer, a line per model, and with dealt labels.

    ``sure``: ``model, type, value, low, high, dealt``, models named in words.  ``profiles``:
    ``model, type, layer, value, dealt``.  ``paper``: shares of each type in the order of ``sure``.
    """
    types = list(dict.fromkeys(sure["type"]))
    figure = plt.figure(figsize=(WIDTH, 4.6))
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    axis = left.subplots()
    handles = _rows(axis, sure, types, paper)
    for place, (name, each) in enumerate(zip(types, right.subplots(2, 2, sharex=True, sharey=True)
                                             .flat, strict=False)):
        handles.update(_profile(each, profiles[profiles["type"] == name], COLOURS[name]))
        each.set_title(name, fontsize=SMALL)
        if place > 1:
            each.set_xlabel("layer of the decoder", fontsize=LEAST)
        if place % 2 == 0:
            each.set_ylabel("mean probability", fontsize=LEAST)
    legend_above(figure, list(handles.values()), list(handles), fontsize=LEAST)
    return figure


def _rows(axis: Axes, sure: pd.DataFrame, types: list[str], paper: Mapping[str, Sequence[float]]
          ) -> dict[str, Line2D]:
    models = list(dict.fromkeys(sure["model"]))
    handles: dict[str, Line2D] = {}
    for number, (model, look) in enumerate(looks(models, COLOURS.values()).items()):
        own = sure[sure["model"] == model].set_index("type").loc[types].reset_index()
        heights = np.arange(len(types)) + beside(number, len(models), 0.72)
        handles[model] = axis.errorbar(
            100 * own["value"], heights, xerr=100 * spans(own), fmt=look.mark, markersize=4,
            elinewidth=1, capsize=2, color=look.colour)
        handles["the same with dealt labels"] = axis.plot(
            100 * own["dealt"], heights, linestyle="none", marker="|", markersize=7, color=GREY)[0]
    for (name, shares), style in zip(paper.items(), ("4", "3"), strict=False):
        handles[f"{name}, the paper"] = axis.plot(
            100 * np.array(shares), np.arange(len(types)) + 0.44, linestyle="none", marker=style,
            markersize=8, color="0.1")[0]
    axis.set_yticks(range(len(types)), types, fontsize=SMALL)
    axis.set(ylim=(len(types) - 0.5, -0.5))
    axis.set_xlim(left=-1)
    axis.set_xlabel("surely of the type, % of the neurons", fontsize=SMALL)
    axis.tick_params(labelsize=LEAST)
    ruled(axis, len(types))
    return handles


def _profile(axis: Axes, own: pd.DataFrame, colour: str) -> dict[str, Line2D]:
    handles: dict[str, Line2D] = {}
    for model, rows in own.groupby("model", sort=False):
        kind = "before training" if model == "before training" else "trained"
        line, = axis.plot(rows["layer"], rows["value"], color=colour, linewidth=1.3,
                          linestyle=LINES[kind])
        handles[f"by layer: {kind}"] = Line2D([], [], color="0.2", linestyle=LINES[kind])
        if kind == "trained":
            axis.plot(rows["layer"], rows["dealt"], color=GREY, linewidth=1,
                      linestyle=LINES["labels dealt"])
            handles["by layer: labels dealt"] = Line2D([], [], color=GREY,
                                                       linestyle=LINES["labels dealt"])
    axis.set(ylim=(0, 1), xticks=block_ticks(int(own["layer"].max())))
    axis.tick_params(labelsize=LEAST)
    return handles


@styled
def histograms(probabilities: Mapping[str, Float[np.ndarray, "neuron 4"]],
               types: Sequence[str]) -> Figure:
    """A panel per type: how many neurons have which probability of it, a line for each of some sets
    of neurons; the dotted line is where "surely" begins.

    Args:
        probabilities: by what the neurons are; rows of NaN are left out.
        types: names of the columns.
    """
    figure, axes = plt.subplots(1, len(types), figsize=(WIDTH, 2.5), sharey=True, squeeze=False)
    bins = np.linspace(0, 1, 11)
    handles: dict[str, Line2D] = {}
    palette = sns.color_palette("colorblind", len(probabilities))
    for place, (axis, name) in enumerate(zip(axes[0], types, strict=True)):
        for number, (label, p) in enumerate(probabilities.items()):
            own = p[~np.isnan(p[:, 0]), place]
            shares = np.histogram(own, bins)[0] / max(1, len(own))
            line, = axis.plot((bins[:-1] + bins[1:]) / 2, 100 * shares, color=palette[number],
                              marker=marker(number), markersize=3, linewidth=1.2)
            handles[label] = line
        axis.axvline(0.8, color=GREY, linestyle=":", linewidth=1)
        axis.set_title(name, fontsize=SMALL)
        axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axis.set_xlabel("probability", fontsize=LEAST)
        axis.tick_params(labelsize=LEAST)
    axes[0, 0].set_ylabel("% of the neurons", fontsize=LEAST)
    legend_above(figure, list(handles.values()), list(handles), fontsize=LEAST)
    return figure


@styled
def examples(rows: Sequence[tuple[str, Sequence[tuple[UInt8[np.ndarray, "height width 3"],
                                                      Float[np.ndarray, "row column"], str]]]]
             ) -> Figure:
    """A row per neuron: its name, and samples, each a scene, darkened where the neuron is weak,
    with the words at which it is largest.

    Args:
        rows: the name, and of each sample the pixels, the values of its patches from 0 to 1, and
            the words below it.
    """
    figure, axes = plt.subplots(len(rows), 1, figsize=(WIDTH, 0.4 + 1.95 * len(rows)),
                                squeeze=False)
    for axis, (name, samples) in zip(axes[:, 0], rows, strict=True):
        strip = np.concatenate([_lit(pixels, values) for pixels, values, _ in samples], 1)
        height, width = len(strip), strip.shape[1] / len(samples)
        axis.imshow(strip, interpolation="nearest")
        axis.set_xticks(np.arange(len(samples)) * width + height / 2,
                        [words for *_, words in samples], fontsize=LEAST)
        axis.set_yticks([height / 2], [name], fontsize=LEAST, rotation=90, va="center")
        axis.tick_params(length=0)
        axis.grid(False)
        axis.set_frame_on(False)
    return figure


def _lit(pixels: UInt8[np.ndarray, "height width 3"], values: Float[np.ndarray, "row column"]
         ) -> UInt8[np.ndarray, "height wider 3"]:
    """A scene, darkened where the neuron is weak, and a white rim at its right."""
    side = len(pixels) // len(values)
    light = np.kron(np.clip(values, 0, 1), np.ones((side, side)))[..., None]
    lit = (pixels * (0.25 + 0.75 * light)).astype(np.uint8)
    return np.pad(lit, ((0, 0), (0, max(len(pixels) // 20, 1)), (0, 0)), constant_values=255)


@styled
def matches(table: pd.DataFrame) -> Figure:
    """A row per model, and in a panel for each reading of the words the share of neurons that mean
    the same in both modalities, beyond dealt concepts: a mark per group of neurons.

    ``table``: ``model, word, group, value, low, high``.
    """
    words, models, groups = (list(dict.fromkeys(table[name]))
                             for name in ("word", "model", "group"))
    figure, axes = plt.subplots(1, len(words), figsize=(WIDTH, 0.9 + 0.42 * len(models)),
                                sharey=True, sharex=True, squeeze=False)
    for axis, word in zip(axes[0], words, strict=True):
        for number, group in enumerate(groups):
            own = table[(table["word"] == word) & (table["group"] == group)]
            heights = [models.index(name) + beside(number, len(groups), 0.5)
                       for name in own["model"]]
            axis.errorbar(100 * own["value"], heights, xerr=100 * spans(own), fmt=marker(number),
                          markersize=4, elinewidth=1, capsize=2, label=group)
        axis.axvline(0, color="0.15", linewidth=0.9)
        axis.set_title(word, fontsize=SMALL)
        axis.set_xlabel("same concept beyond dealt, points", fontsize=LEAST)
        axis.set_yticks(range(len(models)), models, fontsize=LEAST)
        axis.tick_params(labelsize=LEAST)
        axis.set_ylim(len(models) - 0.5, -0.5)
        ruled(axis, len(models))
    legend_above(figure, *axes[0, 0].get_legend_handles_labels())
    return figure
