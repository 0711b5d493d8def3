"""The rows of Chapter 22 for reading."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.chapters.edges_of_paths.measured import PARTNERS
from neuronpath_core.chapters.edges_of_paths.shares import ROUTES
from neuronpath_core.chapters.edges_of_paths.words import (
    OWN,
    PLANTED,
    SAME,
    SERIES,
    STRONGEST,
    series_names,
)
from neuronpath_core.stats import report
from neuronpath_core.stats.labels import SCOPE_LABELS


def label_table(shares: pd.DataFrame, ratios: pd.DataFrame) -> pd.DataFrame:
    """What goes to the label by way of the path's next neuron, and of one about as active, in per
    cent, and their ratio: a row per model."""
    own = share_table(shares, "label")[[PARTNERS["path"], PARTNERS["matched"]]]
    text = [report.interval_text(row, 1, signed=False) for row in ratios.to_dict("records")]
    return own.join(ratios.assign(**{"ratio": text}).set_index(["data", "model"])["ratio"])


def truth_rows(shares: pd.DataFrame, planted: pd.DataFrame,
               strongest: pd.DataFrame) -> pd.DataFrame:
    """Planted networks and the strongest pairs above the paths of trained models, as
    :func:`~neuronpath_core.figures.path_graph.edge_shares` draws them: ``name, series, value, low,
    high``."""
    known = planted[(planted["control"] == "path") & (planted["measure"] == "activation")]
    own = _shown(shares)
    own = own[own["control"] == "path"]
    return pd.concat([
        known.assign(name=known["kind"].map(PLANTED),
                     series=[SERIES.format(scope=SCOPE_LABELS[scope]) for scope in known["scope"]]),
        strongest.assign(name=STRONGEST, series=series_names(strongest)),
        own.assign(name="paths of trained models", series=series_names(own))])[
            ["name", "series", "value", "low", "high"]].reset_index(drop=True)


def _shown(shares: pd.DataFrame) -> pd.DataFrame:
    return shares[(shares["measure"] == "activation") & (shares["replaced"] == "zero")]


def control_rows(shares: pd.DataFrame) -> pd.DataFrame:
    """The path and its controls for the same figure."""
    own = _shown(shares)
    return own.assign(name=own["control"].map(PARTNERS), series=series_names(own))[
        ["name", "series", "value", "low", "high"]].reset_index(drop=True)


def lead_rows(lead: pd.DataFrame) -> pd.DataFrame:
    """The leads over every control for the same figure, in shares of the path's activation."""
    own = lead[(lead["measure"] == "activation") & (lead["replaced"] == "zero")]
    return own.assign(name=own["control"].map(PARTNERS), series=series_names(own))[
        ["name", "series", "value", "low", "high"]].reset_index(drop=True)


def _cells(rows: pd.DataFrame, columns: str, digits: int, factor: float = 1, *,
           signed: bool = True, index: Sequence[str] = ("data", "model")) -> pd.DataFrame:
    """Values with their intervals for reading: a column per value of ``columns``, in the rows'
    order."""
    scaled = rows.assign(**{name: factor * rows[name] for name in ("value", "low", "high")})
    text = [report.interval_text(row, digits, signed=signed) for row in scaled.to_dict("records")]
    wide = rows.assign(text=text).pivot(index=list(index), columns=columns, values="text")
    order = pd.MultiIndex.from_frame(rows[list(index)].drop_duplicates())
    return wide.reindex(index=order, columns=list(dict.fromkeys(rows[columns])))


def share_table(shares: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One measure of :func:`~neuronpath_core.chapters.edges_of_paths.shares.edge_shares`, in per
    cent, source set to zero: a row per model, a column per partner."""
    own = shares[(shares["measure"] == measure) & (shares["replaced"] == "zero")]
    return _cells(own.assign(to=own["control"].map(PARTNERS)), "to", 1, 100,
                  signed=measure == "signed")


def mean_table(shares: pd.DataFrame, lead: pd.DataFrame) -> pd.DataFrame:
    """The path's share and its lead over matched partners, in per cent, by what the source is set
    to."""
    own = shares[(shares["measure"] == "activation") & (shares["control"] == "path")]
    ahead = lead[(lead["control"] == "matched")
                 & lead["measure"].isin(["activation", "own activation"])]
    words = {"activation": f"lead, {SAME}", "own activation": f"lead, {OWN}"}
    rows = pd.concat([own.assign(what="share"),
                      ahead.assign(what=ahead["measure"].map(words))])
    index = ["data", "model", "source set to"]
    order = rows.rename(columns={"replaced": "source set to"})
    return _cells(order, "what", 1, 100, index=index).sort_index(
        level=[0, 1], sort_remaining=False, kind="stable")


def lead_table(lead: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One measure of the leads, source set to zero: a row per model, a column per control."""
    own = lead[(lead["measure"] == measure) & (lead["replaced"] == "zero")]
    digits, factor = (2, 1) if measure == "cosine" else (1, 100)
    return _cells(own.assign(to=own["control"].map(PARTNERS)), "to", digits, factor)


def cosine_table(cosines: pd.DataFrame) -> pd.DataFrame:
    """Cosines of weights: a row per model, a column per partner."""
    return _cells(cosines.assign(to=cosines["control"].map(PARTNERS)), "to", 2)


def route_table(routes: pd.DataFrame) -> pd.DataFrame:
    """Shares of the routes in per cent: a row per model and kind of pairs."""
    own = routes[routes["route"].isin(list(ROUTES))]
    own = own.assign(by=own["route"].map(ROUTES), to=own["pairs"]).rename(
        columns={"to": "edges to"})
    return _cells(own, "by", 0, 100, signed=False, index=["data", "model", "edges to"])


def planted_table(planted: pd.DataFrame) -> pd.DataFrame:
    """Shares of planted networks in per cent: a row per kind and scope, a column per partner."""
    own = planted[planted["measure"] == "activation"]
    own = own.assign(to=own["control"].map(PARTNERS), what=own["kind"].map(PLANTED),
                     tokens=own["scope"].map(SCOPE_LABELS))
    return _cells(own.rename(columns={"what": "network"}), "to", 1, 100, signed=False,
                  index=["network", "tokens"])


def file_table(files: pd.DataFrame) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.edges_of_paths.damaged_files.graph_files` for reading: a row
    per format, how many graphs came back as written, and how many damaged files were refused."""
    rows = []
    for file, own in files.groupby("file", sort=False):
        rows.append({"file": file, "neurons": _counts(own["neurons"]),
                     "edges": _counts(own["edges"]),
                     **{damage or "read as written":
                        f"{each['told'].sum()} of {len(each)}{' refused' if damage else ''}"
                        for damage, each in own.groupby("damage", sort=False)}})
    return pd.DataFrame(rows).set_index("file")


def _counts(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low}" if low == high else f"{low} to {high}"
