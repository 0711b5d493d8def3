"""A few neurons of a block that are kept while all others are replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.baselines import activation_paths
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.replacement.measured import AT_ONCE, KINDS, Pool, check_kinds
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import (
    class_neurons,
    class_probabilities,
    drafted_probabilities,
    pruning_mask,
)
from neuronpath_core.stats.labels import SCOPE_LABELS
from neuronpath_core.study.study import Study

KEPT = ("neuron path", "activation", "random", "none")
EVERYWHERE = "all tokens"


def other_images(study: Study, images: ImageSet, count: int, seed: int = 0) -> ImageSet:
    """``count`` held-out images, spread evenly over the classes, that are none of ``images``."""
    held_out = study.held_out
    free = ~torch.isin(held_out.ids, images.ids)
    return held_out.select(free).balanced(count, seed).checked(study.progress)


def kept_effects(
    study: Study, names: Sequence[str], images: ImageSet, test: ImageSet, pool_images: int,
    top: int = 5, seed: int = 0, kinds: Sequence[str] = tuple(KINDS), **settings
) -> pd.DataFrame:
    """Figure 6 under each replacement: accuracy when ``top`` neurons a block of the class's paths
    are kept and all others are replaced.

    As published every test image sees the mask of its own class. What is kept instead: the neurons
    most often among the ``top`` most active ones, random ones, and none. Neurons are replaced at
    the scope and, if that is the class token, at all tokens as well.

    Args:
        images: whose paths choose the neurons.
        test: other images.

    Returns:
        one row per model, tokens, kind, kept neurons and test image: ``data, model, tokens, kind,
        kept, image, correct, whole`` (whether the whole model is right).

    Raises:
        ValueError: a test image of a class that no path is of, or ``top`` out of range.
    """
    check_kinds(kinds)
    labels = test.labels.numpy()
    if lacking := sorted(set(labels.tolist()) - set(images.labels.tolist())):
        raise ValueError(f"no paths of classes {lacking}; accepted: images of every class that is "
                         f"tested")
    rows = []
    for model in study.check_models(list(names)):
        target, draft = study.target(model), study.drafted(model)
        pool = Pool.of(study, model, pool_images, seed)
        masks = _class_masks(study, model, images, top, seed, settings)
        for place, pictures, truth in study.batches(test, model, AT_ONCE):
            own, clean = labels[place], numbers(class_probabilities(target, pictures))
            for everywhere in (False, True)[:1 + (target.scope == "cls")]:
                for kind in kinds:
                    value, = pool.values(kind, pictures, truth, 1, seed, everywhere)
                    for kept, survives in masks.items():
                        factors = torch.from_numpy(np.stack([survives[label] for label in own]))
                        found = numbers(drafted_probabilities(
                            target, draft, pictures, factors.to(pictures), everywhere, value))
                        rows.append(pd.DataFrame({
                            "data": study.profile, "model": model,
                            "tokens": EVERYWHERE if everywhere else SCOPE_LABELS[target.scope],
                            "kind": kind, "kept": kept, "image": test.ids[place].numpy(),
                            "correct": metrics.correct(found, own),
                            "whole": metrics.correct(clean, own)}))
    return pd.concat(rows, ignore_index=True)


def _class_masks(study: Study, model: str, images: ImageSet, top: int, seed: int,
                 settings: Mapping) -> dict[str, dict[int, np.ndarray]]:
    """What is kept of each class, bool ``(layer, neuron)``, for each of ``KEPT``."""
    target, rng = study.target(model), np.random.default_rng(seed)
    searched = study.paths(model, images, top=top, **settings).neurons
    active = torch.cat([activation_paths(target, pictures, top).cpu()
                        for _, pictures, _ in study.batches(images, model)])
    masks: dict[str, dict[int, np.ndarray]] = {kept: {} for kept in KEPT}
    for label in np.unique(images.labels.numpy()):
        mine = images.labels == label
        drawn = [sorted(rng.choice(target.n_neurons, top, replace=False).tolist())
                 for _ in range(target.n_blocks)]
        chosen = (class_neurons(searched[mine], top), class_neurons(active[mine], top), drawn,
                  [[]] * target.n_blocks)
        for kept, neurons in zip(KEPT, chosen, strict=True):
            masks[kept][int(label)] = pruning_mask(neurons, target.n_neurons, 1.0, rng)
    return masks
