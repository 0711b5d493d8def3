"""Figures of the paths of classes (chapters 4, 5 and 14), from tidy tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import looks
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    block_ticks,
    legend_outside,
    marker,
    styled,
)
from neuronpath_core.images.image_set import ImageSet


@styled
def class_violins(table: pd.DataFrame, label: int, class_name: str,
                  n_neurons: dict[str, int]) -> Figure:
    """Fig. 4, 7-10: distribution of the selected neuron's index per block for one class, one panel
    per model.

    The dashed line connects each block's commonest neuron.
    """
    models = list(dict.fromkeys(table["model"]))
    rows, look_of = -(-len(models) // 2), looks(models)
    figure, axes = plt.subplots(rows, min(2, len(models)),
                                figsize=(WIDTH, 2.1 * rows), squeeze=False)
    for axis, model in zip(axes.flat, models, strict=False):
        own = table[(table["model"] == model) & (table["label"] == label)]
        sns.violinplot(own, x="block", y="neuron", ax=axis, inner=None, cut=0, density_norm="width",
                       gridsize=60, linewidth=0.6, width=0.9,
                       color=look_of[model].colour, saturation=0.7)
        commonest = own.groupby("block")["neuron"].agg(lambda each: np.bincount(each).argmax())
        axis.plot(np.arange(len(commonest)), commonest.to_numpy(), linestyle="--", marker="o",
                  markersize=2.5, color="0.15", linewidth=1)
        axis.set(title=f"{model}, class {class_name}", xlabel="block", ylabel="neuron index",
                 ylim=(-2, n_neurons[model] + 1))
        if len(commonest) > 12:
            axis.set_xticks(np.arange(1, len(commonest), 2),
                            [str(block) for block in commonest.index[1::2]])
    for axis in list(axes.flat)[len(models):]:
        axis.set_visible(False)
    return figure


@styled
def concentration_curves(table: pd.DataFrame) -> Figure:
    """Share of a class's images that pass through each block's commonest neuron, beside shuffled
    labels and the 97.5 % quantile of their shuffles."""
    models = list(dict.fromkeys(table["model"]))
    look_of = looks(["class labels", "shuffled labels"])
    figure, axes = plt.subplots(1, len(models), figsize=(WIDTH, 2.9), sharey=True,
                                squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        rows = table[table["model"] == model]
        for column, name in (("share", "class labels"), ("shuffled", "shuffled labels")):
            axis.plot(rows["block"], rows[column], **look_of[name].drawn, markersize=3, label=name)
        axis.plot(rows["block"], rows["shuffled_high"], linestyle="--", linewidth=1,
                  color=look_of["shuffled labels"].colour, label="97.5 % of the shuffles")
        axis.axhline(rows["uniform"].iloc[0], color="0.4", linestyle=":", linewidth=1, label="1/n")
        axis.set(title=model, xlabel="block", ylim=(0, 1),
                 xticks=block_ticks(int(rows["block"].max())))
    axes[0, 0].set_ylabel("share of images")
    legend_outside(figure, axes[0, 0])
    return figure


@styled
def utilisation_maps(matrices: dict[str, np.ndarray], labels: Sequence[int],
                     class_names: Sequence[str]) -> Figure:
    """Utilisation matrices of a few classes, one row per model (Fig. 5, left)."""
    figure, axes = plt.subplots(len(matrices), len(labels),
                                figsize=(WIDTH, 1.7 * len(matrices)), squeeze=False)
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
def similarity_matrices(matrices: dict[str, np.ndarray], class_names: Sequence[str],
                        groups: Sequence[str] | None = None) -> Figure:
    """Cosine similarity of the classes' utilisation matrices, one panel per model, all on one
    scale; the diagonal of ones is blank.

    ``groups``: a name for each class; where there are more than twelve classes, neighbours of one
    name are labelled once.
    """
    across, down = min(2, len(matrices)), -(-len(matrices) // 2)
    ticks = class_names if len(class_names) <= 40 else False
    if len(class_names) > 12 and groups is not None:
        ticks = _named_once(groups)
    # names stand upright below the last panels
    below = 0.06 * max(map(len, ticks)) if ticks else 0
    figure, axes = plt.subplots(down, across, figsize=(WIDTH, 0.2 + 3 * down + below),
                                squeeze=False)
    others = np.concatenate([similarity[~np.eye(len(similarity), dtype=bool)]
                             for similarity in matrices.values()])
    for axis, (model, similarity) in zip(axes.flat, matrices.items(), strict=False):
        # without the zero in front ten numbers stand side by side
        numbers = np.vectorize(lambda value: f"{value:.2f}".replace("0.", ".", 1))(similarity)
        sns.heatmap(similarity, mask=np.eye(len(similarity), dtype=bool),
                    annot=numbers if len(similarity) <= 12 else False, fmt="",
                    annot_kws={"fontsize": LEAST},
                    cmap="viridis", vmin=others.min(), vmax=others.max(), square=True,
                    xticklabels=ticks, yticklabels=ticks, ax=axis, cbar=False)
        axis.grid(False)
        axis.set(title=model, xlabel="class", ylabel="class")
        if len(similarity) > 12:
            axis.tick_params(labelsize=LEAST)
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
    """Fig. 5, 11, 12: a typical image of each class, above that of its most similar class, above
    that of its least similar one; ``table`` as of ``extremes``.

    One panel per row, so that a dozen classes stand side by side; where several classes are equally
    extreme, the first of the table is shown.
    """
    kinds, count = ("most similar", "least similar"), len(classes)
    examples = {images.class_names[label]: _typical(images, label)
                for label in images.labels.unique().tolist()}
    figure, axes = plt.subplots(3, 1, figsize=(WIDTH, 0.45 + 3 * (0.3 + WIDTH / max(count, 6.5)
                                                                  * 0.85)), squeeze=False)
    rows = [("class", [(name, name) for name in classes])]
    for kind in kinds:
        own = table[table["kind"] == kind].groupby("class", sort=False).first()
        rows.append((kind, [(own["other"][name],
                             f"{own['other'][name]} ({own['similarity'][name]:.2f})")
                            for name in classes]))
    for axis, (title, shown) in zip(axes[:, 0], rows, strict=True):
        for place, (other, _) in enumerate(shown):
            axis.imshow(examples[other], cmap="gray", vmin=0, vmax=255,
                        extent=(place - 0.45, place + 0.45, -0.45, 0.45))
        axis.set(xlim=(-0.5, count - 0.5), ylim=(-0.5, 0.5), yticks=[])
        axis.set_ylabel(title.replace(" ", "\n"), fontsize=SMALL, rotation=0, ha="right",
                        va="center")
        axis.set_xticks(range(count), [text for _, text in shown], fontsize=SMALL)
        axis.tick_params(length=0)
        axis.grid(False)
        axis.spines[:].set_visible(False)
    return figure


def _named_once(groups: Sequence[str]) -> list[str]:
    """Each run of one name has it at its middle, and nothing elsewhere."""
    names, start = [""] * len(groups), 0
    for end in range(1, len(groups) + 1):
        if end == len(groups) or groups[end] != groups[start]:
            names[(start + end - 1) // 2], start = groups[start], end
    return names


@styled
def shared_attributes(means: pd.DataFrame, images: ImageSet) -> Figure:
    """Mean cosine of two classes that share an attribute, and of those that share nothing, beside
    two images of such classes; a mark per model.

    ``means``: a row per model, a column per attribute of the images' taxonomy, the last
    ``"nothing"``.
    """
    kinds, axes = list(means.columns), []
    figure = plt.figure(figsize=(WIDTH, 0.9 + 0.85 * len(kinds)))
    grid = figure.add_gridspec(len(kinds), 2, width_ratios=(1.5, WIDTH - 2.6))
    for row, kind in enumerate(kinds):
        axis = figure.add_subplot(grid[row, 0])
        pair = [_typical(images, label) for label in _example_pair(images.taxonomy, kind)]
        axis.imshow(np.concatenate(pair, axis=1), cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.set_ylabel(kind if kind == "nothing" else f"same\n{kind}", rotation=0, ha="right",
                        va="center", fontsize=SMALL)
        axes.append(axis)
    dots = figure.add_subplot(grid[:, 1])
    for number, (model, values) in enumerate(means.iterrows()):
        # a little apart, so that equal values are seen
        places = np.arange(len(kinds)) + (number - (len(means) - 1) / 2) * 0.12
        dots.plot(values, places, marker(number), markersize=6, label=model)
    dots.set(ylim=(len(kinds) - 0.5, -0.5), xlim=(0, None),
             xlabel="mean cosine of the two classes' paths")
    dots.set_yticks(range(len(kinds)), [""] * len(kinds))
    legend_outside(figure, dots)
    return figure


def _example_pair(taxonomy: dict[str, Sequence[str]], kind: str) -> tuple[int, int]:
    """The first two classes that share ``kind`` and nothing else, or, for ``"nothing"``, no
    attribute; where there are none, the first that share it with another one."""
    mixed = None
    count = len(next(iter(taxonomy.values())))
    for first in range(count):
        for second in range(first + 1, count):
            shared = [axis for axis, values in taxonomy.items() if values[first] == values[second]]
            if shared == ([] if kind == "nothing" else [kind]):
                return first, second
            if kind in shared and mixed is None:
                mixed = first, second
    if mixed is not None:
        return mixed
    raise ValueError(f"no two classes share {kind!r}; accepted: {', '.join(taxonomy)}, nothing")
