"""Samples of single neurons, as the figure of examples takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from neuronpath_core.chapters.modality.measured import Read
from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.vlm.modality import FULL, normalised
from neuronpath_core.vlm.words import caption

SHOWN = ("visual", "multi-modal", "text")
SAMPLES, WORDS = 4, 3


def pictures(study: VlmStudy, read: Read, chosen: pd.DataFrame, types: Sequence[str] = SHOWN
             ) -> list[tuple[str, list[tuple[Any, Any, str]]]]:
    """Of the first neuron of each type in a table of ``meaning.example_rows``: what it is called,
    and its top samples, each with its pixels, the neuron's values at the patches as shares of its
    maximum, and the words at which it is largest, those above 0."""
    scenes, records, rows = study.scenes(), read.records, []
    for name in types:
        own = chosen[chosen["type"] == name]
        if own.empty:
            continue
        first = own.iloc[0]
        neuron, samples = int(first["number"]), []
        for slot in range(min(SAMPLES, records.top)):
            scene = int(records.samples[neuron, slot])
            level = normalised(records.values[neuron, slot], records.maxima[neuron],
                               "continuous") / FULL
            patches = level[:len(records.visual[scene])][records.visual[scene]]
            side = int(len(patches) ** 0.5)
            said = [word.text for word in caption(scenes[scene])]
            at = level[:len(records.text[scene])][records.text[scene]]
            order = [place for place in np.argsort(-at, kind="stable")[:WORDS] if at[place] > 0]
            samples.append((scenes[scene].pixels, patches.reshape(side, side),
                            ", ".join(said[place] for place in order) or "no word"))
        rows.append((f"{name}\nlayer {first['layer']}, {first['neuron']}", samples))
    return rows
