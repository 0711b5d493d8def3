"""Whether what explanations name moves their neurons."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.explanations.measured import Read, interval
from neuronpath_core.vlm.explained import KINDS
from neuronpath_core.vlm.explained_causes import Moved, effect_rows
from neuronpath_core.vlm.explained_neurons import RAW, TOP


def cause_rows(read: Read, found: Moved, seed: int = 0) -> pd.DataFrame:
    """For each type, of explanations from top samples and of those from raw images: how far what
    they name moves the neuron beyond what explanations of other neurons name, ``value, low, high``,
    ``own`` and ``swapped``, in standard deviations of the neuron, ``neurons`` whose explanation
    names something that can be changed, and ``asked``, of how many."""
    rows = []
    for source in (TOP, RAW):
        table = effect_rows(read.chosen, read.said[source], found, seed)
        for kind in KINDS:
            own = table[table["kind"] == kind]
            if len(own):
                rows.append({
                    "kind": kind, "explained": source,
                    **interval(own.assign(gap=own["own"] - own["swapped"]), "gap", seed),
                    "own": own["own"].mean(), "swapped": own["swapped"].mean(),
                    "asked": int((read.chosen.neurons["kind"] == kind).sum())})
    return pd.DataFrame(rows)
