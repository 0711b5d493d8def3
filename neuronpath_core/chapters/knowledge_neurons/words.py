"""What Chapter 1 says of its rows in sentences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.stats import report

# of a correlation's verdict on the inversion
MEANINGS = {"agrees": "inverted", "contradicts": "not inverted",
            "not shown": "inversion neither shown nor excluded"}
# of the verdict on the blocks after the first
BEYOND = {"agrees": "beyond it they differ", "contradicts": "beyond it they are alike",
          "not shown": "beyond it neither is shown"}


def depths_differ(depth: pd.DataFrame) -> str:
    """The verdict on whether two models' mean relative depths differ: ``"agrees"`` if their
    intervals, of :func:`~neuronpath_core.chapters.knowledge_neurons.depth_shares.relative_depth`,
    have no number in common."""
    first, second = depth.sort_values("value").to_dict("records")[:2]
    return "agrees" if first["high"] < second["low"] else "not shown"


def finding(correlation: Mapping[str, float], first: str, second: str, rest: Mapping[str, float],
            ranks: Mapping[str, float], in_first: Mapping[str, float]) -> str:
    """Whether the distributions of two models' knowledge neurons are inverted.

    Args:
        correlation: of their block shares, as of
        :func:`~neuronpath_core.chapters.knowledge_neurons.depth_shares.share_correlation`. rest:
        the same without block 1. ranks: that of ranks.
        in_first: share in block 1, by model.  Where it is most of either model's neurons, this
            block decides ``correlation``, and the sentence says what is beyond it.
    """
    number = (f"rank correlation of block shares {report.interval_text(ranks)}; Pearson's "
              f"{report.interval_text(correlation)}, without block 1 {report.interval_text(rest)}")
    if min(in_first[first], in_first[second]) > 0.5:
        beyond = BEYOND[report.verdict(rest, expected=-1)]
        return f"{first} and {second} keep most knowledge neurons in block 1; {beyond}: {number}"
    return {"agrees": f"The knowledge neurons of {first} and {second} lie in opposite blocks: "
                      f"{number}",
            "contradicts": f"The knowledge neurons of {first} and {second} lie in much the same "
                           f"blocks: {number}",
            "not shown": f"Neither alike nor inverted beyond chance, {first} and {second}: "
                         f"{number}"}[report.verdict(correlation, expected=-1)]


def scaling_finding(rows: pd.DataFrame, model: str) -> str:
    """What the way of scaling does to a model's share in the first block and to the correlation,
    and what the correlation by Eq. 5 says of an inversion."""
    share = rows[rows["number"] == f"{model}: share in block 1"]["value"].tolist()
    found = rows[rows["number"] == "correlation of block shares"].to_dict("records")
    meaning = MEANINGS[report.verdict(found[1], expected=-1)]
    return (f"With one neuron scaled instead of its block, {model}'s share in block 1 is "
            f"{share[1]:.2f} instead of {share[0]:.2f}, and the correlation of block shares "
            f"{report.interval_text(found[1])} instead of {report.interval_text(found[0])} "
            f"({meaning})")


def scaling_wide(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.knowledge_neurons.scaling.scaling_rows` as text: a row per
    number, a column per way of scaling."""
    texts = rows.assign(text=[report.interval_text(row, signed="correlation" in row["number"])
                              for row in rows.to_dict("records")])
    return texts.pivot_table(index="number", columns="scaling", values="text", aggfunc="first",
                             sort=False)
