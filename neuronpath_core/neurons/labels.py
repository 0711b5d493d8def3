"""Labels of neurons: which concept of a list names best what excites them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from neuronpath_core.neurons.exemplars import NeuronExemplars


@dataclass(frozen=True)
class Label:
    """What a neuron is called.

    Attributes:
        text: the label.
        score: by the labeler's own measure; larger fits better.
        alternatives: the next ones with their scores, the best first.
    """

    text: str
    score: float
    alternatives: tuple[tuple[str, float], ...] = ()


class Labeler(Protocol):
    """Whatever names a neuron after its exemplars."""

    def label(self, exemplars: NeuronExemplars) -> Label:
        """The label of a neuron."""
        ...
