"""The concepts that fit one neuron best, with what chance and mere places give: for its card."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuronpath_core.neurons.dissection import LEAST_IOU, Dissection
from neuronpath_core.support.text import shown


@dataclass(frozen=True)
class Match:
    """How well a concept fits a neuron.

    Attributes:
        name, kind: of the concept.
        iou, auroc: as in :class:`~neuronpath_core.neurons.dissection.Dissection`.
        high, p: 95 % quantile of the IoU with the masks of other images, and the p-value of the
            same permutations; ``nan`` if none were drawn.
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


def best_concepts(found: Dissection, block: int, neuron: int, count: int = 3,
                  null: str = "") -> tuple[Match, ...]:
    """The concepts that fit a neuron best by IoU, the best first; none of a neuron that is dead or
    whose mask is empty.

    Args:
        found: of :func:`~neuronpath_core.neurons.dissection.dissect`.
        block, neuron: from 0.
        count: at most so many; concepts that the mask does not touch are left out.
        null: of ``found.nulls``; by default the first, masks of the same class if labels were
            given.

    Raises:
        ValueError: a block or neuron that is not there, a count below 1, or an unknown null.
    """
    for name, value, size in (("block", block, found.iou.shape[0]),
                              ("neuron", neuron, found.iou.shape[1])):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not (
                0 <= value < size):
            raise ValueError(f"a {name} must be a whole number in 0..{size - 1}, got "
                             f"{shown(value)}")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count cannot be {shown(count)}; accepted: a whole number of at least 1")
    if null and null not in found.nulls:
        raise ValueError(f"no permutations {shown(null)} of the masks; accepted: "
                         f"{', '.join(found.nulls) or 'none, for none were drawn'}")
    chance = found.nulls.get(null or next(iter(found.nulls), ""))
    own = found.iou[block, neuron]
    place = int(found.place_iou[block, neuron].argmax())
    order = np.argsort(-own, kind="stable")[:count]
    return tuple(_match(found, chance, block, neuron, int(concept), place)
                 for concept in order if own[concept] > 0)


def _match(found: Dissection, chance, block: int, neuron: int, concept: int, place: int) -> Match:
    at = (block, neuron, concept)
    high, p = (float("nan"),) * 2 if chance is None else (float(chance.high[at]),
                                                          float(chance.p[at]))
    iou = float(found.iou[at])
    return Match(found.names[concept], found.kinds[concept], iou, float(found.auroc[at]), high, p,
                 found.places[place], float(found.place_iou[block, neuron, place]),
                 iou > LEAST_IOU and iou > high)
