"""Figures of the checks of the paper's claims (chapters 9-12 and 15), from tidy tables: planted
paths, controls, defects, pruning."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from neuronpath_core.figures.style import SMALL, legend_outside, spans, styled, whiskers
from neuronpath_core.stats.labels import SCOPE_LABELS


@styled
def recovery_map(summary: pd.DataFrame) -> Figure:
    """Share of the planted neurons that each method (rows) finds, by kind and decoys (columns), one
    panel per token scope.

    ``summary``: ``kind, scope, decoys, method, value``; what was not measured is blank.
    """
    scopes, methods = list(dict.fromkeys(summary["scope"])), list(dict.fromkeys(summary["method"]))
    wide = {scope: summary[summary["scope"] == scope].pivot(index="method",
                                                            columns=["kind", "decoys"],
                                                            values="value").reindex(methods)
            for scope in scopes}
    # a kind's settings side by side, in the table's order
    cells = {scope: list(dict.fromkeys(summary[summary["scope"]
                                               == scope].sort_values("kind", kind="stable")[
        ["kind", "decoys"]].itertuples(index=False)))
             for scope in scopes}
    figure, axes = plt.subplots(1, len(scopes), figsize=(2.6 + 0.38 * sum(map(len, cells.values())),
                                                         1.1 + 0.3 * len(methods)), sharey=True,
                                squeeze=False,
                                width_ratios=[len(cells[scope]) for scope in scopes])
    for axis, scope in zip(axes[0], scopes, strict=True):
        own = wide[scope][[tuple(cell) for cell in cells[scope]]]
        sns.heatmap(own, annot=True, fmt=".2f", annot_kws={"fontsize": 7.5}, cmap="viridis", vmin=0,
                    vmax=1, linewidths=0.5, ax=axis,
                    xticklabels=[f"{kind}, {decoys}" for kind, decoys in own.columns],
                    yticklabels=methods, cbar=axis is axes[0, -1],
                    cbar_kws={"label": "share of planted neurons found"})
        axis.grid(False)
        axis.set(title=SCOPE_LABELS.get(scope, scope), xlabel="", ylabel="")
        axis.tick_params(labelsize=SMALL)
    return figure


@styled
def decoy_curves(summary: pd.DataFrame, predicted: pd.DataFrame) -> Figure:
    """Recovery against the decoys' strength with 95 % intervals, one panel per kind and sort of
    decoy; the dashed line is the closed form.

    ``summary``: ``kind, decoys, strength, value, low, high``; ``predicted``: the same without
    intervals.
    """
    cells = list(summary[["kind", "decoys"]].drop_duplicates().itertuples(index=False))
    figure, axes = plt.subplots(1, len(cells), figsize=(0.2 + 2.2 * len(cells), 2.9), sharey=True,
                                squeeze=False)
    for axis, (kind, decoys) in zip(axes[0], cells, strict=True):
        rows, ideal = (table[(table["kind"] == kind) & (table["decoys"] == decoys)].sort_values(
            "strength") for table in (summary, predicted))
        whiskers(axis, rows["strength"], rows, fmt="o", markersize=4, label="measured", ecolor=None)
        axis.plot(ideal["strength"], ideal["value"], linestyle="--", color="0.25", linewidth=1,
                  label="closed form")
        axis.set(title=f"{kind}, {decoys} decoys", xlabel="strength", ylim=(0, 1.05))
    axes[0, 0].set_ylabel("planted neurons found")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def factorial_map(means: pd.DataFrame, title: str) -> Figure:
    """A measure for every score (rows) and search (columns), written into a heat map."""
    figure, axis = plt.subplots(figsize=(2.4 + means.shape[1], 0.4 + 0.5 * len(means)))
    sns.heatmap(means, annot=True, fmt=".3f", cmap="viridis", cbar_kws={"label": title}, ax=axis,
                linewidths=0.5)
    axis.grid(False)
    axis.set(xlabel="search", ylabel="")
    return figure


@styled
def lead_forest(table: pd.DataFrame, xlabel: str = "own path's lead") -> Figure:
    """How far the own path is ahead of each control: a row of panels per data set, one panel per
    measure, a colour per model, with 95 % intervals.

    A row of panels has the controls that its data set has.

    ``table``: ``data, model, control`` (as it is to be called), ``measure, value, low, high``;
    ``xlabel``: what the values are.
    """
    measures = list(dict.fromkeys(table["measure"]))
    parts = dict(list(table.groupby("data", sort=False)))
    rows_of = {data: list(dict.fromkeys(own["control"])) for data, own in parts.items()}
    # a panel of one row is too low for its title
    heights = [max(2, len(controls)) for controls in rows_of.values()]
    figure, axes = plt.subplots(len(parts), len(measures),
                                figsize=(max(7.5, 2.6 + 3 * len(measures)),
                                         0.8 + 0.36 * sum(heights)), squeeze=False, sharey="row",
                                height_ratios=heights)
    for row, (data, own) in zip(axes, parts.items(), strict=True):
        models, controls = list(dict.fromkeys(own["model"])), rows_of[data]
        for axis, measure in zip(row, measures, strict=True):
            for number, model in enumerate(models):
                rows = own[(own["model"] == model) & (own["measure"] == measure)]
                heights = np.array([controls.index(control)
                                    for control in rows["control"]]) + 0.7 * ((number + 0.5)
                                                                              / len(models) - 0.5)
                axis.errorbar(rows["value"], heights, xerr=spans(rows), fmt="o", markersize=3,
                              elinewidth=1, capsize=2, label=model)
            axis.axvline(0, color="0.25", linewidth=0.8)
            axis.set(title=f"{data}, {measure}", xlabel=xlabel if data == list(parts)[-1] else "")
            axis.locator_params(axis="x", nbins=5)  # small leads have long labels
            axis.grid(False, axis="y")
        row[0].set_yticks(np.arange(len(controls)), controls, fontsize=SMALL)
        row[0].set_ylim(len(controls) - 0.5, -0.5)
    legend_outside(figure, axes[0, 0], "upper")
    return figure


@styled
def defect_effects(table: pd.DataFrame, numbers: dict[str, str]) -> Figure:
    """What each defect does to chosen numbers, in per cent of the corrected value's size: a panel
    per number, a colour per data set and model.

    Positive is published above corrected, whatever the sign of the corrected value.  With 95 %
    intervals; an axis that reaches far beyond 100 % is logarithmic there, and says so. ``table``:
    as of ``defect_table.effect_table``; ``numbers``: titles by name.
    """
    own = table[table["number"].isin(numbers)]
    defects = list(dict.fromkeys(own["defect"]))
    models = list(dict.fromkeys(zip(own["data"], own["model"], strict=True)))
    figure, axes = plt.subplots(1, len(numbers),
                                figsize=(1.9 + 2.4 * len(numbers), 1.5 + 0.42 * len(defects)),
                                squeeze=False, sharey=True)
    for axis, (number, title) in zip(axes[0], numbers.items(), strict=True):
        for offset, (data, model) in enumerate(models):
            rows = own[(own["number"] == number) & (own["data"] == data) & (own["model"] == model)]
            size = rows["corrected"].abs().where(rows["corrected"] != 0)  # no share of nothing
            heights = np.array([defects.index(defect) for defect in rows["defect"]]) + 0.7 * (
                (offset + 0.5) / len(models) - 0.5)
            errors = spans(rows) / size.to_numpy()
            axis.errorbar(100 * rows["value"] / size, heights, xerr=100 * errors, fmt="o",
                          markersize=3, elinewidth=1, capsize=2, label=f"{model}, {data}")
        axis.axvline(0, color="0.25", linewidth=0.8)
        xlabel = "published − corrected,\n% of the corrected value's size"
        # of a corrected value near zero; linear up to its size
        if max(map(abs, axis.get_xlim())) > 150:
            axis.set_xscale("symlog", linthresh=100)
            xlabel += "\n(logarithmic beyond ±100)"
        axis.set_title(title)
        axis.set_xlabel(xlabel, fontsize=SMALL)
        axis.grid(False, axis="y")
    axes[0, 0].set_yticks(np.arange(len(defects)), defects, fontsize=SMALL)
    axes[0, 0].invert_yaxis()
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def pruning_criteria(summary: pd.DataFrame, whole: pd.DataFrame, measure: str) -> Figure:
    """``measure`` against the kept neurons per block for every criterion: a row per data set and
    model, a column per kind of mask and tokens.

    ``summary``: ``data, model, mask, tokens, kept, top, value, low, high``; ``whole``: the same of
    the unedited models (dotted).
    """
    own = list(dict.fromkeys(zip(summary["data"], summary["model"], strict=True)))
    kinds = list(dict.fromkeys(zip(summary["mask"], summary["tokens"], strict=True)))
    criteria = list(dict.fromkeys(summary["kept"]))
    colours = dict(zip(criteria, sns.color_palette("colorblind", len(criteria)), strict=True))
    figure, axes = plt.subplots(len(own), len(kinds),
                                figsize=(0.3 + 2.25 * len(kinds), 0.6 + 2.4 * len(own)),
                                sharey=True, squeeze=False)
    for row, (data, model) in zip(axes, own, strict=True):
        level = whole[(whole["data"] == data) & (whole["model"] == model)]["value"].iloc[0]
        for axis, (mask, tokens) in zip(row, kinds, strict=True):
            mine = (summary["data"] == data) & (summary["model"]
                                                == model) & (summary["mask"]
                                                             == mask) & (summary["tokens"]
                                                                         == tokens)
            for offset, (kept, rows) in enumerate(summary[mine].groupby("kept", sort=False)):
                positions = np.arange(len(rows)) + 0.05 * (offset - 3)
                whiskers(axis, positions, rows, fmt="o-", markersize=2.5, linewidth=2 if offset == 0
                         else 1, elinewidth=0.6, capsize=0, label=kept,
                         ecolor=None, color=colours[kept])
                axis.set_xticks(np.arange(len(rows)), [str(top) for top in rows["top"]])
            axis.axhline(level, color="0.25", linestyle=":", linewidth=1)
            axis.set_title(f"{model}, {data}\n{mask}, {tokens}", fontsize=SMALL)
        row[0].set_ylabel(measure)
    for axis in axes[-1]:
        axis.set_xlabel("kept per block (t)")
    legend_outside(figure,
                   max(axes.flat, key=lambda axis: len(axis.get_legend_handles_labels()[1])))
    return figure


@styled
def mask_leak(summary: pd.DataFrame, measures: Sequence[str]) -> Figure:
    """What the class masks alone say: shares with 95 % intervals, one panel per data set and model;
    ``summary``: ``data, model, tokens, measure, value, …``."""
    own = list(dict.fromkeys(zip(summary["data"], summary["model"], strict=True)))
    across, down = min(2, len(own)), -(-len(own) // 2)
    figure, axes = plt.subplots(down, across, figsize=(1.8 + 3 * across, 0.6 + 2 * down),
                                sharey=True, sharex=True, squeeze=False)
    for axis, (data, model) in zip(axes.flat, own, strict=False):
        mine = summary[(summary["data"] == data) & (summary["model"] == model)]
        for offset, (tokens, rows) in enumerate(mine.groupby("tokens", sort=False)):
            rows = rows.set_index("measure").loc[list(measures)]
            positions = np.arange(len(rows)) + 0.2 * (offset - 0.5)
            axis.errorbar(rows["value"], positions, xerr=spans(rows), fmt="o", markersize=3,
                          capsize=2, label=tokens)
        axis.set_yticks(np.arange(len(measures)), list(measures), fontsize=SMALL)
        axis.set(title=f"{model}, {data}", xlabel="share of images", xlim=(-0.02, 1.02))
        axis.tick_params(labelbottom=True)
    for axis in list(axes.flat)[len(own):]:
        axis.set_visible(False)
    axes[0, 0].invert_yaxis()
    legend_outside(figure, axes[0, 0])
    return figure
