"""Chapter 27's tables of classes, for reading."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.key_neurons.words import KEYS, text_of
from neuronpath_core.stats import report


def fire_table(fires: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """``carriers.fire_rows`` of every model, with the first row of ``published_rows``."""
    first = published[published["rank"] == 1].set_index(KEYS)
    own, others = (first[name].reindex(pd.MultiIndex.from_frame(fires[KEYS])).to_numpy()
                   for name in ("own", "others"))
    return pd.DataFrame({
        **{name: fires[name] for name in KEYS}, "read": fires["condition"],
        "first key neuron": fires["first"], "first five": fires["five"],
        "neurons like them": fires["alike"], "difference": text_of(fires),
        "as published: own class": own, "as published: other classes": others,
    }).set_index([*KEYS, "read"])


def carrier_table(carriers: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """``carriers.carrier_row`` of every model, with means of ``carrier_rows`` over blocks."""
    means = rows.groupby(KEYS, sort=False)[["top", "key"]].mean()
    table = pd.DataFrame({
        **{name: carriers[name] for name in KEYS},
        "neurons that share a class, %": 100 * carriers["ratio"],
        "labels dealt anew, %": 100 * carriers["dealt"],
        "fewer by, points": [report.points_text(row, 1, "") for row in carriers.to_dict("records")],
    }).set_index(KEYS)
    return table.assign(**{"largest neuron's share, %": 100 * means["top"],
                           "it is the block's key neuron, % of classes": 100 * means["key"]})


def near_table(neighbours: pd.DataFrame, random: pd.DataFrame) -> pd.DataFrame:
    """``near.near_rows`` of every model and of its random twin."""
    level = random.set_index([*KEYS, "over", "condition"])["value"]
    index = pd.MultiIndex.from_frame(neighbours[[*KEYS, "over", "condition"]])
    return pd.DataFrame({
        **{name: neighbours[name] for name in KEYS}, "neurons": neighbours["over"],
        "blocks": [words.removeprefix("in the ").removesuffix(" of the blocks")
                   for words in neighbours["condition"]],
        "correlation": neighbours["value"].astype(float),
        "97.5 % of permutations": neighbours["chance"].astype(float),
        "p": [f"{each:.3f}" for each in neighbours["p"]],
        "pixel distances left in": neighbours["plain"].astype(float),
        "random weights": level.reindex(index).to_numpy(float),
    }).set_index([*KEYS, "neurons", "blocks"])
