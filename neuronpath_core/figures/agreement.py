"""Figures of agreement (chapters 13, 14 and 16), from tidy tables: of paths with one another, with
the classes' relations, and between models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neuronpath_core.figures.colours import looks
from neuronpath_core.figures.style import (
    SMALL,
    WIDTH,
    block_ticks,
    legend_above,
    legend_outside,
    marker,
    spans,
    styled,
)
from neuronpath_core.stats.labels import SCOPE_LABELS


@styled
def overlap_dots(summary: pd.DataFrame, models: Sequence[str] = ()) -> Figure:
    """Share of an image's path that each condition finds again, with intervals, beside the
    yardsticks; one row of panels per data set.

    ``summary``: ``data, model, condition``, and the rest as of ``stability.overlap_summary``;
    ``models``: which come first, before the table's others.
    """
    data, own, conditions = (list(dict.fromkeys(summary[name]))
                             for name in ("data", "model", "condition"))
    models = [*(model for model in models if model in own),
              *(model for model in own if model not in models)]
    figure, axes = plt.subplots(len(data), len(models),
                                figsize=(WIDTH, 1.1 + (0.45 + 0.27 * len(conditions))
                                         * len(data)), squeeze=False,
                                sharex=True, sharey=True)
    marks = (("same_class", "o", "another image of the class"),
             ("other_class", "s", "an image of another class"), ("chance", "|", "1/n"))
    for row, name in zip(axes, data, strict=True):
        for axis, model in zip(row, models, strict=True):
            own = summary[(summary["data"] == name) & (summary["model"] == model)]
            positions = own["condition"].map(conditions.index).to_numpy()
            axis.errorbar(own["value"], positions, xerr=spans(own), fmt="D", markersize=3.5,
                          capsize=2, linewidth=1, label="the same image")
            for column, shape, label in marks:
                axis.plot(own[column], positions, shape, markersize=4, color="0.35",
                          fillstyle="none", label=label)
            axis.set(title=f"{name}, {model}", xlim=(-0.03, 1.03),
                     ylim=(len(conditions) - 0.5, -0.5))
            # short, so that those of two panels do not meet
            axis.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
            axis.set_yticks(range(len(conditions)), conditions, fontsize=SMALL)
    for axis in axes[-1]:
        axis.set_xlabel("share of equal neurons")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def overlap_blocks(table: pd.DataFrame) -> Figure:
    """Share of equal neurons in each block, one line a condition, beside other images' paths (mean
    over conditions).

    ``table``: ``data, model, condition``, and the rest as of ``stability.block_overlaps``; one row
    of panels per data set.
    """
    data, models = (list(dict.fromkeys(table[name])) for name in ("data", "model"))
    figure, axes = plt.subplots(len(data), len(models),
                                figsize=(WIDTH, 0.7 + 2.1 * len(data)), squeeze=False,
                                sharey=True)
    for row, name in zip(axes, data, strict=True):
        for axis, model in zip(row, models, strict=True):
            own = table[(table["data"] == name) & (table["model"] == model)]
            for number, (condition, rows) in enumerate(own.groupby("condition", sort=False)):
                axis.plot(rows["block"], rows["own"], marker=marker(number),
                          markersize=3.5, linewidth=1,
                          label=condition)
            for column, style, label in (("same_class", "--", "another image of the class"),
                                         ("other_class", ":", "an image of another class")):
                axis.plot(own.groupby("block")[column].mean(), color="0.3", linestyle=style,
                          linewidth=1, label=label)
            axis.set(title=f"{name}, {model}", ylim=(-0.03, 1.03),
                     xticks=block_ticks(int(own["block"].max())))
        row[0].set_ylabel("share of equal neurons")
    for axis in axes[-1]:
        axis.set_xlabel("block")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def correlation_dots(table: pd.DataFrame, panel: str, rows: str, colour: str) -> Figure:
    """Correlations with intervals, one panel per value of a column; grey bands are the middle 95 %
    under permutation, where there are any.

    ``table``: the three columns named, ``value, low, high`` and, for the bands,
    ``permuted_low, permuted_high``.
    """
    panels, names, kinds = (list(dict.fromkeys(table[name])) for name in (panel, rows, colour))
    figure, axes = plt.subplots(1, len(panels),
                                figsize=(WIDTH, 1 + 0.14 * len(names) * (len(kinds) + 1)),
                                squeeze=False,
                                sharex=True, sharey=True)
    look_of = looks(kinds)
    for axis, title in zip(axes[0], panels, strict=True):
        for number, kind in enumerate(kinds):
            own = table[(table[panel] == title) & (table[colour] == kind)]
            positions = own[rows].map(names.index).to_numpy() + (number - (len(kinds) - 1)
                                                                 / 2) * 0.8 / len(kinds)
            if "permuted_low" in table:
                axis.barh(positions, own["permuted_high"] - own["permuted_low"],
                          left=own["permuted_low"], height=0.7 / len(kinds), color="0.85", zorder=1)
            axis.errorbar(own["value"], positions, xerr=spans(own), linestyle="none",
                          markersize=3.5, capsize=1.5, elinewidth=1, **look_of[kind].drawn,
                          label=kind,
                          zorder=2)
        axis.axvline(0, color="0.25", linewidth=0.8)
        axis.set(title=title, xlabel="rank correlation", ylim=(len(names) - 0.5, -0.5))
        axis.set_yticks(range(len(names)), names)
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def block_correlations(table: pd.DataFrame) -> Figure:
    """Each block's correlation with every relation, one panel per model; bands are the 95 % of the
    extremes of all blocks under permutation.

    ``table``: ``model, relation``, and the rest as of ``taxonomy.block_mantel``; filled marks have
    ``p < 0.05``.
    """
    models, relations = (list(dict.fromkeys(table[name])) for name in ("model", "relation"))
    figure, axes = plt.subplots(1, len(models), figsize=(WIDTH, 2.8), squeeze=False,
                                sharey=True)
    palette = sns.color_palette("colorblind", len(relations))
    for axis, model in zip(axes[0], models, strict=True):
        for colour, style, relation in zip(palette, cycle(("-", "--", ":")), relations,
                                           strict=False):
            own = table[(table["model"] == model) & (table["relation"] == relation)]
            blocks = int(own["block"].max())
            axis.fill_between(own["block"], own["permuted_low"], own["permuted_high"], color=colour,
                              alpha=0.15, linewidth=0)
            axis.plot(own["block"], own["value"], color=colour, linewidth=1.2, label=relation,
                      linestyle=style)
            for fill, chosen in (("full", own["p"] < 0.05), ("none", own["p"] >= 0.05)):
                axis.plot(own["block"][chosen], own["value"][chosen], "o", color=colour,
                          markersize=4, fillstyle=fill)
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(title=model, xlabel="block", xticks=block_ticks(blocks))
    axes[0, 0].set_ylabel("partial rank correlation")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def pair_correlations(pairs: pd.DataFrame) -> Figure:
    """Correlation of block shares for every two models, by whether they are of one kind; a panel
    per data set.  ``pairs`` as of ``model_pairs``."""
    sets, relations = list(dict.fromkeys(pairs["data"])), list(dict.fromkeys(pairs["relation"]))
    figure, axes = plt.subplots(1, len(sets), figsize=(WIDTH, 2.6), squeeze=False,
                                sharey=True)
    for axis, data in zip(axes[0], sets, strict=True):
        for number, relation in enumerate(relations):
            values = np.sort(pairs.loc[(pairs["data"] == data) & (pairs["relation"] == relation),
                                       "value"])
            axis.plot(number + np.linspace(-0.2, 0.2, len(values)), values, marker="o",
                      markersize=4, linestyle="none")
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(title=data, ylim=(-1.05, 1.05))
        axis.set_xticks(np.arange(len(relations)),
                        [relation.replace(" ", "\n", 1) for relation in relations],
                        fontsize=SMALL)
    axes[0, 0].set_ylabel("correlation of block shares")
    return figure


@styled
def replica_shares(shares: pd.DataFrame) -> Figure:
    """Fig. 2 for several training seeds: share of the knowledge neurons in each block, a line per
    model and a colour per kind.

    A row of panels per data set, one panel per scope; solid lines are of models read where they
    classify from, broken ones of models read elsewhere. ``shares`` as of ``mean_shares``.
    """
    sets, scopes, kinds = (list(dict.fromkeys(shares[column]))
                           for column in ("data", "scope", "kind"))
    figure, axes = plt.subplots(len(sets), len(scopes),
                                figsize=(WIDTH, 0.5 + 2 * len(sets)), squeeze=False,
                                sharey="row")
    for row, data in zip(axes, sets, strict=True):
        for axis, scope in zip(row, scopes, strict=True):
            for kind, (colour, mark, _) in looks(kinds).items():
                own = shares[(shares["data"] == data) & (shares["scope"] == scope)
                             & (shares["kind"] == kind)]
                for _, rows in own.groupby("model", sort=False):
                    axis.plot(rows["block"], rows["value"], color=colour, linewidth=1, marker=mark,
                              markersize=3,
                              linestyle="-" if rows["own"].iloc[0] else "--")
            axis.set(title=f"{data}, {SCOPE_LABELS[scope]}", xlabel="block" if data == sets[-1]
                     else "", xticks=np.arange(1, shares["block"].max() + 1))
        row[0].set_ylabel("share of\nknowledge neurons")
    # a colour says the kind and a line its scope, which no line of the panels says by itself
    keys = [Line2D([], [], color=colour, linewidth=3, marker=mark, markersize=7, label=kind)
            for kind, (colour, mark, _) in looks(kinds).items()]
    keys += [Line2D([], [], color="0.3", linewidth=1, linestyle=style, label=label) for style,
             label in (("-", "own scope"), ("--", "the other's scope"))]
    legend_above(figure, keys, [key.get_label() for key in keys])
    return figure
