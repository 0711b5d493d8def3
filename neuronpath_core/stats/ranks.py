r"""Ranks, and the area under the ROC curve that they give.

Of the positions inside, n of count, with the sum R of their ranks, the Mann-Whitney statistic says
in how many pairs of a position inside and one outside the inner value is the larger, ties one half:

.. math:: \text{area} = \frac{R - n (n + 1) / 2}{n (\text{count} - n)}.

Ranks are multiples of one half, so that numerator and denominator are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

RANKED = 1 << 19  # values whose ranks are held at once, of one row or several
SORTED = 1 << 16  # values that are sorted at once, which takes several times their room


def ranks(values: Float[np.ndarray, "*batch place"]) -> Float[np.ndarray, "*batch place"]:
    """Ranks from 1 in each row; of equal values the mean of their places.

    What scipy's ``rankdata`` gives, in a part of its time and memory.
    """
    found = np.empty(values.shape)
    rows = values.reshape(int(np.prod(values.shape[:-1])), values.shape[-1])
    at_once = max(1, SORTED // max(1, rows.shape[1]))
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        found.reshape(rows.shape)[part] = _ranks(rows[part])
    return found


def _ranks(values: Float[np.ndarray, "row place"]) -> Float[np.ndarray, "row place"]:
    order = np.argsort(values, -1)
    found = np.empty(values.shape)
    np.put_along_axis(found, order, np.broadcast_to(np.arange(1.0, values.shape[-1] + 1),
                                                    values.shape), -1)
    tied = (np.diff(np.take_along_axis(values, order, -1), axis=-1) == 0).any(-1)
    if tied.any():
        found[tied] = rankdata(values[tied], axis=-1)
    return found


def few_rows(values: Float[np.ndarray, "row place"]) -> Iterator[Float[np.ndarray, "some place"]]:
    """Rows in order, as many at a time as are ranked at once."""
    at_once = max(1, RANKED // max(1, values.shape[1]))
    return (values[start:start + at_once] for start in range(0, len(values), at_once))


def mid_ranks(values: Float[Tensor, "*batch place"]) -> Float[Tensor, "*batch place"]:
    """How many values of the same row are smaller, ties counted one half (and a value itself not):
    from 0 to P - 1, in the values' dtype and on their device."""
    return torch.from_numpy(ranks(values.detach().cpu().numpy()) - 1).to(values)


def aurocs(values: Float[np.ndarray, "row place"],
           inside: Bool[np.ndarray, "place set"]) -> Float[np.ndarray, "row set"]:
    """Area under the ROC curve with which each row's values tell the places inside each set from
    all others; a half by chance, ``nan`` where nothing or everything is inside."""
    bits, n = inside.astype(float), inside.sum(0)
    sums = np.concatenate([ranks(own) @ bits for own in few_rows(values)])
    pairs = n * (len(inside) - n)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pairs > 0, (sums - n * (n + 1) / 2) / pairs, np.nan)


def auroc(values: Float[np.ndarray, "place"], inside: Bool[np.ndarray, "place"]) -> float:
    """:func:`aurocs` of one row and one set."""
    return float(aurocs(np.asarray(values)[None], np.asarray(inside)[:, None])[0, 0])
