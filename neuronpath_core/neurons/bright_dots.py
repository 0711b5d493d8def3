"""Small bright dots in a map, off the object (Allert et al., 2024, figure 10): where they sit.

A *dot* is a patch without a pixel of the object whose activation exceeds the neuron's mean over all
images and patches by three standard deviations.  Of each dot its token is placed among the other
uncovered patches of the same image: by the length of the stream that enters the FFN (large Vision
Transformers keep a few tokens of large norm as registers) and by the attention that it receives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

DEVIATIONS = 3.0


def bright_dots(maps: Float[np.ndarray, "image patch"], mean: Float[np.ndarray, "image"] | float,
                deviation: Float[np.ndarray, "image"] | float,
                free: Bool[np.ndarray, "image patch"],
                deviations: float = DEVIATIONS) -> Bool[np.ndarray, "image patch"]:
    """Which patches are dots.

    Args:
        maps: of one neuron an image, which may be another neuron in each.
        mean, deviation: of each image's neuron, over all images and patches.
        free: patches without a pixel of the object.
        deviations: above the mean, in standard deviations.

    Raises:
        ValueError: maps and truth values of different shapes.
    """
    if maps.shape != free.shape:
        raise ValueError(f"maps {maps.shape} and free patches {free.shape}; accepted: one shape")
    level = np.asarray(mean) + deviations * np.asarray(deviation)
    return free & (maps > np.reshape(level, (-1, 1)))


def place_among(values: Float[np.ndarray, "image patch"], dots: Bool[np.ndarray, "image patch"],
                free: Bool[np.ndarray, "image patch"]) -> Float[np.ndarray, "image"]:
    """The mean share of each image's other free patches that have smaller values than its dots,
    ties one half: 0.5 by chance; NaN of an image without a dot or without other free patches."""
    found = np.full(len(values), np.nan)
    for row in np.flatnonzero(dots.any(1)):
        own, others = values[row][dots[row]], values[row][free[row] & ~dots[row]]
        if len(others):
            below = (own[:, None] > others).mean() + (own[:, None] == others).mean() / 2
            found[row] = below
    return found


def repeats(dots: Bool[np.ndarray, "image patch"],
            free: Bool[np.ndarray, "image patch"]) -> dict[str, float]:
    """How often dots of two images lie at the same patch: ``value``, the probability over pairs of
    images, and ``expected``, if each image's dots lay anywhere on its free patches.

    Both are NaN without two images that have dots.
    """
    some = dots.any(1)
    own, room = dots[some].astype(float), free[some].astype(float)
    if len(own) < 2:
        return {"value": np.nan, "expected": np.nan}
    own, room = (each / each.sum(1, keepdims=True) for each in (own, room))
    return {"value": _pairs(own), "expected": _pairs(room)}


def _pairs(shares: Float[np.ndarray, "image patch"]) -> float:
    """The mean over pairs of different images of the sum of products of their shares."""
    total, count = shares.sum(0), len(shares)
    return float((np.square(total).sum() - np.square(shares).sum()) / (count * (count - 1)))
