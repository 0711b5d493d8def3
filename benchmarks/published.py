"""The published search procedure, transcribed: what the fast one is measured against."""

from __future__ import annotations

import torch
from torch import Tensor

from neuronpath_core.edits import clamped
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.hooks import reading
from neuronpath_core.target import TargetModel


def published_block(target: TargetModel, images: Tensor, labels: Tensor, nodes: Tensor,
                    weights: Tensor, path: list[Tensor]) -> Tensor:
    """The next block's neuron, ``(batch,)``: a clean pass, one forward of all copies, and one
    retained-graph backward per block so far."""
    batch, steps, block = len(images), len(nodes), len(path)
    with torch.no_grad(), reading(target) as clean:
        target(images)

    def own(index: int) -> Tensor:
        return clean[index].gather(2,
                                   path[index][:, None, None].expand(-1, clean[index].shape[1], 1))

    alphas, leaves, held = nodes[None, :, None, None], {}, {}
    for index in range(block):
        leaves[index] = (alphas * own(index)[:, None]).flatten(0, 1).requires_grad_()
        place = path[index].repeat_interleave(steps)[:, None,
                                                     None].expand(-1, leaves[index].shape[1], 1)
        held[index] = clean[index].repeat_interleave(steps, 0).scatter(2, place, leaves[index])
    leaves[block] = held[block] = (alphas * clean[block][:, None]).flatten(0, 1).requires_grad_()
    with activation_gradients(target), clamped(target, held):
        logits = target(images.repeat_interleave(steps, 0))
        objective = logits.softmax(-1).gather(1, labels.repeat_interleave(steps)[:, None]).sum()
        slope, height = 0.0, clean[block]
        for index in range(block + 1):
            gradient, = torch.autograd.grad(objective, leaves[index], retain_graph=True)
            slope = slope + (gradient.unflatten(0, (batch, steps)) * weights[:, None, None]).sum(1)
            height = height + own(index) if index < block else height
    return (slope * height).sum(1).argmax(-1)


def published_paths(target: TargetModel, images: Tensor, labels: Tensor, nodes: Tensor,
                    weights: Tensor) -> Tensor:
    """int64 ``(batch, layer)``, in L forwards of all copies and L(L+1)/2 backwards; the final score
    is not evaluated."""
    path: list[Tensor] = []
    for _ in range(target.n_blocks):
        path.append(published_block(target, images, labels, nodes, weights, path))
    return torch.stack(path, 1)
