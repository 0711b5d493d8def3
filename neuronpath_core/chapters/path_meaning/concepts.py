"""Paths of the outline and of the fill of one image: how much they share, and whether each is the
path of its own concept (J9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.path_meaning.measured import LIKE, Case, numbers
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.neurons.concept_paths import check_groups, dissociation, grouped
from neuronpath_core.neurons.matched import drawn, matched
from neuronpath_core.paths import find_paths
from neuronpath_core.settings import RECOMMENDED
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

OWN, DEALT = "outline and fill", "classes dealt anew"
Groups = Mapping[str, "Int64[np.ndarray, 'class']"]


@dataclass(frozen=True)
class ConceptPaths:
    """Two concepts' paths of the same images.

    Attributes:
        names: of the concepts.
        neurons: one neuron a block.
        lost: how much of each concept's probability is lost without each path.
    """

    names: tuple[str, ...]
    neurons: Int64[np.ndarray, "path image layer"]
    lost: Float[np.ndarray, "path concept image"]

    def shared(self) -> Float[np.ndarray, "image"]:
        """The share of the blocks in which both paths have the same neuron."""
        return (self.neurons[0] == self.neurons[1]).mean(-1)


def concept_paths(target: TargetModel, pixels: Tensor, labels: Int64[np.ndarray, "image"],
                  groups: Groups, method: str = RECOMMENDED) -> ConceptPaths:
    """The paths of two concepts, found by the probability of each image's own value of it.

    Args:
        target, pixels, labels: the model and a batch with its classes.
        groups: by the name of each of two concepts, the group of every class.
        method: of :func:`~neuronpath_core.paths.find_paths`.
    """
    numbered = {name: check_groups(own, target.n_classes) for name, own in groups.items()}
    found = [find_paths(grouped(target, own), pixels,
                        torch.from_numpy(own[labels]).to(target.device), method).neurons
             for own in numbered.values()]
    neurons = np.stack([each.cpu().numpy() for each in found])
    return ConceptPaths(tuple(numbered), neurons,
                        losses(target, pixels, labels, numbered, neurons))


def losses(target: TargetModel, pixels: Tensor, labels: Int64[np.ndarray, "image"], groups: Groups,
           neurons: Int64[np.ndarray, "path image layer"]
           ) -> Float[np.ndarray, "path concept image"]:
    """How much of the probability of each image's own groups is lost without each path, -1..1."""
    clean = _of_groups(numbers(class_probabilities(target, pixels)), labels, groups)
    return np.stack([clean - _of_groups(numbers(edited_probabilities(
        target, pixels, torch.from_numpy(own).to(target.device), "remove")), labels, groups)
        for own in neurons])


def _of_groups(probabilities: Float[np.ndarray, "image class"],
               labels: Int64[np.ndarray, "image"],
               groups: Groups) -> Float[np.ndarray, "concept image"]:
    return np.stack([(probabilities * (own[None] == own[labels][:, None])).sum(1)
                     for own in groups.values()])


def dealt(groups: Groups, seed: int = 0) -> dict[str, Int64[np.ndarray, "class"]]:
    """The same groupings of classes that change places at random, all by one permutation: as many
    groups of the same sizes, of which each two still share a class, and which mean nothing."""
    classes = len(next(iter(groups.values())))
    order = np.random.default_rng(seed).permutation(classes)
    return {name: np.asarray(own)[order] for name, own in groups.items()}


def concept_tables(case: Case, groups: Groups, seed: int = 0, method: str = RECOMMENDED,
                   draws: int = 1) -> dict[str, ConceptPaths]:
    """The paths of the concepts (``OWN``), of groupings that mean nothing (``DEALT``), and neurons
    matched to the concepts' own paths (``LIKE``)."""
    args = case.target, case.pixels, case.labels
    own = concept_paths(*args, groups, method)
    other = concept_paths(*args, dealt(groups, seed), method)
    alike = np.stack([drawn(matched(path, *case.likeness), seed + number)
                      for number, path in enumerate(own.neurons)])
    return {OWN: own, DEALT: other,
            LIKE: ConceptPaths(own.names, alike, losses(*args, groups, alike))}


def dissociation_rows(found: Mapping[str, ConceptPaths], seed: int = 0) -> pd.DataFrame:
    """``measure, paths, value, low, high, images`` over images: for the concepts' own paths, the
    dealt ones and the matched ones what each concept's own path costs it beyond the other's
    (``"outline"``, ``"fill"``) and their sum (``"both"``), how many blocks share their neuron
    (``"shared"``), and how far the concepts' own paths are beyond the two controls."""
    rows, values = [], {}
    for name, own in found.items():
        apart = dissociation(own.lost)
        values[name] = {own.names[0]: apart["first"], own.names[1]: apart["second"],
                        "both": apart["both"], "shared": own.shared()}
    for measure in values[OWN]:
        rows += [{"measure": measure, "paths": name, **interval_row(own[measure], seed=seed)}
                 for name, own in values.items()]
        rows += [{"measure": measure, "paths": f"beyond {name}",
                  **interval_row(values[OWN][measure] - values[name][measure], seed=seed)}
                 for name in (DEALT, LIKE) if name in values]
    return pd.DataFrame(rows).assign(images=found[OWN].lost.shape[-1])


def loss_rows(found: Mapping[str, ConceptPaths]) -> pd.DataFrame:
    """``paths, removed, probability of, lost``: the mean of each loss of the four."""
    return pd.DataFrame([
        {"paths": name, "removed": f"path of the {own.names[path]}",
         "probability of": f"the {own.names[concept]}", "lost": own.lost[path, concept].mean()}
        for name, own in found.items() for path in range(2) for concept in range(2)])
