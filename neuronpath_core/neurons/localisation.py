"""Whether a neuron's map finds what a mask marks: four scores, and masks that are not the image's.

All scores are of one map against one mask; NaN where they are not defined.  Chance is 0.5 of the
AUROC; the other three depend on how large the mask is, so that they are read beside a control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.neurons.heatmaps import KEPT, check_maps, drawn, mask_of
from neuronpath_core.readings.grids import Grid, check_masks, coverage
from neuronpath_core.stats.ranks import mid_ranks

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

COVERED = 0.5  # a patch is inside if at least this share of its pixels is


@dataclass(frozen=True)
class Localisation:
    """How maps of neurons fit masks, each in [0, 1].

    Attributes:
        auroc: probability that a patch inside has a larger activation than one outside, ties one
            half; NaN for an image without both.
        iou: intersection over union of the mask and the fifth of the image with the largest values.
        pointing: whether the brightest patch is inside; ties share the answer.
        energy: share of the positive activation that lies inside; NaN if there is none.
    """

    auroc: Float[Tensor, "image neuron"]
    iou: Float[Tensor, "image neuron"]
    pointing: Float[Tensor, "image neuron"]
    energy: Float[Tensor, "image neuron"]


def auroc(values: Float[Tensor, "*batch patch"],
          inside: Bool[Tensor, "*batch patch"]) -> Float[Tensor, "*batch"]:
    """The probability that a patch inside has a larger value than one outside, ties one half: the
    Mann-Whitney statistic by mid-ranks; NaN without both kinds of patches."""
    return auroc_of_ranks(mid_ranks(values), inside)


def auroc_of_ranks(rank: Float[Tensor, "*batch patch"],
                   inside: Bool[Tensor, "*batch patch"]) -> Float[Tensor, "*batch"]:
    """As :func:`auroc`, of :func:`~neuronpath_core.stats.ranks.mid_ranks`, which do not depend on
    the mask."""
    return _areas((rank * inside).sum(-1), inside)


def _areas(rank_sums: Tensor, inside: Bool[Tensor, "*batch patch"]) -> Tensor:
    n = inside.sum(-1).to(rank_sums.dtype)
    pairs = n * (inside.shape[-1] - n)
    return torch.where(pairs > 0, (rank_sums - n * (n - 1) / 2) / pairs, torch.nan)


def localisation(maps: Float[Tensor, "image neuron row column"], grid: Grid,
                 masks: Bool[np.ndarray, "image height width"], covered: float = COVERED,
                 quantile: float = KEPT) -> Localisation:
    """The four scores of every image's and neuron's map.

    Args:
        maps: of :func:`~neuronpath_core.neurons.heatmaps.heat_maps`, as they are.
        grid: of the images that the maps are of.
        masks: of the same images, at their size.
        covered: a patch is inside if at least this share of its pixels is.
        quantile: of a drawn map, above which its mask is on.

    Raises:
        ValueError: maps and masks of different images or sizes.
    """
    check_maps(maps)
    found = check_masks(grid, masks).to(maps.device)
    if len(found) != len(maps):
        raise ValueError(f"{len(found)} masks for maps of {len(maps)} images; accepted: as many")
    share = coverage(grid, masks).to(maps)[:, None]
    inside, flat = share >= covered, maps.flatten(2)
    top = flat == flat.amax(-1, keepdim=True)
    fired = flat.clamp_min(0)
    on = mask_of(drawn(grid, maps), quantile)
    union = (on | found[:, None]).sum((2, 3)).to(maps.dtype)
    return Localisation(
        auroc(flat, inside.expand_as(flat)),
        (on & found[:, None]).sum((2, 3)) / union,
        (top & inside).sum(-1) / top.sum(-1).to(maps.dtype),
        (fired * share).sum(-1) / fired.sum(-1))


# --- masks that are not the image's, and places without an image ---


def all_pairs(rank: Float[Tensor, "image patch"],
              inside: Bool[Tensor, "mask patch"]) -> Float[Tensor, "image mask"]:
    """The AUROC of every map against every mask: the diagonal is each image's own, the rest is what
    it must exceed.

    Args:
        rank: of :func:`~neuronpath_core.stats.ranks.mid_ranks`, of one map an image.
        inside: the patches of every mask.
    """
    return _areas(rank @ inside.to(rank.dtype).T, inside)


def of_others(pairs: Float[Tensor, "image mask"],
              labels: Int64[Tensor, "image"]) -> Float[Tensor, "image"]:
    """The mean over the masks of the other images of the same class; NaN where there is none with
    both kinds of patches."""
    same = (labels[:, None] == labels[None]) & ~torch.eye(len(labels), dtype=torch.bool,
                                                          device=labels.device)
    same &= ~pairs.isnan()
    total = torch.where(same, pairs, 0).sum(1)
    count = same.sum(1).to(pairs.dtype)
    return torch.where(count > 0, total / count, torch.nan)


def mean_of_others(values: Float[Tensor, "image *rest"]) -> Float[Tensor, "image *rest"]:
    """Of each image the mean over all others: what is known of its map, or of its mask, without a
    look at it."""
    return (values.sum(0) - values) / (len(values) - 1)
