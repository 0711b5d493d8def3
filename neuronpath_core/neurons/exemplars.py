"""The images that excite a neuron most, and where in them it lights (Hernandez et al., 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.neurons.tally import thresholds
from neuronpath_core.neurons.walk import walk
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.readings.grids import Grid
    from neuronpath_core.target import TargetModel

Reduction = Literal["max", "mean", "token"]
REDUCTIONS = ("max", "mean", "token")
COUNT = 15  # of MILAN
QUANTILE = 0.99  # of MILAN


@dataclass(frozen=True)
class NeuronExemplars:
    """The exemplars of one neuron: what a labeler is given.

    Attributes:
        block, neuron: from 0.
        images: positions of the exemplars in the image set, the strongest first.
        values: the neuron's score of each.
        masks: the patches of each at which the neuron exceeds its own quantile.
        scores: the neuron's score of every image.
    """

    block: int
    neuron: int
    images: Int64[np.ndarray, "exemplar"]
    values: Float[np.ndarray, "exemplar"]
    masks: Bool[np.ndarray, "exemplar patch"]
    scores: Float[np.ndarray, "image"]


@dataclass(frozen=True)
class Exemplars:
    """The exemplars of every neuron.

    Attributes:
        images, values, masks, scores: as of :class:`NeuronExemplars`.
        threshold: the quantile over all patches of all images, above which masks lie.
    """

    images: Int64[np.ndarray, "block neuron exemplar"]
    values: Float[np.ndarray, "block neuron exemplar"]
    masks: Bool[np.ndarray, "block neuron exemplar patch"]
    scores: Float[np.ndarray, "block neuron image"]
    threshold: Float[np.ndarray, "block neuron"]

    def of(self, block: int, neuron: int) -> NeuronExemplars:
        """The exemplars of one neuron.

        Raises:
            ValueError: a block or a neuron that is not there.
        """
        for name, value, size in (("block", block, self.images.shape[0]),
                                  ("neuron", neuron, self.images.shape[1])):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not (
                    0 <= value < size):
                raise ValueError(f"a {name} must be a whole number in 0..{size - 1}, got "
                                 f"{shown(value)}")
        return NeuronExemplars(int(block), int(neuron), self.images[block, neuron],
                               self.values[block, neuron], self.masks[block, neuron],
                               self.scores[block, neuron])


def find_exemplars(target: TargetModel, images: Float[Tensor, "image channel height width"],
                   count: int = COUNT, quantile: float = QUANTILE,
                   reduction: Reduction = "max") -> Exemplars:
    """The images that excite each FFN neuron most, and the patches of them at which it exceeds its
    own quantile over all patches of all images.

    Args:
        target: the model.  Of a gated FFN the neuron is the product of gate and value.
        images: as the model accepts them.
        count: of exemplars of a neuron.  Images of equal score are taken in their own order.
        quantile: between 0 and 1.
        reduction: a neuron's score of an image.  ``"max"`` (MILAN) and ``"mean"``: over the
            patches; ``"token"``: at the first token, which is all that CLIP-Dissect reads of a
            vision Transformer.

    Raises:
        ValueError: fewer images than exemplars, a quantile outside (0, 1), an unknown reduction, or
            ``"token"`` of a model without tokens before its patches.
    """
    grid = _checked(target, images, count, quantile, reduction)
    found = [_of_block(values, grid, count, float(quantile), reduction)
             for _, values in walk(target, images)]
    return Exemplars(*(np.stack(parts) for parts in zip(*found, strict=True)))


def image_scores(target: TargetModel, images: Float[Tensor, "image channel height width"],
                 reduction: Reduction = "max") -> Float[np.ndarray, "block neuron image"]:
    """Every neuron's score of every image, reduced as in :func:`find_exemplars`.

    Raises:
        ValueError: an unknown reduction, or ``"token"`` of a model without such a token.
    """
    grid = _checked(target, images, 1, QUANTILE, reduction)
    return np.stack([_scores(values, grid, reduction).numpy() for _, values in walk(
        target, images)])


def _checked(target: TargetModel, images: Tensor, count: object, quantile: object,
             reduction: object) -> Grid:
    check_target(target)
    grid = grid_of(target, images)
    if isinstance(quantile, bool) or not isinstance(quantile, (int, float)) or not 0 < quantile < 1:
        raise ValueError(f"quantile cannot be {shown(quantile)}; accepted: a number between 0 and "
                         "1, both excluded")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(images):
        raise ValueError(f"{shown(count)} exemplars of {len(images)} images; accepted: a whole "
                         f"number from 1 to {len(images)}")
    if not is_one_of(reduction, REDUCTIONS):
        raise ValueError(f"unknown reduction {shown(reduction)}; accepted: "
                         f"{', '.join(REDUCTIONS)}")
    if reduction == "token" and not grid.prefix:
        raise ValueError("reduction 'token' of a model without a token before its patches; "
                         "accepted: max, mean")
    return grid


def _scores(values: Float[Tensor, "image token neuron"], grid: Grid,
            reduction: str) -> Float[Tensor, "neuron image"]:
    patches = values[:, grid.tokens]
    found = (values[:, 0] if reduction == "token" else patches.mean(1) if reduction == "mean"
             else patches.amax(1))
    return found.T.double().cpu()


def _of_block(values: Float[Tensor, "image token neuron"], grid: Grid, count: int, quantile: float,
              reduction: str) -> tuple[np.ndarray, ...]:
    scores = _scores(values, grid, reduction).numpy()
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    maps = values[:, grid.tokens].permute(2, 0, 1).cpu()
    limits = thresholds(maps.flatten(1), quantile)
    each = torch.arange(len(maps))[:, None]
    masks = maps[each, torch.from_numpy(chosen)] > limits[:, None, None]
    return (chosen, np.take_along_axis(scores, chosen, 1), masks.numpy(), scores,
            limits.double().numpy())
