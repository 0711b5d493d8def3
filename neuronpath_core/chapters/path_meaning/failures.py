"""Whether the paths of images that a model gets wrong mean something else (J8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import from_numpy

from neuronpath_core.chapters.path_meaning import detects, writes
from neuronpath_core.chapters.path_meaning.measured import Case, case_of, compared
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.settings import RECOMMENDED
from neuronpath_core.stats.intervals import interval_row, stratified_row
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

WRONG, RIGHT = "wrong", "right"
TRUE, GIVEN = "true class", "predicted class"
MOST, FEWEST = 16, 4  # images of each kind
SHARED = "blocks with the same neuron"


def kinds(probabilities: Float[np.ndarray, "image class"], labels: Int64[np.ndarray, "image"],
          most: int = MOST) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images that the model gets wrong and as many that it gets right, spread evenly over those
    that there are: by kind their positions and the class that their path is compared with.

    Of a wrong image that is the predicted class, of a right one the second most probable, so that
    both have the path of the label beside that of its strongest rival.
    """
    order = np.argsort(-probabilities, 1, kind="stable")
    wrong = order[:, 0] != labels
    rival = np.where(wrong, order[:, 0], order[:, 1])
    count = min(most, int(wrong.sum()), int((~wrong).sum()))
    found = {}
    for name, own in ((WRONG, wrong), (RIGHT, ~wrong)):
        places = np.flatnonzero(own)
        chosen = places[np.linspace(0, max(0, len(places) - 1), count).round().astype(int)]
        found[name] = chosen, rival[chosen]
    return found


def failure_cases(study: Study, model: str, images: ImageSet,
                  most: int = MOST) -> dict[tuple[str, str], Case]:
    """Cases of wrong and right images with the recommended paths of the true class and of its
    rival, by kind and class; none where fewer than four images are wrong."""
    found = kinds(study.probabilities(model, images), images.labels.numpy(), most)
    if len(found[WRONG][0]) < FEWEST:
        return {}
    cases = {}
    for kind, (places, rival) in found.items():
        own = images.select(places)
        for name, chosen in ((TRUE, own), (GIVEN, own.relabelled(from_numpy(rival)))):
            cases[kind, name] = case_of(study, model, chosen, (RECOMMENDED,))
    return cases


def properties(case: Case, found: detects.Detects | None = None
               ) -> dict[str, Float[np.ndarray, "image"]]:
    """J1 to J3 of each image's path minus matched neurons, mean over blocks."""
    tables = {writes.WRITES: case.of_label(case.aligned),
              writes.KEY: case.of_label(writes.key_neurons(case)),
              writes.USED: writes.used(case)}
    if found is not None:
        tables |= {name: found.of_classes(name, case.labels) for name in detects.DECIDING}
    return {name: np.nanmean(compared(case, RECOMMENDED, table), 1)
            for name, table in tables.items()}


def failure_rows(cases: Mapping[tuple[str, str], Case], found: detects.Detects | None = None,
                 seed: int = 0) -> pd.DataFrame:
    """``measure, label, value, low, high, wrong, right, images``: a property of right images' paths
    minus that of wrong ones', for the path of the true class and of its rival; and the share of
    blocks in which the two paths of an image have the same neuron.  Intervals resample the images
    of each kind."""
    if not cases:
        return pd.DataFrame(columns=["measure", "label", "value", "low", "high", WRONG, RIGHT,
                                     "images"])
    own = {key: properties(case, found) for key, case in cases.items()}
    rows = [_difference(measure, label, own[RIGHT, label][measure], own[WRONG, label][measure],
                        seed)
            for label in (TRUE, GIVEN) for measure in own[WRONG, TRUE]]
    shared = {kind: (cases[kind, TRUE].paths[RECOMMENDED]
                     == cases[kind, GIVEN].paths[RECOMMENDED]).mean(1) for kind in (WRONG, RIGHT)}
    rows.append(_difference(SHARED, "both", shared[RIGHT], shared[WRONG], seed))
    return pd.DataFrame(rows)


def rival_rows(cases: Mapping[tuple[str, str], Case], seed: int = 0) -> pd.DataFrame:
    """Of wrong images, whether the path of the predicted class writes it more than the path of the
    true class writes that: ``measure, value, low, high, images``, paired over images."""
    if not cases:
        return pd.DataFrame(columns=["measure", "value", "low", "high", "images"])
    given, true = (properties(cases[WRONG, label]) for label in (GIVEN, TRUE))
    return pd.DataFrame([{"measure": name, "images": len(true[name]),
                          **interval_row(given[name] - true[name], seed=seed)}
                         for name in (writes.WRITES, writes.KEY)])


def _difference(measure: str, label: str, right: np.ndarray, wrong: np.ndarray,
                seed: int) -> dict:
    return {"measure": measure, "label": label, **stratified_row((right, wrong), (1, -1), seed),
            RIGHT: right.mean(), WRONG: wrong.mean(), "images": len(wrong)}
