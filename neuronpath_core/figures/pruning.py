"""Figures of pruning: the paper's own experiment (chapter 6), other criteria, and what class masks
alone say (chapter 15), from tidy tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import cell_looks, looks
from neuronpath_core.figures.style import (
    SMALL,
    WIDTH,
    beside,
    legend_outside,
    marker,
    row_names,
    spans,
    styled,
    whiskers,
)


@styled
def pruning_curves(summary: pd.DataFrame, baselines: dict[str, float], measure: str) -> Figure:
    """Fig. 6: test ``measure`` against t, one row per model, one panel per pruned share; the dotted
    line is the whole model.

    ``summary``: ``model, kept, top, share, value, low, high``.
    """
    models, shares = list(dict.fromkeys(summary["model"])), sorted(summary["share"].unique())
    look_of = looks(summary["kept"])
    figure, axes = plt.subplots(len(models), len(shares),
                                figsize=(WIDTH, 0.6 + 2.1 * len(models)), sharey="row", sharex=True,
                                squeeze=False)
    for row, model in zip(axes, models, strict=True):
        is_last = model == models[-1]
        for axis, share in zip(row, shares, strict=True):
            shown = summary[(summary["model"] == model) & (summary["share"] == share)]
            for offset, (kept, own) in enumerate(shown.groupby("kept", sort=False)):
                positions = np.arange(len(own)) + 0.1 * (offset - 1)
                whiskers(axis, positions, own, fmt="-", **look_of[kept].drawn, markersize=4,
                         linewidth=1, label=kept, ecolor=None)
                axis.set_xticks(np.arange(len(own)), [str(top) for top in own["top"]])
            axis.axhline(baselines[model], color="0.25", linestyle=":", linewidth=1,
                         label="whole model")
            axis.set_title(f"{model}, p = {100 * share:.0f} %", fontsize=SMALL)
            axis.set_xlabel("kept per block (t)" if is_last else "", fontsize=SMALL)
            axis.tick_params(labelsize=SMALL)
        row[0].set_ylabel(measure, fontsize=SMALL)
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def pruning_criteria(summary: pd.DataFrame, whole: pd.DataFrame, measure: str) -> Figure:
    """``measure`` of every criterion (rows): a row of panels per kind of mask and tokens, a column
    per number of kept neurons, a mark per model, filled by data set.

    ``summary``: ``data, model, mask, tokens, kept, top, value, low, high``; ``whole``: the same of
    the unedited models, in the first row of every panel. Of each kind of mask the criteria that it
    has.
    """
    own = cell_looks(zip(summary["data"], summary["model"], strict=True))
    kinds = list(dict.fromkeys(zip(summary["mask"], summary["tokens"], strict=True)))
    tops, first = list(dict.fromkeys(summary["top"])), "whole model"
    names = {kind: [first, *dict.fromkeys(rows["kept"])]
             for kind, rows in summary.groupby(["mask", "tokens"], sort=False)}
    heights = [len(names[kind]) for kind in kinds]
    figure, axes = plt.subplots(len(kinds), len(tops), sharex=True, sharey="row", squeeze=False,
                                figsize=(WIDTH, 1.3 + 0.36 * sum(heights)), height_ratios=heights)
    for row, (mask, tokens) in zip(axes, kinds, strict=True):
        kept = names[mask, tokens]
        mine = summary[(summary["mask"] == mask) & (summary["tokens"] == tokens)]
        for axis, top in zip(row, tops, strict=True):
            for number, ((data, model), look) in enumerate(own.items()):
                shown = pd.concat([whole.assign(kept=first), mine[mine["top"] == top]])
                rows = shown[(shown["data"] == data) & (shown["model"] == model)]
                places = np.array([kept.index(name) for name in rows["kept"]])
                axis.errorbar(rows["value"], places + beside(number, len(own)), xerr=spans(rows),
                              linestyle="none", **look.drawn, markersize=3.5, elinewidth=0.8,
                              capsize=0, label=f"{model}, {data}")
            axis.set_title(f"{mask}, {tokens},\n{top} kept", fontsize=SMALL)
            axis.set_xlim(-0.03, 1.03)
            axis.grid(False, axis="y")
            for height in range(1, len(kept)):
                axis.axhline(height - 0.5, color="0.85", linewidth=0.5)
        row_names(row[0], kept)
    for axis in axes[-1]:
        axis.set_xlabel(measure, fontsize=SMALL)
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def mask_leak(summary: pd.DataFrame, measures: Sequence[str]) -> Figure:
    """What the class masks alone say: shares with 95 % intervals, one panel per data set and model;
    ``summary``: ``data, model, tokens, measure, value, …``."""
    own = list(dict.fromkeys(zip(summary["data"], summary["model"], strict=True)))
    across, down = min(2, len(own)), -(-len(own) // 2)
    figure, axes = plt.subplots(down, across, figsize=(WIDTH, 0.9 + 0.36 * len(measures) * down),
                                sharey=True, sharex=True, squeeze=False)
    for axis, (data, model) in zip(axes.flat, own, strict=False):
        mine = summary[(summary["data"] == data) & (summary["model"] == model)]
        for offset, (tokens, rows) in enumerate(mine.groupby("tokens", sort=False)):
            rows = rows.set_index("measure").loc[list(measures)]
            positions = np.arange(len(rows)) + 0.2 * (offset - 0.5)
            axis.errorbar(rows["value"], positions, xerr=spans(rows), fmt=marker(offset),
                          markersize=4, capsize=2, label=tokens)
        axis.set(title=f"{model}, {data}", xlabel="share of images", xlim=(-0.02, 1.02))
        axis.tick_params(labelbottom=True)
    for axis in list(axes.flat)[len(own):]:
        axis.set_visible(False)
    row_names(axes[0, 0], list(measures))
    legend_outside(figure, axes[0, 0])
    return figure
