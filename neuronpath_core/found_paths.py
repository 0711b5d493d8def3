"""What an engine returns: the neurons of paths, their scores, and the steps that they took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.target import TargetModel


@dataclass(frozen=True)
class FoundPaths:
    """Paths of a batch.

    Attributes:
        neurons: int64 ``(batch, layer, rank)``, best first.
        score: ``(batch,)``, see :class:`~neuronpath_core.paths.Paths`.
        steps: int64 ``(batch,)``, of the rule at the last block.
        flat: bool ``(batch, choice)``, which choices were between equal scores alone; ``None`` if
            the scores are not known.
    """

    neurons: Int64[Tensor, "batch layer rank"]
    score: Float[Tensor, "batch"]
    steps: Int64[Tensor, "batch"]
    flat: Bool[Tensor, "batch choice"] | None = None


def wide(target: TargetModel) -> torch.dtype:
    """The type of scores: the model's, at least single precision."""
    return torch.promote_types(target.dtype, torch.float32)
