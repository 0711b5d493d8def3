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
    """``carriers.carried_rows`` of every model, with means of ``carrier_rows`` over blocks."""
    means = rows.groupby([*KEYS, "condition"], sort=False)[["top", "key"]].mean()
    means.index.names = [*KEYS, "read"]
    table = pd.DataFrame({
        **{name: carriers[name] for name in KEYS}, "read": carriers["condition"],
        "neurons that share a class, %": 100 * carriers["ratio"],
        "labels dealt anew, %": 100 * carriers["dealt"],
        "fewer by, points": [report.points_text(row, 1, "") for row in carriers.to_dict("records")],
    }).set_index([*KEYS, "read"])
    return table.assign(**{"largest neuron's share, %": 100 * means["top"],
                           "it is the block's key neuron, % of classes": 100 * means["key"]})


def stronger_table(stronger: pd.DataFrame) -> pd.DataFrame:
    """``carriers.stronger_rows`` of every model."""
    return pd.DataFrame({
        **{name: stronger[name] for name in KEYS}, "read": stronger["condition"],
        "first third of the blocks": stronger["early"], "last third": stronger["late"],
        "last third, neurons like it": stronger["late_alike"],
        "block and activation, correlation": stronger["plain"],
        "block and lead over neurons like it, correlation": text_of(stronger),
    }).set_index([*KEYS, "read"])


def near_table(neighbours: pd.DataFrame, random: pd.DataFrame) -> pd.DataFrame:
    """``near.near_rows`` of every model and of its random twin."""
    keys = [*KEYS, "over", "tokens", "condition"]
    level, index = random.set_index(keys)["value"], pd.MultiIndex.from_frame(neighbours[keys])
    return pd.DataFrame({
        **{name: neighbours[name] for name in KEYS}, "neurons": neighbours["over"],
        "read": neighbours["tokens"],
        "blocks": [words.removeprefix("in the ").removesuffix(" of the blocks")
                   for words in neighbours["condition"]],
        "correlation": text_of(neighbours),
        "97.5 % of permutations": neighbours["chance"].astype(float),
        "p": [f"{each:.3f}" for each in neighbours["p"]],
        "pixel distances left in": neighbours["plain"].astype(float),
        "random weights": level.reindex(index).to_numpy(float),
    }).set_index([*KEYS, "neurons", "read", "blocks"])
