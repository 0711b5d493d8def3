"""Figures of the paths of classes (chapters 4, 5 and 14), from tidy tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from neuronpath_core.figures.style import block_ticks, legend_outside, styled
from neuronpath_core.images.image_set import ImageSet


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
