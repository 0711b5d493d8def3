"""The neurons of one block held against concepts, with what chance gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.neurons import tally
from neuronpath_core.readings.grids import Grid, as_image

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

BYTES = 48_000_000  # of the maps that are worked on at once
TAIL = 0.95
AREAS = 19  # deals of which areas are computed too; they take every position, not a few of them
ANY = "any"  # the null that deals masks among all images


@dataclass(frozen=True)
class Asked:
    """What a dissection holds neurons against.

    Attributes:
        grid: of the patches.
        quantile, level, threshold: as of :func:`~neuronpath_core.neurons.dissection.dissect`.
        covers: how much of each position every concept covers.
        inside: whether a concept covers half a patch.
        places: how much of each position every position control covers.
        deals: null -> whose masks each image gets, permutation after permutation.
        weights: how often every image is drawn in each resample.
    """

    grid: Grid
    quantile: float
    level: str
    threshold: str
    covers: Float[Tensor, "image position concept"]
    inside: Bool[np.ndarray, "image patch concept"]
    places: Float[Tensor, "position place"]
    deals: dict[str, Int64[np.ndarray, "permutation image"]]
    weights: Float[np.ndarray, "resample image"]

    @property
    def covered(self) -> Float[np.ndarray, "image concept"]:
        """How many positions each concept covers in every image."""
        return self.covers.sum(1, dtype=torch.float64).numpy()

    @property
    def density(self) -> Float[np.ndarray, "concept"]:
        """Share of all positions that each concept covers."""
        return self.covered.mean(0) / self.covers.shape[1]


@dataclass(frozen=True)
class BlockNull:
    """What dealt masks give: the IoU of every permutation, and what is made of it."""

    iou: Float[np.ndarray, "permutation neuron concept"]
    high: Float[np.ndarray, "neuron concept"]
    p: Float[np.ndarray, "neuron concept"]
    label: dict[str, Int64[np.ndarray, "permutation neuron"]]

    def detecting(self, least: float) -> Int64[np.ndarray, "permutation"]:
        """How many neurons would be called detectors of any concept in each permutation."""
        return ((self.iou > least) & (self.iou > self.high)).any(-1).sum(-1)


@dataclass(frozen=True)
class BlockFound:
    """One block of a :class:`~neuronpath_core.neurons.dissection.Dissection`."""

    iou: Float[np.ndarray, "neuron concept"]
    auroc: Float[np.ndarray, "neuron concept"]
    threshold: Float[np.ndarray, "neuron"]
    selected: Float[np.ndarray, "neuron"]
    dead: Bool[np.ndarray, "neuron"]
    place_iou: Float[np.ndarray, "neuron place"]
    nulls: dict[str, BlockNull]
    drawn: dict[str, Int64[np.ndarray, "resample neuron"]]


@dataclass(frozen=True)
class _Masks:
    """Some neurons' masks, and how much of each concept they hold."""

    threshold: Float[Tensor, "neuron"]
    own: Float[Tensor, "image neuron"]
    both: Float[Tensor, "image neuron concept"]
    places: Float[Tensor, "neuron place"]
    dealt: dict[str, Float[np.ndarray, "permutation neuron concept"]]


def dissect_block(asked: Asked, values: Float[Tensor, "image patch neuron"]) -> BlockFound:
    """Hold the neurons of a block against concepts."""
    values = values.detach().cpu().permute(2, 0, 1).contiguous()
    parts = [_masks(asked, part) for part in _maps(asked, values)]
    own, both = (torch.cat([getattr(part, name) for part in parts], 1).double().numpy()
                 for name in ("own", "both"))
    sizes = own.sum(0)[:, None]
    iou = tally.overlap(both.sum(0), sizes, asked.covered.sum(0))
    flat = values.flatten(1)
    auroc, drawn, separating = _separated(asked, flat.numpy())
    nulls = {name: _null(asked, np.concatenate([part.dealt[name] for part in parts], 1), sizes, iou,
                         {"auroc": separating} if name == ANY else {}) for name in asked.deals}
    places = torch.cat([part.places for part in parts]).numpy()
    all_places = asked.places.sum(0).numpy() * len(asked.covers)
    return BlockFound(
        iou, auroc, torch.cat([part.threshold for part in parts]).double().numpy(),
        sizes[:, 0] / asked.covers[..., 0].numel(),
        (flat.amax(1) == flat.amin(1)).numpy(), tally.overlap(places, sizes, all_places), nulls,
        {"iou": _drawn(asked, own, both), "auroc": drawn})


def _maps(asked: Asked,
          values: Float[Tensor, "neuron image patch"]) -> Iterator[Float[Tensor, "..."]]:
    """The maps of some neurons at a time, at the level of the positions."""
    positions = asked.covers[..., 0].numel()
    at_once = max(1, BYTES // (positions * values.element_size()))
    for part in values.split(at_once):
        yield part if asked.level == "patch" else as_image(asked.grid, part).flatten(2)


def _masks(asked: Asked, maps: Float[Tensor, "neuron image position"]) -> _Masks:
    if asked.threshold == "image":
        place = tally.order_statistic(maps.shape[-1], asked.quantile) + 1
        limits = maps.kthvalue(place, -1, keepdim=True).values
        threshold = limits.mean((1, 2))
    else:
        threshold = tally.thresholds(maps.flatten(1), asked.quantile)
        limits = threshold[:, None, None]
    bits = maps > limits
    return _Masks(threshold, bits.sum(-1).T, tally.intersections(bits, asked.covers),
                  bits.sum(1, dtype=torch.float64) @ asked.places,
                  {name: tally.dealt_intersections(bits, asked.covers, deals)
                   for name, deals in asked.deals.items()})


def _null(asked: Asked, both: np.ndarray, sizes: np.ndarray, iou: np.ndarray,
          labels: dict[str, np.ndarray]) -> BlockNull:
    # a deal is a bijection: what a concept covers in all images stays
    found = tally.overlap(both.astype(float), sizes, asked.covered.sum(0))
    p = (1 + (found >= iou).sum(0)) / (1 + len(found))
    return BlockNull(found, np.quantile(found, TAIL, axis=0), p,
                     {"iou": tally.strongest(found, 0), **labels})


def _drawn(asked: Asked, own: np.ndarray, both: np.ndarray) -> np.ndarray:
    """The concept of the largest IoU in every resample of the images."""
    joint = np.einsum("rb,bnk->rnk", asked.weights, both, optimize=True)
    sizes, theirs = asked.weights @ own, asked.weights @ asked.covered
    return tally.strongest(tally.overlap(joint, sizes[..., None], theirs[:, None]), 0)


def _separated(asked: Asked, values: Float[np.ndarray, "neuron position"]
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The area under the ROC curve of each neuron and concept, and the concepts of the largest one
    in every resample of the images and in the first deals of all masks."""
    parts = [_areas(asked, values[start:start + tally.RANKED])
             for start in range(0, len(values), tally.RANKED)]
    table, drawn, dealt = zip(*parts, strict=True)
    return np.concatenate(table), np.concatenate(drawn, 1), np.concatenate(dealt, 1)


def _areas(asked: Asked, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images, patches, concepts = asked.inside.shape
    count, bits = images * patches, asked.inside.astype(float)
    inside, total = bits.sum(1), count * (count + 1) / 2
    by_image = tally.ranks(values).reshape(-1, images, patches).transpose(1, 0, 2)
    sums = by_image @ bits

    def strongest(rank_sums: np.ndarray, totals, within) -> np.ndarray:
        return tally.strongest(tally.area(rank_sums, totals, within, count))

    drawn = strongest(np.einsum("rb,bnk->rnk", asked.weights, sums, optimize=True),
                      (asked.weights @ by_image.sum(2))[..., None],
                      (asked.weights @ inside)[:, None])
    flat = by_image.transpose(1, 0, 2).reshape(-1, count)
    dealt = [strongest(flat @ bits[deal].reshape(count, concepts), total, inside.sum(0))
             for deal in asked.deals.get(ANY, ())[:AREAS]]
    return (tally.area(sums.sum(0), total, inside.sum(0), count), drawn,
            np.reshape(dealt, (len(dealt), len(values))))
