"""What the published choices do: outputs of ``fc2`` in place of neurons, and a fifth of every
image in place of a neuron's own quantile."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neuronpath_core.chapters.dissection.depth import is_specific
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.dissection import (
    LEAST_IOU,
    PUBLISHED_QUANTILE,
    QUANTILE,
    Dissection,
    dissect,
)
from neuronpath_core.neurons.tally import strongest
from neuronpath_core.readings.known_concepts import known_concepts
from neuronpath_core.study.study import Study

PERMUTATIONS = 19  # a mask of a fifth of the image takes forty times as long to deal
MILAN_QUANTILE = 0.99
# what is dissected, at which threshold, and at which level
VARIANTS = {
    "neurons, own 99.5 % quantile": {"quantile": QUANTILE},
    "neurons, own 99 % quantile": {"quantile": MILAN_QUANTILE},
    "neurons, own 99.5 % quantile, by pixels": {"quantile": QUANTILE, "level": "pixel"},
    "neurons, a fifth of every image": {"quantile": PUBLISHED_QUANTILE, "threshold": "image"},
    "outputs, own 99.5 % quantile": {"quantile": QUANTILE, "site": "output"},
    "outputs, a fifth of every image": {"quantile": PUBLISHED_QUANTILE, "threshold": "image",
                                        "site": "output"},
}
PUBLISHED = "outputs, a fifth of every image"
RECOMMENDED = "neurons, own 99.5 % quantile"


def variant_rows(study: Study, model: str, images: ImageSet, seed: int = 0) -> pd.DataFrame:
    """Of every variant: ``over``, the share of units whose largest IoU exceeds 0.04; ``share`` and
    ``dealt``, those that also exceed the 95 % of masks of any image, and how many of dealt masks
    do; ``general``, the share of labels that are no outline, fill, colour or class; ``commonest``,
    the label given most often, with its share; and ``same``, the share of units whose label is that
    of the recommended variant, where they are the same units."""
    pixels, _ = study.batch(images, model)
    known = known_concepts(images)
    found = {name: dissect(study.target(model), pixels, known, seed=seed,
                           permutations=0 if "level" in settings else PERMUTATIONS,
                           areas=False, **settings)
             for name, settings in VARIANTS.items()}
    reference = strongest(found[RECOMMENDED].iou, 0)
    return pd.DataFrame([{"variant": name, **_row(
        each, None if "site" in VARIANTS[name] else reference)} for name, each in found.items()])


def _row(found: Dissection, reference: np.ndarray | None) -> dict[str, object]:
    given = strongest(found.iou, 0)
    named = given[given >= 0]
    counts = np.bincount(named, minlength=len(found.names))
    null = found.nulls.get("any")
    return {"over": (found.iou.max(-1) > LEAST_IOU).mean(),
            "share": found.detects("any").any(-1).mean() if null else np.nan,
            "dealt": null.detecting.sum(1).mean() / given.size if null else np.nan,
            "general": 1 - is_specific(found.kinds)[named].mean(),
            "commonest": f"{found.names[counts.argmax()]} ({100 * counts.max() / len(named):.0f} "
                         "%)",
            "same": np.nan if reference is None else (given == reference).mean()}
