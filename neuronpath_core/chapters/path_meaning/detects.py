"""Whether path neurons detect what makes the class: its outline and its fill, and not the colour
(J3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.path_meaning.measured import Case, effect_rows, numbers
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.dissection import Dissection, dissect
from neuronpath_core.neurons.keys import read_keys
from neuronpath_core.readings.concepts import ConceptSet, concepts
from neuronpath_core.stats.ranks import aurocs
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

DECIDING, IRRELEVANT = ("outline", "fill"), "colour"
BOTH, BEYOND = "both", "both minus colour"
PATCHES, OVERLAP, WHOLE = "patches", "overlap", "images"
# how well a neuron fits a concept, in words
SCORES = {PATCHES: "area under the ROC curve over patches",
          WHOLE: "area under the ROC curve over images",
          OVERLAP: "intersection over union"}


@dataclass(frozen=True)
class Detects:
    """How well every neuron of a model fits every concept, found on other images than those whose
    paths are asked about.

    Attributes:
        found: the dissection.
        taxonomy: the outline and the fill of every class.
        whole: how well the neuron's activation at the tokens at which the path acts, their mean,
            tells images that show a concept from all others: area under the ROC curve.
    """

    found: Dissection
    taxonomy: Mapping[str, Sequence[str]]
    whole: Float[np.ndarray, "layer neuron concept"]

    def score(self, name: str) -> Float[np.ndarray, "layer neuron concept"]:
        """One of ``SCORES``."""
        return {PATCHES: self.found.auroc, OVERLAP: self.found.iou, WHOLE: self.whole}[name]

    def ahead(self, kind: str, score: str = PATCHES
              ) -> dict[str, Float[np.ndarray, "layer neuron"]]:
        """By concept of a kind, how much better each neuron fits it than the kind's others, mean
        over these: zero for a neuron that finds objects of any outline alike."""
        places = [place for place, own in enumerate(self.found.kinds) if own == kind]
        values = self.score(score)[..., places]
        total, count = np.nansum(values, -1), (~np.isnan(values)).sum(-1)
        rest = (total[..., None] - np.nan_to_num(values)) / np.maximum(count[..., None] - 1, 1)
        return {self.found.names[place]: values[..., number] - rest[..., number]
                for number, place in enumerate(places)}

    def of_classes(self, kind: str, labels: Int64[np.ndarray, "image"],
                   score: str = PATCHES) -> Float[np.ndarray, "image layer neuron"]:
        """:meth:`ahead` for each image's own outline or fill, which its class says."""
        table = self.ahead(kind, score)
        return np.stack([table[self.taxonomy[kind][label]] for label in labels])


def detects_of(study: Study, model: str, images: ImageSet) -> Detects:
    """A model's neurons dissected on scenes with their masks."""
    target, (pixels, labels) = study.target(model), study.batch(images, model)
    known = concepts(images)
    found = dissect(target, pixels, known, labels=labels, permutations=0)
    return Detects(found, images.taxonomy, by_image(target, pixels, known))


def by_image(target: TargetModel, pixels: Tensor,
             known: ConceptSet) -> Float[np.ndarray, "layer neuron concept"]:
    """Area under the ROC curve with which each neuron's mean activation at the scope's tokens tells
    images that have a concept from those without; NaN where all images have it."""
    keys = read_keys(target, pixels)
    values = keys.first if target.scope == "cls" else keys.maps.mean(-1)
    return np.stack([aurocs(numbers(own.T), known.present.T) for own in values])


def of_colours(detects: Detects, images: ImageSet,
               score: str = PATCHES) -> Float[np.ndarray, "image layer neuron"]:
    """:meth:`Detects.ahead` for the colour of each image, which no class depends on."""
    table, known = detects.ahead(IRRELEVANT, score), concepts(images)
    names = [name for name, kind in zip(known.names, known.kinds, strict=True)
             if kind == IRRELEVANT]
    present = known.present[[known.names.index(name) for name in names]]
    return np.stack([table[names[place]] for place in present.argmax(0)])


def detection_rows(case: Case, detects: Detects, images: ImageSet, seed: int = 0) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.path_meaning.measured.effect_rows` of how much better a path
    neuron fits the image's own outline, fill and colour than the others of each kind, of the mean
    of the first two (``BOTH``), and of that minus the colour (``BEYOND``): ``score`` besides."""
    tables = []
    for score in SCORES:
        values = {kind: detects.of_classes(kind, case.labels, score) for kind in DECIDING}
        both, colour = np.mean(list(values.values()), 0), of_colours(detects, images, score)
        values |= {BOTH: both, IRRELEVANT: colour, BEYOND: both - colour}
        tables += [effect_rows(case, own, kind, seed).assign(score=score)
                   for kind, own in values.items()]
    return pd.concat(tables, ignore_index=True)
