"""Chapter 17: paths over attention neurons and through both halves of every block, compared with
paths over FFN neurons, and the cost of removing each half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core import metrics
from neuronpath_core.chapters.claims import spans
from neuronpath_core.chapters.controls.leads import control_leads
from neuronpath_core.chapters.effects import (
    lead_rows,
    measure_row,
    numbers,
    path_effects,
    scoring_rule,
)
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities, scaled_probabilities
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


def half_effects(study: Study, names: Sequence[str], images: ImageSet) -> pd.DataFrame:
    """What it costs to remove what a whole half of a block writes at the scope, its bias excepted,
    everything after it running natively.

    By the fundamental theorem of calculus the loss of probability is the half's attribution by
    integrated gradients (:func:`~neuronpath_core.knowledge.knowledge_attribution` of
    ``sites="halves"``).

    Returns:
        one row per model, block, half and image: ``model, block`` (from 1), ``half, image, label``,
        ``loss`` (of the true class's probability, -1..1) and ``removal_accuracy`` (deviation).
    """
    tables = []
    for model in study.check_models(list(names)):
        own = study.target(model)
        target = SiteModel(own.model, own.scope, "halves")
        for place, pictures, labels in study.batches(images, model, IMAGES_AT_ONCE):
            truth = labels.cpu().numpy()
            clean = numbers(class_probabilities(target, pictures))
            for layer, (block, half) in enumerate((each.block, each.half)
                                                  for each in target.layers):
                factors = torch.ones(len(pictures), target.n_blocks, 1, dtype=pictures.dtype,
                                     device=pictures.device)
                factors[:, layer] = 0
                edited = numbers(scaled_probabilities(target, pictures, factors))
                tables.append(pd.DataFrame({
                    "model": model, "block": block + 1, "half": "FFN" if half == "ffn" else half,
                    "image": images.ids[place].numpy(), "label": truth,
                    "loss": (clean - edited)[np.arange(len(truth)), truth],
                    "removal_accuracy": metrics.accuracy_deviation(clean, edited, truth)}))
    return pd.concat(tables, ignore_index=True)


def half_summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean loss of probability per model, half and block, with its bootstrap interval:
    ``model, half, block, value, low, high``."""
    return pd.DataFrame([{"model": model, "half": half, "block": block,
                          **interval_row(group["loss"].to_numpy(), seed=seed)}
                         for (model, half, block),
                         group in table.groupby(["model", "half", "block"], sort=False)])


def half_difference(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much more the attention halves cost than the FFN halves: an image's loss of probability,
    averaged over blocks, and its mean over images.

    Returns:
        ``model, attention, FFN`` (mean losses), ``value, low, high`` of their difference, positive
        where attention costs more, and ``verdict``.
    """
    rows = []
    for model, group in table.groupby("model", sort=False):
        cost = group.pivot_table(index="image", columns="half", values="loss", aggfunc="mean")
        row = interval_row((cost["attention"] - cost["FFN"]).to_numpy(), seed=seed)
        rows.append({"model": model, "attention": cost["attention"].mean(),
                     "FFN": cost["FFN"].mean(), **row, "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def removal_answer(rows: pd.DataFrame, first: str, second: str) -> str:
    """On how many models removing ``first`` costs more than removing ``second``, with each model's
    lead and its interval; ``rows``: leads of one pair, of every measure."""
    own = rows[rows["measure"] == "removal"]
    more, less = (int((own["verdict"] == verdict).sum()) for verdict in ("agrees", "contradicts"))
    leads = "; ".join(f"{row['model']} {report.interval_text(row, 3)}"
                      for row in own.to_dict("records"))
    return (f"Removing {first} costs more than removing {second} on {more} of {len(own)} models"
            f"{f', less on {less}' if less else ''} (lead, relative to the clean probability: "
            f"{leads})")


def site_finding(between: pd.DataFrame) -> str:
    """How the path over attention neurons compares with the one over FFN neurons, in one sentence;
    ``between`` as of :func:`site_leads`."""
    own = between[(between["first"] == SITE_TITLES["attention"])
                  & (between["second"] == SITE_TITLES["ffn"]) & (between["measure"] == "removal")]
    if own.empty:
        return "What removing the paths over each kind of sites does"
    more, less = ([row["model"] for row in own.to_dict("records") if row["verdict"] == verdict]
                  for verdict in ("agrees", "contradicts"))
    parts = [f"{what} on {' and '.join(models)}"
             for what, models in (("more", more), ("less", less)) if models]
    if not parts:
        return (f"Removing the attention path costs neither more nor less than removing the FFN "
                f"path, as far as {len(own)} models show")
    rest = len(own) - len(more) - len(less)
    return (f"Removing the attention path costs {', '.join(parts)} than removing the FFN path"
            f"{f'; no difference is shown on {rest} of {len(own)}' if rest else ''}")


def lead_finding(lead: pd.DataFrame) -> str:
    """In how many comparisons the neuron path does more than another path over the same sites, and
    whether the search through both halves beats two searches, in one sentence."""
    own = lead[lead["measure"].isin(["removal", "enhancement"])]
    ahead = own["verdict"] == "agrees"
    others, apart = own["control"] != "Apart", own["control"] == "Apart"
    text = (f"The neuron path does more than activation or random paths in {ahead[others].sum()} "
            f"of {others.sum()} comparisons")
    if not apart.any():
        return text
    return f"{text}, more than two searches apart in {ahead[apart].sum()} of {apart.sum()}"


def half_finding(difference: pd.DataFrame) -> str:
    """On how many models attention halves cost more than FFN halves, in one sentence."""
    more, less = (int((difference["verdict"] == verdict).sum())
                  for verdict in ("agrees", "contradicts"))
    counts = [f"{first} halves cost more than {second} halves on {count} of {len(difference)} "
              f"models" for count, first, second in sorted(
                  [(more, "Attention", "FFN"), (less, "FFN", "attention")], key=lambda row: -row[0])
              if count]
    return ", ".join(counts) or (f"Neither half is shown to cost more than the other on any of "
                                 f"{len(difference)} models")


def leads_table(leads: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Leads with their intervals and verdicts for reading, a column a measure; ``names``: the
    columns that name a row, and what they are called.  Accuracies are in percentage points."""
    shown = leads[leads["measure"].isin(SITE_MEASURES)]
    text = [f"{report.interval_text(row, 1 if 'accuracy' in row['measure'] else 3)}, "
            f"{row['verdict']}" for row in shown.to_dict("records")]
    return shown.assign(text=text).pivot_table(
        index=list(names), columns="measure", values="text", aggfunc="first",
        sort=False).rename_axis(index=list(names.values()), columns=None)


def half_table(difference: pd.DataFrame) -> pd.DataFrame:
    """:func:`half_difference` for reading."""
    return pd.DataFrame({
        "model": difference["model"], "attention halves": difference["attention"],
        "FFN halves": difference["FFN"],
        "attention - FFN": [report.interval_text(row, 3) for row in difference.to_dict("records")],
    }).set_index("model")


def questions(lead: pd.DataFrame, between: pd.DataFrame,
              difference: pd.DataFrame) -> list[tuple[str, str, str]]:
    """What was asked, from where to where the leads in probability go over models and edits, and
    the tally of their verdicts."""
    edits = ("removal", "enhancement")
    lead, between = (rows[rows["measure"].isin(edits)] for rows in (lead, between))
    return [
        *((f"The neuron path over {sites} does more than {control.lower()}", f"lead {span}", tally)
          for (sites, control), (span, tally) in spans(lead, ["data", "control"]).items()),
        *((f"The path over {first} does more than the one over {second}", f"lead {span}", tally)
          for (first, second), (span, tally) in spans(between, ["first", "second"]).items()),
        ("Attention halves cost more than FFN halves when removed",
         f"difference {report.span_text(difference['value'])}",
         report.tally(list(difference["verdict"])))]
