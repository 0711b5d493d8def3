"""Who recognises an image as the class that it was made for, and how near it lies to real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.stimuli.made import BEST, OTHER, PLANTED, RANDOM, TWIN, Made, twin_of
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.plausibility import (
    head_features,
    named,
    nearest,
    plausibility,
    recognised,
)
from neuronpath_core.neurons.spectrum import high_share
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

TRAINED = 480  # training images among which the nearest is looked for
REPLICAS, ARCHITECTURES = "other seeds", "other architectures"


@dataclass(frozen=True)
class Judges:
    """Models of a study that an image was not made for.

    Attributes:
        replicas: the same architecture, trained from other seeds.
        architectures: the other models of the profile.
    """

    replicas: tuple[TargetModel, ...]
    architectures: tuple[TargetModel, ...]

    @property
    def all(self) -> tuple[TargetModel, ...]:
        return (*self.replicas, *self.architectures)


def judges_of(study: Study, model: str, models: Sequence[str]) -> Judges:
    """The replicas of a model, and the other models that the chapter reads."""
    again = [name for name in study.variants(model) if " seed " in name]
    return Judges(tuple(map(study.target, again)),
                  tuple(study.target(name) for name in models if name != model))


def hits(judges: Sequence[TargetModel], images: Tensor,
         classes: Int64[Tensor, "image"]) -> Bool[np.ndarray, "judge image"]:
    """Which models recognise which image."""
    found = [recognised(judge, images, classes).numpy() for judge in judges]
    return np.reshape(found, (len(judges), len(images))).astype(bool)


def share(judged: Bool[np.ndarray, "judge image"]) -> Float[np.ndarray, "image"]:
    """The share of some models that recognise each image; NaN without any."""
    return judged.mean(0) if len(judged) else np.full(judged.shape[1], np.nan)


def class_rows(target: TargetModel, judges: Judges, images: Tensor,
               classes: Int64[Tensor, "class"]) -> pd.DataFrame:
    """A row an image: ``class``; ``own``, whether its model recognises it; ``transfer``, the share
    of the others that do, of ``replicas`` and ``architectures`` too; ``high``, the share of its
    variance that is finer than four pixels."""
    others, again = hits(judges.all, images, classes), len(judges.replicas)
    return pd.DataFrame({
        "class": classes.numpy(), "own": share(hits([target], images, classes)),
        "transfer": share(others), "replicas": share(others[:again]),
        "architectures": share(others[again:]),
        "high": high_share(images.double()).cpu().numpy()})


def recognition_rows(made: Made, judges: Judges) -> pd.DataFrame:
    """:func:`class_rows` of every condition, with ``condition``.

    The images of the random twin are judged by the twin itself (``own``) and by the trained models.
    Of the best neuron of another class a row holds the mean over all other classes' images.
    """
    own = made.maker
    parts = []
    for name, images in made.images.items():
        target = twin_of(own).target if name == TWIN else own.target
        parts.append(class_rows(target, judges, images, own.classes).assign(condition=name))
    parts.append(exchanged_rows(own.target, judges, made.images[BEST]).assign(condition=OTHER))
    return pd.concat(parts, ignore_index=True)


def exchanged_rows(target: TargetModel, judges: Judges, images: Tensor) -> pd.DataFrame:
    """How often the images of all other classes are taken for each class, as
    :func:`class_rows`."""
    count = len(images)
    high = high_share(images.double()).cpu().numpy()
    others, again = [named(judge, images).numpy() for judge in judges.all], len(judges.replicas)
    found = {name: others_taken(part, count) for name, part in (
        ("own", [named(target, images).numpy()]), ("transfer", others),
        ("replicas", others[:again]), ("architectures", others[again:]))}
    return pd.DataFrame({"class": np.arange(count), **found,
                         "high": (high.sum() - high) / (count - 1)})


def others_taken(answers: Sequence[np.ndarray], count: int) -> Float[np.ndarray, "class"]:
    """The share of the images of other classes that are taken for each class, mean over models."""
    if not answers:
        return np.full(count, np.nan)
    taken = [np.bincount(each[each >= 0], minlength=count) - (each == np.arange(count))
             for each in answers]
    return np.mean(taken, 0) / (count - 1)


def effect_rows(rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What the best value neurons' images have more than each control's, on the same classes:
    ``measure`` (``own``: their model recognises them, ``transfer``: others do), ``control``,
    ``value, low, high`` with a bootstrap over ``n`` classes; of the planted neurons what they have
    more than the best value neurons."""
    found = []
    for measure in ("own", "transfer"):
        table = rows.pivot(index="class", columns="condition", values=measure)
        for control in (RANDOM, OTHER, TWIN, PLANTED):
            gained = (table[BEST] - table[control]).to_numpy()
            gained = -gained if control == PLANTED else gained
            if np.isfinite(gained).all():
                found.append({"measure": measure, "control": control,
                              **interval_row(gained, seed=seed), "n": len(gained)})
    return pd.DataFrame(found)


def rate_rows(rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Of each condition the share of classes that are recognised, ``measure`` by ``measure``:
    ``value, low, high``, and ``chance``, one over the number of classes."""
    chance = 1 / rows["class"].nunique()
    found = []
    for condition, own in rows.groupby("condition", sort=False):
        for measure in ("own", "transfer", "replicas", "architectures", "high"):
            values = own[measure].to_numpy()
            if np.isfinite(values).all():
                found.append({"condition": condition, "measure": measure, "chance": chance,
                              **interval_row(values, seed=seed), "n": len(values)})
    return pd.DataFrame(found)


def step_rows(made: Made, judges: Judges, seed: int = 0) -> pd.DataFrame:
    """How often the best value neurons' images are recognised after fewer steps: ``steps``,
    ``value, low, high`` (of their own model), ``transfer``, ``driven``, the mean pre-activation of
    the unchanged image."""
    own, found = made.maker, []
    series = {**made.stimuli.snapshots, own.steps: made.images[BEST]}
    for steps, images in sorted(series.items()):
        rows = class_rows(own.target, judges, images, own.classes)
        found.append({"steps": steps, **interval_row(rows["own"].to_numpy(), seed=seed),
                      "transfer": rows["transfer"].mean(),
                      "driven": own.value(images, own.neurons()).mean()})
    return pd.DataFrame(found)


@dataclass(frozen=True)
class Neighbours:
    """The training and the held-out images as another model's head reads them.

    Attributes:
        judge: that model.
        trained, labels: features of the training images, and their classes.
        taken: how far each held-out image lies from the nearest training image.
        words: which model it is.
    """

    judge: TargetModel
    trained: Float[Tensor, "image width"]
    labels: Int64[Tensor, "image"]
    taken: Float[Tensor, "image"]
    words: str


def neighbours_of(study: Study, model: str, judges: Judges, images: ImageSet) -> Neighbours | None:
    """By the first replica of a model, or, if it has none, the first other model; ``None`` without
    either."""
    if not judges.all:
        return None
    judge = judges.all[0]
    train = study.train
    train = train.balanced(min(TRAINED, len(train)), of_each=1) if len(train) > TRAINED else train
    pixels, labels = study.batch(train, model)
    held_out, _ = study.batch(images, model)
    trained = head_features(judge, pixels)
    taken, _ = nearest(head_features(judge, held_out), trained)
    return Neighbours(judge, trained, labels.cpu(), taken,
                      REPLICAS if judges.replicas else ARCHITECTURES)


def near_rows(neighbours: Neighbours, images: Mapping[str, Tensor]) -> pd.DataFrame:
    """A row an image and ``condition``: ``class``, ``plausible`` (the share of held-out images that
    lie at least as far from the training images), ``distance`` over the held-out images' mean, and
    ``alike``, whether the nearest training image is of the class."""
    parts = []
    for name, made in images.items():
        distance, which = nearest(head_features(neighbours.judge, made), neighbours.trained)
        parts.append(pd.DataFrame({
            "class": np.arange(len(made)), "condition": name,
            "plausible": plausibility(distance, neighbours.taken).cpu().numpy(),
            "distance": (distance / neighbours.taken.mean()).cpu().numpy(),
            "alike": (neighbours.labels[which.cpu()] == torch.arange(len(made))).numpy()}))
    return pd.concat(parts, ignore_index=True)


def near_effects(rows: pd.DataFrame, against: str, by: str = BEST, measure: str = "plausible",
                 seed: int = 0) -> dict[str, float]:
    """How much more plausible one condition's images are than another's: ``value, low, high, n``
    over classes."""
    table = rows.pivot(index="class", columns="condition", values=measure).astype(float)
    gained = (table[by] - table[against]).to_numpy()
    return {**interval_row(gained, seed=seed), "n": len(gained)}
