"""Figures of the checks of the paper's claims (chapters 9-12), from tidy tables: planted paths,
controls, defects."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import cell_looks, looks
from neuronpath_core.figures.style import (
    LEAST,
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
from neuronpath_core.stats.labels import SCOPE_LABELS


@styled
def recovery_dots(summary: pd.DataFrame) -> Figure:
    """Share of the planted neurons that each method (rows) finds, without decoys (open) and with
    all of them (filled), with 95 % intervals: one panel per token scope.

    ``summary``: ``scope, decoys, method`` (as it is to be called), ``value, low, high``.
    """
    scopes, methods = list(dict.fromkeys(summary["scope"])), list(dict.fromkeys(summary["method"]))
    settings = list(dict.fromkeys(summary["decoys"]))
    figure, axes = plt.subplots(1, len(scopes), figsize=(WIDTH, 1.2 + 0.3 * len(methods)),
                                sharey=True, squeeze=False)
    for axis, scope in zip(axes[0], scopes, strict=True):
        for number, decoys in enumerate(settings):
            rows = summary[(summary["scope"] == scope) & (summary["decoys"] == decoys)]
            heights = [methods.index(method) + beside(number, len(settings), 0.5)
                       for method in rows["method"]]
            axis.errorbar(rows["value"], heights, xerr=spans(rows), fmt=marker(number),
                          markersize=5, elinewidth=1, capsize=2, label=f"decoys: {decoys}",
                          markerfacecolor="none" if number == 0 else None)
        axis.set(title=SCOPE_LABELS.get(scope, scope), xlabel="share of planted neurons found",
                 xlim=(-0.04, 1.04))
        axis.grid(False, axis="y")
        for height in range(1, len(methods)):
            axis.axhline(height - 0.5, color="0.85", linewidth=0.5)
    row_names(axes[0, 0], methods)
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def decoy_curves(summary: pd.DataFrame, predicted: pd.DataFrame) -> Figure:
    """Recovery against the decoys' strength with 95 % intervals, one panel per kind and sort of
    decoy; the dashed line is the closed form.

    ``summary``: ``kind, decoys, strength, value, low, high``; ``predicted``: the same without
    intervals.
    """
    cells = list(summary[["kind", "decoys"]].drop_duplicates().itertuples(index=False))
    figure, axes = plt.subplots(1, len(cells), figsize=(WIDTH, 2.9), sharey=True,
                                squeeze=False)
    for axis, (kind, decoys) in zip(axes[0], cells, strict=True):
        rows, ideal = (table[(table["kind"] == kind) & (table["decoys"] == decoys)].sort_values(
            "strength") for table in (summary, predicted))
        whiskers(axis, rows["strength"], rows, fmt="o", markersize=4, label="measured", ecolor=None)
        axis.plot(ideal["strength"], ideal["value"], linestyle="--", color="0.25", linewidth=1,
                  label="closed form")
        axis.set(xlabel="strength", ylim=(0, 1.05))
        axis.set_title(f"{kind},\n{decoys} decoys", fontsize=SMALL)
    axes[0, 0].set_ylabel("planted neurons found")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def factorial_map(means: pd.DataFrame, title: str) -> Figure:
    """A measure for every score (rows) and search (columns), written into a heat map."""
    figure, axis = plt.subplots(figsize=(WIDTH, 0.8 + 0.45 * len(means)))
    sns.heatmap(means, annot=True, fmt=".3f", cmap="viridis", cbar_kws={"label": title}, ax=axis,
                linewidths=0.5)
    axis.grid(False)
    axis.set(xlabel="search", ylabel="")
    return figure


@styled
def score_dots(table: pd.DataFrame, xlabel: str) -> Figure:
    """What the paths of each score (rows) do: a mark per model, filled by data set, and
    a line at the mean over all of them, with its number.

    ``table``: ``data, model, score`` (as it is to be called), ``value``; rows are ordered by mean.
    """
    means = table.groupby("score", sort=False)["value"].mean().sort_values(ascending=False)
    scores, cells = list(means.index), list(dict.fromkeys(zip(table["data"], table["model"],
                                                              strict=True)))
    look_of = cell_looks(cells)
    figure, axis = plt.subplots(figsize=(WIDTH, 1.5 + 0.36 * len(scores)))
    for number, (data, model) in enumerate(cells):
        rows = table[(table["data"] == data) & (table["model"] == model)]
        axis.plot(rows["value"], [scores.index(score) + beside(number, len(cells), 0.5)
                                  for score in rows["score"]], linestyle="none",
                  **look_of[data, model].drawn, markersize=4.5, alpha=0.8,
                  label=f"{model}, {data}")
    for height, value in enumerate(means):
        axis.plot([value, value], [height - 0.36, height + 0.36], color="0.25", linewidth=2,
                  label="mean" if height == 0 else None)
        axis.text(1.01, height, f"{value:.3f}", transform=axis.get_yaxis_transform(), va="center",
                  fontsize=SMALL)
    axis.text(1.01, -0.75, "mean", transform=axis.get_yaxis_transform(), va="center",
              fontsize=SMALL)
    axis.set_xlabel(xlabel)
    axis.grid(False, axis="y")
    row_names(axis, scores)
    legend_outside(figure, axis)
    return figure


@styled
def lead_forest(table: pd.DataFrame, xlabel: str = "own path's lead") -> Figure:
    """How far the own path is ahead of each control: a row of panels per data set and one panel per
    measure, a colour and a shape per model, with 95 % intervals.

    A row of panels has the controls that its data set has. Of one measure and the same controls,
    the data sets stand beside one another.

    ``table``: ``data, model, control`` (as it is to be called), ``measure, value, low, high``;
    ``xlabel``: what the values are.
    """
    measures = list(dict.fromkeys(table["measure"]))
    parts = dict(list(table.groupby("data", sort=False)))
    rows_of = {data: list(dict.fromkeys(own["control"])) for data, own in parts.items()}
    side_by_side = len(measures) == 1 and len(set(map(tuple, rows_of.values()))) == 1
    # a panel of one row is too low for its title
    heights = [max(2, len(controls)) for controls in rows_of.values()]
    down, across = (1, len(parts)) if side_by_side else (len(parts), len(measures))
    heights = heights[:down]
    figure, axes = plt.subplots(down, across, figsize=(WIDTH, 1.1 + 0.4 * sum(heights)),
                                squeeze=False, sharey="row", height_ratios=heights)
    cells = [(data, measure) for data in parts for measure in measures]
    for axis, (data, measure) in zip(axes.flat, cells, strict=True):
        own, controls = parts[data], rows_of[data]
        models = looks(own["model"])
        for number, (model, look) in enumerate(models.items()):
            rows = own[(own["model"] == model) & (own["measure"] == measure)]
            places = np.array([controls.index(control) for control in rows["control"]])
            axis.errorbar(rows["value"], places + beside(number, len(models)), xerr=spans(rows),
                          linestyle="none", **look.drawn, markersize=3.5, elinewidth=1,
                          capsize=2, label=model)
        axis.axvline(0, color="0.25", linewidth=0.8)
        axis.set_title(f"{data}, {measure}")
        axis.set_xlabel(xlabel if side_by_side or data == list(parts)[-1] else "", fontsize=SMALL)
        axis.locator_params(axis="x", nbins=5)  # small leads have long labels
        axis.grid(False, axis="y")
        if axis.get_subplotspec().is_first_col():
            row_names(axis, controls)
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def defect_effects(table: pd.DataFrame, numbers: dict[str, str]) -> Figure:
    """What each defect does to chosen numbers, in per cent of the corrected value's size: a panel
    per number, a mark per model, filled by data set.

    Positive is published above corrected, whatever the sign of the corrected value.  With 95 %
    intervals; an axis that reaches far beyond 100 % is logarithmic there, and says so. ``table``:
    as of ``defect_table.effect_table``; ``numbers``: titles by name.
    """
    own = table[table["number"].isin(numbers)]
    defects = list(dict.fromkeys(own["defect"]))
    models = cell_looks(zip(own["data"], own["model"], strict=True))
    figure, axes = plt.subplots(1, len(numbers),
                                figsize=(WIDTH, 1.7 + 0.36 * len(defects)),
                                squeeze=False, sharey=True)
    for axis, (number, title) in zip(axes[0], numbers.items(), strict=True):
        for offset, ((data, model), look) in enumerate(models.items()):
            rows = own[(own["number"] == number) & (own["data"] == data) & (own["model"] == model)]
            size = rows["corrected"].abs().where(rows["corrected"] != 0)  # no share of nothing
            heights = np.array([defects.index(defect) for defect in rows["defect"]]) + beside(
                    offset, len(models))
            errors = spans(rows) / size.to_numpy()
            axis.errorbar(100 * rows["value"] / size, heights, xerr=100 * errors,
                          linestyle="none", **look.drawn, markersize=3, elinewidth=1,
                          capsize=2, label=f"{model}, {data}")
        axis.axvline(0, color="0.25", linewidth=0.8)
        xlabel = "published − corrected,\n% of corrected"
        # of a corrected value near zero; linear up to its size
        if max(map(abs, axis.get_xlim())) > 150:
            axis.set_xscale("symlog", linthresh=100)
            # of powers, exponents would be too small to read
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            xlabel += "\n(log beyond ±100)"
        axis.set_title(title, fontsize=SMALL)
        axis.set_xlabel(xlabel, fontsize=SMALL)
        axis.tick_params(axis="x", labelsize=LEAST)
        axis.grid(False, axis="y")
        for height in range(1, len(defects)):
            axis.axhline(height - 0.5, color="0.85", linewidth=0.5)
    row_names(axes[0, 0], defects)
    legend_outside(figure, axes[0, 0])
    return figure
