"""What the removal of a path does when its neurons are set to zero, to their mean, or to their
values on another image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core import metrics
from neuronpath_core.baselines import activation_paths
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.hooks import read_activations
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shape_pairs import PAIRED, pairs_for
from neuronpath_core.interventions import (
    class_neurons,
    class_probabilities,
    drafted_probabilities,
    edited_probabilities,
    pruning_mask,
)
from neuronpath_core.paths import find_paths
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.replacement import replacement_values
from neuronpath_core.scores import METHODS
from neuronpath_core.stats.labels import SCOPE_LABELS
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# what a removed neuron is set to: first as published
KINDS = {"zero": "zero", "mean": "the mean", "resample": "another image's value",
         "class_resample": "the value of another image of the class"}
PATH, MATCHED, MOVED = "neuron_path", "matched_random", "moved_random"
RANDOM = {MATCHED: "random neurons as active",
          MOVED: "random neurons closest in distance moved"}
PAPER = ("activation", "influence_pattern")
# what is done to a path, and which way its effect is counted: as lost, or as gained
OPERATIONS = {"remove": -1, "enhance": 1}
# what a pair changes, and the change that is the control: it leaves the object as it is
OUTLINE, BACKGROUND = "outline", "background"
CHANGES = {OUTLINE: "the value with another outline", BACKGROUND: "the value on another background"}
# what a path is also searched for; then it is removed with the values that the search has seen, or
# with those of an image that it has not
SEARCHED = ("mean", "resample")
OWN, NEW = "the values searched with", "a new image's values"
KEPT = ("neuron path", "activation", "random", "none")
EVERYWHERE = "all tokens"
AT_ONCE = 16  # images, whose replacement values are held together
# of a table of effects: what its rows are told apart by within a model, and what they hold
EFFECT_KEYS = ["operation", "method", "kind", "image"]
MEASURED = ["probability", "accuracy", "moved"]


@dataclass(frozen=True)
class Pool:
    """Images of a model's training set, from which replacement values are taken.

    Attributes:
        target: the model.
        pictures, labels: as the model sees them, on the study's device.
    """

    target: TargetModel
    pictures: Float[Tensor, "image channel height width"]
    labels: Int64[Tensor, "image"]
    _means: dict[bool, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, study: Study, model: str, count: int, seed: int) -> Pool:
        """``count`` training images, as many of each class as of any other."""
        images = study.train.balanced(count, seed).checked(study.progress)
        return cls(study.target(model), *study.batch(images, model))

    def values(self, kind: str, pictures: Tensor, labels: Tensor, draws: int = 1, seed: int = 0,
               everywhere: bool = False) -> Float[Tensor, "draw image layer token neuron"]:
        """:func:`~neuronpath_core.replacement.replacement_values` of a batch; the mean, which is
        the same for all, is taken once."""
        if kind == "mean" and everywhere in self._means:
            return self._means[everywhere]
        found = replacement_values(self.target, kind, pictures, labels, pool=self.pictures,
                                   pool_labels=self.labels, draws=draws, seed=seed,
                                   everywhere=everywhere)
        if kind == "mean":
            self._means[everywhere] = found
        return found


def replaced_effects(
    study: Study, names: Sequence[str], images: ImageSet, methods: Sequence[str], pool_images: int,
    draws: int = 2, seed: int = 0, kinds: Sequence[str] = tuple(KINDS),
    operations: Sequence[str] = tuple(OPERATIONS), **settings
) -> pd.DataFrame:
    r"""What removal of every image's path costs under each replacement, and what its enhancement
    gains, for paths that were found with zero, as published, and for random ones.

    With values v removal sets an activation w to v, and enhancement takes it as far away from v
    again as it is, to :math:`v + 2(w - v)`; with zero that is the published doubling.

    Two controls go with the neuron path: random neurons about as active as its own, and random
    neurons that the replacement moves as far as there are any, :math:`|\bar w - v|` in the mean
    over the scope's tokens. With zero the two are nearly the same. Where few neurons are moved as
    far as the path's, both are moved less: ``moved`` says how far.

    Args:
        methods: keys of ``npc.METHODS``; the neuron path is among them.
        pool_images: of the training set, from which values are taken.
        draws: of other images, over which each image's effect is averaged.
        operations: of ``OPERATIONS``.
        settings: of :meth:`~neuronpath_core.study.study.Study.paths`.

    Returns:
        one row per model, operation, method, kind and image: ``data, model, operation, method,
        kind, image, probability`` (share of the label's probability that removal loses or
        enhancement gains), ``accuracy`` (1 if the prediction was right and is not any more, -1 the
        other way round; of enhancement 1 if it was wrong and is right), ``moved`` (how far the
        path's neurons are moved, in the mean over blocks, the same for both operations).

    Raises:
        ValueError: unknown methods, kinds or operations, or no neuron path among the methods.
    """
    check_kinds(kinds)
    if not operations or any(operation not in OPERATIONS for operation in operations):
        raise ValueError(f"operations cannot be {list(operations)!r}; accepted: one or more of "
                         f"{', '.join(OPERATIONS)}")
    tables = []
    for model in study.check_models(list(names)):
        values = partial(_of_pool, Pool.of(study, model, pool_images, seed), draws, seed)
        tables.append(_model_effects(study, model, images, methods, kinds, operations, values,
                                     seed, settings))
    return pd.concat(tables, ignore_index=True)


def counterfactual_effects(
    studies: Mapping[str, Study], names: Sequence[str], images: Mapping[str, ImageSet],
    methods: Sequence[str], seed: int = 0, changes: Sequence[str] = tuple(CHANGES), **settings
) -> pd.DataFrame:
    """What removal of every image's path costs where its neurons take their values on the same
    scene with one thing changed: the outline, which is half of the class, or, as a control, the
    background.

    Args:
        studies, images: by name, of which those are taken whose images can be drawn again with one
            thing changed.
        methods: keys of ``npc.METHODS``; the neuron path is among them.
        changes: of ``CHANGES``.
        settings: of :meth:`~neuronpath_core.study.study.Study.paths`.

    Returns:
        as of :func:`replaced_effects` for removal, ``kind`` being the change; no row where no data
        set has such pairs.

    Raises:
        ValueError: unknown methods or changes, or no neuron path among the methods.
    """
    _check_methods(methods)
    if not changes or any(change not in CHANGES for change in changes):
        raise ValueError(f"changes cannot be {list(changes)!r}; accepted: one or more of "
                         f"{', '.join(CHANGES)}")
    tables = []
    for name, study in studies.items():
        if (dataset := study.settings["dataset"])["name"] not in PAIRED:
            continue
        pairs = {change: pairs_for(dataset, images[name], change, seed) for change in changes}
        for model in study.check_models(list(names)):
            others = {change: study.batch(own, model)[0] for change, own in pairs.items()}
            values = partial(_of_pairs, study.target(model), others)
            tables.append(_model_effects(study, model, images[name], methods, changes, ("remove",),
                                         values, seed, settings))
    columns = ["data", "model", *EFFECT_KEYS, *MEASURED]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _of_pool(pool: Pool, draws: int, seed: int, kind: str, place: slice, pictures: Tensor,
             labels: Tensor) -> Float[Tensor, "draw image layer token neuron"]:
    return pool.values(kind, pictures, labels, draws, seed)


def _of_pairs(target: TargetModel, others: Mapping[str, Tensor], change: str, place: slice,
              pictures: Tensor, labels: Tensor) -> Float[Tensor, "draw image layer token neuron"]:
    return replacement_values(target, "counterfactual", pictures, labels,
                              pairs=others[change][place])


def _check_methods(methods: Sequence[str]) -> None:
    if PATH not in methods or any(method not in METHODS for method in methods):
        raise ValueError(f"methods cannot be {list(methods)!r}; accepted: {PATH} and others of "
                         f"{', '.join(METHODS)}")


def _model_effects(study: Study, model: str, images: ImageSet, methods: Sequence[str],
                   kinds: Sequence[str], operations: Sequence[str], values: Callable[..., Tensor],
                   seed: int, settings: Mapping) -> pd.DataFrame:
    """The effects on one model; ``values(kind, place, pictures, labels)`` are those of a batch,
    draw by draw, over which each image's effect is averaged."""
    _check_methods(methods)
    target, tables = study.target(model), []
    paths = {method: study.paths(model, images, method, **settings).neurons for method in methods}
    for place, pictures, labels in study.batches(images, model, AT_ONCE):
        own = {method: neurons[place].to(pictures.device) for method, neurons in paths.items()}
        own[MATCHED] = matched_random_paths(target, pictures, own[PATH], seed)[..., 0]
        clean = numbers(class_probabilities(target, pictures))
        activations = read_activations(target, pictures)
        for kind in kinds:
            for draw, value in enumerate(values(kind, place, pictures, labels)):
                moved = (activations - value).abs().mean(2)
                control = matched_random_paths(target, pictures, own[PATH], seed + 1 + draw, moved)
                for method, neurons in {**own, MOVED: control[..., 0]}.items():
                    told = {"image": images.ids[place].numpy(), "method": method, "kind": kind,
                            "moved": numbers(moved.gather(2, neurons[..., None])[..., 0].mean(1))}
                    tables += [pd.DataFrame({**told, "operation": operation, **changed(
                        target, pictures, labels, neurons, value, clean, operation)})
                        for operation in operations]
    rows = pd.concat(tables, ignore_index=True).groupby(
        EFFECT_KEYS, sort=False, as_index=False)[MEASURED].mean()
    return rows.assign(data=study.profile, model=model)[["data", "model", *EFFECT_KEYS, *MEASURED]]


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise ``ValueError`` unless these are some of ``KINDS``."""
    if not kinds or any(kind not in KINDS for kind in kinds):
        raise ValueError(f"replacements cannot be {list(kinds)!r}; accepted: one or more of "
                         f"{', '.join(KINDS)}")


def lost(target: TargetModel, pictures: Float[Tensor, "image channel height width"],
         labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
         values: Float[Tensor, "image layer token neuron"], clean: Float[np.ndarray, "image class"]
         ) -> dict[str, np.ndarray]:
    """What setting each image's path to ``values`` costs it: ``probability``, the share of its
    label's probability, and ``accuracy``, in -1, 0, 1."""
    return changed(target, pictures, labels, neurons, values, clean, "remove")


def changed(target: TargetModel, pictures: Float[Tensor, "image channel height width"],
            labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
            values: Float[Tensor, "image layer token neuron"],
            clean: Float[np.ndarray, "image class"], operation: str) -> dict[str, np.ndarray]:
    """:func:`lost`, or, where the path is enhanced against ``values``, what is gained."""
    edited = numbers(edited_probabilities(target, pictures, neurons, operation, values))
    truth, sign = labels.cpu().numpy(), OPERATIONS[operation]
    return {"probability": sign * metrics.probability_deviation(clean, edited, truth),
            "accuracy": sign * metrics.accuracy_deviation(clean, edited, truth)}


def searched_effects(
    study: Study, names: Sequence[str], images: ImageSet, methods: Sequence[str], pool_images: int,
    seed: int = 0, kinds: Sequence[str] = SEARCHED, **settings
) -> pd.DataFrame:
    """Paths that were searched for a replacement, beside those that were searched for zero, both
    removed by that replacement.

    Of a replacement by another image, the search sees the values of one image; the paths are then
    removed with these (``OWN``) and with those of a second image (``NEW``).

    Args:
        methods: keys of ``npc.METHODS`` that compare with any baseline.
        settings: of :meth:`~neuronpath_core.study.study.Study.paths`.

    Returns:
        one row per model, method, kind, values and image: ``data, model, method, kind, seen,
        image``, the share of the label's probability that is lost with the path for ``zero`` and
        with the path for the ``same`` replacement, and ``stay``, the share of neurons that the two
        have in common.

    Raises:
        ValueError: methods that know no baseline, or unknown kinds.
    """
    check_kinds(kinds)
    if not methods or any(method not in METHODS or not METHODS[method].with_baseline
                          for method in methods):
        accepted = [key for key, method in METHODS.items() if method.with_baseline]
        raise ValueError(f"methods cannot be {list(methods)!r}; accepted: one or more of "
                         f"{', '.join(accepted)}")
    rows = []
    for model in study.check_models(list(names)):
        target, pool = study.target(model), Pool.of(study, model, pool_images, seed)
        paths = {method: study.paths(model, images, method, **settings).neurons
                 for method in methods}
        for place, pictures, labels in study.batches(images, model, AT_ONCE):
            clean = numbers(class_probabilities(target, pictures))
            for kind in kinds:
                first, *others = pool.values(kind, pictures, labels, 2, seed)
                for method in methods:
                    zero = paths[method][place].to(pictures.device)
                    same = find_paths(target, pictures, labels, method, baseline=first,
                                      memory_budget=study.memory_budget,
                                      **{"draft": study.draft} | settings).neurons
                    stay = numbers((zero == same).double().mean(1))
                    for seen, value in zip((OWN, NEW), (first, *others), strict=False):
                        found = {name: lost(target, pictures, labels, neurons, value,
                                            clean)["probability"]
                                 for name, neurons in (("zero", zero), ("same", same))}
                        rows.append(pd.DataFrame({
                            "data": study.profile, "model": model, "method": method, "kind": kind,
                            "seen": seen, "image": images.ids[place].numpy(), **found,
                            "stay": stay}))
    return pd.concat(rows, ignore_index=True)


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
