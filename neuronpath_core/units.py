"""What the layers of a path consist of: single neurons, or units of several neighbouring ones that
move together, such as heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


class PathUnits:
    """The layers of a path by their units.

    Attributes:
        layer_names: of each layer, for messages and tables.
        layer_neurons: units of each layer; n_neurons: of the largest.
        widths: neighbouring neurons that are one unit of a layer; 1 where a unit is a neuron.
    """

    layer_names: list[str]
    layer_neurons: list[int]
    widths: list[int]
    n_neurons: int

    def members(self, layer: int,
                units: Int64[Tensor, "*batch rank"]) -> Int64[Tensor, "*batch member"]:
        """The neurons that units of a layer consist of, in their order."""
        width = self.widths[layer]
        return units if width == 1 else (units[..., None] * width
                                         + torch.arange(width, device=units.device)).flatten(-2)

    def by_unit(self, layer: int,
                values: Float[Tensor, "*batch neuron"]) -> Float[Tensor, "*batch unit"]:
        """Values of a layer's neurons, summed over those of each unit."""
        width = self.widths[layer]
        return values if width == 1 else values.unflatten(-1, (-1, width)).sum(-1)

    def as_units(self, layer: int, slopes: Float[Tensor, "*batch neuron"],
                 clean: Float[Tensor, "*batch neuron"]) -> tuple[Tensor, Tensor]:
        """Gradients and clean values by unit: of one neuron its own; several move by a common
        factor, whose clean value is 1."""
        if self.widths[layer] == 1:
            return slopes, clean
        moved = self.by_unit(layer, slopes * clean)
        return moved, torch.ones_like(moved)

    def unit_sizes(self, layer: int,
                   values: Float[Tensor, "*batch neuron"]) -> Float[Tensor, "*batch unit"]:
        """How active the units of a layer are: a neuron's own value, of several the Euclidean norm.
        """
        width = self.widths[layer]
        return values if width == 1 else values.unflatten(-1, (-1, width)).norm(dim=-1)

    def stacked(self, values: Sequence[Float[Tensor, "batch *rest unit"]]) -> Float[
            Tensor, "batch layer *rest unit"]:
        """Values of every layer's units side by side; a layer with fewer units than the largest one
        ends in zeros."""
        return torch.stack([F.pad(value, (0, self.n_neurons - value.shape[-1]))
                            for value in values], 1)
