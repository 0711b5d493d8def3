"""Paths drawn at random, uniformly or among neurons of about the same activation: what any other
path must beat."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.hooks import read_activations
from neuronpath_core.ranking import layer_tops
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def matched_random_paths(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    neurons: Int64[Tensor, "batch layer"], seed: int = 0,
    by: Float[Tensor, "batch layer neuron"] | None = None
) -> Int64[Tensor, "batch layer rank"]:
    """Random neurons with about the same activation as given ones, or about as much of something
    else.

    Each is drawn from those neurons of its block whose clean activation, summed over the scope's
    tokens, ranks within n/20 places (at least two) of the given neuron's. Neurons of the path are
    drawn only when the block has no others left.

    An image's draw depends on the seed, on what is matched and on its pixels alone.

    Args:
        target: the model.
        images: a batch.
        neurons: its paths, int64 ``(batch, layer)`` or ``(batch, layer, rank)``.
        seed: of the draws.
        by: what is matched in place of the activation, ``(batch, layer, neuron)``, such as how far
            a replacement moves each neuron.

    Raises:
        ValueError: neurons that do not fit, or values to match of another shape.
    """
    ranked = target.check_neurons(neurons, len(images))
    top = ranked.shape[2]
    if by is None:
        by = torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                                 lambda chosen: read_activations(target, images[chosen]).sum(2)))
    elif tuple(by.shape) != (wanted := (len(images), target.n_blocks, target.n_neurons)):
        raise ValueError(f"values to match by have shape {tuple(by.shape)}; accepted: {wanted}")
    order = layer_tops(target, by, target.n_neurons)[0].cpu().numpy()
    paths = np.empty(tuple(ranked.shape), dtype=np.int64)
    for row, (image, own) in enumerate(zip(images.detach().to("cpu", torch.float64),
                                           ranked.cpu().numpy(), strict=True)):
        rng = _generator(image, seed)
        for block in range(target.n_blocks):
            count = target.layers[block].units
            reach = max(2, count // 20)
            place = np.argsort(order[row, block, :count])
            free = ~np.isin(np.arange(count), own[block])
            for rank in range(top):
                if not free.any():  # the path has more than half of the block's neurons
                    free[np.setdiff1d(own[block], paths[row, block, :rank])] = True
                distance = np.abs(place - place[own[block, rank]])
                chosen = rng.choice(np.flatnonzero(free
                                                   & (distance
                                                      <= max(reach, distance[free].min()))))
                free[chosen], paths[row, block, rank] = False, chosen
    return torch.from_numpy(paths).to(images.device)


def _generator(image: Tensor, seed: int) -> np.random.Generator:
    """Of random numbers, for one image: depends on the seed and on its pixels alone."""
    return np.random.default_rng([seed,
                                  int.from_bytes(hashlib.sha256(image.numpy().tobytes()).digest()[
        :8], "big")])


def random_paths(target: TargetModel, images: Float[Tensor, "batch channel height width"],
                 top: int = 1, seed: int = 0) -> Int64[Tensor, "batch layer rank"]:
    """Neurons drawn uniformly without replacement in each block.

    An image's draw depends on the seed and on its pixels alone, so a batch gives the same paths as
    its images one by one.
    """
    paths = []
    for image in images.detach().to("cpu", torch.float64):
        rng = _generator(image, seed)
        paths.append(np.stack([rng.choice(layer.units, size=top, replace=False)
                               for layer in target.layers]))
    return torch.from_numpy(np.stack(paths)).to(images.device)
