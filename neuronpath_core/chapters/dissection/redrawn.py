"""What neurons would detect in other images: the share of detectors in bootstrap resamples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from neuronpath_core.neurons.asked import covers_of
from neuronpath_core.neurons.dissection import LEAST_IOU, Dissection
from neuronpath_core.neurons.tally import overlap
from neuronpath_core.neurons.walk import walk
from neuronpath_core.readings.concepts import ConceptSet
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor


def detecting_shares(target: TargetModel, pixels: Float[Tensor, "image channel height width"],
                     known: ConceptSet, found: Dissection, weights: Int64[np.ndarray, "draw image"]
                     ) -> dict[str, Float[np.ndarray, "draw"]]:
    r"""Of every null the share of all neurons that detect a concept, where each image counts as
    often as it was drawn,

    .. math:: \Big|\Big\{n : \max_k \frac{\sum_i w_i |M_{n,i} \cap G_{k,i}|}
                                   {\sum_i w_i |M_{n,i} \cup G_{k,i}|} \text{ detects}\Big\}\Big|.

    Thresholds of masks, and the quantiles of the nulls that an intersection over union must exceed,
    stay those of all images.

    Args:
        target, pixels, known: as ``found`` was made of them, by patches and each neuron's own
            threshold.
        found: with its nulls.
        weights: how often every image was drawn.

    Raises:
        ValueError: weights of other images.
    """
    if weights.shape[1:] != (len(pixels),):
        raise ValueError(f"weights {weights.shape} for {len(pixels)} images; accepted: rows of one "
                         "number for each image")
    grid = grid_of(target, pixels)
    covers = covers_of(grid, known, "patch")
    covered = weights @ covers.sum(1).numpy()
    counts = {null: np.zeros(len(weights)) for null in found.nulls}
    for block, values in walk(target, pixels):
        limit = torch.from_numpy(found.threshold[block]).to(values)
        on = (values[:, grid.tokens] > limit).to(covers)
        both = (on.transpose(1, 2) @ covers).numpy()  # (image, neuron, concept)
        joint = np.tensordot(weights.astype(float), both, 1)
        iou = overlap(joint, (weights @ on.sum(1).numpy())[..., None], covered[:, None])
        for null, number in counts.items():
            hits = (iou > LEAST_IOU) & (iou > found.nulls[null].high[block])
            number += hits.any(-1).sum(1)
    return {null: number / found.dead.size for null, number in counts.items()}
