"""Whether the maps of key neurons find the object, and whether it is the object or its place (A1,
A2, A3).

A key neuron belongs to a class, so that intervals are over classes: of each the mean over its
images.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats

from neuronpath_core.chapters.key_neurons.classes import correlation_row
from neuronpath_core.chapters.key_neurons.measured import RANKS, TOP, Read, over_classes
from neuronpath_core.neurons.key_neurons import best_neurons
from neuronpath_core.neurons.localisation import (
    all_pairs,
    auroc,
    localisation,
    mean_of_others,
    of_others,
)
from neuronpath_core.stats.ranks import mid_ranks

if TYPE_CHECKING:
    from jaxtyping import Float

KEY, ALIKE, BLOCK = "key neuron", "neurons like it", "other neurons of its block"
DEALT, PLACE, MASK = "mask of another image", "its mean map", "mean mask"
CHANCE = "one half"
EFFECTS = (CHANCE, ALIKE, BLOCK, DEALT, PLACE)


def _torch(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def aurocs(read: Read) -> dict[str, Float[np.ndarray, "image"]]:
    """Of each image the AUROC of its class's first key neuron, and of everything that this is held
    against; NaN where the image is all object, or none."""
    inside, labels = _torch(read.inside), _torch(read.labels)
    block, neuron = read.written.best[read.labels, 0].T
    count = len(read.labels)
    # the mean map of the same neuron over the other images
    others = (count * read.mean_map[block, neuron] - read.own[:, 0]) / (count - 1)
    pairs = all_pairs(mid_ranks(_torch(read.own[:, 0])), inside)
    return {KEY: read.of_key(read.auroc), ALIKE: read.of_alike(read.auroc),
            BLOCK: read.of_block(read.auroc), DEALT: of_others(pairs, labels).numpy(),
            PLACE: auroc(_torch(others), inside).numpy(),
            MASK: auroc(mean_of_others(inside.double()), inside).numpy()}


def by_class(read: Read, values: Float[np.ndarray, "image"]) -> Float[np.ndarray, "class"]:
    """Means over the images of the classes that have any with a value."""
    means = read.of_class(values)
    return means[~np.isnan(means)]


def found_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """What the maps find, by what is looked at: ``of, value, low, high, classes``."""
    rows = []
    for words, values in aurocs(read).items():
        means = by_class(read, values)
        rows.append({"of": words, **over_classes(means, seed=seed), "classes": len(means)})
    return pd.DataFrame(rows)


def effect_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """The first key neuron's AUROC minus each control: ``against, value, low, high, classes``."""
    found = aurocs(read)
    controls = {CHANCE: np.full(len(read.labels), 0.5), **found}
    rows = []
    for words in EFFECTS:
        means = by_class(read, found[KEY] - controls[words])
        rows.append({"against": words, **over_classes(means, seed=seed), "classes": len(means)})
    return pd.DataFrame(rows)


def score_row(read: Read) -> dict[str, float]:
    """The three other scores of the first key neuron, with the same of one neuron that is like it
    and of masks that the images of a class exchange in a circle; means over classes."""
    grid, labels = read.grid, read.labels
    whose = np.arange(len(labels))
    for label in range(read.classes):
        own = np.flatnonzero(labels == label)
        whose[own] = np.roll(own, 1)
    sets = {"": (read.own[:, 0], read.masks), "dealt ": (read.own[:, 0], read.masks[whose])}
    row = {}
    for name, (maps, masks) in sets.items():
        square = _torch(maps).reshape(-1, 1, grid.rows, grid.columns)
        found = localisation(square, grid, masks)
        for score in ("iou", "pointing", "energy"):
            values = getattr(found, score)[:, 0].numpy()
            row[f"{name}{score}"] = float(np.nanmean(read.of_class(values)))
    row["covered"] = float(np.nanmean(read.of_class(read.inside.mean(1))))
    row["object"] = float(np.nanmean(read.of_class(read.masks.mean((1, 2)))))
    return row


def projection_rows(read: Read) -> pd.DataFrame:
    """The first key neuron by each projection, its AUROC and that of neurons like it, means over
    classes: ``projection, value, alike`` and ``same``, the share of classes with the same first key
    neuron as by ``"effective"``."""
    rows = []
    for name, aligned in read.written.aligned.items():
        best = best_neurons(torch.from_numpy(aligned)).numpy()
        other = replace(read, written=replace(read.written, best=best))
        rows.append({"projection": name, "value": by_class(read, other.of_key(read.auroc)).mean(),
                     "alike": by_class(read, other.of_alike(read.auroc)).mean(),
                     "same": (best[:, 0] == read.written.best[:, 0]).all(1).mean()})
    return pd.DataFrame(rows)


# --- by rank (A2, A3) ---


def rank_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """The AUROC of each of the first key neurons: ``rank`` (from 1), ``value, low, high`` over
    classes, ``alike`` (neurons like it) and ``better``, the share of images in which it localises
    better than the first."""
    first, rows = read.of_key(read.auroc), []
    for rank in range(RANKS):
        own = read.of_key(read.auroc, rank)
        told = ~np.isnan(own)
        rows.append({"rank": rank + 1, **over_classes(by_class(read, own), seed=seed),
                     "alike": by_class(read, read.of_alike(read.auroc, rank)).mean(),
                     "better": (own > first)[told].mean()})
    return pd.DataFrame(rows)


def best_of_first_row(read: Read, seed: int = 0) -> dict[str, float]:
    """The best of the first five key neurons, image by image, minus the best of as many drawn from
    those that are like them (A2): ``value, low, high, classes``, ``best`` and ``drawn``.

    The best of five is above one half by the choice alone, so that only the difference tells.
    """
    rng = np.random.default_rng(seed)
    own = np.stack([read.of_key(read.auroc, rank) for rank in range(TOP)])
    block, neuron = (read.written.best[read.labels, :TOP, axis] for axis in (0, 1))
    like = read.alike[block, neuron]
    picked = np.where(like, rng.random(like.shape), -1).argmax(-1)
    other = read.auroc[np.arange(len(own[0]))[:, None], block, picked].T
    best, control = by_class(read, own.max(0)), by_class(read, other.max(0))
    return {**over_classes(best - control, seed=seed), "best": best.mean(),
            "drawn": control.mean(), "classes": len(best)}


def best_localiser(read: Read) -> dict[str, Float[np.ndarray, "class"]]:
    """Of each class the rank of the neuron, among all of the model, that localises its images best
    on average, as a share from 0 (first) to 1 (last): by ``alignment``, and by ``activation``, the
    mean activation on the class's images."""
    found = read.of_class(read.auroc)
    best = np.nanargmax(np.nan_to_num(found.reshape(len(found), -1), nan=-1), 1)
    aligned = read.written.effective.reshape(-1, read.classes).T
    active = read.of_class(read.patch).reshape(read.classes, -1)
    every = np.arange(read.classes)
    return {name: (stats.rankdata(-table, axis=1)[every, best] - 1) / (table.shape[1] - 1)
            for name, table in (("alignment", aligned), ("activation", active))}


def first_rank_row(read: Read, seed: int = 0) -> dict[str, float]:
    """Whether the best localiser of a class is among its first key neurons (A3).

    Returns:
        ``value, low, high``, one half minus its rank as a share, over classes; ``activation_...``,
        the same by activation; ``ahead_...``, how much earlier alignment ranks it than activation;
        ``first``, the share of classes in which it is among the first ten, and ``chance`` of that;
        ``median`` rank, from 1, ``neurons`` of the model, ``classes``.
    """
    shares = best_localiser(read)
    rank = 1 + shares["alignment"] * (read.sd.size - 1)
    row = {**over_classes(0.5 - shares["alignment"], seed=seed)}
    for name, values in (("activation", 0.5 - shares["activation"]),
                         ("ahead", shares["activation"] - shares["alignment"])):
        row |= {f"{name}_{end}": each for end, each in over_classes(values, seed=seed).items()}
    return {**row, "first": (rank <= RANKS).mean(), "chance": RANKS / read.sd.size,
            "median": float(np.median(rank)), "neurons": read.sd.size, "classes": len(rank)}


def gap_row(read: Read, seed: int = 0) -> dict[str, float]:
    """Whether the first two alignments are nearly equal where the second neuron localises better
    (A3): Spearman's correlation over classes of the gap between them, as a share of the first, with
    how much better the first localises; as
    :func:`~neuronpath_core.chapters.key_neurons.classes.correlation_row`, and ``classes``."""
    block, neuron = np.moveaxis(read.written.best[:, :2], -1, 0)
    aligned = read.written.effective[block, neuron, np.arange(read.classes)[:, None]]
    gap = (aligned[:, 0] - aligned[:, 1]) / np.abs(aligned[:, 0])
    ahead = read.of_class(read.of_key(read.auroc) - read.of_key(read.auroc, 1))
    told = ~np.isnan(ahead)
    return {**correlation_row(gap[told], ahead[told], seed), "classes": int(told.sum())}
