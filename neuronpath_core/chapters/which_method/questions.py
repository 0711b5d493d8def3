"""Which method for which question: to remove, to enhance or to keep a path; and which neurons
counterfactual pairs find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.which_method.measured import (
    CONTROL,
    ONE_PASS,
    PUBLISHED,
    path_effect,
)
from neuronpath_core.circuits.pairs import PairPaths, image_overlap, pair_paths
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shape_pairs import PAIRED, pairs_for
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study
from neuronpath_core.variants.conditional_gradient import (
    QUESTIONS,
    conditional_gradient_by_passes,
)

ASKED = {"remove": "removed", "enhance": "doubled", "keep": "kept alone"}
MATCHED, OTHER = "asked the same question", "asked what removal costs"
AGAIN = "outline again"
# of each: the change, and how much is added to the seed that draws the new value
PAIRS = {"outline": ("outline", 0), AGAIN: ("outline", 1), "fill": ("fill", 0),
         "background": ("background", 0)}


def question_effects(study: Study, models: Sequence[str], images: ImageSet, passes: int = 3,
                     seed: int = 0) -> pd.DataFrame:
    """What paths do when they are removed, doubled or kept alone, with zero in the neurons' place.

    Returns:
        ``data, model, question, method, image, effect``; methods are the conditional gradient asked
        that question (``MATCHED``) or always that of removal (``OTHER``), gradient × activation,
        the published search, and random neurons about as active as the first.
    """
    rows = []
    for model in study.check_models(list(models)):
        target, batch = study.target(model), study.batch(images, model)
        paths = {question: conditional_gradient_by_passes(target, *batch, [1, passes],
                                                          question=question)[0][..., 0]
                 for question in QUESTIONS}
        published = study.paths(model, images, settings="published").neurons.to(target.device)
        for question in QUESTIONS:
            own = paths[question][:, 1]
            found = {MATCHED: own, OTHER: paths["remove"][:, 1], ONE_PASS: paths["remove"][:, 0],
                     PUBLISHED: published,
                     CONTROL: matched_random_paths(target, batch[0], own[..., None], seed)[..., 0]}
            for method, neurons in found.items():
                effect, _ = path_effect(target, *batch, neurons, question)
                rows += [{"data": study.profile, "model": model, "question": question,
                          "method": method, "image": int(image), "effect": value}
                         for image, value in zip(images.ids, effect, strict=True)]
    return pd.DataFrame(rows)


def question_rows(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean effects over images with their intervals: ``data, model, question, method, images,
    value, low, high``."""
    return pd.DataFrame([
        {"data": data, "model": model, "question": question, "method": method, "images": len(own),
         **interval_row(own["effect"].to_numpy(), seed=seed)}
        for (data, model, question, method), own in table.groupby(
            ["data", "model", "question", "method"], sort=False)])


def question_leads(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """By how much the path that was asked the question is ahead of every other, image by image:
    ``data, model, question, condition, against, images, value, low, high, verdict``; of removal
    there is no other question to ask."""
    rows = []
    for (data, model, question), own in table.groupby(["data", "model", "question"], sort=False):
        wide = own.pivot(index="image", columns="method", values="effect")
        for against in wide.columns.drop(MATCHED):
            if question == "remove" and against == OTHER:
                continue
            row = interval_row((wide[MATCHED] - wide[against]).to_numpy(), seed=seed)
            rows.append({"data": data, "model": model, "question": question,
                         "condition": f"where the path is {ASKED[question]}", "against": against,
                         "images": len(wide), **row, "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def change_paths(study: Study, models: Sequence[str], images: ImageSet,
                 seed: int = 0) -> dict[str, PairPaths]:
    """Per model the paths from counterfactuals of each of ``PAIRS``; none where the data set cannot
    draw an image again with one thing changed."""
    dataset = study.settings["dataset"]
    if dataset["name"] not in PAIRED:
        return {}
    others = {name: pairs_for(dataset, images, change, seed + more)
              for name, (change, more) in PAIRS.items()}
    return {model: pair_paths(study.target(model), *study.batch(images, model),
                              {name: study.batch(pairs, model)[0] for name, pairs
                               in others.items()})
            for model in study.check_models(list(models))}


def change_rows(data: str, found: dict[str, PairPaths], seed: int = 0) -> pd.DataFrame:
    """What pairs find, per model: ``data, model, measure, images, value, low, high, verdict``.

    Measures are ``"same change"`` and ``"other change"``, the share of blocks in which paths of two
    outlines, or of an outline and a fill, have the same neuron; ``"difference"`` of the two on the
    same images; and ``"outline"``, ``"fill"`` and ``"background"``, the attribution of the path;
    ``"less background"``, that of outlines beyond that of backgrounds.
    """
    rows = []
    for model, paths in found.items():
        at = {name: place for place, name in enumerate(paths.changes)}
        same, other = (image_overlap(paths.neurons[at["outline"]], paths.neurons[at[name]])
                       for name in (AGAIN, "fill"))
        measured = {"same change": same, "other change": other, "difference": same - other,
                    **{name: paths.attribution[at[name]] for name in ("outline", "fill",
                                                                      "background")},
                    "less background": paths.attribution[at["outline"]]
                    - paths.attribution[at["background"]]}
        for measure, values in measured.items():
            known = values[~np.isnan(values)]
            if len(known) > 1:
                row = interval_row(known, seed=seed)
                rows.append({"data": data, "model": model, "measure": measure, "images": len(known),
                             **row, "verdict": report.verdict(row)})
    return pd.DataFrame(rows, columns=["data", "model", "measure", "images", "value", "low", "high",
                                       "verdict"])
