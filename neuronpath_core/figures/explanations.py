"""Figures of what neurons are said to mean (Chapter 33)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    beside,
    in_lines,
    legend_above,
    marker,
    spans,
    styled,
)

# column of a table of means -> what it is called
ROWS = {"own": "its own explanation", "swapped": "another neuron's", "generic": "one for all",
        "place": "its places", "ceiling": "the best possible"}
SOURCES = {"top samples": "from top samples", "random samples": "from random samples",
           "raw images": "not seeing where"}
PAPER = {"LLaVA-1.5-7B": "the paper's LLaVA", "InternVL-2.5-8B": "the paper's InternVL"}
GAP = 5  # pixels between two images
ON, OFF = "#f0b429", "0.93"  # of a word's activity, and of none


@styled
def scores_by_kind(means: pd.DataFrame, paper: pd.DataFrame) -> Figure:
    """How well explanations predict their neurons, a panel per type: a row for the own explanation
    and for each control, a mark for what explanations are from, with 95 % intervals of the own one;
    hollow, what the paper reports of its own.

    ``means``: ``kind, explained, own, swapped, generic, place, ceiling, low_own, high_own`` of one
    model on top samples.  ``paper``: ``model, kind, explained, own``.
    """
    kinds = list(dict.fromkeys(means["kind"]))
    figure, axes = plt.subplots(1, len(kinds), figsize=(WIDTH, 2.9), squeeze=False, sharey=True,
                                sharex=True)
    sources = [name for name in SOURCES if name in set(means["explained"])]
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    handles: dict[str, Line2D] = {}
    for axis, kind in zip(axes[0], kinds, strict=True):
        for number, source in enumerate(sources):
            own = means[(means["kind"] == kind) & (means["explained"] == source)]
            height = np.arange(len(ROWS)) + beside(number, len(sources), 0.5)
            style = {"color": colours[number], "marker": marker(number), "linestyle": "none"}
            for row in own.to_dict("records"):
                line, = axis.plot([row[name] for name in ROWS], height, markersize=4.5, **style)
                handles.setdefault(SOURCES[source], line)
                axis.errorbar(row["own"], height[0], color=colours[number], capsize=2, fmt="none",
                              elinewidth=1, xerr=spans(pd.DataFrame([{
                                  "value": row["own"], "low": row["low_own"],
                                  "high": row["high_own"]}])))
        _paper(axis, paper[paper["kind"] == kind], sources, colours, handles)
        axis.axvline(0, color="0.15", linewidth=0.9)
        axis.set_title(f"{kind} neurons", fontsize=SMALL)
        axis.set_xlabel("correlation", fontsize=SMALL)
        axis.tick_params(labelsize=LEAST)
        axis.grid(False, axis="y")
    axes[0, 0].set_yticks(range(len(ROWS)), list(ROWS.values()), fontsize=SMALL)
    axes[0, 0].set_ylim(len(ROWS) - 0.5, -0.75)
    legend_above(figure, list(handles.values()), list(handles))
    return figure


def _paper(axis: Axes, rows: pd.DataFrame, sources: Sequence[str], colours: Sequence[str],
           handles: dict[str, Line2D]) -> None:
    """The paper's own numbers, hollow, above the row that they belong to."""
    for row in rows.dropna(subset=["own"]).to_dict("records"):
        if row["explained"] in sources:
            number = sources.index(row["explained"])
            mark = "<" if row["model"] == next(iter(PAPER)) else ">"
            line, = axis.plot([row["own"]], [-0.5], linestyle="none", marker=mark, markersize=5,
                              markerfacecolor="none", markeredgecolor=colours[number])
            handles.setdefault(PAPER[row["model"]], Line2D(
                [], [], linestyle="none", marker=mark, markerfacecolor="none",
                markeredgecolor="0.3"))


@styled
def simulations(examples: Sequence[Any]) -> Figure:
    """Neurons in one of their scored samples, a row each: the image, darkened where the neuron is
    silent; the same by the simulation; the caption with every word as dark as the neuron is active
    there, above, and as is simulated, below.

    ``examples``: of ``neuronpath_core.chapters.explanations.shown.examples``.
    """
    figure, axes = plt.subplots(len(examples), 2, figsize=(WIDTH, 1.75 * len(examples)),
                                squeeze=False, gridspec_kw={"width_ratios": [2.1, 2.6]})
    for (left, right), each in zip(axes, examples, strict=True):
        does, simulated = (_lit(each.record, values) for values in (each.record.values,
                                                                    each.simulated))
        gap = np.full((len(does), GAP, 3), 255, np.uint8)
        left.imshow(np.concatenate([does, gap, simulated], 1))
        left.set_title("what it does, and simulated", fontsize=LEAST, pad=2)
        _words(right, each.record, each.simulated)
        said = each.said.text or "nothing that fits"
        right.set_title(in_lines(f"{each.kind}, layer {each.layer + 1}: {said} "
                                 f"(score {each.value:.2f})", 52), fontsize=LEAST, loc="left",
                        pad=2)
        for axis in (left, right):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
            for spine in axis.spines.values():
                spine.set_visible(False)
    return figure


def _lit(record: Any, values: np.ndarray) -> np.ndarray:
    """The image, a quarter as bright where a neuron is silent."""
    rows, columns = record.grid
    height, width = record.image.shape[:2]
    share = np.nan_to_num(np.asarray(values, float)[record.counted("image")]) / 10
    share = share.reshape(rows, columns).repeat(height // rows, 0).repeat(width // columns, 1)
    return np.round(record.image * (0.25 + 0.75 * share[..., None])).astype(np.uint8)


def _words(axis: Axes, record: Any, simulated: np.ndarray, line: int = 44) -> None:
    """The words of a caption on lines, each on a ground of what the neuron does, with a bar below
    of what is simulated."""
    counted = record.counted("text")
    levels, others = record.values[counted] / 10, np.nan_to_num(simulated[counted]) / 10
    column, row = 0.0, 0
    axis.set_xlim(0, line)
    for word, level, other in zip(record.answer, levels, others, strict=True):
        if column + len(word) > line:
            column, row = 0.0, row + 1
        axis.add_patch(plt.Rectangle((column, row - 0.36), len(word), 0.62, linewidth=0,
                                     facecolor=ON if level > 0 else OFF, alpha=0.2 + 0.8 * level))
        if other > 0:
            axis.plot([column, column + len(word)], [row + 0.38] * 2, color="#0072b2",
                      linewidth=2 * other, solid_capstyle="butt")
        axis.text(column + len(word) / 2, row - 0.05, word, fontsize=LEAST, ha="center",
                  va="center")
        column += len(word) + 0.8
    axis.set_ylim(row + 0.8, -0.7)
