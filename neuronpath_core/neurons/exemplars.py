"""The images that excite a neuron most (Hernandez et al., 2022), and where in them it lights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.target import TargetModel

Reduction = Literal["max", "mean", "token"]
REDUCTIONS = ("max", "mean", "token")
COUNT = 15
QUANTILE = 0.99


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
        """The exemplars of one neuron."""
        return NeuronExemplars(block, neuron, self.images[block, neuron],
                               self.values[block, neuron], self.masks[block, neuron],
                               self.scores[block, neuron])


def find_exemplars(target: TargetModel, images: Float[Tensor, "image channel height width"],
                   count: int = COUNT, quantile: float = QUANTILE,
                   reduction: Reduction = "max") -> Exemplars:
    """The images that excite each FFN neuron most."""
    raise NotImplementedError
