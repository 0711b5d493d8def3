"""Where the masks of neurons lie: the threshold of each, and the positions that exceed it.

A position of an enlarged map lies between patches and is never above the largest of them.  So
images in which no patch reaches a threshold have no position that does, and most images need not be
enlarged to learn the quantile of all their positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.neurons.tally import order_statistic

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    Enlarge = Callable[[Float[Tensor, "image patch"]], Float[Tensor, "image position"]]

FEW = 1 << 15  # positions of all images up to which they are enlarged together
AHEAD = 4  # times as many images as the positions above a quantile fill are enlarged first
SLACK = 1e-5  # by which a mean may exceed its largest part, in units of it: float32 rounds finer


@dataclass(frozen=True)
class Lit:
    """The masks of some neurons.

    Attributes:
        spots: neuron, image and position of everything that they hold, neuron after neuron, and of
            each image after image.
        threshold: of each neuron; the mean where every image has its own.
    """

    spots: Int64[np.ndarray, "3 spot"]
    threshold: Float[np.ndarray, "neuron"]


def lit(values: Float[Tensor, "neuron image patch"], quantile: float, enlarge: Enlarge,
        positions: int, by_image: bool = False) -> Lit:
    """What exceeds each neuron's own quantile over the positions of all images.

    Args:
        values: at every patch.
        quantile: between 0 and 1; the threshold is one of the values,
            :func:`~neuronpath_core.neurons.tally.order_statistic`.
        enlarge: from patches to positions, each a mean of patches.
        positions: of an image.
        by_image: every image has a threshold of its own, the quantile of its positions.
    """
    if not by_image and values[0].shape[0] * positions <= FEW:
        return _of_few(values, quantile, enlarge, positions)
    find = _of_each if by_image else _of_all
    found = [find(row, quantile, enlarge, positions) for row in values]
    whose = np.repeat(np.arange(len(found)), [spots.shape[1] for spots, _ in found])
    return Lit(np.vstack([whose, np.concatenate([spots for spots, _ in found], 1)]),
               np.array([limit for _, limit in found]))


def _of_each(row: Float[Tensor, "image patch"], quantile: float, enlarge: Enlarge,
             positions: int) -> tuple[np.ndarray, float]:
    maps = enlarge(row)
    limits = maps.kthvalue(order_statistic(positions, quantile) + 1, -1).values
    return (maps > limits[:, None]).nonzero().T.numpy(), limits.mean().double().item()


def _of_few(values: Float[Tensor, "neuron image patch"], quantile: float, enlarge: Enlarge,
            positions: int) -> Lit:
    """All neurons side by side, of positions that are few enough to be enlarged together."""
    maps = enlarge(values.flatten(0, 1)).reshape(*values.shape[:2], positions)
    place = order_statistic(maps[0].numel(), quantile) + 1
    limits = maps.flatten(1).kthvalue(place, -1).values
    return Lit((maps > limits[:, None, None]).nonzero().T.numpy(), limits.double().numpy())


def _of_all(row: Float[Tensor, "image patch"], quantile: float, enlarge: Enlarge,
            positions: int) -> tuple[np.ndarray, float]:
    count = len(row) * positions
    above = count - 1 - order_statistic(count, quantile)
    peaks, order = row.amax(1).sort(descending=True, stable=True)
    most = (peaks + SLACK * peaks.abs()).tolist()
    done = AHEAD * ceil((above + 1) / positions)
    maps = enlarge(row[order[:done]])
    limit = _largest(maps.flatten(), above + 1)  # of more images it is no smaller
    kept = [_exceeding(maps, limit, order)]
    while done < len(row) and most[done] > limit:
        more = order[done:2 * done]
        kept.append(_exceeding(enlarge(row[more]), limit, more))
        values = torch.cat([own for *_, own in kept])
        if len(values) > above:
            limit = _largest(values, above + 1)
        done *= 2
    image, position, values = (torch.cat(each) for each in zip(*kept, strict=True))
    spots = torch.stack([image, position])[:, values > limit]
    return spots[:, spots[0].argsort(stable=True)].numpy(), limit.double().item()


def _exceeding(maps: Float[Tensor, "image position"], limit: Tensor,
               images: Int64[Tensor, "image"]) -> tuple[Tensor, Tensor, Tensor]:
    """Image, position and value of everything above a limit."""
    image, position = (maps > limit).nonzero(as_tuple=True)
    return images[image], position, maps[image, position]


def _largest(values: Float[Tensor, "value"], place: int) -> Tensor:
    """The value that stands at a place, counted from 1 and from the largest."""
    return values.kthvalue(len(values) - place + 1).values
