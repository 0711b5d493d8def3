"""A defect of the published code is measured on a case, a model with images, by the numbers that
the paper reports of paths.

Rows are tidy: ``data, model, defect, number, unit, item, published, corrected``, the two values of
each image (or class), everything else being equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from neuronpath_core.chapters.effects import path_effects
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.jas import joint_attribution_score
from neuronpath_core.paths import find_paths
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# name of a number: its title, and the statistic over images that is reported of it
NUMBERS = {
    "accuracy": ("accuracy", "mean"),
    "probability": ("probability of the true class", "mean"),
    "score": ("joint attribution score, as reported", "mean"),
    "path_score": ("joint attribution score of the path, computed as corrected", "mean"),
    "removal_accuracy": ("accuracy deviation, path removed", "mean"),
    "enhancement_accuracy": ("accuracy deviation, path enhanced", "mean"),
    "removal_probability": ("probability deviation, path removed", "median"),
    "neurons": ("share of neurons equal to the corrected ones", "mean"),
    "paths": ("share of whole paths equal to the corrected ones", "mean"),
    "pruned_accuracy": ("accuracy, all but the kept neurons zeroed", "mean"),
    "kept": ("neurons kept per block", "mean"),
    "spread": ("probability deviation, path removed: interquartile range", "spread"),
}
SCORE_RULE = {"quadrature": "gauss-legendre", "steps": 4}


def measured(
    target: TargetModel, pictures: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
    rule: Mapping | None = None,
) -> dict[str, np.ndarray]:
    """What the paper reports of paths (Table 1, Fig. 3), one value an image: those of
    :func:`~neuronpath_core.chapters.effects.path_effects`, and ``accuracy``."""
    batch = target, pictures, labels, neurons.to(pictures.device)
    found = path_effects(*batch, joint_attribution_score(*batch, **(rule or SCORE_RULE)))
    return found | {"accuracy": found["correct"].astype(float)}


@dataclass(frozen=True)
class Case:
    """A model of a study and the images that a defect is measured on."""

    study: Study
    model: str
    images: ImageSet

    @property
    def target(self) -> TargetModel:
        """The model."""
        return self.study.target(self.model)

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor]:
        """Images and labels on the model's device."""
        return self.study.batch(self.images, self.model)

    @cached_property
    def corrected(self) -> tuple[Tensor, dict]:
        """The images' paths by the default search, and their numbers."""
        return self.found()

    def found(self, images: ImageSet | None = None, **settings) -> tuple[Tensor, dict]:
        """Paths and their numbers, of other images or by other settings of
        :meth:`~neuronpath_core.study.study.Study.paths`."""
        images = self.images if images is None else images
        neurons = self.study.paths(self.model, images, **settings).neurons
        return neurons, measured(self.target, *self.study.batch(images, self.model), neurons)

    def found_in(self, target: TargetModel, images: ImageSet | None = None) -> tuple[Tensor, dict]:
        """The same of a model that is not the profile's, so that its paths are not stored."""
        pictures, labels = self.study.batch(self.images if images is None else images, self.model)
        neurons = find_paths(target, pictures, labels).neurons
        return neurons, measured(target, pictures, labels, neurons)

    def rows(self, defect: str, items: Sequence, published: Mapping, corrected: Mapping,
             unit: str = "image") -> pd.DataFrame:
        """Tidy rows for the numbers that both have."""
        return pd.concat([pd.DataFrame({
            "data": self.study.profile, "model": self.model, "defect": defect, "number": number,
            "unit": unit, "item": np.asarray(items),
            "published": np.asarray(published[number], float),
            "corrected": np.asarray(corrected[number], float),
        }) for number in NUMBERS if number in published and number in corrected], ignore_index=True)

    def compared(self, defect: str, published: tuple[Tensor, dict],
                 corrected: tuple[Tensor, dict]) -> pd.DataFrame:
        """Tidy rows of two sets of paths with their numbers, and of how far the paths agree; of
        several neurons a block the order does not count."""
        ours, theirs = (found[0].cpu().reshape(len(self.images), self.target.n_blocks, -1)
                        for found in (published, corrected))
        same = (ours[..., :, None] == theirs[..., None, :]).any(-1).double().flatten(1)
        alike = {"neurons": same.mean(1).numpy(), "paths": same.all(1).double().numpy()}
        return self.rows(defect, self.images.ids.numpy(), published[1] | alike,
                         corrected[1] | dict.fromkeys(alike, np.ones(len(same))))
