"""What a search finds, and how clearly it chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64


@dataclass(frozen=True)
class Found:
    r"""The paths of a batch, and how clearly they were chosen.

    Attributes:
        neurons: int64 ``(batch, layer, rank)``, best first.
        score: ``(batch,)``, the joint attribution score or the complete attribution of the paths.
        gaps: ``(batch, choice)``, of every block :math:`(s_{(r)} - s_{(r+1)}) / \max_i |s_i|`,
            between the last neuron that was taken and the first that was not: what rounding would
            have to bridge to change the choice.  Infinite where every neuron is taken, minus
            infinity where all scores are the same.  For ``"beam"`` there is one for each of its
            choices (proposed neurons, kept partial paths, final scores), between what was kept and
            what was not.
    """

    neurons: Int64[Tensor, "batch layer rank"]
    score: Float[Tensor, "batch"]
    gaps: Float[Tensor, "batch choice"]

    @property
    def gap(self) -> Float[Tensor, "batch"]:
        """The smallest of an image's gaps."""
        return self.gaps.amin(1)

    @property
    def flat(self) -> Bool[Tensor, "batch choice"]:
        """Which choices were between equal scores alone."""
        return self.gaps == -torch.inf

    def take(self, rows: Int64[Tensor, "row"]) -> Found:
        """Of some of the images."""
        return type(self)(*(getattr(self, each.name)[rows] for each in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """The parts of a batch, in order."""
        return cls(*(torch.cat([getattr(part, each.name) for part in parts])
                     for each in fields(cls)))

    def replaced(self, rows: Int64[Tensor, "row"], other: Found) -> Found:
        """With the images at ``rows`` as another search found them, in the finer of both
        precisions."""
        def merged(ours: Tensor, theirs: Tensor) -> Tensor:
            finer = torch.promote_types(ours.dtype, theirs.dtype)
            return ours.to(finer).index_copy(0, rows, theirs.to(finer))
        return type(self)(*(merged(getattr(self, each.name), getattr(other, each.name))
                            for each in fields(self)))
