"""The neurons of one block held against concepts, with what chance gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.neurons import tally
from neuronpath_core.readings.grids import Grid, as_image
from neuronpath_core.stats.ranks import RANKED, ranks

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

LEAST_IOU = 0.04  # from which on Bau et al. call a neuron a detector
AT_ONCE = 48  # neurons that are worked on at once
BYTES = 48_000_000  # of their maps at the level of the positions
TAIL = 0.95
AREAS = 19  # deals of which areas are computed too; they take every position, not a few of them
ANY = "any"  # the null that deals masks among all images


@dataclass(frozen=True)
class Asked:
    """What a dissection holds neurons against.

    Attributes:
        grid: of the patches.
        quantile, level, threshold: as of :func:`~neuronpath_core.neurons.dissection.dissect`.
        covers: how much of each position every concept covers, in float64, or bits of pixels.
        inside: whether a concept covers half a patch.
        places: how much of each position every position control covers.
        deals: null -> whose masks each image gets, permutation after permutation.
        weights: how often every image is drawn in each resample.
    """

    grid: Grid
    quantile: float
    level: str
    threshold: str
    covers: Float[Tensor, "image position concept"] | Bool[Tensor, "image position concept"]
    inside: Bool[np.ndarray, "image patch concept"]
    places: Float[Tensor, "position place"]
    deals: dict[str, Int64[np.ndarray, "permutation image"]]
    weights: Float[np.ndarray, "resample image"]

    def as_floats(self, covers: Tensor) -> Float[Tensor, "image position concept"]:
        """Covers to multiply with.  Counts of bits are whole numbers, which float32 adds exactly
        up to 2 ** 24."""
        if covers.dtype != torch.bool:
            return covers
        few = self.covers[..., 0].numel() < 2 ** 24
        return covers.to(torch.float32 if few else torch.float64)

    @cached_property
    def floats(self) -> Float[np.ndarray, "image position concept"]:
        """All covers, where masks are dealt."""
        return self.as_floats(self.covers).numpy()

    @cached_property
    def covered(self) -> Float[np.ndarray, "image concept"]:
        """How many positions each concept covers in every image."""
        return self.covers.sum(1, dtype=torch.float64).numpy()

    @property
    def density(self) -> Float[np.ndarray, "concept"]:
        """Share of all positions that each concept covers."""
        return self.covered.mean(0) / self.covers.shape[1]


@dataclass(frozen=True)
class BlockNull:
    """What dealt masks give some neurons, see :class:`~neuronpath_core.neurons.dissection.Null`;
    ``detects``: whether a neuron would be called a detector in each permutation."""

    high: Float[np.ndarray, "neuron concept"]
    p: Float[np.ndarray, "neuron concept"]
    label: dict[str, Int64[np.ndarray, "permutation neuron"]]
    detects: Bool[np.ndarray, "permutation neuron"]


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


def dissect_block(asked: Asked, values: Float[Tensor, "image patch neuron"]) -> BlockFound:
    """Hold the neurons of a block against concepts, some of them at a time."""
    parts = [_dissect(asked, part.detach().cpu().permute(2, 0, 1).contiguous())
             for part in values.split(AT_ONCE, -1)]

    def joined(name: str, axis: int = 0, of: Callable = lambda part: part) -> np.ndarray:
        return np.concatenate([getattr(of(part), name) for part in parts], axis)

    nulls = {name: BlockNull(
        *(joined(field, 0, lambda part, name=name: part.nulls[name]) for field in ("high", "p")),
        {measure: np.concatenate([part.nulls[name].label[measure] for part in parts], 1)
         for measure in parts[0].nulls[name].label},
        joined("detects", 1, lambda part, name=name: part.nulls[name])) for name in asked.deals}
    return BlockFound(*(joined(name) for name in ("iou", "auroc", "threshold", "selected", "dead",
                                                  "place_iou")), nulls,
                      {measure: np.concatenate([part.drawn[measure] for part in parts], 1)
                       for measure in parts[0].drawn})


def _dissect(asked: Asked, values: Float[Tensor, "neuron image patch"]) -> BlockFound:
    limits = _limits(asked, values)
    own, both, places, spots = _counted(asked, values, limits)
    sizes = own.sum(0)[:, None]
    iou = tally.overlap(both.sum(0, dtype=float), sizes, asked.covered.sum(0))
    flat = values.flatten(1)
    auroc, drawn, separating = _separated(asked, flat.numpy())
    nulls = {name: _null(asked, tally.dealt_intersections(spots, len(values), asked.floats, deals),
                         sizes, iou, {"auroc": separating} if name == ANY else {})
             for name, deals in asked.deals.items()}
    # a mean of equal numbers would be another one
    threshold = limits.mean(1) if asked.threshold == "image" else limits[:, 0]
    all_places = asked.places.sum(0).numpy() * len(asked.covers)
    return BlockFound(
        iou, auroc, threshold.double().numpy(), sizes[:, 0] / asked.covers[..., 0].numel(),
        (flat.amax(1) == flat.amin(1)).numpy(), tally.overlap(places, sizes, all_places), nulls,
        {"iou": _drawn(asked, own, both), "auroc": drawn})


def _maps(asked: Asked, values: Float[Tensor, "neuron image patch"]) -> Float[Tensor, "..."]:
    """The values at the level of the positions."""
    return values if asked.level == "patch" else as_image(asked.grid, values).flatten(2)


def _limits(asked: Asked, values: Float[Tensor, "neuron image patch"]
            ) -> Float[Tensor, "neuron image"]:
    """The thresholds, of each image or one for all."""
    neurons, images, _ = values.shape
    at_once = max(1, BYTES // (asked.covers[..., 0].numel() * values.element_size()))
    if asked.threshold == "image":
        place = tally.order_statistic(asked.covers.shape[1], asked.quantile) + 1
        return torch.cat([_maps(asked, part).kthvalue(place, -1).values
                          for part in values.split(at_once)])
    return torch.cat([tally.thresholds(_maps(asked, part).flatten(1), asked.quantile)
                      for part in values.split(at_once)])[:, None].expand(neurons, images)


def _counted(asked: Asked, values: Float[Tensor, "neuron image patch"],
             limits: Float[Tensor, "neuron image"]) -> tuple[np.ndarray, ...]:
    """How much each mask holds of every image, of every concept in every image, and of every place;
    and, if masks are to be dealt, where it holds anything."""
    neurons, images, _ = values.shape
    positions = asked.covers.shape[1]
    at_once = max(1, BYTES // (neurons * positions * values.element_size()))
    own, both, spots, places = [], [], [], torch.zeros(neurons, positions, dtype=torch.float64)
    for rows in torch.arange(images).split(at_once):
        bits = _maps(asked, values[:, rows]) > limits[:, rows, None]
        own.append(bits.sum(-1).T)
        both.append(tally.intersections(bits, asked.as_floats(asked.covers[rows])))
        places += bits.sum(1)
        if asked.deals:
            found = bits.nonzero().T
            found[1] += rows[0]
            spots.append(found)
    return (torch.cat(own).double().numpy(), torch.cat(both).numpy(),
            (places @ asked.places).numpy(),
            torch.cat(spots, 1).numpy() if spots else np.zeros((3, 0), np.int64))


def _null(asked: Asked, both: np.ndarray, sizes: np.ndarray, iou: np.ndarray,
          labels: dict[str, np.ndarray]) -> BlockNull:
    # a deal is a bijection: what a concept covers in all images stays
    found = tally.overlap(both.astype(float), sizes, asked.covered.sum(0))
    p, high = (1 + (found >= iou).sum(0)) / (1 + len(found)), np.quantile(found, TAIL, axis=0)
    return BlockNull(high, p, {"iou": tally.strongest(found, 0), **labels},
                     ((found > LEAST_IOU) & (found > high)).any(-1))


def _drawn(asked: Asked, own: np.ndarray, both: np.ndarray) -> np.ndarray:
    """The concept of the largest IoU in every resample of the images."""
    if not len(asked.weights):
        return np.zeros((0, own.shape[1]), np.int64)
    joint = np.einsum("rb,bnk->rnk", asked.weights, both, optimize=True)
    sizes, theirs = asked.weights @ own, asked.weights @ asked.covered
    return tally.strongest(tally.overlap(joint, sizes[..., None], theirs[:, None]), 0)


def _separated(asked: Asked, values: Float[np.ndarray, "neuron position"]
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The area under the ROC curve of each neuron and concept, and the concepts of the largest one
    in every resample of the images and in the first deals of all masks."""
    parts = [_areas(asked, values[start:start + RANKED])
             for start in range(0, len(values), RANKED)]
    table, drawn, dealt = zip(*parts, strict=True)
    return np.concatenate(table), np.concatenate(drawn, 1), np.concatenate(dealt, 1)


def _areas(asked: Asked, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images, patches, concepts = asked.inside.shape
    count, bits = images * patches, asked.inside.astype(float)
    inside, total = bits.sum(1), count * (count + 1) / 2
    flat = ranks(values)
    flat_bits = bits.reshape(count, concepts)

    def strongest(rank_sums: np.ndarray, totals, within) -> np.ndarray:
        return tally.strongest(tally.area(rank_sums, totals, within, count))

    drawn = np.zeros((0, len(values)), np.int64)
    if len(asked.weights):
        by_image = flat.reshape(-1, images, patches).transpose(1, 0, 2)
        drawn = strongest(np.einsum("rb,bnk->rnk", asked.weights, by_image @ bits, optimize=True),
                          (asked.weights @ by_image.sum(2))[..., None],
                          (asked.weights @ inside)[:, None])
    dealt = [strongest(flat @ bits[deal].reshape(count, concepts), total, inside.sum(0))
             for deal in asked.deals.get(ANY, ())[:AREAS]]
    return (tally.area(flat @ flat_bits, total, inside.sum(0), count), drawn,
            np.reshape(dealt, (len(dealt), len(values))))
