"""The explainers on neurons whose meaning is known, before anything is said of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from neuronpath_core.chapters.explanations.measured import Shown
from neuronpath_core.vlm.explained import KINDS, Explanation, Record, records_of
from neuronpath_core.vlm.explained_neurons import EXPLAINED, SCORED
from neuronpath_core.vlm.explanation_scores import score
from neuronpath_core.vlm.offline_explainer import SEES, OfflineExplainer
from neuronpath_core.vlm.offline_simulators import offline
from neuronpath_core.vlm.synthetic_neurons import Plant, clean_values, planted_records, plants

COUNT, SCENES = 24, 400  # neurons of each row, and scenes that they see at most
SHAPES = {"one": "one concept", "or": "one or the other", "and": "both at once"}
# noise, of the largest value, and share of the tokens at which a neuron stays silent
NOISY = {"clean": (0.0, 0.0), "noisy": (0.1, 0.2), "very noisy": (0.3, 0.5)}


def is_found(said: Explanation, plant: Plant) -> bool:
    """Whether an explanation is the planted one, concept by concept."""
    return set(said.concepts) == set(plant.truth.concepts) and (
        dict(said.joins) == dict(plant.truth.joins))


def planted_rows(seen: Shown, count: int = COUNT, seed: int = 0) -> pd.DataFrame:
    """For synthetic neurons of every type, meaning and noise, and for every way to see: ``found``,
    the share whose planted meaning is recovered whole; ``part``, the share of which at least one
    planted concept is; ``score`` of the explanation, ``truth`` of the planted one, and ``swapped``,
    of the explanation of another, on samples that had no part."""
    seen = replace(seen, samples=seen.samples[:SCENES])
    rows = []
    for kind in KINDS:
        for shape, words in SHAPES.items():
            if shape == "and" and kind != "visual":
                continue
            made = plants(count, kind, shape, seed)
            clean = clean_values(made, seen.samples, seen.patterns)
            for noise, settings in NOISY.items():
                rows += [{"kind": kind, "meaning": words, "noise": noise, **row}
                         for row in _rows(made, clean, settings, seen, seed)]
    return pd.DataFrame(rows)


def _rows(made: Sequence[Plant], clean: np.ndarray, settings: tuple[float, float], seen: Shown,
          seed: int) -> list[dict]:
    records = planted_records(made, seen.samples, *settings, seed=seed, patterns=seen.patterns,
                              clean=clean)
    own, held = ([records_of(records, seen.samples, neuron, slots) for neuron in range(len(made))]
                 for slots in (EXPLAINED, SCORED))
    simulator = offline(patterns=seen.patterns)

    def mean_score(said: Sequence[Explanation]) -> float:
        return float(np.mean([_score(each, rows, plant, simulator) for each, rows, plant in
                              zip(said, held, made, strict=True)]))

    truth = mean_score([plant.truth for plant in made])
    found = []
    for sees in SEES:
        explainer = OfflineExplainer(sees, seen.rates, patterns=seen.patterns)
        said = [explainer.explain(rows, plant.kind) for rows, plant in zip(own, made, strict=True)]
        found.append({
            "sees": sees, "neurons": len(made),
            "found": np.mean([is_found(*pair) for pair in zip(said, made, strict=True)]),
            "part": np.mean([bool({*each.concepts} & {*plant.truth.concepts})
                             for each, plant in zip(said, made, strict=True)]),
            "score": mean_score(said), "truth": truth,
            "swapped": mean_score([*said[1:], *said[:1]])})
    return found


def _score(said: Explanation, rows: Sequence[Record], plant: Plant, simulator) -> float:
    return score(rows, [simulator.simulate(said, row.unseen) for row in rows], plant.kind).value
