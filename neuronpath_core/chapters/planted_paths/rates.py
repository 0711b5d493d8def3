"""Recovery rates with intervals over networks, and the rates that a closed form predicts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.planted_paths.recovery import CELL, SEARCHES
from neuronpath_core.models.planted import DECOYS, KINDS
from neuronpath_core.stats.intervals import interval_row

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def recovery_summary(table: pd.DataFrame, by: Sequence[str] = (*CELL, "method")) -> pd.DataFrame:
    """Recovery rates of :func:`~neuronpath_core.chapters.planted_paths.recovery.recovery`'s table,
    the network being the unit: ``value, low, high`` (:func:`network_row`), ``least, most`` (of a
    network), ``permuted``, ``chance``, ``networks``.

    Images and blocks of one network are averaged first: they share its weights, so that only
    networks count as independent.
    """
    rows = []
    for names, group in table.groupby(list(by), sort=False):
        means = group.groupby("network")[["found", "permuted", "chance"]].mean()
        rows.append({**dict(zip(by, names, strict=True)), **network_row(means["found"].to_numpy()),
                     "least": means["found"].min(), "most": means["found"].max(),
                     "permuted": means["permuted"].mean(),
                     "chance": means["chance"].mean(), "networks": len(means)})
    return pd.DataFrame(rows)


def network_row(shares: Float[np.ndarray, "network"]) -> dict[str, float]:
    """Mean of a share over networks with its percentile bootstrap interval over them: ``value, low,
    high``.

    The shares of networks are no ones and zeros, so that no interval of a binomial share fits; one
    network says nothing of others, and its interval is 0..1.
    """
    if len(shares) < 2:
        return {"value": float(shares.mean()), "low": 0.0, "high": 1.0}
    return interval_row(shares)


def paired_recovery(table: pd.DataFrame, column: str, first: str, second: str,
                    seed: int = 0) -> dict[str, float]:
    """Mean difference of recovery, ``first`` minus ``second`` of a column, over the cells that have
    both: ``value, low, high, networks``.

    The interval is the percentile bootstrap over networks; where all networks differ by the same
    amount it is that point.

    Raises:
        ValueError: no cell has both, or there are fewer than two networks.
    """
    cell = [name for name in (*CELL, "method", "network", "image", "block") if name != column]
    wide = table[table[column].isin([first, second])].pivot(index=cell, columns=column,
                                                            values="found").reindex(
        columns=[first, second]).dropna()
    if wide.empty:
        raise ValueError(f"no cell of the table has both {first!r} and {second!r} of {column!r}; "
                         f"accepted: two values measured in the same cells")
    differences = (wide[first].astype(float)
                   - wide[second].astype(float)).groupby("network").mean().to_numpy()
    return {**interval_row(differences, seed=seed), "networks": len(differences)}


def score_preference(table: pd.DataFrame, by: Sequence[str] = (*CELL, "method")) -> pd.DataFrame:
    """Where a found path is not the planted one: how often does it score higher than it, so that
    the score is to blame and not the search.

    Returns:
        ``images``, those whose path misses a planted neuron, and of these the share ``value`` (mean
        over networks) with its interval over the networks that have one (:func:`network_row`); no
        row where no image misses.  Only for the variants of the search.
    """
    rows = []
    for names, group in table[table["method"].isin(SEARCHES)].groupby(list(by), sort=False):
        images = group.groupby([*CELL, "method", "network", "image"]).agg(whole=("found", "all"),
                                                                          score=("score", "first"),
                                                                          planted=("planted_score",
                                                                                   "first"))
        missed = images[~images["whole"]]
        if len(missed):
            higher = (missed["score"] > missed["planted"]).groupby("network").mean()
            rows.append({**dict(zip(by, names, strict=True)), "images": len(missed),
                         **network_row(higher.to_numpy())})
    return pd.DataFrame(rows, columns=[*by, "images", "value", "low", "high"])


def predicted_recovery(kind: str, decoys: str, strength: float,
                       blocks: int) -> Bool[np.ndarray, "layer"]:
    r"""What the joint search finds in an ideal planted network, block by block, by its score alone.

    With a planted neuron's activation and gradient as units, the sums over the path so far W of
    activations and G of gradients, and decoys of strength s, the score :math:`(g_i + G)(w_i + W)`
    of the candidates is

    .. math::

        (1 + G)(1 + W) \text{ planted}, \quad (s + G)\,W \text{ steep}, \quad
        G\,(s + W) \text{ loud or common} .

    A chosen decoy adds s to G if steep, to W if loud.  A chosen planted neuron adds 1 to W; to G
    only if it writes to the head, because what it writes for the next block's neuron is lost on
    that one, which is clamped.  The ideal: everything but the softmax is linear, and other neurons
    do nothing.

    Args:
        kind, decoys, strength, blocks: as for
            :func:`~neuronpath_core.models.planted.planted_model`.

    Returns:
        bool ``(layer,)``; a tie counts as found.
    """
    for name, value, accepted in (("kind", kind, KINDS), ("decoys", decoys, tuple(DECOYS))):
        if value not in accepted:
            raise ValueError(f"unknown {name} {value!r}; accepted: {', '.join(accepted)}")
    slope, active, found = 0.0, 0.0, []
    for _ in range(blocks):
        scores = {"planted": (1 + slope) * (1 + active), "steep": (strength + slope) * active,
                  "loud": slope * (strength + active)}
        present = {"planted", *("steep" if name == "steep" else "loud" for name in DECOYS[decoys])}
        best = max((name for name in scores if name in present),
                   key=lambda name: (scores[name], name == "planted"))
        found.append(best == "planted")
        slope += {"planted": float(kind == "parallel"), "steep": strength, "loud": 0.0}[best]
        active += {"planted": 1.0, "steep": 0.0, "loud": strength}[best]
    return np.array(found)


def predicted_rates(kinds: Sequence[str], decoys: Sequence[str], strengths: Sequence[float],
                    blocks: int) -> pd.DataFrame:
    """:func:`predicted_recovery` averaged over blocks: ``kind, decoys, strength, value``."""
    return pd.DataFrame([{"kind": kind, "decoys": setting, "strength": strength,
                          "value": predicted_recovery(kind, setting, strength, blocks).mean()}
                         for kind, setting,
                         strength in itertools.product(kinds, decoys, strengths)])
