"""What the images' own paths, their controls and the paths of predicted labels do."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.chapters.controls.paths import CONTROLS, control_paths
from neuronpath_core.chapters.effects import effect_table, scoring_rule
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.jas import joint_attribution_score
from neuronpath_core.study.study import Study


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
                  **settings) -> pd.DataFrame:
    """What enhancing a path does to the decision when it was searched with the true and when with
    the predicted label.

    The two differ on misclassified images only: all of those in ``pool`` are taken, and the others
    from ``images``.

    Returns:
        one row per model and image: ``model, image, wrong``, ``true_label, predicted_label``
        (whether the decision is right afterwards minus before: 1, 0, -1) and ``share``, that of
        misclassified images in ``pool``.
    """
    tables = []
    for model in study.check_models(list(names)):
        clean = study.probabilities(model, pool)
        wrong = ~metrics.correct(clean, pool.labels.numpy())
        parts = [(pool.select(wrong),
                  torch.from_numpy(clean.argmax(1)[wrong]))] if wrong.any() else []
        right = metrics.correct(study.probabilities(model, images), images.labels.numpy())
        for part, predicted in [*parts, (images, images.labels)]:
            before = study.probabilities(model, part)
            row = {"model": model, "image": part.ids.numpy(), "share": wrong.mean()}
            for name, labels in (("true_label", part.labels), ("predicted_label", predicted)):
                paths = study.paths(model, part.relabelled(labels), **settings)
                after = study.probabilities(model, part, paths, "enhance")
                row[name] = metrics.accuracy_deviation(before, after, part.labels.numpy())
            table = pd.DataFrame(row).assign(wrong=predicted is not images.labels)
            tables.append(table if predicted is not images.labels else table[right])
    return pd.concat(tables, ignore_index=True)
