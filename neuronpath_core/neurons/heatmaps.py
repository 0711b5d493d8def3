r"""Where in an image a neuron fires: its activation at every patch, as a map (Allert et al., 2024).

A *heat map* is the input of the FFN's last linear layer, after the activation function, at the
patch tokens; tokens without a place (class token, registers) are dropped by their number.  Allert
et al. set negative values to 0 and stretch every image's map to [0, 1] (``how="image"``), so that a
neuron which hardly fires looks as bright as one that does; a scale for each neuron over all images
(``how="neuron"``) keeps the difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.readings.grids import Grid, as_image, grid_of
from neuronpath_core.readings.memories import coefficients
from neuronpath_core.readings.streams import check_block, over_images
from neuronpath_core.support.tensors import is_real, kind_of
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float

    from neuronpath_core.readings.streams import Streams
    from neuronpath_core.target import TargetModel

Scaling = Literal["image", "neuron"]
SCALINGS = ("image", "neuron")
KEPT = 0.8  # the quantile of a map above which published masks are on


@torch.no_grad()
def heat_maps(target: TargetModel, images: Float[Tensor, "image channel height width"], block: int,
              neurons: Sequence[int] | None = None) -> Float[Tensor, "image neuron row column"]:
    """Activations after the activation function at the patch tokens, of some neurons of a block.

    Of a gated FFN the activation is the product of gate and up projection.

    Args:
        target: the model; results have its dtype and are on its device.
        images: as the model accepts them; as many at a time as memory admits.
        block: from 0.
        neurons: of the block, in the order of the maps; ``None``: all.

    Returns:
        signed values, as they enter ``mlp.fc2``; :func:`scaled` makes pictures of them.

    Raises:
        ValueError: no such block or neuron, tokens that are not a grid, and what
            :func:`~neuronpath_core.readings.memories.coefficients` refuses.
    """
    check_target(target)
    check_block(target, block)
    grid = grid_of(target, images)
    chosen = _numbers(neurons, target.model.blocks[block].mlp.fc2.in_features)

    def reading(streams: Streams, rows: Tensor) -> Tensor:
        return coefficients(target, block, "ffn", streams.middle(block))[:, grid.tokens, chosen]

    found = torch.cat(over_images(target, images, reading))
    return found.transpose(1, 2).unflatten(-1, (grid.rows, grid.columns))


def _numbers(neurons: Sequence[int] | None, count: int) -> list[int] | slice:
    if neurons is None:
        return slice(None)
    found = neurons.tolist() if hasattr(neurons, "tolist") else neurons
    if not isinstance(found, (list, tuple, range)) or not found or not all(
            isinstance(each, int) and not isinstance(each, bool) and 0 <= each < count
            for each in found):
        raise ValueError(f"neurons must be whole numbers in 0..{count - 1}, got {shown(neurons)}")
    return list(found)


def scaled(maps: Float[Tensor, "image neuron row column"],
           how: Scaling = "neuron") -> Float[Tensor, "image neuron row column"]:
    """Maps in [0, 1]: negative values are 0, the rest is stretched.

    Args:
        maps: of :func:`heat_maps`.
        how: ``"image"``: each map from its own least to its own largest value, as published;
            ``"neuron"``: from 0 to the neuron's largest value in any of the images.  A map that is
            the same everywhere is 0 everywhere under ``"image"``.

    Raises:
        ValueError: maps of another shape, or an unknown scale.
    """
    check_maps(maps)
    if not is_one_of(how, SCALINGS):
        raise ValueError(f"unknown scale {shown(how)}; accepted: {', '.join(SCALINGS)}")
    positive = maps.clamp_min(0)
    if how == "image":
        low, high = positive.amin((2, 3), keepdim=True), positive.amax((2, 3), keepdim=True)
        positive, high = positive - low, high - low
    else:
        high = positive.amax((0, 2, 3), keepdim=True)
    return torch.where(high > 0, positive / high.where(high > 0, 1), 0)


def check_maps(maps: object) -> None:
    """Raise ``ValueError`` unless these are maps of images and neurons."""
    if not is_real(maps) or maps.ndim != 4 or 0 in maps.shape:
        raise ValueError(f"maps must be numbers (image, neuron, row, column), got {kind_of(maps)}")


def drawn(grid: Grid, maps: Float[Tensor, "image neuron row column"]) -> Float[
        Tensor, "image neuron height width"]:
    """Maps as large as the image, bilinearly between the middles of the patches."""
    check_maps(maps)
    return as_image(grid, maps.flatten(2))


def mask_of(maps: Float[Tensor, "*batch height width"],
            quantile: float = KEPT) -> Bool[Tensor, "*batch height width"]:
    """Where a map lies above a quantile of itself, as published at 0.8: always a fifth of the
    image, however little a neuron fires; of a map that is the same everywhere nothing.

    Raises:
        ValueError: a quantile that is not between 0 and 1.
    """
    if isinstance(quantile, bool) or not isinstance(quantile, (int, float)) or not (
            0 < quantile < 1):
        raise ValueError(f"quantile cannot be {shown(quantile)}; accepted: a number between 0 and "
                         "1, without both")
    return maps > maps.flatten(-2).quantile(quantile, -1)[..., None, None]


def running_mean(maps: Float[Tensor, "block image neuron row column"],
                 how: Scaling = "image") -> Float[Tensor, "block image neuron row column"]:
    """The mean of the scaled maps of all blocks up to each (Allert et al., 2024, section 3.2.1), in
    the order of the blocks: row b is the mean of rows 0 to b."""
    total = torch.stack([scaled(block, how) for block in maps]).cumsum(0)
    count = torch.arange(1, len(maps) + 1, device=total.device, dtype=total.dtype)
    return total / count[:, None, None, None, None]
