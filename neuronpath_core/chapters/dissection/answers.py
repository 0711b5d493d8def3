"""What Chapter 28 answers, in numbers: means over models, with their intervals over them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.dissection import detectors
from neuronpath_core.chapters.dissection.measured import AREA, OVERLAP
from neuronpath_core.stats.report import over_models

NAMES = {"overlap": OVERLAP, "area": AREA}


def answers(trends: pd.DataFrame, order: pd.DataFrame, found: pd.DataFrame,
            truths: pd.DataFrame) -> Mapping[str, str]:
    """The texts that the page names.

    Args:
        trends: of ``depth.depth_rows``.
        order: of ``depth.order_rows``; empty without scenes.
        found: of ``detectors.detector_rows``.
        truths: of ``truth.truth_rows``.
    """
    texts = {}
    for name, labeler in NAMES.items():
        own, behind = (_labels(table, labeler) for table in (trends, order))
        texts |= {f"early {name}": _percent(own, "early"), f"late {name}": _percent(own, "late"),
                  f"rise {name}": over_models(_values(own)), f"models {name}": str(len(own)),
                  f"behind {name}": over_models(_values(behind))}
    by_any = found[found["condition"] == detectors.NULLS["any"]]
    own = _labels(truths, OVERLAP)
    return texts | {
        "behind dealt": f"{order['dealt'].mean():+.2f}" if len(order) else "–",
        "order models": str(order["model"].nunique()) if len(order) else "0",
        "share detectors": _percent(by_any, "share"), "share random": _percent(by_any, "random"),
        "share dealt": _percent(by_any, "dealt"),
        "beyond random": over_models(100 * (by_any["share"] - by_any["random"]), 0, "points"),
        "models": str(len(by_any)), "truth own": _mean(own, "own"),
        "truth dealt": _mean(own, "dealt"), "truth gap": over_models(_values(own))}


def _labels(table: pd.DataFrame, labeler: str) -> pd.DataFrame:
    return table[table["condition"] == f"labels by {labeler}"] if len(table) else table


def _values(table: pd.DataFrame) -> list[float]:
    return list(table["value"]) if len(table) else []


def _percent(table: pd.DataFrame, column: str) -> str:
    return f"{100 * table[column].mean():.0f} %" if len(table) else "–"


def _mean(table: pd.DataFrame, column: str) -> str:
    return f"{table[column].mean():.2f}" if len(table) else "–"
