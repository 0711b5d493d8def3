"""Figures of the paper's own experiments (chapters 1-8), from tidy tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from neuronpath_core.figures.style import (
    block_ticks,
    legend_outside,
    method_colours,
    styled,
    whiskers,
)
from neuronpath_core.images.data_sets import ImageSet
from neuronpath_core.stats.labels import METHOD_LABELS, TABLE1_METRICS


@styled
def knowledge_blocks(shares: pd.DataFrame) -> Figure:
    """Fig. 2: share of the knowledge neurons in each block, one panel per model, with 95 %
    intervals."""
    models = list(dict.fromkeys(shares["model"]))
    figure, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models), 3), sharey=True,
                                squeeze=False)
    for index, (axis, model) in enumerate(zip(axes[0], models, strict=True)):
        rows = shares[shares["model"] == model]
        axis.bar(rows["block"], rows["value"], color=sns.color_palette("colorblind")[index])
        whiskers(axis, rows["block"], rows)
        axis.set(title=model, xlabel="block",
                 xticks=rows["block"].to_numpy()[:: max(1, len(rows) // 12)])
    axes[0, 0].set_ylabel("share of knowledge neurons")
    return figure


@styled
def table1_intervals(table: pd.DataFrame) -> Figure:
    """Table 1 drawn: a row of panels per metric, one panel per model, with 95 % intervals."""
    models, colours = list(dict.fromkeys(table["model"])), method_colours()
    figure, axes = plt.subplots(len(TABLE1_METRICS), len(models), figsize=(2.6 * len(models), 6.6),
                                squeeze=False)
    for index, (metric, title) in enumerate(TABLE1_METRICS.items()):
        row, is_last = axes[index], index == len(axes) - 1
        for axis, model in zip(row, models, strict=True):
            rows = table[(table["metric"] == metric) & (table["model"] == model)]
            names = [METHOD_LABELS[method] for method in rows["method"]]
            axis.bar(names, rows["value"], color=[colours[name] for name in names])
            whiskers(axis, np.arange(len(rows)), rows)
            axis.axhline(0, color="0.25", linewidth=0.8)
            axis.set_xticks(np.arange(len(names)), [name.replace(" ", "\n") for name in names]
                            if is_last else [""] * len(names), fontsize=7)
            axis.grid(False, axis="x")
            axis.margins(y=0.12)
            if index == 0:
                axis.set_title(model)
        row[0].set_ylabel(title.replace(" (", "\n(").replace("accuracy deviation",
                                                             "accuracy\ndeviation"))
    return figure


@styled
def deviation_boxes(table: pd.DataFrame, operation: str) -> Figure:
    """Fig. 3: probability deviation of the true class, one box per method, one panel per model.

    ``operation`` is ``"removal"`` or ``"enhancement"``.  Boxes hold the middle half of the images,
    whiskers 5-95 %, the diamond is the mean.
    """
    models, colours = list(dict.fromkeys(table["model"])), method_colours()
    data = table.assign(method=table["method"].map(METHOD_LABELS),
                        deviation=table[f"{operation}_probability"])
    figure, axes = plt.subplots(1, len(models), figsize=(2.7 * len(models), 3.2), squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        sns.boxplot(data[data["model"] == model], x="method", y="deviation", hue="method",
                    palette=colours, legend=False, ax=axis,
                    whis=(5, 95), showfliers=False, showmeans=True, linewidth=0.9,
                    meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "0.2",
                               "markersize": 4})
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(title=model, xlabel="", ylabel="")
        axis.set_xticks(axis.get_xticks(), [label.get_text().replace(" ", "\n")
                                            for label in axis.get_xticklabels()], fontsize=7)
    axes[0, 0].set_ylabel(f"{operation}: probability deviation")
    return figure


@styled
def class_violins(table: pd.DataFrame, label: int, class_name: str,
                  n_neurons: dict[str, int]) -> Figure:
    """Fig. 4, 7-10: distribution of the selected neuron's index per block for one class, one panel
    per model.

    The dashed line connects each block's most frequent neuron.
    """
    models = list(dict.fromkeys(table["model"]))
    rows = -(-len(models) // 2)
    figure, axes = plt.subplots(rows, min(2, len(models)),
                                figsize=(5.4 * min(2, len(models)), 2.7 * rows), squeeze=False)
    for index, (axis, model) in enumerate(zip(axes.flat, models, strict=False)):
        own = table[(table["model"] == model) & (table["label"] == label)]
        sns.violinplot(own, x="block", y="neuron", ax=axis, inner=None, cut=0, density_norm="width",
                       gridsize=60, linewidth=0.6, width=0.9,
                       color=sns.color_palette("colorblind")[index % 10], saturation=0.7)
        modal = own.groupby("block")["neuron"].agg(lambda values: np.bincount(values).argmax())
        axis.plot(np.arange(len(modal)), modal.to_numpy(), linestyle="--", marker="o",
                  markersize=2.5, color="0.15", linewidth=1)
        axis.set(title=f"{model}, class {class_name}", xlabel="block", ylabel="neuron index",
                 ylim=(-2, n_neurons[model] + 1))
        if len(modal) > 12:
            axis.set_xticks(np.arange(1, len(modal), 2),
                            [str(block) for block in modal.index[1::2]])
    for axis in list(axes.flat)[len(models):]:
        axis.set_visible(False)
    return figure


@styled
def concentration_curves(table: pd.DataFrame) -> Figure:
    """Share of a class's images that pass through each block's most frequent neuron, beside
    shuffled labels."""
    models = list(dict.fromkeys(table["model"]))
    figure, axes = plt.subplots(1, len(models), figsize=(2.3 * len(models), 2.9), sharey=True,
                                squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        rows = table[table["model"] == model]
        axis.plot(rows["block"], rows["share"], marker="o", markersize=3, label="class labels")
        axis.plot(rows["block"], rows["shuffled"], marker="s", markersize=3,
                  label="shuffled labels")
        axis.fill_between(rows["block"], rows["shuffled"], rows["shuffled_high"], alpha=0.25,
                          color=sns.color_palette("colorblind")[1])
        axis.axhline(rows["uniform"].iloc[0], color="0.4", linestyle=":", linewidth=1, label="1/n")
        axis.set(title=model, xlabel="block", ylim=(0, 1),
                 xticks=block_ticks(int(rows["block"].max())))
    axes[0, 0].set_ylabel("share through modal neuron")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def utilisation_maps(matrices: dict[str, np.ndarray], labels: Sequence[int],
                     class_names: Sequence[str]) -> Figure:
    """Utilisation matrices of a few classes, one row per model (Fig. 5, left)."""
    figure, axes = plt.subplots(len(matrices), len(labels),
                                figsize=(3.2 * len(labels), 2.1 * len(matrices)), squeeze=False)
    for row, (model, stack) in zip(axes, matrices.items(), strict=True):
        for axis, label in zip(row, labels, strict=True):
            axis.imshow(stack[label], aspect="auto", cmap="magma_r", vmin=0, vmax=1,
                        interpolation="nearest")
            axis.grid(False)
            axis.set(title=f"{model}, class {class_names[label]}", xlabel="neuron", ylabel="block")
            axis.set_yticks([0, len(stack[label]) - 1], ["1", str(len(stack[label]))])
    figure.colorbar(axes[0, 0].images[0], ax=axes, label="share of the block's selections",
                    shrink=0.8)
    return figure


@styled
def similarity_matrices(matrices: dict[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Cosine similarity of the classes' utilisation matrices, one panel per model, all on one
    scale; the diagonal of ones is blank."""
    across, down = min(2, len(matrices)), -(-len(matrices) // 2)
    ticks = class_names if len(class_names) <= 40 else False
    # names stand upright below the last panels
    below = 0.06 * max(map(len, class_names)) if ticks else 0
    figure, axes = plt.subplots(down, across, figsize=(0.8 + 4 * across, 0.2 + 3.7 * down + below),
                                squeeze=False)
    others = np.concatenate([similarity[~np.eye(len(similarity), dtype=bool)]
                             for similarity in matrices.values()])
    for axis, (model, similarity) in zip(axes.flat, matrices.items(), strict=False):
        sns.heatmap(similarity, mask=np.eye(len(similarity), dtype=bool), annot=len(similarity)
                    <= 12, fmt=".2f", annot_kws={"fontsize": 7.5},
                    cmap="viridis", vmin=others.min(), vmax=others.max(), square=True,
                    xticklabels=ticks, yticklabels=ticks, ax=axis, cbar=False)
        axis.grid(False)
        axis.set(title=model, xlabel="class", ylabel="class")
        if len(similarity) > 12:
            axis.tick_params(labelsize=7)
        # else a panel that is not at the edge has nothing below it
        if len(matrices) == across * down:
            axis.label_outer()
    for axis in list(axes.flat)[len(matrices):]:
        axis.set_visible(False)
    figure.colorbar(axes[0, 0].collections[0], ax=axes, shrink=0.8, label="cosine similarity")
    return figure


def _typical(images: ImageSet, label: int) -> np.ndarray:
    """The class's original closest to their mean."""
    own = images.pixels[images.labels.numpy() == label]
    return own[np.square(own - own.mean(0)).reshape(len(own), -1).sum(1).argmin()]


@styled
def similar_classes(table: pd.DataFrame, images: ImageSet, classes: Sequence[str]) -> Figure:
    """Fig. 5, 11, 12: a typical image of each class beside its most and least similar classes;
    ``table`` as of ``extremes``."""
    kinds = [("most similar", "tab:blue"), ("least similar", "tab:red")]
    width, across = 1 + 2 * int(table.groupby(["class", "kind"]).size().max()), 2
    rows = -(-len(classes) // across)
    figure, axes = plt.subplots(rows, across * width, figsize=(1.35 * across * width, 1.75 * rows),
                                squeeze=False)
    examples = {images.class_names[label]: _typical(images, label)
                for label in images.labels.unique().tolist()}
    for axis in axes.flat:
        axis.set_axis_off()
    for index, name in enumerate(classes):
        shown = [(name, f"class {name}", "0.2")]
        for kind, colour in kinds:
            own = table[(table["class"] == name) & (table["kind"] == kind)]
            shown += [(other, f"{kind}:\n{other} ({value:.2f})", colour) for other,
                      value in zip(own["other"], own["similarity"], strict=True)]
        group = axes[index // across, index % across * width:]
        for axis, (other, title, colour) in zip(group, shown, strict=False):
            axis.imshow(examples[other], cmap="gray", vmin=0, vmax=255)
            axis.set_title(title, fontsize=7, color=colour)
    return figure


@styled
def pruning_curves(summary: pd.DataFrame, baselines: dict[str, float], measure: str) -> Figure:
    """Fig. 6: test ``measure`` against t, one row per model, one panel per pruned share; the dotted
    line is the whole model.

    ``summary``: ``model, kept, top, share, value, low, high``.
    """
    models, shares = list(dict.fromkeys(summary["model"])), sorted(summary["share"].unique())
    figure, axes = plt.subplots(len(models), len(shares),
                                figsize=(0.3 + 2.25 * len(shares), 0.4 + 2.4 * len(models)),
                                sharey="row", sharex=True,
                                squeeze=False)
    for row, model in zip(axes, models, strict=True):
        is_last = model == models[-1]
        for axis, share in zip(row, shares, strict=True):
            for offset, (kept,
                         own) in enumerate(summary[(summary["model"] == model)
                                                   & (summary["share"] == share)].groupby(
                    "kept", sort=False)):
                positions = np.arange(len(own)) + 0.08 * (offset - 1)
                whiskers(axis, positions, own, fmt="o-", markersize=3, linewidth=1, label=kept,
                         ecolor=None)
                axis.set_xticks(np.arange(len(own)), [str(top) for top in own["top"]])
            axis.axhline(baselines[model], color="0.25", linestyle=":", linewidth=1,
                         label="whole model")
            axis.set(title=f"{model}, p = {share:.0%}", xlabel="kept per block (t)" if is_last
                     else "")
        row[0].set_ylabel(measure)
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def cost_curves(table: pd.DataFrame) -> Figure:
    """App. A: measured time against each size, on logarithmic axes, beside two counts, as of
    ``scaled_formula``."""
    names = {"L": "blocks L", "n": "neurons per block n", "m": "steps m", "T": "tokens T"}
    figure, axes = plt.subplots(1, len(names), figsize=(2.3 * len(names), 2.9), squeeze=False)
    for axis, (varied, title) in zip(axes[0], names.items(), strict=True):
        rows = table[table["varied"] == varied]
        axis.plot(rows["size"], rows["seconds"], marker="o", label="measured")
        axis.plot(rows["size"], rows["operations"], linestyle="--", color="0.4",
                  label="count of the fast search")
        axis.plot(rows["size"], rows["published"], linestyle=":", color="0.4",
                  label="formula of App. A")
        axis.set(xscale="log", yscale="log", xlabel=title)
        axis.set_xticks(rows["size"], [str(size) for size in rows["size"]])
        axis.minorticks_off()
    axes[0, 0].set_ylabel("seconds per image")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def integrand_curves(table: pd.DataFrame) -> Figure:
    """How far the integrand of a path neuron varies, against its block: median over images, with
    the middle half; ``table`` as of ``integrands.integrand_curvature``."""
    figure, axis = plt.subplots(figsize=(6.2, 3.2))
    for (model, rows), colour in zip(table.groupby("model", sort=False),
                                     sns.color_palette("colorblind"), strict=False):
        quartiles = rows.groupby("block")["curvature"].quantile([0.25, 0.5, 0.75]).unstack()
        axis.plot(quartiles.index, quartiles[0.5], marker="o", markersize=3, label=model,
                  color=colour)
        axis.fill_between(quartiles.index, quartiles[0.25], quartiles[0.75], color=colour,
                          alpha=0.15, linewidth=0)
    axis.set(yscale="log", xlabel="block", ylabel="distance from a straight line",
             xticks=block_ticks(int(table["block"].max())))
    legend_outside(figure, axis)
    return figure


@styled
def benchmark_ratios(table: pd.DataFrame) -> Figure:
    """How many times faster than the published procedure, against each size, with minimum and
    maximum; ``table`` as of ``benchmarks.growth``."""
    names = {"L": "blocks L", "T": "tokens T", "n": "neurons per block n", "m": "steps m",
             "batch": "images in a batch"}
    figure, axes = plt.subplots(1, len(names), figsize=(2.3 * len(names), 2.7), squeeze=False,
                                sharey=True)
    for axis, (varied, title) in zip(axes[0], names.items(), strict=True):
        rows = table[table["varied"] == varied]
        axis.errorbar(rows["size"], rows["ratio"], [rows["ratio"] - rows["minimum"],
                                                    rows["maximum"] - rows["ratio"]], marker="o",
                      capsize=3)
        axis.set(xscale="log", xlabel=title)
        axis.set_xticks(rows["size"], [str(size) for size in rows["size"]])
        axis.minorticks_off()
    axes[0, 0].set(ylabel="times faster", ylim=(0, None))
    return figure
