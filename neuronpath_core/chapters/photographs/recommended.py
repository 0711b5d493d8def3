"""The method that this book recommends, asked of photographs: what removing its path takes, and how
much of the path is left where the photograph moves by one pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.photographs.measured import DATA, leads_over
from neuronpath_core.chapters.stability import overlap
from neuronpath_core.hooks import read_activations
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.settings import RECOMMENDED
from neuronpath_core.stats import report, rules
from neuronpath_core.stats.claims import Claim, comparisons
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.labels import method_label
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study

# the paper's path, one gradient, and neurons about as active drawn at random
OTHERS = ("neuron_path", "gradient_activation", "matched_random")
SHIFT = "shifted by one pixel"


def taken_rows(edited: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What removal of every method's path takes.

    Args:
        edited: of :func:`~neuronpath_core.chapters.effects.interventions`.

    Returns:
        ``model, method, measure, value, low, high``: of the label's probability the mean over
        images in points and the median share of it, and accuracy in points; positive where removal
        takes some; 95 % bootstrap intervals over images.
    """
    rows = []
    for (model, method), own in edited.groupby(["model", "method"], sort=False):
        lost = -own["removal_probability"] * own["probability"]
        for measure, values, statistic in (
                ("points of probability, mean", 100 * lost, "mean"),
                ("share of the probability, median", -100 * own["removal_probability"], "median"),
                ("points of accuracy", -100 * own["removal_accuracy"], "mean")):
            rows.append({"model": model, "method": method, "measure": measure,
                         **interval_row(values.to_numpy(), statistic, seed)})
    return pd.DataFrame(rows)


def taken_table(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`taken_rows` for reading: a row per method and measure, a column per model."""
    told = rows.assign(text=[report.interval_text(row, 1, signed=False)
                             for row in rows.to_dict("records")],
                       method=rows["method"].map(method_label))
    wide = told.pivot(index=["measure", "method"], columns="model", values="text")
    return wide.reindex(index=pd.MultiIndex.from_product(
        [list(dict.fromkeys(told["measure"])), list(dict.fromkeys(told["method"]))],
        names=["removal takes", "path of"]), columns=list(dict.fromkeys(told["model"])))


def recommended_leads(edited: pd.DataFrame, models: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.photographs.measured.leads_over` of the recommended method's
    path over ``OTHERS``."""
    return leads_over(edited, models, OTHERS, seed, path=RECOMMENDED)


def negative_rows(study: Study, models: Sequence[str], images: ImageSet, seed: int = 0,
                  methods: Sequence[str] = (RECOMMENDED, "gradient_activation", "neuron_path")
                  ) -> pd.DataFrame:
    """How many neurons of a path are below zero on their photograph (of averaging models, in the
    mean over patches), so that setting them to zero raises them.

    Returns:
        ``model, method, value, low, high``: share of blocks, 95 % bootstrap intervals over images.
    """
    rows = []
    for model in models:
        target, found = study.target(model), {}
        for place, pictures, _ in study.batches(images, model, IMAGES_AT_ONCE):
            values = read_activations(target, pictures).mean(2)
            for method in methods:
                neurons = study.paths(model, images, method).neurons[place].to(pictures.device)
                own = values.gather(2, neurons[..., None])[..., 0]
                found.setdefault(method, []).append((own < 0).double().mean(1).cpu().numpy())
        rows += [{"model": model, "method": method,
                  **interval_row(np.concatenate(parts), seed=seed)}
                 for method, parts in found.items()]
    return pd.DataFrame(rows)


def negative_table(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`negative_rows` for reading."""
    told = rows.assign(text=[report.interval_text(row, signed=False)
                             for row in rows.to_dict("records")],
                       method=rows["method"].map(method_label))
    return told.pivot(index="method", columns="model", values="text").reindex(
        list(dict.fromkeys(told["method"]))).rename_axis("path of")[
        list(dict.fromkeys(told["model"]))]


def shift_rows(study: Study, models: Sequence[str], images: ImageSet, seed: int = 0,
               methods: Sequence[str] = (RECOMMENDED, "gradient_activation", "neuron_path")
               ) -> pd.DataFrame:
    """How many neurons of a path are found again once a photograph is moved by one pixel.

    Returns:
        ``data, model, condition`` (the method) and the columns of
        :func:`~neuronpath_core.chapters.stability.overlap.overlap_summary`.
    """
    found = []
    for model in models:
        own = study.loaded(images, model)
        moved = overlap.augmented(own, SHIFT, seed)
        for method in methods:
            first, second = (study.paths(model, each, method) for each in (own, moved))
            table = overlap.overlap_tables(first, {method: second}, own)
            found.append(overlap.overlap_summary(
                table.assign(data=DATA, model=model), ["data", "model", "condition"],
                1 / study.target(model).n_neurons, seed))
    return pd.concat(found, ignore_index=True)


def shift_table(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`shift_rows` for reading."""
    named = rows.assign(condition=rows["condition"].map(method_label))
    return overlap.overlap_text(named, by=("model", "condition")).rename(
        columns={"verdict": "agreement"}).rename_axis(index={"condition": "path of"})


def made_from(leads: pd.DataFrame, shifted: pd.DataFrame, images: int, moved: int) -> list[Claim]:
    """What Chapter 31 says of the recommended method.

    Args:
        leads: of :func:`recommended_leads`, over so many ``images``.
        shifted: of :func:`shift_rows`, over ``moved`` photographs.
    """
    claims = []
    for (method, statistic), rows in leads.groupby(["method", "statistic"], sort=False):
        at = ", at the median image" if statistic == "median" else ""
        claims.append(Claim(
            f"recommended{' median' if at else ''}: {method}", "beyond",
            f"Removing the recommended path takes more than removing that of "
            f"{method_label(method)}{at}",
            comparisons(rows, images, {"data": DATA, "against": method_label(method)}),
            "probability", f"the path of {method_label(method)}, on the same images",
            rules.above(f"The {statistic} over images of the difference of the lost share"),
            "leads", by="book", statistic=statistic))
    leading = shifted.assign(value=shifted["lead"], low=shifted["lead_low"],
                             high=shifted["lead_high"])
    for method, rows in leading.groupby("condition", sort=False):
        claims.append(Claim(
            f"shift: {method}", "beyond",
            f"Moved by one pixel, a photograph keeps more of its path of {method_label(method)} "
            "than another one of its class shares", comparisons(rows, moved, {"data": DATA}),
            "neurons", "another photograph of the class",
            rules.above("The mean share of blocks with the same neuron, minus that of another "
                        "photograph of the class"), "shifted", by="book", statistic="mean"))
    return claims
