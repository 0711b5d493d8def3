"""How well a concept fits a neuron, in the words of its card: beside chance, beside the threshold
of a detector, and whether that could be reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuronpath_core.explanations.words import number
from neuronpath_core.neurons.one_block import LEAST_IOU

LEVEL = 0.05  # from which p down a concept is said to fit better than chance gives
Numbers = Mapping[str, Any]


def overlap(value: float | None) -> str:
    """An intersection over union with three decimals, because 0.04 is what it must exceed."""
    if value is None:
        return "–"
    return "< 0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def above_chance(row: Numbers) -> bool:
    """Whether a concept fits better than masks of other images do, by its own p."""
    return row["p"] is not None and row["p"] <= LEVEL


def beside_chance(row: Numbers) -> str:
    """How a concept's fit stands to what masks of other images give."""
    if row["p"] is None:
        return "held against no other masks"
    p = f"(p = {number(row['p'])}, uncorrected)"
    if above_chance(row):
        return f"above chance {p}"
    # a quantile of few permutations and their p can part at the very edge
    return f"above 95 % of other masks {p}" if row["iou"] > row["high"] else (
        f"not shown above chance {p}")


def beside_threshold(row: Numbers) -> str:
    """How a concept's fit stands to the overlap from which on a neuron is called a detector, and
    whether masks of these sizes could have it."""
    if row["detects"]:
        return f"and above the {LEAST_IOU} needed to count as a detector"
    if row["iou"] > LEAST_IOU:
        return f"though above the {LEAST_IOU} needed to count as a detector"
    most = f"at most {overlap(row['ceiling'])}"
    return f"below the {LEAST_IOU} needed to count as a detector, which masks of these sizes " + (
        f"cannot reach ({most})" if out_of_reach(row) else f"could reach ({most})")


def out_of_reach(row: Numbers) -> bool:
    """Whether no masks of these sizes overlap enough to be called a detector's."""
    return row["ceiling"] <= LEAST_IOU


def detecting(row: Numbers) -> str:
    """Whether a concept counts as detected, and if not, whether it could."""
    return "yes" if row["detects"] else "no, out of reach" if out_of_reach(row) else "no"
