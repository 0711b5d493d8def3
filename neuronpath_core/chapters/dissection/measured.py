"""A model's neurons held against concepts on one half of the images, and their labels against the
other half."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.dissection.redrawn import detecting_shares
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shape_pairs import PAIRED
from neuronpath_core.neurons import labels as scored
from neuronpath_core.neurons.dissection import Dissection, dissect
from neuronpath_core.neurons.exemplars import Exemplars, find_exemplars, image_scores
from neuronpath_core.neurons.sensitivity import Sensitivity, sensitivity
from neuronpath_core.neurons.tally import strongest
from neuronpath_core.readings.concepts import ConceptSet
from neuronpath_core.readings.known_concepts import known_concepts
from neuronpath_core.readings.random_twins import random_weights
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

RESAMPLES = 200
SCENES = 24  # that are drawn again with every change, one of a class
FEW = 3  # classes, where only few are looked at
OVERLAP, AREA, CORRELATION, WPMI, MILAN = LABELERS = (
    "overlap", "area under the curve", "correlation", "soft-WPMI", "MILAN's trade-off")


@dataclass(frozen=True)
class Read:
    """What a model's neurons are called, and what that is held against.

    Attributes:
        target: the model.
        found: its neurons on the first half of the images, with nulls and resamples.
        twin: those of the same architecture with random weights, on the same images.
        exemplars: of the first half.
        labels: of each of ``LABELERS``, from the first half alone.
        held: the neurons on the second half.
        held_scores: their scores of every image of the second half.
        present: which image of the second half has which concept.
        moved: what changes the neurons; ``None`` of images that cannot be drawn again.
        classes: of the first half's images.
        detecting: of each null the share of neurons that detect something, in every resample of
            the first half.
    """

    target: TargetModel
    found: Dissection
    twin: Dissection
    exemplars: Exemplars
    labels: dict[str, Int64[np.ndarray, "block neuron"]]
    held: Dissection
    held_scores: Float[np.ndarray, "block neuron image"]
    present: np.ndarray
    moved: Sensitivity | None
    classes: Int64[np.ndarray, "image"]
    detecting: dict[str, Float[np.ndarray, "resample"]]


def halves(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Every second image of each class, and the others."""
    labels = images.labels.cpu().numpy()
    second = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        second[np.flatnonzero(labels == label)[1::2]] = True
    return images.select(~second), images.select(second)


def labels_of(found: Dissection, exemplars: Exemplars,
              known: ConceptSet) -> dict[str, Int64[np.ndarray, "block neuron"]]:
    """The concept of the largest score by each labeler; -1 of neurons that none fits."""
    wpmi = np.stack([np.where(np.ptp(own, 1)[:, None] > 0, scored.soft_wpmi(
        own, known.present.T), np.nan) for own in exemplars.scores])
    milan = scored.milan_score(exemplars.images, known.present)
    varies = ~known.present.all(1)
    return {OVERLAP: strongest(found.iou, 0),
            AREA: strongest(np.where(found.dead[..., None], np.nan, found.auroc)),
            CORRELATION: strongest(scored.point_biserial(exemplars.scores, known.present)),
            # of what all images have whole images say nothing
            WPMI: strongest(np.where(varies, wpmi, np.nan)),
            MILAN: strongest(np.where(varies & ~found.dead[..., None], milan, np.nan))}


def read_model(study: Study, model: str, first: ImageSet, second: ImageSet,
               seed: int = 0) -> Read:
    """Dissect a model on one half of the images, and hold its labels against the other."""
    target = study.target(model)
    pixels, labels = study.batch(first, model)
    others, _ = study.batch(second, model)
    known, held = known_concepts(first), known_concepts(second)
    found = dissect(target, pixels, known, labels=labels, resamples=RESAMPLES, seed=seed)
    twin = dissect(random_weights(target, seed), pixels, known, permutations=0,
                   resamples=RESAMPLES, seed=seed)
    exemplars = find_exemplars(target, pixels)
    weights = np.random.default_rng(seed).multinomial(
        len(pixels), np.full(len(pixels), 1 / len(pixels)), RESAMPLES)
    return Read(target, found, twin, exemplars, labels_of(found, exemplars, known),
                dissect(target, others, held, permutations=0), image_scores(target, others),
                held.present, moved(study, target, second), labels.cpu().numpy(),
                detecting_shares(target, pixels, known, found, weights))


def moved(study: Study, target: TargetModel, images: ImageSet) -> Sensitivity | None:
    """What changes the neurons, by a scene of every class; ``None`` of images that cannot be drawn
    again."""
    spec = study.settings["dataset"]
    if spec.get("name") not in PAIRED:
        return None
    _, where = np.unique(images.labels.cpu().numpy(), return_index=True)
    return sensitivity(target, spec, images.ids[torch.from_numpy(where)][:SCENES].tolist())


def few_classes(study: Study, held: ImageSet, count: int, seed: int = 0) -> ImageSet:
    """At most ``count`` images of three classes, none of them in ``held``."""
    pool = study.held_out
    labels, taken = pool.labels.cpu().numpy(), np.isin(pool.ids.numpy(), held.ids.numpy())
    rng = np.random.default_rng(seed)
    chosen = rng.choice(np.unique(labels), FEW, replace=False)
    places = rng.permutation(np.flatnonzero(np.isin(labels, chosen) & ~taken))
    return pool.select(np.sort(places[:count]))


def labels_from(study: Study, model: str,
                images: ImageSet) -> Int64[np.ndarray, "block neuron"]:
    """The labels by overlap that other images give."""
    pixels, _ = study.batch(images, model)
    return strongest(dissect(study.target(model), pixels, known_concepts(images),
                             permutations=0, areas=False).iou, 0)


def beyond_chance(row: Mapping[str, float]) -> str:
    """The verdict of an effect that lies above zero, with its interval, and above what chance gives
    (``chance``); or below zero and below ``against``."""
    if row["low"] > 0 and row["value"] > row["chance"]:
        return "agrees"
    return "contradicts" if row["high"] < 0 and row["value"] < row["against"] else "not shown"


def stacked(reads: Mapping[tuple[str, str], Read],
            rows: Callable[[Read], pd.DataFrame | dict]) -> pd.DataFrame:
    """``rows(read)`` of every model below one another, with ``data`` and ``model``, and ``images``
    and ``held``, how many images labels are from and are held against."""
    tables = []
    for (data, model), read in reads.items():
        own = rows(read)
        own = pd.DataFrame([own]) if isinstance(own, dict) else own
        tables.append(own.assign(data=data, model=model, images=read.found.images,
                                 held=read.held.images))
    tables = [table for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
