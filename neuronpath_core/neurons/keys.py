"""What every neuron of a model reads in some images, in one pass: its key at each patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.readings.grids import Grid, grid_of
from neuronpath_core.readings.memories import coefficients, value_matrix
from neuronpath_core.readings.streams import over_images

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.readings.streams import Streams
    from neuronpath_core.target import TargetModel


@dataclass(frozen=True)
class Keys:
    """Activations of all neurons, after the activation function.

    Attributes:
        grid: of the patches.
        maps: at every patch.
        whole: mean over all tokens, prefix tokens among them.
        first: at the first token, the class token of a model that has one; else of the first patch.
        norms: length of the stream that enters each FFN, at every patch.
    """

    grid: Grid
    maps: Float[Tensor, "block image neuron patch"]
    whole: Float[Tensor, "block image neuron"]
    first: Float[Tensor, "block image neuron"]
    norms: Float[Tensor, "block image patch"]


@torch.no_grad()
def read_keys(target: TargetModel, images: Float[Tensor, "image channel height width"]) -> Keys:
    """Every neuron's key at every patch of some images, in one pass.

    All of them are held at once, L B n P numbers, because most measures rank neurons among each
    other; :func:`~neuronpath_core.neurons.heatmaps.heat_maps` holds one block's.

    Args:
        target: the model; results have its dtype and are on its device.
        images: as the model accepts them.

    Raises:
        ValueError: what :func:`~neuronpath_core.neurons.heatmaps.heat_maps` refuses.
    """
    grid, blocks = grid_of(target, images), range(len(target.model.blocks))

    def reading(streams: Streams, rows: Tensor) -> list[Tensor]:
        entering = torch.stack([streams.middle(block) for block in blocks])
        active = torch.stack([coefficients(target, block, "ffn", entering[block])
                              for block in blocks])
        return [active[:, :, grid.tokens].transpose(2, 3), active.mean(2), active[:, :, 0],
                entering[:, :, grid.tokens].norm(dim=-1)]

    parts = over_images(target, images, reading)
    return Keys(grid, *(torch.cat(each, 1) for each in zip(*parts, strict=True)))


def value_norms(target: TargetModel) -> Float[Tensor, "block neuron"]:
    """The length of every value vector."""
    return torch.stack([value_matrix(target, block, "ffn").norm(dim=-1)
                        for block in range(len(target.model.blocks))])
