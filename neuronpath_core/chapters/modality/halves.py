"""Whether the images and captions that neurons are read on are enough to tell their types: the same
counted on two halves of them.

Xu et al. (2025, section 4.1) read 23,000 images with captions once.  Here the even and the odd
scenes are two such data sets, which share no scene: of each neuron's top samples those of one half
are its top samples there, normalised by its maximum among them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.modality.measured import CRITERIA, DRAWS, Read
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import normal_row
from neuronpath_core.vlm.modality import TYPES, counts, sample_types
from neuronpath_core.vlm.records import Records
from neuronpath_core.vlm.type_draws import drawn_probabilities, scene_weights

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

DEALT = "types dealt among the neurons of a layer"


def half_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """How often a neuron's most probable type is the same on both halves of the scenes: ``against,
    value, low, high`` beyond the types of one half dealt among the neurons of a layer, the interval
    over scenes, ``same`` and ``dealt``, the two shares, and ``neurons``, how many have samples in
    both."""
    records, scenes = read.records, len(read.records.visual)
    halves = [np.arange(scenes) % 2 == odd for odd in (0, 1)]
    kinds = [_kinds(records, half) for half in halves]
    weights = np.concatenate([np.ones((1, scenes)), scene_weights(scenes, DRAWS, seed)])
    best = [_best(each, records, weights * half) for each, half in zip(kinds, halves, strict=True)]
    found = np.array([_shares(*each, records.layers) for each in zip(*best, strict=True)])
    gaps = found[:, 0] - found[:, 1]
    return pd.DataFrame([{
        "against": DEALT, **normal_row(gaps[0], gaps[1:][np.isfinite(gaps[1:])]),
        "same": found[0, 0], "dealt": found[0, 1],
        "neurons": int(((best[0][0] >= 0) & (best[1][0] >= 0)).sum())}])


def _kinds(records: Records, half: Bool[np.ndarray, "scene"]) -> Int64[np.ndarray, "neuron top"]:
    """The type of each top sample with the neuron's largest value of one half of the scenes in
    place of its maximum; -1 where that is not above 0."""
    top = records.samples[:, :records.top]
    counted = records.visual | records.text
    peaks = np.array([(values * counted[own] * half[own][:, None]).max() for values, own in
                      zip(records.values[:, :records.top], top, strict=True)], np.float32)
    own = replace(records, maxima=peaks)
    return np.where(own.live[:, None], sample_types(*counts(own, CRITERIA), CRITERIA), -1)


def _best(kinds: np.ndarray, records: Records, weights: Float[np.ndarray, "draw scene"]
          ) -> Int64[np.ndarray, "draw neuron"]:
    """The most probable type in each draw, of types that tie the first; -1 where no sample was
    drawn."""
    p = drawn_probabilities(kinds, records.samples[:, :records.top], weights)
    return np.where(np.isnan(p[..., 0]), -1, np.nan_to_num(p, nan=-1).argmax(-1))


def _shares(one: Int64[np.ndarray, "neuron"], other: Int64[np.ndarray, "neuron"],
            layers: Int64[np.ndarray, "neuron"]) -> tuple[float, float]:
    """The share of neurons with the same type in both, and what it is in the mean over all ways to
    deal the types of one half among the neurons of each layer."""
    known = (one >= 0) & (other >= 0)
    if not known.any():
        return float("nan"), float("nan")
    dealt = 0.0
    for layer in np.unique(layers[known]):
        first, second = (np.bincount(each[known & (layers == layer)], minlength=len(TYPES))
                         for each in (one, other))
        dealt += first @ second / first.sum()
    return float((one == other)[known].mean()), float(dealt / known.sum())


def half_table(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`half_rows` with ``model`` and ``scenes``, for reading."""
    return pd.DataFrame([{
        "model": row["model"], "scenes of a half": row["scenes"] // 2, "neurons": row["neurons"],
        "same type, %": f"{100 * row['same']:.1f}", "dealt, %": f"{100 * row['dealt']:.1f}",
        "difference, points": report.points_text(row, 1, "")} for row in rows.to_dict("records")],
        columns=None if len(rows) else ["model"]).set_index("model")
