"""Which method for which question: to remove, to enhance or to keep a path."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.which_method.measured import path_effect
from neuronpath_core.chapters.which_method.method_names import (
    CONTROL,
    ONE_PASS,
    PUBLISHED,
    REFINED,
    SWEEPS,
)
from neuronpath_core.chapters.which_method.pass_counts import conditional_passes
from neuronpath_core.chapters.which_method.shares import share_row
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.conditional_gradient import QUESTIONS, conditional_gradient_by_passes
from neuronpath_core.variants.effect_refinement import refine_effects

ASKED = {"remove": "removed", "enhance": "doubled", "keep": "kept alone"}
# questions whose best known path is searched here; that of removal is the chapter's reference
BEYOND = ("enhance", "keep")
GRADIENTS = (1, 3, 10)
CANDIDATES = 8  # a block, of the refined search; twice as many change its effect by under 0.2 %


def asked(gradients: int) -> str:
    """The name of the path that was asked the question it is judged by."""
    return f"asked the same question, {gradients} gradient{'s' * (gradients > 1)}"


MATCHED, OTHER = asked(3), "asked what removal costs, 3 gradients"


def question_effects(study: Study, models: Sequence[str], images: ImageSet, few: ImageSet,
                     seed: int = 0) -> pd.DataFrame:
    """What paths do when they are removed, doubled or kept alone, with zero in the neurons' place.

    Args:
        images: that all methods are measured on.
        few: some of them, on which the best known path is searched, of the questions ``BEYOND``.

    Returns:
        ``data, model, question, method, image, effect``; methods are the conditional gradient asked
        that question (:func:`asked`) or always that of removal (``OTHER``), gradient × activation,
        the published search, random neurons about as active as the first, and of ``few`` the best
        of all these paths refined by exact effects (``REFINED``).
    """
    rows, chosen = [], np.array(places_of(images, few), dtype=int)
    for model in study.check_models(list(models)):
        target, batch = study.target(model), study.batch(images, model)
        paths = {question: conditional_gradient_by_passes(target, *batch, GRADIENTS,
                                                          question=question)[0][..., 0]
                 for question in QUESTIONS}
        published = study.paths(model, images, settings="published").neurons.to(target.device)
        at = GRADIENTS.index(3)
        for question in QUESTIONS:
            own = paths[question]
            found = {**{asked(count): own[:, place] for place, count in enumerate(GRADIENTS)},
                     OTHER: paths["remove"][:, at], ONE_PASS: paths["remove"][:, 0],
                     PUBLISHED: published,
                     CONTROL: matched_random_paths(target, batch[0], own[:, at, :, None],
                                                   seed)[..., 0]}
            effects = {method: path_effect(target, *batch, neurons, question)[0]
                       for method, neurons in found.items()}
            if question in BEYOND and len(chosen):
                effects[REFINED] = _best_known(target, batch, question, found, effects, chosen)
            rows += [{"data": study.profile, "model": model, "question": question,
                      "method": method, "image": int(image), "effect": value}
                     for method, effect in effects.items()
                     for image, value in zip(images.ids[chosen] if method == REFINED
                                             else images.ids, effect, strict=True)]
    return pd.DataFrame(rows)


def _best_known(target, batch, question, found, effects, chosen) -> np.ndarray:
    """The effect of the best path of any method of the chosen images, refined."""
    best = np.stack(list(effects.values())).argmax(0)[chosen]
    every = torch.stack([paths.cpu() for paths in found.values()])
    start = every[torch.from_numpy(best), torch.from_numpy(chosen)].to(target.device)
    pictures, labels = (part[chosen] for part in batch)
    paths, _ = refine_effects(target, pictures, labels, start,
                              min(CANDIDATES, target.fewest_neurons), SWEEPS, question=question)
    return path_effect(target, pictures, labels, paths, question)[0]


def question_shares(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The share of the best known effect, of the images and questions that have one: ``data, model,
    question, condition, method, images, value, low, high``; nothing of a model whose best known
    path does nothing."""
    rows = []
    for (data, model, question), own in table.groupby(["data", "model", "question"], sort=False):
        wide = own.pivot(index="image", columns="method", values="effect")
        if REFINED not in wide or not (wide := wide.dropna())[REFINED].mean() > 0:
            continue
        rows += [{"data": data, "model": model, "question": question,
                  "condition": f"where the path is {ASKED[question]}", "method": method,
                  "images": len(wide), **share_row(wide[method].to_numpy(),
                                                   wide[REFINED].to_numpy(), seed)}
                 for method in wide.columns]
    return pd.DataFrame(rows, columns=["data", "model", "question", "condition", "method", "images",
                                       "value", "low", "high"])


def question_goal(shares: pd.DataFrame, gradients: int, least: float) -> pd.DataFrame:
    """The rows of :func:`question_shares` of the path that was asked the question, with a
    ``verdict``: whether its share lies above ``least``."""
    return with_verdict(shares[shares["method"] == asked(gradients)], threshold=least)


def question_passes(target: TargetModel) -> dict[str, float]:
    """What the paths that are asked a question cost an image, in passes."""
    return {asked(count): conditional_passes(target, count) for count in GRADIENTS}


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
        others = [ONE_PASS, PUBLISHED, CONTROL] + [OTHER] * (question != "remove")
        for against in (name for name in others if name in wide):
            row = interval_row((wide[MATCHED] - wide[against]).to_numpy(), seed=seed)
            rows.append({"data": data, "model": model, "question": question,
                         "condition": f"where the path is {ASKED[question]}", "against": against,
                         "images": len(wide), **row, "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def places_of(images: ImageSet, few: ImageSet) -> list[int]:
    """Where some of the images lie among all."""
    ids = images.ids.tolist()
    return [ids.index(image) for image in few.ids.tolist()]
