"""What a score must be held against: an explanation of another neuron, one that says nothing in
particular, a map of places, and the best that could have been said.

A correlation by itself is no evidence: in Xu et al. (2025, Table 2) even explanations from random
samples reach 0.140 on visual neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.vlm.candidates import ANYTHING, CONTENT, Patterns, phrase
from neuronpath_core.vlm.explained import (
    MODALITIES,
    Explanation,
    Kind,
    Record,
    Sample,
    Simulator,
)
from neuronpath_core.vlm.explanation_scores import pearson, score
from neuronpath_core.vlm.offline_explainer import OfflineExplainer
from neuronpath_core.vlm.offline_simulators import HALF

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

SWAPS = 4  # other neurons whose explanations a neuron is held against, at most


def generic(kind: Kind) -> Explanation:
    """What could be said of any neuron of a type: objects, words of content."""
    concepts = tuple(concept for concept in (ANYTHING, CONTENT)
                     if concept.modality in MODALITIES[kind])
    return Explanation("; ".join(map(phrase, concepts)), concepts)


def swapped_with(kinds: Sequence[str], layers: Int64[np.ndarray, "neuron"], seed: int = 0,
                 most: int = SWAPS) -> list[tuple[int, ...]]:
    """For each neuron up to ``most`` others of its type and layer, drawn at random; of its type
    alone where its layer has no other, none where its type has none."""
    rng, kinds = np.random.default_rng(seed), np.asarray(kinds)
    found = []
    for neuron, (kind, layer) in enumerate(zip(kinds, layers, strict=True)):
        alike = np.flatnonzero(kinds == kind)
        alike = alike[alike != neuron]
        near = alike[np.asarray(layers)[alike] == layer]
        pool = near if len(near) else alike
        drawn = rng.choice(pool, min(most, len(pool)), replace=False) if len(pool) else []
        found.append(tuple(int(each) for each in drawn))
    return found


class Places:
    """A simulator that knows nothing but where a neuron fired before: its mean value at each image
    token and at each place of the answer.

    Args:
        records: that it knows; their images have one grid.
    """

    def __init__(self, records: Sequence[Record]):
        length = max(len(record.answer) for record in records)
        seen = [record.values[record.counted("image")] for record in records]
        said = np.full((len(records), length), np.nan)
        for row, record in zip(said, records, strict=True):
            row[:len(record.answer)] = record.values[record.counted("text")]
        self.image = np.mean(seen, 0)
        counts = (~np.isnan(said)).sum(0)
        self.text = np.divide(np.nansum(said, 0), counts, out=np.zeros(length), where=counts > 0)

    def simulate(self, explanation: Explanation, sample: Sample) -> Float[np.ndarray, "token"]:
        """The mean values, whatever the explanation says; 0 at places that no record had."""
        found = np.full(len(sample.roles), np.nan)
        found[sample.counted("image")] = self.image
        words = len(sample.answer)
        found[sample.counted("text")] = np.pad(self.text, (0, max(0, words - len(self.text))))[
            :words]
        return found


def ceiling(records: Sequence[Record], kind: Kind, simulator: Simulator, patterns: Patterns
            ) -> Float[np.ndarray, "sample"]:
    """Each scored sample's correlation with the best that could have been said: of each modality
    the concept of the largest mean correlation on these very samples, or, if better, the two
    concepts that are best together."""
    parts = []
    for modality in MODALITIES[kind]:
        found = []
        for record in records:
            table = patterns.of(record, modality)
            rows = (table >= HALF).astype(float) if modality == "image" else table
            found.append(np.nan_to_num(pearson(
                rows, record.values[record.counted(modality)][None])))
        table = np.stack(found)
        parts.append(table[:, table.mean(0).argmax()])
    single = np.mean(parts, 0)
    said = OfflineExplainer(patterns=patterns).explain(records, kind)
    several = score(records, [simulator.simulate(said, record.unseen) for record in records],
                    kind).parts
    return several if several.mean() > single.mean() else single
