r"""Neurons like a given one: of the same block, about as active, and writing about as much.

A neuron of a path is active and has a long value vector, because the score rewards both.  What it
is said to mean must hold beyond neurons that are so too.  Such *matched* neurons lie within a
tenth of the block around it, by the rank of their activation and by that of the length of their
value vector.  Where a property is a number for each neuron, :func:`over_matches` takes its mean
over all matched neurons; :func:`drawn` draws one of them, for what needs a forward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

DECILE = 0.1  # of a block, around a neuron, are about like it
LEAST = 4  # neurons, of so few at least a control is the mean


def matched(neurons: Int64[np.ndarray, "image layer"], *likeness: Float[np.ndarray, "layer neuron"],
            width: float = DECILE, least: int = LEAST) -> Bool[np.ndarray, "image layer neuron"]:
    """Which neurons of the same block are like each neuron of some paths.

    A neuron is matched if by every likeness its rank is at most ``width / 2`` of the block away.
    Where fewer than ``least`` are, the nearest by the larger of their differences of rank are taken
    as well (all of those that are equally near).  The neuron itself is never among them.

    Args:
        neurons: paths, one neuron a block.
        likeness: what must be about equal, such as the mean absolute activation and the length of
            the value vector: ``(layer, neuron)``, or ``(image, layer, neuron)`` where it is each
            image's own.
        width: share of the block, in 0..1.
        least: at least so many are matched, if the block has them.

    Raises:
        ValueError: no likeness, shapes that do not fit, neurons that are not there, values that are
            not finite, or blocks of fewer than two neurons.
    """
    neurons = np.asarray(neurons)
    if neurons.ndim != 2 or neurons.dtype.kind != "i" or not likeness:
        raise ValueError(f"neurons {neurons.dtype} {neurons.shape} and {len(likeness)} likenesses; "
                         "accepted: whole numbers (image, layer), and at least one likeness")
    if not 0 <= width <= 1 or isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise ValueError(f"width and least cannot be {shown(width)} and {shown(least)}; accepted: "
                         "a share in 0..1 and a whole number of at least 1")
    far = 0.0
    for values in likeness:
        far = np.maximum(far, _differences(neurons, np.asarray(values, float)))
    count = far.shape[-1]
    np.put_along_axis(far, neurons[..., None], np.inf, -1)
    edge = np.sort(far, -1)[..., min(least, count - 1) - 1]
    return far <= np.maximum(edge, width * count / 2)[..., None]


def _differences(neurons: Int64[np.ndarray, "image layer"],
                 values: np.ndarray) -> Float[np.ndarray, "image layer neuron"]:
    """How far each neuron's rank in its block is from that of the path's."""
    if values.ndim not in (2, 3) or values.shape[-2] != neurons.shape[1] or values.ndim == 3 and (
            len(values) != len(neurons)) or values.shape[-1] < 2:
        raise ValueError(f"a likeness {values.shape} of paths {neurons.shape}; accepted: (layer, "
                         "neuron) or (image, layer, neuron) of blocks of at least two neurons")
    if not np.isfinite(values).all():
        raise ValueError("a likeness has values that are not finite; accepted: finite numbers")
    if neurons.size and not 0 <= neurons.min() <= neurons.max() < values.shape[-1]:
        raise ValueError(f"neurons lie in {neurons.min()}..{neurons.max()}; accepted: "
                         f"0..{values.shape[-1] - 1}")
    rank = rankdata(values, axis=-1)
    rank = np.broadcast_to(rank, (len(neurons), *rank.shape[-2:]))
    return np.abs(rank - np.take_along_axis(rank, neurons[..., None], -1))


def of_path(values: Float[np.ndarray, "layer neuron"],
            neurons: Int64[np.ndarray, "image layer"]) -> Float[np.ndarray, "image layer"]:
    """A property of the paths' neurons.

    Args:
        values: ``(layer, neuron)`` or ``(image, layer, neuron)``.
        neurons: one a block.
    """
    whole = np.broadcast_to(values, (*neurons.shape, np.shape(values)[-1]))
    return np.take_along_axis(whole, neurons[..., None], -1)[..., 0]


def over_matches(values: Float[np.ndarray, "layer neuron"],
                 matches: Bool[np.ndarray, "image layer neuron"]
                 ) -> Float[np.ndarray, "image layer"]:
    """The mean of a property over the matched neurons, as of :func:`of_path`; values that are not
    defined (NaN) are left out, NaN where none is."""
    whole = np.broadcast_to(values, matches.shape)
    defined = matches & ~np.isnan(whole)
    count = defined.sum(-1)
    total = np.where(defined, whole, 0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def drawn(matches: Bool[np.ndarray, "image layer neuron"],
          seed: int = 0) -> Int64[np.ndarray, "image layer"]:
    """One matched neuron for each neuron of the paths, uniformly."""
    noise = np.random.default_rng(seed).random(matches.shape)
    return np.where(matches, noise, -1).argmax(-1).astype(np.int64)
