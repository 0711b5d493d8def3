"""Paths over attention neurons, FFN neurons and both, and what their removal does."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.controls.leads import control_leads
from neuronpath_core.chapters.effects import (
    lead_rows,
    measure_row,
    numbers,
    path_effects,
    scoring_rule,
)
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.jas import complete_attribution, joint_attribution_score
from neuronpath_core.paths import find_paths
from neuronpath_core.scores import METHODS
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.labels import method_labels
from neuronpath_core.stats.tests import judged
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study
from neuronpath_core.variants.sites import SITES, SiteModel

SITE_TITLES = {"ffn": "FFN neurons", "attention": "attention neurons", "mixed": "both halves",
               "heads": "heads", "halves": "halves"}
# found by itself in each half, then put together: what a search through both halves at once must
# beat
APART = "apart"
HALVES = SITES["mixed"]
SITE_MEASURES = ("removal", "enhancement", "removal accuracy", "enhancement accuracy")


def site_effects(
    study: Study, names: Sequence[str], images: ImageSet,
    sites: Sequence[str] = ("ffn", "attention", "mixed"),
    methods: Sequence[str] = ("neuron_path", "activation", "random"), seed: int = 0,
    context: str = "full", **settings,
) -> pd.DataFrame:
    """What every image's path of every kind scores, and what removing and enhancing it does.

    Args:
        sites: of :class:`~neuronpath_core.variants.sites.SiteModel`.
        methods, context, settings: of :func:`~neuronpath_core.paths.find_paths`; the same for all
            sites, and all paths are scored by one rule.

    Returns:
        one row per model, sites, method and image: ``model, sites, method, image, label, neurons``
        (on the path), ``score, complete`` (joint and complete attribution),
        ``removal_accuracy, removal_probability, enhancement_accuracy, enhancement_probability``
        (deviations).  Where the sites have both halves and each by itself, ``method`` is also
        ``"apart"``: the neuron paths of the two halves together.

    Raises:
        ValueError: unknown sites or methods, or settings that do not fit.
    """
    for given, accepted, what in ((sites, SITES, "sites"), (methods, METHODS, "methods")):
        if not given or any(each not in accepted for each in given):
            raise ValueError(f"unknown {what} {list(given)!r}; accepted: one or more of "
                             f"{', '.join(accepted)}")
    tables = []
    for model in study.check_models(list(names)):
        own = study.target(model)
        for place, pictures, labels in study.batches(images, model, IMAGES_AT_ONCE):
            found: dict[tuple[str, str], Tensor] = {}
            targets = {site: SiteModel(own.model, own.scope, site) for site in sites}
            for site, target in targets.items():
                for method in methods:
                    found[site, method] = find_paths(target, pictures, labels, method,
                                                     context=context, seed=seed,
                                                     memory_budget=study.memory_budget,
                                                     **{"draft": study.draft} | settings).neurons
            if "mixed" in targets and {(half, "neuron_path") for half in HALVES} <= set(found):
                found["mixed", APART] = torch.stack([found[half, "neuron_path"] for half in HALVES],
                                                    2).flatten(1)
            for (site, method), neurons in sorted(found.items(),
                                                  key=lambda each: sites.index(each[0][0])):
                target, batch = targets[site], (targets[site], pictures, labels, neurons)
                score = joint_attribution_score(*batch, **scoring_rule(target, **settings))
                tables.append(pd.DataFrame({"model": model, "sites": site, "method": method,
                                            "image": images.ids[place].numpy(),
                                            "label": labels.cpu().numpy(),
                                            "neurons": neurons.shape[1],
                                            "complete": numbers(complete_attribution(*batch)),
                                            **path_effects(*batch, score)}))
    return pd.concat(tables, ignore_index=True)


def site_summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """:func:`site_effects` for reading: per model, sites and method the median deviations of
    probability, those of accuracy in percentage points, and the mean attributions, each with its
    bootstrap interval over images."""
    rows, titles = [], {**method_labels(), APART: "Apart"}
    for (model, sites, method), group in table.groupby(["model", "sites", "method"], sort=False):
        row = {"model": model, "sites": SITE_TITLES[sites], "paths": titles[method],
               "neurons": group["neurons"].iloc[0]}
        for measure in (*SITE_MEASURES, "score"):
            row[measure] = measure_row(group, measure, seed)["text"]
        row["complete attribution"] = report.interval_text(
            interval_row(group["complete"].to_numpy(), seed=seed), 3)
        rows.append(row)
    return pd.DataFrame(rows).set_index(["model", "sites", "paths"])


def site_values(table: pd.DataFrame, measure: str = "removal", seed: int = 0) -> pd.DataFrame:
    """One measure of :func:`site_summary` as numbers: ``model, sites, paths`` (in words), ``value,
    low, high``."""
    titles = {**method_labels(), APART: "Apart"}
    return pd.DataFrame([
        {"model": model, "sites": SITE_TITLES[sites], "paths": titles[method],
         **{name: row[name] for name in ("value", "low", "high")}}
        for (model, sites, method), group in table.groupby(["model", "sites", "method"], sort=False)
        for row in [measure_row(group, measure, seed)]])


def method_leads(table: pd.DataFrame, level: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """How far the neuron path of each kind of sites is ahead of the other paths over the same
    sites, paired over images.

    Returns:
        as of :func:`~neuronpath_core.chapters.controls.leads.control_leads`: ``data`` is the sites
        in words, ``control`` the other method in words.
    """
    titles = {**method_labels(), APART: "Apart", "neuron_path": "own"}
    return control_leads(table.assign(data=table["sites"].map(SITE_TITLES),
                                            control=table["method"].map(titles)), level, seed)


def site_leads(table: pd.DataFrame,
               pairs: Sequence[tuple[str, str]] = (("attention", "ffn"), ("mixed", "ffn"),
                                                   ("mixed", "attention")), level: float = 0.05,
               seed: int = 0) -> pd.DataFrame:
    """How far the neuron path over some sites is ahead of that over others, paired over images;
    positive where the first does more.

    Of the pairs those that the table has both sites of; a table that has none of them gives no row.

    Their numbers of neurons differ (``"mixed"`` has twice as many), and so do the units in which
    they score: probability and accuracy compare.

    Returns:
        ``model, first, second, measure, value, low, high, p, adjusted`` (Holm, over models and
        pairs of a measure) and ``verdict``.
    """
    rows, own = [], table[table["method"] == "neuron_path"].set_index(["sites", "model"])
    found = set(own.index.get_level_values("sites"))
    for first, second in [pair for pair in pairs if set(pair) <= found]:
        for model in dict.fromkeys(table["model"]):
            ahead, other = (own.loc[[(sites, model)]].set_index("image")
                            for sites in (first, second))
            rows += [{"model": model, "first": SITE_TITLES[first], "second": SITE_TITLES[second],
                      **row} for row in lead_rows(ahead, other, SITE_MEASURES, seed)]
    return judged(pd.DataFrame(rows, columns=["model", "first", "second", "measure", "value", "low",
                                              "high", "p"]), "measure", level)
