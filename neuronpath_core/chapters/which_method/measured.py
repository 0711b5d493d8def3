"""Every method's path of every image, and what its removal costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.which_method.method_names import (
    BUDGETS,
    CONDITIONAL,
    CONTROL,
    DEFAULT,
    EXACT,
    EXACT_IMAGES,
    PROPOSALS,
    PUBLISHED,
    REFINED,
    REMOVAL,
    REPLACED,
    SCORES,
    SEARCHED,
    SWEEPS,
    conditional,
)
from neuronpath_core.chapters.which_method.pass_counts import operations
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import scaled_probabilities
from neuronpath_core.paths import find_paths
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.ranking import layer_tops
from neuronpath_core.replacement import replacement_values
from neuronpath_core.scores import METHODS
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.ablation import ablation_paths
from neuronpath_core.variants.conditional_gradient import conditional_gradient_by_passes
from neuronpath_core.variants.effect_refinement import refine_effects

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def every_nth(images: ImageSet, step: int) -> ImageSet:
    """Every ``step``-th of the images, at least two of them.

    Raises:
        ValueError: so large a step that fewer are left.
    """
    chosen = torch.arange(0, len(images), step)
    if len(chosen) < 2:
        raise ValueError(f"every {step}th of {len(images)} images is one; accepted: at least two "
                         "images")
    return images.select(chosen)


def values_for(study: Study, model: str, images: ImageSet, kind: str, pool_images: int,
               seed: int = 0) -> Tensor | None:
    """What a model's removed neurons are set to: one draw of
    :func:`~neuronpath_core.replacement.replacement_values` over training images; ``None`` is zero.
    """
    if kind == "zero":
        return None
    pool = study.batch(study.train.balanced(pool_images, seed), model)[0]
    return replacement_values(study.target(model), kind, *study.batch(images, model), pool=pool,
                              seed=seed)[0]


def path_effect(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
    question: str = "remove", values: Tensor | None = None
) -> tuple[Float[np.ndarray, "image"], Float[np.ndarray, "image"]]:
    """What an edit changes, as
    :func:`~neuronpath_core.variants.conditional_gradient.conditional_gradient_paths` asks it: of
    the label's probability, and of whether the prediction is right (1, 0 or -1)."""
    start = torch.full((len(images), target.n_blocks, target.n_neurons),
                       float(question != "keep"), dtype=target.dtype, device=target.device)
    after = {"remove": 0.0, "enhance": 2.0, "keep": 1.0}[question]
    there = start.scatter(2, neurons.to(target.device)[..., None], after)
    sign = -1 if question == "remove" else 1
    found = []
    for factors in (start, there):
        probabilities = scaled_probabilities(target, images, factors, values=values)
        right = probabilities.argmax(1) == labels
        found.append((numbers(probabilities.gather(1, labels[:, None])[:, 0]),
                      numbers(right.double())))
    (before, was), (now, is_now) = found
    return sign * (now - before), sign * (is_now - was)


def scored_paths(target: TargetModel, images: Tensor, labels: Tensor, key: str,
                 values: Tensor | None = None) -> Int64[Tensor, "image layer"]:
    """The path of a method that does not search, without its joint attribution score."""
    method, settings = METHODS[key], SearchSettings(method=key).complete(target)
    given = {"baseline": values} if method.with_baseline else {}
    if method.rank is None:
        return method.choose(target, images, labels, settings, 1, **given)[..., 0]
    return layer_tops(target, method.rank(target, images, labels, settings, **given), 1)[0][..., 0]


def found_paths(target: TargetModel, images: Tensor, labels: Tensor, values: Tensor | None = None,
                published: Int64[Tensor, "image layer"] | None = None,
                seed: int = 0) -> dict[str, Int64[Tensor, "image layer"]]:
    """The paths of every method, by its name in tables, but for the refined search's.

    Args:
        values: what removed neurons are set to, and what methods that have one take as baseline.
        published: paths of the published search, where they are known; ``None`` searches them.
        seed: of the control.
    """
    neurons, _ = conditional_gradient_by_passes(target, images, labels, BUDGETS, baseline=values)
    found = dict(zip(CONDITIONAL, neurons[..., 0].unbind(1), strict=True))
    found[REMOVAL] = ablation_paths(target, images, labels, baseline=values, proposals=min(
        12, target.fewest_neurons))[0][..., 0]
    for key, name in SCORES.items():
        found[name] = scored_paths(target, images, labels, key, values)
    for key, name in SEARCHED.items():
        found[name] = find_paths(target, images, labels, key, baseline=values).neurons
    found[DEFAULT] = find_paths(target, images, labels, "neuron_path", baseline=values).neurons
    if published is None:
        published = find_paths(target, images, labels, settings="published",
                               baseline=values).neurons
    found[PUBLISHED] = published.to(target.device)
    found[CONTROL] = matched_random_paths(target, images, found[conditional(3)][..., None],
                                          seed)[..., 0]
    return found


def removals(study: Study, models: Sequence[str], images: ImageSet, few: ImageSet,
             pool_images: int, seed: int = 0) -> pd.DataFrame:
    """What removing each method's path costs.

    Args:
        images, few: that it is measured on with zero in the neurons' place, and with other values.
        pool_images: training images that these values are taken from.

    Returns:
        one row per model, replacement, method and image: ``data, model, replacement, method, image,
        lost`` (of the label's probability), ``turned`` (of a right prediction, 1). Exact effects of
        single neurons are those of the first ``EXACT_IMAGES`` images, with zero, of the model for
        which they are cheapest.
    """
    rows, names = [], study.check_models(list(models))
    cheapest = min(names, key=lambda model: operations(study.target(model), {"method": "exact"}))
    for model in names:
        target = study.target(model)
        for kind in REPLACED:
            chosen = images if kind == "zero" else few
            pictures, labels = study.batch(chosen, model)
            values = values_for(study, model, chosen, kind, pool_images, seed)
            published = study.paths(model, chosen, settings="published").neurons \
                if kind == "zero" else None
            found = found_paths(target, pictures, labels, values, published, seed)
            if model == cheapest and kind == "zero":
                first = slice(0, EXACT_IMAGES)
                found[EXACT] = scored_paths(target, pictures[first], labels[first], "exact")
            effects = {name: path_effect(target, pictures[:len(paths)], labels[:len(paths)], paths,
                                         values=values) for name, paths in found.items()}
            best = _best_of(found, effects)
            found[REFINED] = refine_effects(target, pictures, labels, best.to(target.device),
                                            min(PROPOSALS, target.fewest_neurons), SWEEPS,
                                            baseline=values)[0]
            effects[REFINED] = path_effect(target, pictures, labels, found[REFINED], values=values)
            rows += [{"data": study.profile, "model": model, "replacement": kind, "method": name,
                      "image": int(image), "lost": lost, "turned": turned}
                     for name, (losses, turns) in effects.items()
                     for image, lost, turned in zip(chosen.ids, losses, turns, strict=False)]
    return pd.DataFrame(rows)


def _best_of(found: Mapping[str, Tensor], effects: Mapping[str, tuple[np.ndarray, np.ndarray]]
             ) -> Int64[Tensor, "image layer"]:
    """For each image, of the methods that were tried on all, the path that costs most."""
    most = max(len(paths) for paths in found.values())
    whole = [name for name, paths in found.items() if len(paths) == most]
    best = np.stack([effects[name][0] for name in whole]).argmax(0)
    every = torch.stack([found[name].cpu() for name in whole])
    return every[torch.from_numpy(best), torch.arange(most)]
