"""The neurons of one block held against concepts, with what chance gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.neurons import tally
from neuronpath_core.neurons.asked import ANY, Asked
from neuronpath_core.neurons.lit import Lit, lit
from neuronpath_core.readings.grids import as_image
from neuronpath_core.stats.ranks import few_rows, ranks

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

LEAST_IOU = 0.04  # from which on Bau et al. call a neuron a detector
TAIL = 0.95
AREAS = 19  # deals of which areas are computed too; they take every position, not a few of them


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


def dissect_some(asked: Asked, values: Float[Tensor, "image patch neuron"]) -> list[BlockFound]:
    """Hold some neurons of a block against concepts, a few of them at a time."""
    return [_dissect(asked, part.detach().cpu().permute(2, 0, 1).contiguous())
            for part in values.split(asked.at_once, -1)]


def one_block(asked: Asked, parts: list[BlockFound]) -> BlockFound:
    """What was found of some neurons of a block after the other, as of all."""
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
    masks = lit(values, asked.quantile, lambda maps: _enlarged(asked, maps),
                asked.covers.shape[1], by_image=asked.threshold == "image")
    own, both, places = _counted(asked, masks, len(values))
    sizes = own.sum(0)[:, None]
    iou = tally.overlap(both.sum(0), sizes, asked.covered.sum(0))
    flat = values.flatten(1)
    auroc, drawn, separating = _separated(asked, flat.numpy())
    nulls = {name: _null(asked, tally.dealt_intersections(
        masks.spots, len(values), asked.floats, deals), sizes, iou,
        {"auroc": separating} if name == ANY else {}) for name, deals in asked.deals.items()}
    all_places = asked.places.sum(0).numpy() * len(asked.covers)
    return BlockFound(
        iou, auroc, masks.threshold, sizes[:, 0] / asked.covers[..., 0].numel(),
        (flat.amax(1) == flat.amin(1)).numpy(), tally.overlap(places, sizes, all_places), nulls,
        {"iou": _drawn(asked, own, both), "auroc": drawn})


def _enlarged(asked: Asked, maps: Float[Tensor, "image patch"]
              ) -> Float[Tensor, "image position"]:
    """The values at the level of the positions."""
    return maps if asked.level == "patch" else as_image(asked.grid, maps).flatten(1)


def _counted(asked: Asked, masks: Lit, neurons: int) -> tuple[np.ndarray, ...]:
    """How much each mask holds of every image, ``(image, neuron)``, of every concept in every
    image, ``(image, neuron, concept)``, and of every place, ``(neuron, place)``."""
    images, positions, concepts = asked.covers.shape
    whose, image, position = masks.spots
    own, both = np.zeros((images, neurons)), np.zeros((images, neurons, concepts))
    # spots of one neuron and image follow one another
    starts = np.flatnonzero(np.diff(whose * images + image, prepend=-1))
    at = image[starts], whose[starts]
    own[at] = np.diff(starts, append=len(whose))
    if len(starts):
        under = asked.covers.flatten(0, 1)[torch.from_numpy(image * positions + position)]
        both[at] = np.add.reduceat(under.numpy(), starts, 0, dtype=float)
    held = np.bincount(whose * positions + position, minlength=neurons * positions)
    return own, both, held.reshape(neurons, positions) @ asked.places.numpy()


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
    if not asked.areas:
        deals = len(asked.deals.get(ANY, ())[:AREAS])
        return (np.full((len(values), asked.covers.shape[-1]), np.nan),
                np.full((len(asked.weights), len(values)), -1),
                np.full((deals, len(values)), -1))
    parts = [_areas(asked, own) for own in few_rows(values)]
    table, drawn, dealt = zip(*parts, strict=True)
    return np.concatenate(table), np.concatenate(drawn, 1), np.concatenate(dealt, 1)


def _areas(asked: Asked, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images, patches, concepts = asked.inside.shape
    bits, count = asked.inside_bits, images * patches
    inside, total = bits.reshape(images, patches, concepts).sum(1), count * (count + 1) / 2
    flat = ranks(values)
    by_image = flat.reshape(-1, images, patches)

    def strongest(rank_sums: np.ndarray, totals, within) -> np.ndarray:
        return tally.strongest(tally.area(rank_sums, totals, within, count))

    drawn = np.zeros((0, len(values)), np.int64)
    if len(asked.weights):
        first = by_image.transpose(1, 0, 2)
        each = first @ bits.reshape(images, patches, concepts)
        drawn = strongest(np.einsum("rb,bnk->rnk", asked.weights, each, optimize=True),
                          (asked.weights @ first.sum(2))[..., None],
                          (asked.weights @ inside)[:, None])
    # to deal the masks one way is to deal the values the other way
    dealt = [strongest(by_image[:, np.argsort(deal)].reshape(flat.shape) @ bits, total,
                       inside.sum(0)) for deal in asked.deals.get(ANY, ())[:AREAS]]
    return (tally.area(flat @ bits, total, inside.sum(0), count), drawn,
            np.reshape(dealt, (len(dealt), len(values))))
