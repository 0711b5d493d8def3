"""Which concept a neuron lights for: its strongest positions held against masks of what an image
shows (network dissection; Bau et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

from neuronpath_core.readings.concepts import ConceptSet

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.target import TargetModel

Level = Literal["patch", "pixel"]
LEVELS = ("patch", "pixel")
QUANTILE = 0.995
LEAST_IOU = 0.04
PERMUTATIONS = 99


@dataclass(frozen=True)
class Null:
    """What masks of other images give, see :func:`dissect`.

    Attributes:
        high: the 95 % quantile over permutations.
        p: ``(1 + permutations with at least the IoU) / (1 + permutations)``.
        best: the largest IoU that any concept reaches in each permutation.
        label: which concept that is.
    """

    high: Float[np.ndarray, "block neuron concept"]
    p: Float[np.ndarray, "block neuron concept"]
    best: Float[np.ndarray, "permutation block neuron"]
    label: Int64[np.ndarray, "permutation block neuron"]


@dataclass(frozen=True)
class Dissection:
    """Neurons held against concepts; blocks and neurons are counted from 0.

    Attributes:
        names, kinds: of the concepts.
        quantile, level: that were asked for.
        iou: intersection over union of a neuron's mask and a concept's, over all images.
        auroc: how well a neuron's value at a patch tells patches that the concept covers by half
            from all others; ``nan`` where there are none of either.
        threshold: of every neuron's mask.
        selected: share of the positions above it; 0 of neurons whose threshold selects nothing.
        density: share of the positions that each concept covers.
        dead: neurons of one value everywhere.
        places: names of the position controls.
        place_iou: IoU of each position control.
        nulls: what masks of other images give, of the same class (``"class"``) and of any
            (``"any"``).
        drawn: the concept of the largest IoU in bootstrap resamples of the images.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    quantile: float
    level: str
    iou: Float[np.ndarray, "block neuron concept"]
    auroc: Float[np.ndarray, "block neuron concept"]
    threshold: Float[np.ndarray, "block neuron"]
    selected: Float[np.ndarray, "block neuron"]
    density: Float[np.ndarray, "concept"]
    dead: Bool[np.ndarray, "block neuron"]
    places: tuple[str, ...]
    place_iou: Float[np.ndarray, "block neuron place"]
    nulls: dict[str, Null]
    drawn: Int64[np.ndarray, "resample block neuron"]


@dataclass(frozen=True)
class Match:
    """How well a concept fits a neuron.

    Attributes:
        name, kind: of the concept.
        iou, auroc: as in :class:`Dissection`.
        high: 95 % quantile of the IoU with the masks of other images (``"class"`` if it is there).
        p: of the same permutations.
        place, place_iou: the position control that fits the neuron best.
        detects: whether the IoU exceeds 0.04 and ``high``.
    """

    name: str
    kind: str
    iou: float
    auroc: float
    high: float
    p: float
    place: str
    place_iou: float
    detects: bool


def dissect(target: TargetModel, images: Float[Tensor, "image channel height width"],
            concepts: ConceptSet, quantile: float = QUANTILE, level: Level = "patch", *,
            labels: Int64[Tensor, "image"] | None = None, permutations: int = PERMUTATIONS,
            resamples: int = 0, seed: int = 0) -> Dissection:
    """Hold every FFN neuron of a model against concepts."""
    raise NotImplementedError


def best_concepts(found: Dissection, block: int, neuron: int,
                  count: int = 3) -> tuple[Match, ...]:
    """The concepts that fit a neuron best by IoU, the best first."""
    raise NotImplementedError
