"""The one measurement of interventions: what paths score, and what removing and enhancing them
does to the true class.

Its columns are ``score``, ``correct`` and ``probability`` (of the unedited model) and, for each
operation, the deviations ``removal_accuracy``, ``removal_probability``, ``enhancement_accuracy``
and ``enhancement_probability``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from neuronpath_core import metrics
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.scores import METHODS
from neuronpath_core.settings import SearchSettings
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.tests import sign_test
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

OPERATIONS = {"removal": "remove", "enhancement": "enhance"}
# name of a measure: its column, the sign and factor that make a lead positive where the path does
# more, and the statistic over images
MEASURES = {
    "removal": ("removal_probability", -1, "median"),
    "removal, mean": ("removal_probability", -1, "mean"),
    "enhancement": ("enhancement_probability", 1, "median"),
    "enhancement, mean": ("enhancement_probability", 1, "mean"),
    "removal accuracy": ("removal_accuracy", -100, "mean"),
    "enhancement accuracy": ("enhancement_accuracy", 100, "mean"),
    "score": ("score", 1, "mean"),
}


def numbers(values: Tensor) -> np.ndarray:
    """A tensor as a float64 array."""
    return values.detach().cpu().double().numpy()


def path_effects(
    target: TargetModel, pictures: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
    score: Tensor | None = None, clean: Float[np.ndarray, "image class"] | None = None
) -> dict[str, np.ndarray]:
    """The measurement of each image's path, one value per image and column.

    Args:
        target, pictures, labels: the model and a batch.
        neurons: the paths, on any device.
        score: of the paths; ``None`` leaves the column out.
        clean: softmax probabilities of the unedited model, where they are known already.
    """
    truth, neurons = labels.cpu().numpy(), neurons.to(pictures.device)
    clean = numbers(class_probabilities(target, pictures)) if clean is None else clean
    found = {} if score is None else {"score": numbers(score)}
    found |= {"correct": metrics.correct(clean, truth),
              "probability": clean[np.arange(len(truth)), truth]}
    for name, operation in OPERATIONS.items():
        edited = numbers(edited_probabilities(target, pictures, neurons, operation))
        found[f"{name}_accuracy"] = metrics.accuracy_deviation(clean, edited, truth)
        found[f"{name}_probability"] = metrics.probability_deviation(clean, edited, truth)
    return found


def effect_table(
    study: Study, model: str, images: ImageSet, neurons: Int64[Tensor, "image layer"],
    score: Float[Tensor, "image"], clean: Float[np.ndarray, "image class"] | None = None
) -> pd.DataFrame:
    """:func:`path_effects` of any number of images, a part of them at a time: a row per image with
    ``image, label`` and the columns of the measurement."""
    target = study.target(model)
    clean = study.probabilities(model, images) if clean is None else clean
    return pd.concat([pd.DataFrame({
        "image": images.ids[place].numpy(), "label": images.labels[place].numpy(),
        **path_effects(target, pictures, labels, neurons[place], score[place], clean[place])})
        for place, pictures, labels in study.batches(images, model, IMAGES_AT_ONCE)],
        ignore_index=True)


def interventions(study: Study, names: Sequence[str], images: ImageSet, methods: Sequence[str],
                  **settings) -> pd.DataFrame:
    """The measurement of every image's path by every method (Table 1, Fig. 3).

    Args:
        settings: ``quadrature``, ``steps``, ``seed``, … of
            :meth:`~neuronpath_core.study.study.Study.paths`.

    Returns:
        one row per model, method and image: ``model, method`` and the columns of
        :func:`effect_table`.

    Raises:
        ValueError: unknown models or methods, or settings that do not fit.
    """
    if not methods or any(method not in METHODS for method in methods):
        raise ValueError(f"unknown methods {list(methods)!r}; accepted: one or more of "
                         f"{', '.join(METHODS)}")
    tables = []
    for model in study.check_models(list(names)):
        clean = study.probabilities(model, images)
        for method in methods:
            paths = study.paths(model, images, method, **settings)
            table = effect_table(study, model, images, paths.neurons, paths.score, clean)
            table.insert(0, "model", model)
            table.insert(1, "method", method)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def scoring_rule(target: TargetModel, quadrature: str = "gauss-legendre",
                 steps: int | Sequence[int] | str | None = None, **others) -> dict:
    """``quadrature`` and ``steps`` by which all paths of a comparison are scored, in full context,
    whatever they were searched with."""
    steps = None if steps in (None, "auto") else SearchSettings(steps=steps).one_rule
    complete = SearchSettings.of(method="random", context="full", quadrature=quadrature,
                                 steps=steps).complete(target).as_dict()
    return {name: complete[name] for name in ("quadrature", "steps")}


def paired_difference(table: pd.DataFrame, column: str, model: str, first: str, second: str,
                      statistic: str = "mean", seed: int = 0) -> dict[str, float]:
    """``value, low, high`` of a statistic of ``first - second``, two methods on the same images."""
    wide = table[table["model"] == model].pivot(index="image", columns="method", values=column)
    return interval_row((wide[first] - wide[second]).to_numpy(), statistic, seed)


def measure_row(effects: pd.DataFrame, measure: str, seed: int = 0) -> dict:
    """One of ``MEASURES`` with its interval over images: ``value, low, high, text``; signs are
    those of the deviations, accuracies are in percentage points."""
    column, factor, statistic = MEASURES[measure]
    row = interval_row(abs(factor) * effects[column].to_numpy(), statistic, seed)
    return {**row, "text": report.interval_text(row, 1 if abs(factor) == 100 else 3)}


def lead_rows(own: pd.DataFrame, other: pd.DataFrame, measures: Sequence[str] = tuple(MEASURES),
              seed: int = 0) -> list[dict]:
    """How far some paths are ahead of others on the same images, positive where the first do more:
    per measure ``measure, images, value, low, high, p`` (sign test).

    ``own`` and ``other`` are effects with the image as index; ``own`` may have more images.
    """
    rows = []
    for measure in measures:
        column, factor, statistic = MEASURES[measure]
        ahead = factor * (own.loc[other.index, column] - other[column]).to_numpy()
        rows.append({"measure": measure, "images": len(ahead),
                     **interval_row(ahead, statistic, seed), "p": sign_test(ahead)})
    return rows
