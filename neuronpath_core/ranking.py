"""The largest of scores, how clearly they were chosen, and the activations of what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel


def select_neurons(activations: Float[Tensor, "batch token neuron"],
                   ranked: Int64[Tensor, "batch rank"]) -> Float[Tensor, "batch token rank"]:
    """The activations of one block's chosen neurons."""
    return activations.gather(2, ranked[:, None].expand(-1, activations.shape[1], -1))


def top_neurons(scores: Float[Tensor, "*batch neuron"], top: int) -> Int64[Tensor, "*batch rank"]:
    """The ``top`` largest, best first; of equal ones the smaller index, on every device."""
    return scores.argsort(dim=-1, descending=True, stable=True)[..., :top]


def chosen_neurons(scores: Float[Tensor, "*batch neuron"],
                   top: int) -> tuple[Int64[Tensor, "*batch rank"], Float[Tensor, "*batch"]]:
    r""":func:`top_neurons`, and how clearly they were chosen:
    :math:`(s_{(r)} - s_{(r+1)}) / \max_i |s_i|`, between the last that was taken and the first that
    was not; infinite where every neuron is taken.  A score of :math:`-\infty` marks a neuron
    that the layer does not have."""
    ranked = top_neurons(scores, top + 1)  # as many as there are
    return ranked[..., :top], score_gap(scores, ranked[..., top - 1:])


def score_gap(scores: Float[Tensor, "*batch neuron"],
              border: Int64[Tensor, "*batch rank"]) -> Float[Tensor, "*batch"]:
    """Between the last neuron that is taken and the first that is not, as a share of the largest
    score; -inf where every score is the same, so that there is nothing to choose by."""
    if border.shape[-1] < 2:
        return scores.new_full(scores.shape[:-1], torch.inf)
    last, first = scores.gather(-1, border).unbind(-1)
    missing = scores == -torch.inf
    largest = scores.masked_fill(missing, 0).abs().amax(-1)
    flat = scores.amax(-1) == scores.masked_fill(missing, torch.inf).amin(-1)
    gap = (last - first) / largest.clamp_min(torch.finfo(scores.dtype).tiny)
    return gap.masked_fill(flat, -torch.inf)


def layer_tops(
    target: TargetModel, scores: Float[Tensor, "batch layer neuron"], top: int
) -> tuple[Int64[Tensor, "batch layer rank"], Float[Tensor, "batch layer"]]:
    """:func:`chosen_neurons` of every layer, of those that the layer has."""
    counts = torch.tensor([layer.units for layer in target.layers], device=scores.device)
    missing = torch.arange(scores.shape[2], device=scores.device) >= counts[:, None]
    return chosen_neurons(scores.masked_fill(missing, -torch.inf), top)
