r"""Which pixels move a neuron at the patches that say most of a class (Allert et al., repository:
the gradient of the top neuron at the three patches that most predict the class).

.. math:: s = \sum_{\text{channel}} \Big| \partial_x \sum_{m=0}^{2} 2^{-m}\, k_n(t_m) \Big|

with :math:`t_m` the patch of the m-th largest number for the class after the last block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.hooks import reading
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.readings.projection import project
from neuronpath_core.readings.streams import check_block
from neuronpath_core.support.memory import images_at_once, in_chunks

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel

PATCHES = 3  # that are asked, each counting half as much as the one before


def predicting_patches(target: TargetModel, images: Float[Tensor, "image channel height width"],
                       labels: Int64[Tensor, "image"],
                       count: int = PATCHES) -> Int64[Tensor, "image count"]:
    """The patches whose tokens have the largest numbers for the label after the last block
    (``"normed"`` projection), the largest first, counted without prefix tokens.

    Raises:
        ValueError: more patches than there are, and what
            :func:`~neuronpath_core.readings.projection.project` refuses.
    """
    check_target(target)
    target.check_batch(images, labels)
    grid = grid_of(target, images)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= grid.patches:
        raise ValueError(f"count must be 1 to {grid.patches}, got {count!r}")
    logits = project(target, images, len(target.model.blocks) - 1)[:, grid.tokens]
    own = logits.gather(-1, labels[:, None, None].expand(*logits.shape[:2], 1))[..., 0]
    return own.topk(count, -1).indices


def saliency(target: TargetModel, images: Float[Tensor, "image channel height width"], block: int,
             neuron: int, patches: Int64[Tensor, "image count"]
             ) -> Float[Tensor, "image height width"]:
    """The absolute derivative of a neuron's activation at some patches by each pixel, summed over
    channels, the m-th patch weighted by 0.5^m.

    Args:
        target: the model; results have its dtype and are on its device.
        images: as the model accepts them.
        block, neuron: from 0.
        patches: of each image, as :func:`predicting_patches` gives them.

    Raises:
        ValueError: no such block or neuron, or patches of other images.
    """
    check_target(target)
    check_block(target, block)
    grid = grid_of(target, images)
    width = target.model.blocks[block].mlp.fc2.in_features
    if isinstance(neuron, bool) or not isinstance(neuron, int) or not 0 <= neuron < width:
        raise ValueError(f"neuron must be a whole number in 0..{width - 1}, got {neuron!r}")
    if patches.ndim != 2 or len(patches) != len(images) or not (
            (patches >= 0) & (patches < grid.patches)).all():
        raise ValueError(f"patches {tuple(patches.shape)} for {len(images)} images; accepted: some "
                         f"of 0..{grid.patches - 1} for each image")
    weights = 0.5 ** torch.arange(patches.shape[1], dtype=target.dtype, device=target.device)

    def compute(rows: Tensor) -> Tensor:
        pixels = images[rows].detach().clone().requires_grad_()
        with torch.enable_grad(), reading(target, everywhere=True) as store:
            target(pixels)
            active = store[block][:, grid.tokens, neuron]
            told = (active.gather(1, patches[rows].to(active.device)) * weights).sum()
            slope = torch.autograd.grad(told, pixels)[0]
        return slope.abs().sum(1)

    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1), compute))
