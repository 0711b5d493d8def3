"""Effects of edges in any model, by calling it as a whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from neuronpath_core.circuits.edge_ends import EdgeEnds
from neuronpath_core.hooks import hooked, neurons_read
from neuronpath_core.target import TargetModel


def by_calls(pairs: EdgeEnds, images, labels, split, exact) -> dict[str, Tensor]:
    """All effects of the model as it is called: one backward pass for each target, and for exact
    effects one pass for each source and one for each pair."""
    target, clean = pairs.target, neurons_read(pairs.target, images)
    lost = [pairs.lost(block, active) for block, active in enumerate(clean)]
    leaves = [torch.zeros_like(value, requires_grad=True) for value in lost]
    found, watched = {"total": pairs.empty()}, {}

    def moving(block: int) -> Callable[[Tensor], Tensor]:
        def function(value):
            # of a checkpointed block the first reading holds
            watched.setdefault(block, pairs.watched(block, value[:, target.tokens]).mean(1))
            return _added(target, value, pairs.sources[:, block], leaves[block])
        return function

    size = target.n_blocks
    with hooked(target, {block: moving(block) for block in range(size)}):
        target(images)
        for block in range(1, size):
            slopes = torch.autograd.grad(watched[block].sum(), leaves[:block], retain_graph=True,
                                         allow_unused=True)
            for earlier, slope in enumerate(slopes):
                found["total"][:, earlier, block] = 0 if slope is None else (
                    slope * lost[earlier]).double().sum(1)
    found["target_activation"] = torch.stack([watched[block].detach().double()
                                              for block in range(size)], 1)
    if exact:
        with torch.no_grad():
            found["exact"], found["exact_probability"] = _replaced_by_calls(
                pairs, images, labels, clean, lost)
    return found


def _replaced_by_calls(pairs, images, labels, clean, lost):
    target, found, probability = pairs.target, pairs.empty(), pairs.empty()

    def shifted(neurons, block, change):
        return {block: lambda value: _added(target, value, neurons[:, block], -change)}

    def label_probability():
        return target(images).double().softmax(-1).gather(1, labels[:, None])[:, 0]

    whole = label_probability()
    for source in range(target.n_blocks - 1):
        with hooked(target, shifted(pairs.sources, source, lost[source])):
            replaced = neurons_read(target, images)
        for block in range(source + 1, target.n_blocks):
            change = pairs.watched(block, clean[block] - replaced[block])
            with hooked(target, shifted(pairs.targets, block, change)):
                probability[:, source, block] = whole - label_probability()
            found[:, source, block] = change.double().mean(1)
    return found, probability


def _added(target: TargetModel, value: Tensor, neurons: Tensor, change: Tensor) -> Tensor:
    """All tokens' activations with ``change`` ``(image, scope token)`` added to one neuron an
    image."""
    start, chosen = target.tokens.start, F.one_hot(neurons, value.shape[2]).to(value)
    moved = torch.zeros_like(value)
    moved[:, start:start + change.shape[1]] = chosen[:, None] * change[..., None]
    return value + moved
