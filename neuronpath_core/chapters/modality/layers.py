"""In which layers the neurons of each type are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.modality.measured import Read, Types
from neuronpath_core.stats.intervals import TAILS
from neuronpath_core.vlm.modality import (
    TYPES,
    layer_means,
    layer_profile,
    layer_trend,
    top_places,
)

if TYPE_CHECKING:
    from jaxtyping import Int64

TOP = 0.03  # of the neurons, the surest of a type
# what Xu et al. (2025) see in Figures 7 and 23: the way a type goes with depth
PAPER = {"visual": -1, "text": -1, "multi-modal": 1}
PERMUTATIONS = 2000


def trend(layers: Int64[np.ndarray, "neuron"], place: int) -> Callable[[np.ndarray], float]:
    """Spearman's correlation of a layer's number with its mean probability of a type; 0 where all
    layers are alike."""
    return lambda p: float(np.nan_to_num(layer_trend(layer_means(p, layers)[:, place])))


def top_trend(layers: Int64[np.ndarray, "neuron"], place: int) -> Callable[[np.ndarray], float]:
    """The same of the share of the surest 3 % of a type that lies in each layer, which the paper
    looks at; neurons that tie at the cut share its places."""
    return lambda p: float(np.nan_to_num(layer_trend(
        layer_profile(top_places(p[:, place], TOP), layers))))


@cache
def chance(layers: int, seed: int = 0) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of the correlation with the layers permuted."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(layers)
    drawn = [np.corrcoef(numbers, rng.permutation(layers))[0, 1] for _ in range(PERMUTATIONS)]
    low, high = np.quantile(drawn, TAILS)
    return float(low), float(high)


def trend_rows(read: Read) -> pd.DataFrame:
    """Of each type how its mean probability goes with depth: ``type, value, low, high`` with the
    interval over scenes, ``chance``, the 97.5 % quantile with layers permuted, ``expected``, 1 or
    -1 where the paper sees it rise or fall, else 0, ``dealt``, with dealt labels, and ``top,
    top_low, top_high``, how the share of the surest 3 % goes."""
    count, rows = int(read.layers.max()) + 1, []
    for place, name in enumerate(TYPES):
        top = read.own.row(top_trend(read.layers, place))
        rows.append({
            "type": name, **read.own.row(trend(read.layers, place)), "chance": chance(count)[1],
            "expected": PAPER.get(name, 0),
            "dealt": np.mean([trend(read.layers, place)(each.p) for each in read.dealt]),
            "top": top["value"], "top_low": top["low"], "top_high": top["high"]})
    return pd.DataFrame(rows)


def expected_rows(trends: pd.DataFrame) -> pd.DataFrame:
    """The trends that the paper names, turned so that positive speaks for it, with ``condition``
    and ``verdict``: agrees if the interval lies above 0 and the value above ``chance``, contradicts
    if below the one and minus the other."""
    rows = []
    for row in trends[trends["expected"] != 0].to_dict("records"):
        sign = row["expected"]
        low, high = sorted((sign * row["low"], sign * row["high"]))
        value = sign * row["value"]
        verdict = "not shown"
        if low > 0 and value > row["chance"]:
            verdict = "agrees"
        elif high < 0 and value < -row["chance"]:
            verdict = "contradicts"
        rows.append({**row, "value": value, "low": low, "high": high, "verdict": verdict,
                     "condition": f"{row['type']} neurons"})
    return pd.DataFrame(rows)


def twin_rows(read: Read, other: Types) -> pd.DataFrame:
    """How much more the trends that the paper names are there than before training, on the same
    scenes: ``condition, value, low, high``, positive in the paper's direction."""
    rows = []
    for name, sign in PAPER.items():
        statistic = trend(read.layers, TYPES.index(name))
        rows.append({"condition": f"{name} neurons",
                     **read.own.row(lambda p, sign=sign, of=statistic: sign * of(p), other)})
    return pd.DataFrame(rows)


def profile_rows(read: Read) -> pd.DataFrame:
    """Layer by layer, ``layer`` from 1: ``type, value``, the mean probability of the type among its
    neurons, ``top``, the share of the surest 3 % of the type that lie there, and ``dealt``, the
    mean with dealt labels."""
    means = layer_means(read.own.p, read.layers)
    dealt = np.mean([layer_means(each.p, read.layers) for each in read.dealt], 0)
    rows = []
    for place, name in enumerate(TYPES):
        top = layer_profile(top_places(read.own.p[:, place], TOP), read.layers)
        rows += [{"layer": layer + 1, "type": name, "value": means[layer, place],
                  "top": top[layer], "dealt": dealt[layer, place]} for layer in range(len(means))]
    return pd.DataFrame(rows)
