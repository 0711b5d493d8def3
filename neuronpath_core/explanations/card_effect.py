"""What is measured of a neuron's effect for its card: the true class's probability with the neuron
alone removed or doubled, over all images and over those whose path goes through it."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuronpath_core.explanations.card_evidence import Evidence
from neuronpath_core.explanations.card_units import Units
from neuronpath_core.metrics import probability_deviation
from neuronpath_core.stats.intervals import interval_row

FACTORS = {"removed": 0.0, "doubled": 2.0}


def effect(units: Units, block: int, neuron: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The change of each image's own probability when the neuron alone is removed or doubled,
    beside neurons of the block that are about as active and write about as much; and the same of
    the images whose path goes through it, where paths are known (``on_paths``)."""
    evidence, images = units.evidence, units.evidence.images
    images.needs_labels()
    if len(images) < 2:
        raise ValueError("an interval needs two images, there is one; accepted: more images")
    neurons = (neuron, *evidence.matches(block, neuron))
    edited = evidence.edited(block, [(each, factor) for factor in FACTORS.values()
                                     for each in neurons])
    edited = edited.reshape(len(FACTORS), len(neurons), *evidence.clean.shape)
    rows = np.arange(len(images))
    moved = edited[..., rows, images.labels] - evidence.clean[rows, images.labels]
    deviations = {name: probability_deviation(evidence.clean, own, images.labels)
                  for name, own in zip(FACTORS, edited[:, 0], strict=True)}
    found: dict[str, Any] = {"images": len(images), "controls": list(neurons[1:])}
    for name, (own, *others) in zip(FACTORS, moved, strict=True):
        controls = np.abs(others).mean(0)
        found[name] = {"probability": interval_row(own, seed=evidence.seed),
                       "deviation": interval_row(deviations[name], seed=evidence.seed),
                       "size": float(np.abs(own).mean()), "control_size": float(controls.mean()),
                       "excess": interval_row(np.abs(own) - controls, seed=evidence.seed)}
    if evidence.paths is not None:
        changes = {name: (own[0], deviations[name])
                   for name, own in zip(FACTORS, moved, strict=True)}
        found["on_paths"] = _on_paths(evidence, block, neuron, changes)
    by_class = [_of_class(units, label, deviations) for label in images.classes]
    found["classes"] = sorted(by_class, key=lambda row: -abs(row["removed"]["value"]))
    return found, {}


def _on_paths(evidence: Evidence, block: int, neuron: int,
              changes: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """``images``, how many images' paths go through the neuron, and what its removal and doubling
    change over them; of no image the number alone."""
    through = (evidence.paths[:, block] == neuron).any(1)
    if not through.any():
        return {"images": 0}
    return {"images": int(through.sum()),
            **{name: {"probability": mean_row(moved[through], evidence.seed),
                      "deviation": mean_row(deviation[through], evidence.seed)}
               for name, (moved, deviation) in changes.items()}}


def _of_class(units: Units, label: int, deviations: dict[str, np.ndarray]) -> dict[str, Any]:
    images, seed = units.evidence.images, units.evidence.seed
    members = images.of_class(label)
    return {"class": label, "name": images.names[label], "images": len(members),
            **{name: mean_row(values[members], seed) for name, values in deviations.items()}}


def mean_row(values: np.ndarray, seed: int) -> dict[str, float | None]:
    """A mean with its interval over images; of one image without."""
    if len(values) < 2:
        return {"value": float(values.mean()), "low": None, "high": None}
    return interval_row(values, seed=seed)
