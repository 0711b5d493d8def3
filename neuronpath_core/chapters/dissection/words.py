"""Chapter 28 in words: its findings, and its tables for reading.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from neuronpath_core.stats import report


def percent(values: Sequence[float]) -> str:
    """``4 to 10 %``, without the sign of a zero."""
    low, high = (f"{100 * share:z.0f}" for share in (min(values), max(values)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def counts(values: Iterable[int]) -> str:
    """``190 to 194``, or one number where all are equal."""
    least, *_, most = sorted([*values] * 2)
    return f"{least}" if least == most else f"{least} to {most}"


def _table(rows: Iterable[Mapping], keys: Sequence[str]) -> pd.DataFrame:
    """Rows under their keys, also where there are none."""
    return pd.DataFrame(list(rows), columns=None if rows else list(keys)).set_index(list(keys))


def _share(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.0f}"


def depth_table(depth: pd.DataFrame, twins: pd.DataFrame) -> pd.DataFrame:
    """``depth.depth_rows`` and ``depth.twin_rows`` for reading."""
    keys = ["data", "model", "condition"]
    rows = depth.merge(twins, on=keys, suffixes=("", "_twin")) if len(depth) else depth
    return _table([{
        **{key: row[key] for key in keys},
        "specific labels, first third, %": _share(row["early"]),
        "last third, %": _share(row["late"]),
        "masks of other images, %": _share(row["dealt"]),
        "correlation with depth": report.interval_text(row, 2),
        "95 % of masks of other images":
            f"{row['against']:.2f} to {row['chance']:.2f}".replace("-", "\u2212"),
        "random weights": row["twin"],
        "model minus random weights": report.interval_text(
            {name: row[f"{name}_twin"] for name in ("value", "low", "high")}, 2)}
        for row in rows.to_dict("records")], keys)


def order_table(order: pd.DataFrame) -> pd.DataFrame:
    """``depth.order_rows`` for reading."""
    keys = ["data", "model", "condition"]
    return _table([{
        **{key: row[key] for key in keys},
        "colours, mean depth": float(row["early"]), "outlines, mean depth": float(row["late"]),
        "difference": report.interval_text(row, 2),
        "difference, masks of other images": row["dealt"]}
        for row in order.to_dict("records")], keys)


def detector_table(detectors: pd.DataFrame) -> pd.DataFrame:
    """``detectors.detector_rows`` for reading, both nulls side by side."""
    rows = []
    for (data, model), own in detectors.groupby(["data", "model"], sort=False):
        first = own.iloc[0]
        row = {"data": data, "model": model, "IoU above 0.04, %": _share(first["over"]),
               "with random weights, %": _share(first["random"])}
        for each in own.to_dict("records"):
            row[f"and above {each['condition']}, %"] = _share(each["share"])
            row[f"the same of {each['condition']}, %"] = _share(each["dealt"])
            row[f"more than {each['condition']}, points"] = report.points_text(each, 0, "")
        row["as good a place, % of detectors"] = _share(own.iloc[-1]["placed"])
        row["dead or empty, %"] = _share(max(first["dead"], first["empty"]))
        rows.append(row)
    return _table(rows, ["data", "model"])


def concept_table(concepts: pd.DataFrame) -> pd.DataFrame:
    """``detectors.concept_rows`` of one model a data set for reading."""
    return _table([{
        "data": row["data"], "kind": row["kind"], "concept": row["concept"],
        "covers, % of positions": 100 * row["density"], "largest IoU possible": row["ceiling"],
        "detectors, % of neurons": 100 * row["detectors"], "best IoU": row["best"],
        "its area under the curve": row["area"],
        "of": f"block {row['block']}, neuron {row['neuron']}"}
        for row in concepts.to_dict("records")], ["data", "kind", "concept"])


def truth_table(truth: pd.DataFrame) -> pd.DataFrame:
    """``truth.truth_rows`` for reading."""
    return _table([{
        "data": row["data"], "model": row["model"], "labels by": row["condition"][10:],
        "labelled, %": _share(row["named"]), "specific, %": _share(row["specific"]),
        "as by overlap, %": _share(row["same"]),
        "images: own label": row["own"], "images: dealt": row["dealt"],
        "difference": report.interval_text(row, 3), "neurons": row["neurons"],
        "patches: own label": row["patch"],
        "beyond dealt": row["patch_value"], "97.5 % of deals": row["patch_chance"]}
        for row in truth.to_dict("records")], ["data", "model", "labels by"])


def moved_table(moved: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    """``truth.moved_rows`` for reading, with ``truth.first_row`` where it was asked."""
    known = {(row["data"], row["model"], row["condition"]): row for row in first.to_dict("records")}
    rows = []
    for row in moved.to_dict("records"):
        asked = known.get((row["data"], row["model"], row["condition"]))
        rows.append({
            "data": row["data"], "model": row["model"], "labels by": row["condition"][10:],
            "own label, standard deviations": row["own"], "dealt": row["dealt"],
            "difference": report.interval_text(row, 2), "neurons": row["neurons"],
            "moved most of its kind, %": _share(row["first"]),
            "beyond chance, %": "–" if asked is None else report.interval_text(
                {name: 100 * asked[name] for name in ("value", "low", "high")}, 0)})
    return _table(rows, ["data", "model", "labels by"])


def few_table(few: pd.DataFrame, sharing: pd.DataFrame) -> pd.DataFrame:
    """``truth.few_row`` and ``truth.sharing_row`` for reading."""
    rows = few.merge(sharing, on=["data", "model"], suffixes=("", "_shared"))
    return _table([{
        "data": row["data"], "model": row["model"],
        "labels from all classes": row["first"], "from three classes": row["second"],
        "difference": report.interval_text(row, 3), "same label, %": _share(row["same"]),
        "exemplars in the commonest tenth of the images, %": _share(row["common"]),
        "drawn at random, %": _share(row["random"]),
        "correlation with the next block": row["neighbours"],
        "of the first block with the last": row["ends"],
        "with the next, within classes": report.interval_text(
            {name: row[f"{name}_shared"] for name in ("value", "low", "high")}, 2)}
        for row in rows.to_dict("records")], ["data", "model"])


def variant_table(variants: pd.DataFrame) -> pd.DataFrame:
    """``published.variant_rows`` for reading."""
    return _table([{
        "data": row["data"], "variant": row["variant"], "IoU above 0.04, %": _share(row["over"]),
        "and above masks of any image, %": _share(row["share"]),
        "the same of dealt masks, %": _share(row["dealt"]),
        "general labels, %": _share(row["general"]), "commonest label": row["commonest"],
        "same label, %": _share(row["same"])}
        for row in variants.to_dict("records")], ["data", "variant"])


def finding(kinds: pd.DataFrame, order: pd.DataFrame) -> str:
    """The main figure in a sentence."""
    if order.empty:
        return "What neurons detect, block by block"
    data = order["data"].iloc[0]
    own = order[order["data"] == data]
    first = own[own["condition"] == own["condition"].iloc[0]]
    return (f"Colours come first and outlines later: neurons called after outlines lie "
            f"{percent(first['value'])} of the depth behind those called after colours")


def truth_finding(truth: pd.DataFrame) -> str:
    """The figure of label truth in a sentence."""
    own = truth[truth["condition"] == truth["condition"].iloc[0]]
    low, high = min(own["value"]), max(own["value"])
    return (f"On other images labels by overlap beat dealt ones by {low:.2f} to {high:.2f} of the "
            "area under the curve")
