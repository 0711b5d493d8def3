"""How sure it is how well a concept fits a neuron: intervals over images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.neurons.tally import area, overlap
from neuronpath_core.stats.intervals import percentile_row
from neuronpath_core.stats.ranks import ranks

if TYPE_CHECKING:
    from jaxtyping import Float

RESAMPLES = 2000


def fit_intervals(maps: Float[np.ndarray, "image patch"], threshold: float,
                  covers: Float[np.ndarray, "image patch"], seed: int = 0,
                  resamples: int = RESAMPLES) -> dict[str, dict[str, float]]:
    """``iou`` and ``auroc`` of a neuron and a concept with their 95 % percentile bootstrap
    intervals over images, as rows of ``value, low, high``; NaN of an area that is not defined.

    Threshold and ranks are those of all images, so that what is uncertain about these is not in the
    intervals.

    Args:
        maps: the neuron's activation at every patch.
        threshold: above which its mask lies.
        covers: how much of each patch the concept covers, from 0 to 1.
        seed: of the resamples.
        resamples: how many.
    """
    images, bits = len(maps), maps > threshold
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), resamples)
    weights = np.vstack([np.ones(images), drawn])  # the first is the set itself
    own, both, theirs = (weights @ each.sum(1) for each in (bits, bits * covers, covers))
    inside, ranked = covers >= 0.5, ranks(maps.reshape(1, -1)).reshape(maps.shape)
    areas = area(weights @ (ranked * inside).sum(1), weights @ ranked.sum(1),
                 weights @ inside.sum(1), maps.size)
    return {"iou": _row(overlap(both, own, theirs)), "auroc": _row(areas)}


def _row(values: Float[np.ndarray, "resample"]) -> dict[str, float]:
    value, draws = values[0], values[1:][~np.isnan(values[1:])]
    if np.isnan(value) or not len(draws):
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    return percentile_row(value, draws)
