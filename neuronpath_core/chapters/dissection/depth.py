"""Whether labels name more specific things in later blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from neuronpath_core.chapters.dissection.measured import AREA, OVERLAP, Read, beyond_chance
from neuronpath_core.neurons.dissection import Dissection
from neuronpath_core.neurons.tally import strongest
from neuronpath_core.stats.intervals import TAILS, normal_row

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

# kinds that name one value of what makes a class, or of the colour; all others are general
SPECIFIC = ("outline", "fill", "colour", "class")
MEASURES = {OVERLAP: "iou", AREA: "auroc"}
ANY = "any"


def is_specific(kinds: tuple[str, ...]) -> Bool[np.ndarray, "concept"]:
    """Which concepts are specific: one outline, fill, colour or class; general are the parts of
    every scene, the background's tone and its kind."""
    return np.isin(kinds, SPECIFIC)


def shares(labels: Int64[np.ndarray, "*batch block neuron"],
           chosen: Bool[np.ndarray, "concept"]) -> Float[np.ndarray, "*batch block"]:
    """Share of the labelled neurons of each block whose label is one of the chosen; where none is
    labelled the mean over the other blocks."""
    named = labels >= 0
    count = named.sum(-1)
    found = np.divide((chosen[labels] & named).sum(-1), count, out=np.full(count.shape, np.nan),
                      where=count > 0)
    filled = np.nan_to_num(np.nanmean(found, -1, keepdims=True)) if (count > 0).any() else 0.0
    return np.where(np.isnan(found), filled, found)


def trend(values: Float[np.ndarray, "*batch block"]) -> Float[np.ndarray, "*batch"]:
    """Spearman's correlation of values with the number of the block; 0 where they are all equal."""
    ranks = stats.rankdata(values, axis=-1)
    ranks -= ranks.mean(-1, keepdims=True)
    blocks = np.arange(ranks.shape[-1]) - (ranks.shape[-1] - 1) / 2
    size = np.linalg.norm(ranks, axis=-1) * np.linalg.norm(blocks)
    return np.divide(ranks @ blocks, size, out=np.zeros(size.shape), where=size > 0)


def depth_rows(read: Read) -> pd.DataFrame:
    """Of labels by overlap and by area: ``value``, the correlation of block and share of specific
    labels, with its interval over images, the normal one, because labels of resamples are noisier
    than those of the whole set; ``chance`` and ``against``, the 97.5 and 2.5 % quantiles of the
    same with masks dealt among all images; ``early`` and ``late``, the share in the first and the
    last third of the blocks; ``dealt``, its mean over dealt masks; and ``verdict``.  No row where
    all labels are specific."""
    found, chosen = read.found, is_specific(read.found.kinds)
    rows = []
    for condition, measure in MEASURES.items():
        share = shares(read.labels[condition], chosen)
        if np.ptp(share) == 0:  # nothing but specific labels, or none: no trend to ask of
            continue
        null = shares(found.nulls[ANY].label[measure], chosen)
        third = max(1, len(share) // 3)
        row = normal_row(trend(share), trend(shares(found.drawn[measure], chosen)))
        low, high = np.quantile(trend(null), TAILS)
        rows.append({"condition": f"labels by {condition}", **row, "chance": high, "against": low,
                     "early": share[:third].mean(), "late": share[-third:].mean(),
                     "dealt": null.mean(), "verdict": beyond_chance({
                         **row, "chance": high, "against": low})})
    return pd.DataFrame(rows)


def twin_rows(read: Read) -> pd.DataFrame:
    """How much more the share of specific labels rises than in the random twin: ``value, low,
    high`` of the difference of the trends on the same resampled images, and ``twin``."""
    chosen, rows = is_specific(read.found.kinds), []
    for condition, measure in MEASURES.items():
        if np.ptp(shares(read.labels[condition], chosen)) == 0:
            continue
        own, other = (trend(shares(each.drawn[measure], chosen))
                      for each in (read.found, read.twin))
        twin = float(trend(shares(strongest(read.twin.iou, 0) if measure == "iou" else
                                  strongest(read.twin.auroc), chosen)))
        value = trend(shares(read.labels[condition], chosen)) - twin
        rows.append({"condition": f"labels by {condition}", "twin": twin,
                     **normal_row(value, own - other)})
    return pd.DataFrame(rows)


def kind_rows(read: Read, condition: str = OVERLAP) -> pd.DataFrame:
    """Of each block the share of its labelled neurons whose label is of each kind: ``block, depth,
    kind, value`` and ``specific``, the share of all specific ones."""
    found, labels = read.found, read.labels[condition]
    kinds, count = np.array(found.kinds), len(read.found.iou)
    specific = shares(labels, is_specific(found.kinds))
    null = shares(found.nulls[ANY].label[MEASURES[condition]], is_specific(found.kinds)).mean(0)
    return pd.concat([pd.DataFrame({
        "block": np.arange(1, count + 1), "depth": np.arange(1, count + 1) / count, "kind": kind,
        "value": shares(labels, kinds == kind), "specific": specific, "dealt": null})
        for kind in dict.fromkeys(found.kinds)], ignore_index=True)


def mean_depth(found: Dissection, labels: Int64[np.ndarray, "*batch block neuron"],
               kind: str) -> Float[np.ndarray, "*batch"]:
    """The mean depth, from 0 to 1, of the neurons whose label is of a kind; ``nan`` of none."""
    here = (np.array(found.kinds) == kind)[labels] & (labels >= 0)
    depth = np.linspace(0, 1, labels.shape[-2])
    counts = here.sum(-1)
    total = counts.sum(-1)
    return np.divide(counts @ depth, total, out=np.full(total.shape, np.nan), where=total > 0)


def order_rows(read: Read, early: str = "colour", late: str = "outline") -> pd.DataFrame:
    """How much deeper neurons with labels of one kind lie than those of another: ``value, low,
    high`` in shares of the depth, ``early`` and ``late``, with the interval over images, and
    ``dealt`` with masks of other images; no row of data without these kinds."""
    found, rows = read.found, []
    for condition, measure in MEASURES.items():
        gaps = [mean_depth(found, labels, late) - mean_depth(found, labels, early)
                for labels in (read.labels[condition], found.drawn[measure],
                               found.nulls[ANY].label[measure])]
        if np.isnan(gaps[0]) or np.isnan(gaps[1]).all():
            continue
        rows.append({"condition": f"labels by {condition}",
                     **normal_row(gaps[0], gaps[1][~np.isnan(gaps[1])]),
                     "dealt": np.nanmean(gaps[2]),
                     "early": float(mean_depth(found, read.labels[condition], early)),
                     "late": float(mean_depth(found, read.labels[condition], late))})
    return pd.DataFrame(rows)
