"""Whether what explanations name moves their neurons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.explanations.measured import Read, interval
from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.study.vlm_rows import Row, stored_rows
from neuronpath_core.vlm.explained import KINDS
from neuronpath_core.vlm.explained_causes import (
    SCENES,
    VALUES,
    Moved,
    effect_rows,
    moved,
    single_scenes,
)
from neuronpath_core.vlm.explained_neurons import RAW, TOP

MODULES = ("neuronpath_core.vlm.explained_causes",)
PART = 4  # scenes of a part
LEAST = 5  # neurons, below which their mean says nothing of others


def stored_moved(study: VlmStudy, name: str, count: int = SCENES) -> Moved:
    """What a model's neurons do in scenes drawn again that none of its records is of: from the
    store, or measured and kept there, a few scenes to a part.

    Args:
        study: whose first scenes, of the records, are left out.
        name: of the model.
        count: scenes of one object.
    """
    model, seed = study.model(name), study.settings["dataset"].get("seed", 0)
    scenes = single_scenes(count, seed=seed, first=study.n_scenes)

    def compute(rows: range) -> Sequence[Row]:
        found = moved(model, scenes[rows.start:rows.stop])
        both = np.stack([found.image, found.text], 1)  # scene, side, value, neuron
        return [(scene.index, 0.0, len(VALUES), own.astype(np.float32).view(np.int32).ravel())
                for scene, own in zip(scenes[rows.start:rows.stop], both, strict=True)]

    asked = {"dataset": study.settings["dataset"], "first": study.n_scenes, "scenes": count}
    table = stored_rows(study.results_folder, "moved", name, model, asked, count, compute, PART,
                        MODULES)
    numbers = np.stack(table["neurons"].to_numpy()).astype(np.int32).view(np.float32)
    both = numbers.reshape(count, 2, len(VALUES), -1)
    return Moved(both[:, 0], both[:, 1])


def cause_rows(read: Read, found: Moved, seed: int = 0) -> pd.DataFrame:
    """For each type, of explanations from top samples and of those from raw images: how far what
    they name moves the neuron beyond what explanations of other neurons name, ``value, low, high``,
    ``own`` and ``swapped``, in standard deviations of the neuron, ``neurons`` whose explanation
    names something that can be changed, and ``asked``, of how many; without values where these are
    fewer than ``LEAST``."""
    rows = []
    for source in (TOP, RAW):
        table = effect_rows(read.chosen, read.said[source], found, seed)
        for kind in KINDS:
            own = table[table["kind"] == kind]
            if len(own):
                count = own["neuron"].nunique()
                own = own if count >= LEAST else own.assign(own=np.nan, swapped=np.nan)
                rows.append({
                    "kind": kind, "explained": source,
                    **interval(own.assign(gap=own["own"] - own["swapped"]), "gap", seed),
                    "own": own["own"].mean(), "swapped": own["swapped"].mean(), "neurons": count,
                    "asked": int((read.chosen.neurons["kind"] == kind).sum())})
    return pd.DataFrame(rows)
