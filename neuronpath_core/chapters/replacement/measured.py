"""What the removal of a path does when its neurons are set to zero, to their mean, or to their
values on another image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from neuronpath_core import metrics
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.hooks import read_activations
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shape_pairs import PAIRED, pairs_for
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.replacement import replacement_values
from neuronpath_core.scores import METHODS
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
