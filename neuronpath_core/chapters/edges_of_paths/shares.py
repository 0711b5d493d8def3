r"""How much flows along a path: shares of activation and of the effect on the label, by image.

For the edges e of an image with exact effect :math:`d_e`, the target's clean activation
:math:`w_e`, the effect on the label's probability by this edge alone :math:`p_e`, and what removal
of the source alone costs, :math:`s_e`:

* ``activation``, :math:`\sum |d_e| / \sum |w_e|`, and ``signed``, :math:`\sum d_e / \sum |w_e|`;
* ``label``, :math:`\sum |p_e| / \sum |s_e|`.

Every image counts once, and intervals are over images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.intervals import interval_row, percentile_row, resampled, wilson_interval

CELL = ["data", "model", "scope", "replaced"]
KEY = [*CELL, "image", "source_block", "target_block"]
ROUTES = {"residual": "own residual stream", "attention": "attention to itself",
          "others": "other tokens"}
NEXT, LATER = "the next block", "later blocks"
# what counts as most of something, and what as nothing
HALF, NOTHING = 0.5, 0.05


def pairs(edges: pd.DataFrame, which: str) -> pd.DataFrame:
    """The edges to the next block, or those to later ones."""
    following = edges["target_block"] == edges["source_block"] + 1
    return edges[following if which == NEXT else ~following]


def share(above: pd.Series, below: pd.Series) -> float:
    r""":math:`\sum a / \sum |b|`; nothing of nothing is zero."""
    whole = below.abs().sum()
    return float(above.sum() / whole) if whole > 0 else 0.0


def image_shares(edges: pd.DataFrame) -> pd.Series:
    """``activation, signed, label`` of the edges of one image."""
    return pd.Series({
        "activation": share(edges["exact"].abs(), edges["target_activation"]),
        "signed": share(edges["exact"], edges["target_activation"]),
        "label": share(edges["exact_probability"].abs(), edges["source_effect"])})


def by_image(edges: pd.DataFrame, keys: list[str],
              measure: Callable[[pd.DataFrame], pd.Series]) -> pd.DataFrame:
    """A measure of every image's edges, a row for each: ``keys, image`` and its entries."""
    rows = [{**dict(zip([*keys, "image"], names, strict=True)), **measure(own)}
            for names, own in edges.groupby([*keys, "image"], sort=False)]
    return pd.DataFrame(rows)


def interval(values: pd.Series, seed: int) -> dict[str, float]:
    """Mean over images with its interval; NaN of fewer than two images."""
    finite = values[np.isfinite(values)].to_numpy()
    if len(finite) < 2:
        return {"images": len(finite), "value": np.nan, "low": np.nan, "high": np.nan}
    return {"images": len(finite), **interval_row(finite, seed=seed)}


def edge_shares(edges: pd.DataFrame, which: str = NEXT, seed: int = 0) -> pd.DataFrame:
    """How much one neuron makes up of the next, for the path and every control.

    Args:
        edges: of :func:`~neuronpath_core.chapters.edges_of_paths.measured.path_edge_table`, with a
            column ``data``.
        which: edges to ``NEXT`` or to ``LATER``.

    Returns:
        ``data, model, scope, replaced, control, measure, images, value, low, high``, measures of
        :func:`image_shares`.
    """
    keys = [*CELL, "control"]
    table = by_image(pairs(edges, which), keys, image_shares)
    return pd.DataFrame([
        {**dict(zip(keys, names, strict=True)), "measure": measure,
         **interval(own[measure], seed)}
        for names, own in table.groupby(keys, sort=False)
        for measure in ("activation", "signed", "label")])


def label_ratios(edges: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    r"""How many times as much a source does to the label, whatever the sign, by way of the path's
    next neuron as by way of one about as active: the ratio of the means over images of
    :math:`\sum |p| / \sum |s|`, images drawn in pairs.

    Returns:
        ``data, model, images, value, low, high``, source set to zero.
    """
    own = pairs(edges[edges["replaced"] == "zero"], NEXT)
    own = own[own["control"].isin(["path", "matched"])]
    table, rows = by_image(own, ["data", "model", "control"], image_shares), []
    for (data, model), part in table.groupby(["data", "model"], sort=False):
        wide = part.pivot(index="image", columns="control", values="label").dropna().to_numpy()
        wide = wide[:, [1, 0]]  # columns in order of their names: matched, path

        def ratio(chosen: np.ndarray, wide: np.ndarray = wide) -> float:
            path, matched = wide[chosen].mean(0)
            return path / matched

        everyone = np.arange(len(wide))
        rows.append({"data": data, "model": model, "images": len(wide),
                     **percentile_row(ratio(everyone), resampled(ratio, [everyone], seed=seed))})
    return pd.DataFrame(rows)


def strongest_shares(strongest: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The share of activation that the strongest pairs of
    :func:`~neuronpath_core.chapters.edges_of_paths.measured.strongest_pairs` make up, as
    ``activation`` of :func:`edge_shares`: ``data, model, images, value, low, high``."""
    def moved(image: pd.DataFrame) -> pd.Series:
        return pd.Series({"value": share(image["exact"].abs(), image["target_activation"])})

    table = by_image(strongest, ["data", "model"], moved)
    return pd.DataFrame([
        {"data": data, "model": model, **interval(own["value"], seed)}
        for (data, model), own in table.groupby(["data", "model"], sort=False)])


def route_shares(edges: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    r"""By which routes a path's neuron reaches later ones, to first order.

    Returns:
        ``data, model, scope, pairs`` (``NEXT`` or ``LATER``), ``route, images, value, low,
        high``: the share :math:`\sum |r_e| / \sum (|r_e| + |a_e| + |o_e|)` of each of
        ``ROUTES``, and of ``through attention``, the last two together.
    """
    own = edges[(edges["control"] == "path") & (edges["replaced"] == "zero")]

    def routes(image: pd.DataFrame) -> pd.Series:
        sizes = image[list(ROUTES)].abs()
        whole = sizes.sum(axis=1)
        parts = {route: share(sizes[route], whole) for route in ROUTES}
        return pd.Series(parts | {"through attention": parts["attention"] + parts["others"]})

    keys, rows = ["data", "model", "scope"], []
    for which in (NEXT, LATER):
        table = by_image(pairs(own, which), keys, routes)
        rows += [{**dict(zip(keys, names, strict=True)), "pairs": which, "route": route,
                  **interval(each[route], seed)}
                 for names, each in table.groupby(keys, sort=False)
                 for route in (*ROUTES, "through attention")]
    return pd.DataFrame(rows)


def planted_shares(edges: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """:func:`edge_shares` of planted networks, with intervals over networks, whose images are
    averaged first: ``kind, scope, control, measure, networks, value, low, high``."""
    keys = ["kind", "scope", "control", "network"]
    table = by_image(pairs(edges, NEXT), keys, image_shares).groupby(
        keys, sort=False)[["activation", "signed", "label"]].mean().reset_index()
    rows = []
    for names, own in table.groupby(keys[:-1], sort=False):
        rows += [{**dict(zip(keys[:-1], names, strict=True)), "measure": measure,
                  **interval(own[measure], seed)} for measure in ("activation", "signed", "label")]
    return pd.DataFrame(rows).rename(columns={"images": "networks"})


def cosines(edges: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean cosine of what a neuron writes and what the next one reads, by weights alone:
    ``data, model, control, images, value, low, high``."""
    keys = ["data", "model", "control"]
    own = pairs(edges[edges["replaced"] == "zero"], NEXT)
    table = by_image(own, keys, lambda image: pd.Series({"cosine": image["composition"].mean()}))
    rows = [{**dict(zip(keys, names, strict=True)), **interval(each["cosine"], seed)}
            for names, each in table.groupby(keys, sort=False)]
    return pd.DataFrame(rows)


def file_shares(files: pd.DataFrame) -> pd.DataFrame:
    """Of the graphs of
    :func:`~neuronpath_core.chapters.edges_of_paths.damaged_files.graph_files` the share that came
    back as it was written and, of damaged files, the share that was refused: ``data, model, file,
    damage, paths, value, low, high, verdict``, with Wilson's interval, which does not collapse
    where all are; agrees where it is all of them, and contradicts where it is not.
    """
    keys, rows = ["data", "model", "file", "damage"], []
    for names, own in files.groupby(keys, sort=False):
        share = float(own["told"].mean())
        low, high = wilson_interval(share, len(own))
        rows.append({**dict(zip(keys, names, strict=True)), "paths": len(own), "value": share,
                     "low": low, "high": high,
                     "verdict": "agrees" if share == 1 else "contradicts"})
    return pd.DataFrame(rows)


def verdicts(share_rows: pd.DataFrame, lead: pd.DataFrame, routes: pd.DataFrame,
             planted: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every claim's rows with a ``verdict``, by the claim's key.

    Args:
        share_rows, lead, routes, planted: of :func:`edge_shares`,
        :func:`~neuronpath_core.chapters.edges_of_paths.control_leads.leads`,
            :func:`route_shares` and :func:`planted_shares`.
    """
    own = share_rows[share_rows["control"] == "path"]
    found = {name: own[own["measure"] == measure] for name, measure in
             (("most", "activation"), ("signed", "signed"), ("most label", "label"))}
    mine = planted[(planted["control"] == "path") & (planted["measure"] == "activation")]
    attended = routes[(routes["pairs"] == LATER) & (routes["route"] == "through attention")]
    moved = lead[lead["measure"].isin(["activation", "own activation"])]
    return {
        "most": with_verdict(found["most"], threshold=HALF),
        "most label": with_verdict(found["most label"], threshold=HALF),
        "signed": with_verdict(found["signed"]),
        "matched": moved[moved["control"] == "matched"],
        "partners": moved[moved["control"] != "matched"],
        "label": lead[lead["measure"] == "label"],
        "label size": lead[lead["measure"] == "label size"],
        "cosine": lead[lead["measure"] == "cosine"],
        "attention": with_verdict(attended, threshold=HALF),
        "chain": with_verdict(mine[mine["kind"] == "chain"], threshold=HALF),
        "parallel": with_verdict(mine[mine["kind"] == "parallel"], expected=-1, threshold=NOTHING),
    }
