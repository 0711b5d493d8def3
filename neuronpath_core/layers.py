"""The layers of a path: what one consists of, single neurons or units of several neighbouring ones
that move together, such as heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


class BlockForm(Protocol):
    """A block as functions of the stream that enters it; ``parts`` are the modules it stands for.

    Forms that can hold all tokens but the class token have ``keys_values``, ``frozen`` and
    ``frozen_tangent`` too, as :class:`~neuronpath_core.fast.blocks.PlainBlock` has.
    """

    parts: list[nn.Module]

    def is_of(self, block: nn.Module) -> bool: ...

    def __call__(self, stream: Tensor, held: Tensor | None, only: slice | None) -> Tensor: ...

    def activations(self, stream: Tensor) -> tuple[Tensor, Tensor]: ...

    def tangent(self, stream: Tensor, tangent: Tensor, held: Tensor,
                only: slice | None) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Layer:
    """One layer of a path.

    Attributes:
        name: in words, for messages and tables; blocks count from 1.
        block: from 0.
        half: ``"ffn"`` or ``"attention"``: which of the block's two residual halves it is.
        units: how many there are to choose from.
        width: neighbouring neurons that are one unit; 1 where a unit is a neuron.
    """

    name: str
    block: int
    half: str
    units: int
    width: int = 1

    @property
    def single(self) -> bool:
        """Whether a unit is one neuron."""
        return self.width == 1

    def members(self, units: Int64[Tensor, "*batch rank"]) -> Int64[Tensor, "*batch member"]:
        """The neurons that units consist of, in their order."""
        if self.single:
            return units
        return (units[..., None] * self.width
                + torch.arange(self.width, device=units.device)).flatten(-2)

    def by_unit(self, values: Float[Tensor, "*batch neuron"]) -> Float[Tensor, "*batch unit"]:
        """Values of the layer's neurons, summed over those of each unit."""
        return values if self.single else values.unflatten(-1, (-1, self.width)).sum(-1)

    def as_units(self, slopes: Float[Tensor, "*batch neuron"],
                 clean: Float[Tensor, "*batch neuron"]) -> tuple[Tensor, Tensor]:
        """Gradients and clean values by unit.

        A single neuron has its own. Several neurons move by a common factor, whose clean value is
        1.
        """
        if self.single:
            return slopes, clean
        moved = self.by_unit(slopes * clean)
        return moved, torch.ones_like(moved)

    def sizes(self, values: Float[Tensor, "*batch neuron"]) -> Float[Tensor, "*batch unit"]:
        """How active the units are: the value of a single neuron, the Euclidean norm of several."""
        return values if self.single else values.unflatten(-1, (-1, self.width)).norm(dim=-1)
