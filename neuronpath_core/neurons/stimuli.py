r"""Images that drive neurons: stimulative images (Allert et al., 2024, sections 2.4 and 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.neurons.spectrum import Statistics
    from neuronpath_core.target import TargetModel

At = Literal["pre", "post"]
Tokens = Literal["all", "patch", "cls"]
Weights = Literal["equal", "score", "softmax"]
Parameterisation = Literal["fourier", "magnitude"]
# neurons (block, neuron), counted from 0, or the same with a score each: a class profile
Objective = Sequence[tuple[int, int]] | Mapping[tuple[int, int], float]


@dataclass(frozen=True)
class Stimuli:
    """Images that drive neurons.

    Attributes:
        images: as the model sees them, one an objective (the first copy).
        copies: all of them; more than one where they were asked for.
        history: what was maximised, at each step, mean over copies.
        start: the images that the optimisation began with.
    """

    images: Float[Tensor, "objective channel height width"]
    copies: Float[Tensor, "objective copy channel height width"]
    history: Float[Tensor, "objective step"]
    start: Float[Tensor, "channel height width"]


def stimulate(target: TargetModel, objectives: Sequence[Objective], *, steps: int = 200,
              at: At = "pre", tokens: Tokens = "all", weights: Weights = "equal",
              diversity: float = 0.0, copies: int = 1,
              transforms: Callable | None | Literal["robust"] = "robust",
              parameterisation: Parameterisation = "fourier",
              statistics: Statistics, rate: float = 0.05, seed: int = 0) -> Stimuli:
    """Images that drive neurons; all objectives at once, a batch of one the same as alone."""
    raise NotImplementedError
