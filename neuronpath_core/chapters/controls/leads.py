"""Results of the controls: how far the own path is ahead of each, how much of it randomised weights
leave, and what the label adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.controls.paths import CONTROLS
from neuronpath_core.chapters.effects import MEASURES, lead_rows, measure_row
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import TAILS, interval_row, stratified_row
from neuronpath_core.stats.tests import judged, shuffled_labels

if TYPE_CHECKING:
    from jaxtyping import Int64


def control_leads(effects: pd.DataFrame, level: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """How far the own path is ahead of each control, paired over images, positive where the claim
    holds.

    Args:
        effects: of :func:`~neuronpath_core.chapters.controls.measured.control_effects`, with a
            column ``data``.
        level: of the adjusted p-value, below which a difference counts.

    Returns:
        ``data, model, control, measure, images, value, low, high`` (bootstrap over images), ``p``
        (sign test), ``adjusted`` (Holm, over all models and controls of a measure) and ``verdict``:
        the whole interval on one side of zero and the adjusted p-value below ``level``.
    """
    rows, keys = [], ["data", "model", "control"]
    for (data, model, control), group in effects[effects["control"]
                                                 != "own"].groupby(keys, sort=False):
        own = effects[(effects["data"] == data) & (effects["model"] == model)
                      & (effects["control"] == "own")]
        rows += [{"data": data, "model": model, "control": control, **row} for row
                 in lead_rows(own.set_index("image"), group.set_index("image"), seed=seed)]
    return judged(pd.DataFrame(rows), "measure", level)


def own_effects(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What the images' own paths do by themselves, per data set and model:
    ``data, model, measure, value, low, high, text``.

    Signs are those of the deviations, so that a removal that costs probability or accuracy is
    negative; accuracies in percentage points.
    """
    rows = []
    for (data, model), own in effects[effects["control"] == "own"].groupby(["data", "model"],
                                                                           sort=False):
        rows += [{"data": data, "model": model, "measure": measure,
                  **measure_row(own, measure, seed)} for measure in MEASURES]
    return pd.DataFrame(rows)


def lead_summary(table: pd.DataFrame,
                 measures: Sequence[str] = ("removal", "enhancement", "score")) -> pd.DataFrame:
    """:func:`control_leads` for reading: per control and measure the smallest and largest lead over
    the models, and the tally of verdicts."""
    rows = {}
    for control, group in table.groupby("control", sort=False):
        rows[CONTROLS[control]] = {}
        for measure in measures:
            own = group[group["measure"] == measure]
            # points of accuracy have no more digits than images
            span = report.span_text(own["value"], 1 if "accuracy" in measure else 3)
            rows[CONTROLS[control]][measure] = f"{span}; {report.tally(list(own['verdict']))}"
    return pd.DataFrame(rows).T.rename_axis("own path against")


def lead_claims(table: pd.DataFrame,
                measures: Sequence[str] = ("removal", "enhancement")) -> pd.DataFrame:
    """Per control the claim, the smallest lead of all models with its interval, and the tally over
    models and measures.

    Returns:
        one row per control: ``control, claim, text, tally`` and, per measure, its smallest lead as
        text.
    """
    rows = []
    for control, group in table[table["measure"].isin(measures)].reset_index(drop=True).groupby(
            "control", sort=False):
        least = {measure: own.loc[own["value"].idxmin()] for measure,
                 own in group.groupby("measure", sort=False)}
        texts = {measure: f"{report.interval_text(row, 4)} ({row['data']}, {row['model']})"
                 for measure, row in least.items()}
        rows.append({"control": control,
                     "claim": f"The image's own path does more than {CONTROLS[control]}",
                     "text": "smallest lead in " + "; in ".join(f"{measure} {text}" for measure,
                                                                text in texts.items()),
                     "tally": report.tally(list(group["verdict"])), **texts})
    return pd.DataFrame(rows)


def sanity(effects: pd.DataFrame, most: float = 0.5, seed: int = 0) -> pd.DataFrame:
    r"""How much of a path is left when weights are randomised: the share of common neurons above
    chance, :math:`(o - 1/n)/(1 - 1/n)`.

    With all blocks randomised it is taken over all of them; with the later half, over the earlier
    half, whose weights are those of the model: what stays the same there does not depend on how the
    neurons are used.

    Args:
        effects: of :func:`~neuronpath_core.chapters.controls.measured.control_effects`, with a
            column ``data``.
        most: at most this share may stay the same.

    Returns:
        ``data, model, control, value, low, high, verdict`` (bootstrap over images): ``"agrees"`` if
        the whole interval lies below ``most``, ``"contradicts"`` if above.
    """
    rows = []
    for control, column in (("randomised", "overlap"), ("late_randomised", "early")):
        for (data, model), group in effects[effects["control"]
                                            == control].groupby(["data", "model"], sort=False):
            chance = 1 / group["neurons"].iloc[0]
            row = interval_row(((group[column] - chance) / (1 - chance)).to_numpy(),
                                        seed=seed)
            rows.append({"data": data, "model": model, "control": control, **row,
                         "verdict": report.verdict({"low": most - row["high"],
                                                    "high": most - row["low"]})})
    return pd.DataFrame(rows)


# the gains that are measured: of one path, or of one over another
GAINS = {"true": ("true_label", ""), "predicted": ("predicted_label", ""),
         "random": ("random_path", ""), "another image": ("class_path", ""),
         "true - predicted": ("true_label", "predicted_label"),
         "true - random": ("true_label", "random_path"),
         "true - another image": ("true_label", "class_path")}


def label_gain(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Accuracy gained by enhancement, in percentage points, from
    :func:`~neuronpath_core.chapters.controls.measured.label_effects` with a column ``data``.

    Misclassified and other images count by their shares, each resampled by itself.

    Returns:
        ``data, model, label, misclassified, value, low, high, verdict``, label one of ``GAINS``;
        where a model has fewer than two images of either kind NaN and "not shown".
    """
    rows = []
    for (data, model), group in table.groupby(["data", "model"], sort=False):
        share, wrong = group["share"].iloc[0], group["wrong"].astype(bool)
        for label, (first, second) in GAINS.items():
            values = group[first] - (group[second] if second else 0)
            parts = tuple(100 * values[side].dropna().to_numpy() for side in (wrong, ~wrong))
            row = {"value": math.nan, "low": math.nan, "high": math.nan}
            if min(len(part) for part in parts) >= 2:
                row = stratified_row(parts, (share, 1 - share), seed)
            rows.append({"data": data, "model": model, "label": label,
                         "misclassified": int(wrong.sum()), **row, "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def class_overlap(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                  permutations: int = 1000, seed: int = 0) -> dict:
    """Do images of one class share more of their paths than images of two?  The null permutes the
    class labels.

    Returns:
        ``within``, ``between``: mean share of common neurons over pairs of images; ``difference``;
        ``permuted_low``, ``permuted_high``, 2.5 and 97.5 % quantiles under permutation; ``p``, how
        often a permutation gives as large a difference, itself counted; ``verdict``.

    Raises:
        ValueError: no two images of a class, or one class only.
    """
    neurons, labels = np.asarray(neurons), np.asarray(labels)
    pairs = np.triu_indices(len(labels), 1)
    same = (neurons[pairs[0]] == neurons[pairs[1]]).mean(1)

    def means(order: np.ndarray) -> tuple[float, float]:
        together = order[pairs[0]] == order[pairs[1]]
        return same[together].mean(), same[~together].mean()

    if len(np.unique(labels)) in (1, len(labels)):
        raise ValueError(f"{len(labels)} images of {len(np.unique(labels))} classes; accepted: at "
                         f"least two classes, one of them with two images")
    within, between = means(labels)
    lead, drawn = shuffled_labels(lambda order: np.subtract(*means(order)), labels, permutations,
                                  seed)
    low, high = np.quantile(drawn, TAILS)
    # differences that are equal but for rounding count as equal
    reached = int((drawn >= lead - 1e-12).sum())
    verdict = "agrees" if lead > high else "contradicts" if lead < low else "not shown"
    return {"within": within, "between": between, "difference": lead,
            "permuted_low": low, "permuted_high": high,
            "p": (1 + reached) / (1 + permutations), "verdict": verdict}
