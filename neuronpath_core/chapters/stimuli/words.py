"""Chapter 29 in words: its findings, and its tables for reading.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.stimuli import several
from neuronpath_core.chapters.stimuli.made import BEST, OTHER, PLANTED, RANDOM, TWIN, Made
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.spectrum import Statistics
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import Claim
from neuronpath_core.stats.report import percent_span

if TYPE_CHECKING:
    from jaxtyping import Float

# re-classification of the report's ViT-B/16 after 250, 500 and 750 steps, of 1000 classes
REPORTED = "68.4, 68.6, 68.9"
WORDS = {"own": "its own model", "transfer": "other models", "replicas": "other seeds",
         "architectures": "other architectures", "high": "fine detail"}
KEPT = ["data", "model"]


def _percent(row: Mapping[str, float], digits: int = 0) -> str:
    value, low, high = (f"{100 * row[name]:z.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def rate_table(rates: pd.DataFrame) -> pd.DataFrame:
    """``judged.rate_rows`` for reading: a row per model and kind of neuron."""
    rows = []
    for (data, model, condition), own in rates.groupby([*KEPT, "condition"], sort=False):
        by = own.set_index("measure")
        rows.append({"data": data, "model": model, "image of": condition,
                     "chance, %": f"{100 * own['chance'].iloc[0]:.1f}",
                     **{f"recognised by {WORDS[name]}, %": _percent(by.loc[name])
                        if name in by.index else "–"
                        for name in ("own", "transfer", "replicas", "architectures")},
                     "fine detail, % of the variance": f"{100 * by.loc['high', 'value']:.0f}"
                     if "high" in by.index else "–"})
    return pd.DataFrame(rows).set_index([*KEPT, "image of"])


def effect_table(effects: pd.DataFrame) -> pd.DataFrame:
    """``judged.effect_rows`` for reading: a column for each control."""
    named = effects.assign(
        text=[report.points_text(row, 0) for row in effects.to_dict("records")],
        judge=effects["measure"].map(WORDS))
    wide = named.pivot(index=[*KEPT, "judge"], columns="control", values="text")
    order = pd.MultiIndex.from_frame(named[[*KEPT, "judge"]].drop_duplicates())
    words = {RANDOM: "more than a random neuron of its block",
             OTHER: "more than the best neuron of another class",
             TWIN: "more than in random weights",
             PLANTED: "a planted reader more than the best value neuron"}
    return wide.reindex(order)[[name for name in words if name in wide]].rename(
        columns=words).rename_axis(columns=None)


def rates_of(rates: pd.DataFrame, condition: str, measure: str = "own") -> pd.Series:
    """The values of one kind of neuron and of judges."""
    chosen = (rates["condition"] == condition) & (rates["measure"] == measure)
    return rates.loc[chosen, "value"]


def rates_finding(rates: pd.DataFrame) -> str:
    """The main figure in a sentence."""
    return (f"Other models recognise {percent_span(rates_of(rates, BEST, 'transfer'))} of the "
            f"classes in the image of their best value neuron, and "
            f"{percent_span(rates_of(rates, PLANTED, 'transfer'))} in that of a neuron planted to "
            f"read the class")


def step_table(steps: pd.DataFrame) -> pd.DataFrame:
    """``judged.step_rows`` for reading, beside the report's numbers."""
    return pd.DataFrame([
        {"data": row["data"], "model": row["model"], "steps": row["steps"],
         "recognised by its own model, %": _percent(row),
         "by other models, %": f"{100 * row['transfer']:.0f}",
         "mean pre-activation": f"{row['driven']:.2f}",
         "the report, 250, 500, 750 steps, %": REPORTED}
        for row in steps.to_dict("records")]).set_index([*KEPT, "steps"])


def near_table(near: pd.DataFrame, judges: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """``judged.near_rows`` for reading: means over classes; ``judges``: whose features."""
    found = near.groupby([*KEPT, "condition"], sort=False).agg(
        plausible=("plausible", "mean"), distance=("distance", "mean"), alike=("alike", "mean"),
        chance=("class", "nunique")).reset_index()
    return pd.DataFrame({
        "data": found["data"], "model": found["model"], "image of": found["condition"],
        "features of a model of": [judges[key] for key in zip(found["data"], found["model"],
                                                               strict=True)],
        "held-out images at least as far, %": [f"{100 * each:.0f}" for each in found["plausible"]],
        "distance, held-out images: 1": [f"{each:.1f}" for each in found["distance"]],
        "nearest training image is of the class, %": [f"{100 * each:.0f}"
                                                      for each in found["alike"]],
        "chance, %": [f"{100 / each:.1f}" for each in found["chance"]],
    }).set_index([*KEPT, "image of"])


def quartile_table(quarters: pd.DataFrame) -> pd.DataFrame:
    """``after_gelu.quartile_rows`` for reading."""
    return pd.DataFrame([
        {"data": row["data"], "model": row["model"], "first pre-activation": row["quartile"],
         "neurons": row["neurons"], "its mean": f"{row['start']:.2f}",
         "slope of the activation": f"{row['slope']:.2f}",
         "failed, %": f"{100 * row['failed']:.0f}",
         "share of the gain reached, %": f"{100 * row['reached']:.0f}",
         "fine detail, made before, %": f"{100 * row['high_before']:.0f}",
         "fine detail, made after, %": f"{100 * row['high_after']:.0f}"}
        for row in quarters.to_dict("records")]).set_index([*KEPT, "first pre-activation"])


def failure_table(failures: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """``after_gelu.failure_row`` and, where some fail and some do not, ``prediction_row`` for
    reading."""
    told = {(row["data"], row["model"]): row for row in predictions.to_dict("records")}
    rows = []
    for row in failures.to_dict("records"):
        own = told.get((row["data"], row["model"]))
        area = own and {name: own[name] + 0.5 for name in ("value", "low", "high")}
        rows.append({"data": row["data"], "model": row["model"],
                     "failed after, %": f"{100 * row['after']:.0f}",
                     "failed before, %": f"{100 * row['before']:.0f}",
                     "difference": report.points_text(row, 0),
                     "area under the ROC curve of the first pre-activation":
                         report.interval_text(area, signed=False) if own else "–",
                     "p, neurons exchanged": f"{own['p']:.3f}" if own else "–",
                     "begin below -0.75: failures, others, %":
                         f"{100 * own['falling']:.0f}, {100 * own['falling_others']:.0f}"
                         if own else "–",
                     "fine detail, after minus before": f"{100 * row['finer']:+.1f} points"})
    return pd.DataFrame(rows).set_index(KEPT)


def group_table(groups: pd.DataFrame) -> pd.DataFrame:
    """``several.group_rows`` for reading."""
    return pd.DataFrame([
        {"data": row["data"], "model": row["model"], "image of": row["condition"],
         "classes": row["group"], "number of classes": row["classes"],
         "recognised by its own model, %": f"{100 * row['own']:.0f}",
         "by other models, %": f"{100 * row['transfer']:.0f}",
         "fine detail, %": f"{100 * row['high']:.0f}"}
        for row in groups.to_dict("records")]).set_index([*KEPT, "image of", "classes"])


def gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """``several.gain_rows`` or ``rescue_rows`` for reading."""
    rows = []
    for row in gains.to_dict("records"):
        rows.append({"data": row["data"], "model": row["model"], "image of": row["condition"],
                     "against": row.get("against", several.AGAIN),
                     "classes": row.get("group", several.ALL), "number of classes": row["n"],
                     "recognised oftener by": report.points_text(row, 0)})
    return pd.DataFrame(rows).set_index([*KEPT, "image of"])


def sharing_table(shared: pd.DataFrame) -> pd.DataFrame:
    """``several.sharing_row`` for reading."""
    return pd.DataFrame([
        {"data": row["data"], "model": row["model"], "classes": row["n"],
         "not recognised": row["failed"], "share their neuron": row["shared"],
         "other classes with the same neuron, failures minus successes":
             report.points_text(row), "p, classes exchanged": f"{row['p']:.3f}"}
        for row in shared.to_dict("records")]).set_index(KEPT)


def driven_table(driven: pd.DataFrame, names: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """``several.driven_rows`` for reading; ``names`` of the classes by data set."""
    return pd.DataFrame([
        {"data": row["data"], "model": row["model"], "class": names[row["data"]][row["class"]],
         "block": row["block"], "neuron": row["neuron"], "pre-activation": f"{row['before']:.2f}",
         "activation": f"{row['after']:.2f}", "rank by activation": row["rank_after"],
         "recognised": row["own"] == 1, "fine detail, %": f"{100 * row['high']:.0f}"}
        for row in driven.to_dict("records")]).set_index([*KEPT, "class"])


def shown_images(images: torch.Tensor,
                 statistics: Statistics) -> Float[np.ndarray, "image row column colour"]:
    """Images as a figure shows them, black 0 and white 1; digits are drawn dark on light."""
    low, high = (end.to(images)[:, None, None] for end in (statistics.low, statistics.high))
    shade = ((images - low) / (high - low)).clamp(0, 1).double().cpu().movedim(1, -1).numpy()
    return 1 - shade if shade.shape[-1] == 1 else shade


# rows of a gallery, and what they are of
ROWS = {"best value": BEST, "random neuron": RANDOM, "planted reader": PLANTED}


def gallery_rows(made: Made, train: ImageSet
                 ) -> dict[str, Float[np.ndarray, "class row column colour"]]:
    """The first training image of each class, and the images of the kinds in ``ROWS``, for a
    figure."""
    first = [int((train.labels == number).nonzero()[0, 0]) for number in made.maker.classes]
    rows = {"training image": train.images[first],
            **{label: made.images[kind] for label, kind in ROWS.items()}}
    return {label: shown_images(each, made.maker.statistics) for label, each in rows.items()}


def gallery_marks(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    """``judged.recognition_rows`` of one model, with the rows of a gallery as conditions."""
    labels = {kind: label for label, kind in ROWS.items()}
    own = rows[(rows["model"] == model) & rows["condition"].isin(labels)]
    return own.assign(condition=own["condition"].map(labels))


def tallies(claims: Sequence[Claim], nouns: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """``7 of 8 models; the other is not shown`` by name; ``nouns``: name -> the key of a claim,
    and what its comparisons are of."""
    verdicts = {claim.key: [row.verdict for row in claim.comparisons] for claim in claims}
    return {name: report.in_words(verdicts[key], noun) for name, (key, noun) in nouns.items()}
