"""What the images' own paths, their controls and the paths of predicted labels do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.chapters.controls.paths import CONTROLS, control_paths
from neuronpath_core.chapters.effects import effect_table, numbers, scoring_rule
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import edited_probabilities
from neuronpath_core.jas import joint_attribution_score
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Int64

# whose enhancement is held against that of the path found with the true label
PATHS = ("true_label", "predicted_label", "random_path", "class_path")


def control_effects(
    study: Study, names: Sequence[str], images: ImageSet, chosen: Sequence[str] = tuple(CONTROLS),
    seed: int = 0, budget: int = 1, **settings
) -> pd.DataFrame:
    """The effects of every image's own path and of its controls, each scored by one rule
    in full context.

    Arguments and errors are those of
    :func:`~neuronpath_core.chapters.controls.paths.control_paths`.

    Returns:
        one row per model, control (``"own"`` included) and image: the columns of
        :func:`~neuronpath_core.chapters.effects.effect_table`, ``model, control, neurons`` (n), and
        ``overlap, early, late``: the share of neurons in common with the image's own path, over all
        blocks and in either half of them.
    """
    tables = []
    for model in study.check_models(list(names)):
        target = study.target(model)
        rule = scoring_rule(target, **settings)
        found = control_paths(study, model, images, chosen, seed, budget, **settings)
        middle = target.n_blocks // 2
        for control, (positions, neurons) in found.items():
            same = (neurons == found["own"][1][positions]).double().numpy()
            part = images.select(positions)
            score = joint_attribution_score(target, *study.batch(part, model),
                                            neurons.to(target.device), **rule)
            effects = effect_table(study, model, part, neurons, score)
            tables.append(effects.assign(overlap=same.mean(1), early=same[:, :middle].mean(1),
                                         late=same[:, middle:].mean(1), model=model,
                                         control=control,
                                         neurons=target.n_neurons))
    return pd.concat(tables, ignore_index=True)


def label_effects(study: Study, names: Sequence[str], images: ImageSet, pool: ImageSet,
                  seed: int = 0, **settings) -> pd.DataFrame:
    """What enhancing a path does to the decision when it was searched with the true label, and with
    paths that could do as much if the gain were not the label's and the image's.

    The true and the predicted label differ on misclassified images only: all of those in ``pool``
    are taken, and the others from ``images``.

    Args:
        seed: of the random neurons.

    Returns:
        one row per model and image: ``model, image, wrong``, what each of ``PATHS`` does (whether
        the decision is right afterwards minus before: 1, 0, -1; NaN where there is no such path)
        and ``share``, that of misclassified images in ``pool``.
    """
    tables = []
    for model in study.check_models(list(names)):
        target, own = study.target(model), study.paths(model, images, **settings).neurons
        clean = study.probabilities(model, pool)
        wrong = ~metrics.correct(clean, pool.labels.numpy())
        parts = [(pool.select(wrong),
                  torch.from_numpy(clean.argmax(1)[wrong]))] if wrong.any() else []
        right = metrics.correct(study.probabilities(model, images), images.labels.numpy())
        for part, predicted in [*parts, (images, images.labels)]:
            before, labels = study.probabilities(model, part), part.labels.numpy()
            row = {"model": model, "image": part.ids.numpy(), "share": wrong.mean()}
            found = {name: study.paths(model, part.relabelled(each), **settings).neurons
                     for name, each in (("true_label", part.labels),
                                        ("predicted_label", predicted))}
            batch = study.batch(part, model)[0]
            drawn = matched_random_paths(target, batch, found["true_label"].to(target.device), seed)
            found["random_path"] = drawn[..., 0].cpu()
            places = other_of_class(part, images)
            found["class_path"] = own[np.maximum(places, 0)]
            for name, paths in found.items():
                after = numbers(edited_probabilities(target, batch, paths.to(target.device),
                                                     "enhance"))
                row[name] = metrics.accuracy_deviation(before, after, labels)
            row["class_path"] = np.where(places < 0, np.nan, row["class_path"])
            table = pd.DataFrame(row).assign(wrong=predicted is not images.labels)
            tables.append(table if predicted is not images.labels else table[right])
    return pd.concat(tables, ignore_index=True)


def other_of_class(part: ImageSet, images: ImageSet) -> Int64[np.ndarray, "image"]:
    """For every image of ``part`` the position among ``images`` of another one of its class, -1
    where there is none; images of one class take theirs in turn."""
    labels, ids = images.labels.numpy(), images.ids.numpy()
    places = np.full(len(part), -1)
    for number, (label, own) in enumerate(zip(part.labels.tolist(), part.ids.tolist(),
                                              strict=True)):
        others = np.flatnonzero((labels == label) & (ids != own))
        if len(others):
            places[number] = others[number % len(others)]
    return places
