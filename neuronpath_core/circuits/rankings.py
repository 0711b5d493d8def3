"""Neurons of all blocks ranked together, and the sets of them that are kept or replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.support.tensors import is_ordinary, is_real, kind_of
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64


def existing(target: TargetModel) -> Bool[Tensor, "layer neuron"]:
    """Which of the entries ``(layer, neuron)`` are neurons that the layer has."""
    units = torch.tensor([layer.units for layer in target.layers], device=target.device)
    return torch.arange(target.n_neurons, device=target.device) < units[:, None]


def ranking(target: TargetModel, scores: Float[Tensor, "image layer neuron"],
            count: int) -> Int64[Tensor, "image place"]:
    """The neurons of all blocks together, best first, each as ``layer * n + neuron``.

    Args:
        scores: of each image, or of one for all.
        count: number of images.

    Raises:
        ValueError: scores of another shape, or that are no numbers.
    """
    shape = (target.n_blocks, target.n_neurons)
    if not is_real(scores) or scores.ndim != 3 or len(scores) not in (1, count) or (
            tuple(scores.shape[1:]) != shape):
        raise ValueError(f"scores must be a tensor of floating-point numbers ({count} or 1, "
                         f"{shape[0]}, {shape[1]}), got {kind_of(scores)}")
    there = existing(target).flatten()
    scores = scores.detach().to(target.device).flatten(1)
    if scores[:, there].isnan().any():
        raise ValueError("scores hold NaN, by which nothing can be ranked; accepted: numbers")
    places = torch.nonzero(there)[:, 0]
    order = scores[:, places].argsort(dim=1, descending=True, stable=True)
    return places[order].expand(count, -1)


def best_mask(target: TargetModel, order: Int64[Tensor, "image place"],
              count: int) -> Bool[Tensor, "image layer neuron"]:
    """Which neurons are among the first ``count`` of a :func:`ranking`."""
    mask = torch.zeros(len(order), target.n_blocks * target.n_neurons, dtype=torch.bool,
                       device=target.device)
    return mask.scatter_(1, order[:, :count], True).unflatten(1, (target.n_blocks, -1))


def circuit_neurons(target: TargetModel, neurons: Int64[Tensor, "image layer"],
                    count: int) -> Int64[Tensor, "image layer rank"]:
    """Neurons of one circuit an image, or of one for all, as ``(image, layer, rank)``.

    Raises:
        ValueError: neurons that do not fit the model or the number of images.
    """
    one_for_all = is_ordinary(neurons) and neurons.ndim in (2, 3) and len(neurons) == 1
    ranked = target.check_neurons(neurons, None if one_for_all else count)
    return ranked.expand(count, -1, -1)


def neuron_mask(target: TargetModel, ranked: Int64[Tensor, "image layer rank"]
                ) -> Bool[Tensor, "image layer neuron"]:
    """Which neurons are among those given."""
    mask = torch.zeros(len(ranked), target.n_blocks, target.n_neurons, dtype=torch.bool,
                       device=ranked.device)
    return mask.scatter_(2, ranked, True)
