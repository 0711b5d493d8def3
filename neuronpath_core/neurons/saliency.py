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
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.tensors import is_ordinary, kind_of

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


def saliency(target: TargetModel, images: Float[Tensor, "image channel height width"],
             neurons: Int64[Tensor, "image 2"], patches: Int64[Tensor, "image count"]
             ) -> Float[Tensor, "image height width"]:
    """The absolute derivative of a neuron's activation at some patches by each pixel, summed over
    channels, the m-th patch weighted by 0.5^m.

    Args:
        target: the model; results have its dtype and are on its device.
        images: as the model accepts them; as many at a time as memory admits.
        neurons: block and number of each image's own neuron, from 0.
        patches: of each image, as :func:`predicting_patches` gives them.

    Raises:
        ValueError: no such neurons, or neurons or patches of another number of images.
    """
    check_target(target)
    grid = grid_of(target, images)
    _check_numbers("neurons", neurons, len(images),
                   torch.tensor([len(target.model.blocks), target.n_neurons]))
    _check_numbers("patches", patches, len(images), torch.tensor(grid.patches))
    weights = 0.5 ** torch.arange(patches.shape[1], dtype=target.dtype, device=target.device)

    def compute(rows: Tensor) -> Tensor:
        pixels = images[rows].detach().clone().requires_grad_()
        own, where = neurons.cpu()[rows.cpu()], patches.to(pixels.device)[rows]
        with torch.enable_grad(), reading(target, everywhere=True) as store:
            target(pixels)
            told = sum((store[int(block)][place, grid.tokens, int(neuron)][where[place]]
                        * weights).sum() for place, (block, neuron) in enumerate(own))
            slope = torch.autograd.grad(told, pixels)[0]
        return slope.abs().sum(1)

    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1), compute))


def _check_numbers(name: str, numbers: object, images: int, below: Tensor) -> None:
    """Raise ``ValueError`` unless there is a row for each image, each number from 0 to less than
    ``below``."""
    most = ", ".join(str(each - 1) for each in below.reshape(-1).tolist())
    if not is_ordinary(numbers) or numbers.dtype != torch.int64 or numbers.ndim != 2 or len(
            numbers) != images or below.ndim and numbers.shape[1] != len(below) or not (
                (numbers >= 0) & (numbers.cpu() < below).to(numbers.device)).all():
        raise ValueError(f"{name} {kind_of(numbers)} of {images} images; accepted: whole numbers "
                         f"from 0 to {most}, a row for each image")
