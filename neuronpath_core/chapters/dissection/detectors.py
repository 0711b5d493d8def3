"""How many neurons detect a concept, and how many would by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.dissection.measured import Read, beyond_chance
from neuronpath_core.neurons.dissection import LEAST_IOU, Dissection
from neuronpath_core.stats.intervals import TAILS, normal_row

if TYPE_CHECKING:
    from jaxtyping import Float

NULLS = {"class": "masks of the same class", "any": "masks of any image"}
LEVEL = 0.05


def detector_rows(read: Read) -> pd.DataFrame:
    """:func:`detector_row` of every null that was drawn, with ``random``: ``over`` of the network
    with random weights."""
    random = (read.twin.iou.max(-1) > LEAST_IOU).mean()
    return pd.DataFrame([{**detector_row(read.found, null, read.detecting[null]), "random": random}
                         for null in read.found.nulls])


def detector_row(found: Dissection, null: str,
                 draws: Float[np.ndarray, "resample"]) -> dict[str, float | str]:
    """Neurons with an IoU above 0.04 and above the null's 95 %: ``share``; ``dealt``, its mean over
    dealt masks; ``value, low, high``, the difference with its interval over images, the normal one,
    because overlaps in resamples are noisier than those of the whole set; ``chance`` and
    ``against``, the 97.5 and 2.5 % quantiles of dealt shares minus their mean; ``verdict``, by both
    (:func:`~neuronpath_core.chapters.dissection.measured.beyond_chance`); ``over``, the share with
    an IoU above 0.04, whatever chance gives; ``placed``, of the detectors those that a mere place
    fits as well.

    Args:
        found: of the neurons.
        null: one of ``NULLS``.
        draws: the share in every resample of the images; of fewer than two there is no interval.
    """
    hits = found.detects(null)
    detects = hits.any(-1)
    dealt = found.nulls[null].detecting.sum(1) / detects.size
    low, high = np.quantile(dealt, TAILS) - dealt.mean()
    best = np.where(hits, found.iou, -1).max(-1)
    placed = (found.place_iou.max(-1) >= best)[detects]
    value = detects.mean() - dealt.mean()
    row = {**(normal_row(value, draws) if len(draws) > 1 else
              {"value": value, "low": np.nan, "high": np.nan}), "chance": high, "against": low}
    return {"condition": NULLS[null], "share": detects.mean(), "dealt": dealt.mean(), **row,
            "over": (found.iou.max(-1) > LEAST_IOU).mean(),
            "placed": placed.mean() if len(placed) else np.nan,
            "dead": found.dead.mean(), "empty": (found.selected == 0).mean(),
            "verdict": beyond_chance(row)}


def concept_rows(read: Read, null: str = "any") -> pd.DataFrame:
    """Of every concept: ``density``, the share of the positions that it covers; ``ceiling``, the
    largest IoU that the median neuron's mask can have with it; ``detectors``, the share of neurons
    that detect it; ``best``, the largest IoU, its block, counted from 1, and its neuron, from 0."""
    found, rows = read.found, []
    hits = found.detects(null)
    for number, name in enumerate(found.names):
        own = found.iou[..., number]
        block, neuron = np.unravel_index(own.argmax(), own.shape)
        rows.append({"kind": found.kinds[number], "concept": name,
                     "density": found.density[number],
                     "ceiling": float(np.median(found.ceiling[..., number])),
                     "detectors": hits[..., number].mean(), "best": own.max(),
                     "area": found.auroc[block, neuron, number], "block": int(block) + 1,
                     "neuron": int(neuron)})
    return pd.DataFrame(rows)


def block_rows(read: Read, null: str = "any") -> pd.DataFrame:
    """Of every block the share of neurons that detect anything, and the mean over dealt masks:
    ``block, depth, value, dealt``."""
    found = read.found
    count, neurons = found.iou.shape[:2]
    return pd.DataFrame({"block": np.arange(1, count + 1),
                         "depth": np.arange(1, count + 1) / count,
                         "value": found.detects(null).any(-1).mean(1),
                         "dealt": found.nulls[null].detecting.mean(0) / neurons})
