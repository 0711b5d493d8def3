r"""How the strongest positions of neurons overlap with masks, counted for many neurons at once.

Positions are patches or pixels, n neurons, B images of P positions, K concepts.  A neuron's mask
holds bits; a concept's *cover* G of a position lies in [0, 1], so that of bits M

.. math:: |M \cap G| = \sum \min(M, G) = \sum M G, \qquad
          |M \cup G| = \sum \max(M, G) = \sum M + \sum G - \sum M G

and every count is a product of matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

SAMPLED = 64  # of so many values one is looked at first
MANY = 1 << 14  # positions from which on a first look saves time


def order_statistic(count: int, quantile: float) -> int:
    """How many of ``count`` sorted values lie before the one that is the quantile,
    :math:`\\lfloor q (count - 1) \\rfloor`: numpy's method ``"lower"``."""
    return int(np.floor(round(quantile * (count - 1), 6)))


def thresholds(values: Float[Tensor, "neuron position"],
               quantile: float) -> Float[Tensor, "neuron"]:
    """Each row's quantile, one of its own values, so that the share ``1 - quantile`` of them or,
    with ties, fewer exceed it."""
    return torch.stack([_threshold(row, quantile) for row in values])


def _threshold(row: Tensor, quantile: float) -> Tensor:
    above = len(row) - 1 - order_statistic(len(row), quantile)
    if len(row) >= MANY:
        # values that are certainly below are left out, if the sample says truly which those are
        sample = row[::SAMPLED].sort().values
        slack = 4 * (quantile * (1 - quantile) / len(sample)) ** 0.5
        least = sample[max(0, int((quantile - slack) * len(sample)) - 1)]
        kept = row[row > least]
        row = kept if len(kept) > above else row
    return row.kthvalue(len(row) - above).values


def overlap(both: Float[np.ndarray, "*batch"], first: Float[np.ndarray, "*batch"],
            second: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """Intersection over union of what both, the first and the second cover; 0 where neither covers
    anything."""
    union = first + second - both
    return np.divide(both, union, out=np.zeros_like(union), where=union > 0)


def dealt(labels: Int64[np.ndarray, "image"], count: int,
          seed: int) -> Int64[np.ndarray, "permutation image"]:
    """Whose masks each image gets when those of one label are dealt among themselves."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    deals = np.tile(np.arange(len(labels)), (count, 1))
    for deal in deals:
        for group in groups:
            deal[group] = rng.permutation(group)
    return deals


def dealt_intersections(spots: Int64[np.ndarray, "3 spot"], neurons: int,
                        covers: Float[np.ndarray, "image position concept"],
                        deals: Int64[np.ndarray, "permutation image"]
                        ) -> Float[np.ndarray, "permutation neuron concept"]:
    """The sum over images of each mask times another image's covers, by the few positions that
    masks hold.

    Args:
        spots: neuron, image and position of everything that a mask holds, in any order.
        neurons: how many there are.
        covers: of all images.
        deals: whose covers each image gets.
    """
    whose, image, place = spots[:, np.argsort(spots[0], kind="stable")]
    ends = np.concatenate([[0], np.cumsum(np.bincount(whose, minlength=neurons))])
    flat, size = covers.reshape(-1, covers.shape[-1]), covers.shape[1]
    ones = np.ones(len(whose), flat.dtype)
    return np.stack([csr_array((ones, deal[image] * size + place, ends),
                               shape=(neurons, len(flat))) @ flat for deal in deals])


def area(rank_sum: Float[np.ndarray, "*batch"], total: Float[np.ndarray, "*batch"],
         inside: Float[np.ndarray, "*batch"], count: float) -> Float[np.ndarray, "*batch"]:
    r"""Area under the ROC curve of ``count`` values from the sum of the ranks inside,

    .. math:: \tfrac12 + (\bar R_{in} - \bar R_{out}) / \text{count},

    which is that of :func:`~neuronpath_core.stats.ranks.aurocs`, and holds for images that count
    several times as well; ``nan`` where nothing or everything is inside.

    Args:
        rank_sum: of the values inside.
        total: of all ranks.
        inside: how many are inside.
        count: of the values.
    """
    outside = count - inside
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 0.5 + (rank_sum / inside - (total - rank_sum) / outside) / count
    return np.where((inside > 0) & (outside > 0), found, np.nan)


def strongest(scores: Float[np.ndarray, "*batch concept"],
              least: float = -np.inf) -> Int64[np.ndarray, "*batch"]:
    """The concept of the largest score; -1 where no score exceeds ``least`` or all are ``nan``."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    return np.where(known.max(-1) > least, known.argmax(-1), -1)
