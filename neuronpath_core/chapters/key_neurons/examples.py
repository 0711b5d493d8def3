"""A few images with maps of their class's key neurons, by a rule: those that the first finds best,
and those that the second finds best beside the first (A1, A2)."""

from __future__ import annotations

import numpy as np
import torch

from neuronpath_core.chapters.key_neurons.measured import Read
from neuronpath_core.figures.key_neurons import Example
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.heatmaps import drawn


def chosen(read: Read, count: int = 1) -> list[int]:
    """Positions of ``count`` images that the first key neuron finds best, and of as many that the
    second finds better by most; of different classes."""
    first, second = (np.nan_to_num(read.of_key(read.auroc, rank), nan=-1) for rank in (0, 1))
    picked: list[int] = []
    for score in (first, second - first):
        wanted = len(picked) + count
        for place in np.argsort(-score, kind="stable"):
            if read.labels[place] not in read.labels[picked]:
                picked.append(int(place))
            if len(picked) == wanted:
                break
    return picked


def examples(read: Read, images: ImageSet, count: int = 1) -> list[Example]:
    """The chosen images with their maps."""
    return [_example(read, images, place) for place in chosen(read, count)]


def _example(read: Read, images: ImageSet, place: int) -> Example:
    label, grid = read.labels[place], read.grid
    neurons = read.written.best[label, :2]
    same = read.labels == label
    # the neuron's own scale, over the images of the class
    scale = np.maximum(read.own[same, :2].max((0, 2)), 1e-12)
    maps = np.clip(read.own[place, :2] / scale[:, None], 0, 1)
    size = (1, 2, grid.rows, grid.columns)
    return Example(
        images.class_names[label], images.pixels[place], read.masks[place],
        tuple(f"block {block + 1}, neuron {neuron}" for block, neuron in neurons.tolist()),
        drawn(grid, torch.from_numpy(maps).reshape(size))[0].numpy(),
        tuple(float(read.of_key(read.auroc, rank)[place]) for rank in (0, 1)))
