"""Which neurons edges join: what is accepted, and by how much a source is moved."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuronpath_core.ranking import select_neurons
from neuronpath_core.target import TargetModel


@dataclass(frozen=True)
class EdgeEnds:
    """Sources and targets of a chunk of images, int64 ``(image, layer)``, and the sources'
    baseline."""

    target: TargetModel
    sources: Tensor
    targets: Tensor
    baseline: Tensor | None

    def lost(self, block: int, active: Tensor) -> Tensor:
        """By how much the source of a block exceeds its baseline, ``(image, scope token)``."""
        value = select_neurons(active, self.sources[:, [block]])[..., 0]
        if self.baseline is None:
            return value
        held = self.baseline[:, block].expand(len(value), -1, -1)
        if held.shape[1] not in (1, value.shape[1]):
            raise ValueError(f"the baseline has {held.shape[1]} tokens, the scope "
                             f"{value.shape[1]}; accepted: equal numbers, or one")
        return value - select_neurons(held, self.sources[:, [block]])[..., 0]

    def watched(self, block: int, active: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """The activations of a block's targets, ``(row, scope token)``, of these images."""
        return select_neurons(active, self.targets[rows, block, None])[..., 0]

    def empty(self) -> Tensor:
        """NaN for every source and target, ``(image, layer, layer)``."""
        size = self.target.n_blocks
        return torch.full((len(self.sources), size, size), torch.nan, dtype=torch.float64,
                          device=self.target.device)


def one_a_block(target: TargetModel, neurons: Tensor, batch: int | None = None) -> Tensor:
    ranked = target.check_neurons(neurons, batch)
    if ranked.shape[2] != 1:
        raise ValueError(f"edges are between single neurons, got {ranked.shape[2]} a block; "
                         "accepted: one neuron a block, as of find_paths without top")
    if target.n_blocks < 2:
        raise ValueError("a path of one block has no edges; accepted: at least two blocks")
    return ranked[..., 0]
