"""What changes a neuron: the same scene with one attribute changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float

    from neuronpath_core.target import TargetModel


@dataclass(frozen=True)
class Sensitivity:
    """Causal sensitivity s of neurons to concepts.

    Attributes:
        names: of the concepts: values of attributes, and ``object``.
        value: mean over scenes of (a(with) - a(without)) / sd(a).
        pairs: the same of every scene.
    """

    names: tuple[str, ...]
    value: Float[np.ndarray, "block neuron concept"]
    pairs: Float[np.ndarray, "scene block neuron concept"]


def sensitivity(target: TargetModel, dataset: Mapping[str, Any], indices: Sequence[int],
                reduction: str = "max", part: str = "held_out") -> Sensitivity:
    """How much each attribute of a scene moves each neuron."""
    raise NotImplementedError
