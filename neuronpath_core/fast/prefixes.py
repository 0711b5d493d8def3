"""The scaled copies of images, carried from block to block along the paths chosen so far: what the
search integrates over."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neuronpath_core.fast.contexts import FrozenContext, FullContext
from neuronpath_core.forward import stream_gradient
from neuronpath_core.quadrature import integrated
from neuronpath_core.support.memory import copies_at_once


class Prefix:
    """The scaled copies of a chunk of images, carried from block to block along the paths chosen so
    far.

    ``stream`` is ``(batch * steps, token, embed)``, image-major.  Moving on replaces what a prefix
    holds and changes nothing in place, so that a shallow copy goes its own way.
    """

    def __init__(self, context: FullContext, labels: Tensor, nodes: Tensor, weights: Tensor):
        self.context, self.labels = context, labels
        self.nodes, self.weights = nodes, weights
        self.fade = (nodes - 1).to(context.target.dtype)[:, None, None]
        self.batch, self.steps = len(labels), len(nodes)
        # before anything is scaled all copies of an image are the image itself
        self.stream = context.enter(1, self.steps)

    def _padded(self, scoped: Tensor) -> Tensor:
        """``(batch, steps, scope token, embed)`` as an increment of the whole stream."""
        scoped, start = scoped.flatten(0, 1), self.context.tokens.start
        return torch.nn.functional.pad(scoped,
                                       (0, 0, start, self.stream.shape[1] - start
                                        - scoped.shape[1]))

    def _pieces(self, held: Tensor, *streams: Tensor) -> list[tuple[Tensor, ...]]:
        """Streams and what is held, split by rows of the batch so that none has more copies than
        the limit holds."""
        # whose copies belong to their images, and are small
        if isinstance(self.context, FrozenContext):
            return [(*streams, held)]
        rows = max(1, copies_at_once(self.context.target) // self.steps)
        return list(zip(*(stream.split(rows * self.steps) for stream in streams), held.split(rows),
                        strict=True))

    def _gradient(self, stream: Tensor, block: int, copies: int = 1) -> Tensor:
        """Of every copy's label probability with respect to the stream before ``block``."""
        labels = self.labels.repeat_interleave(self.steps * copies)
        # whose copies belong to their images, and are small
        if isinstance(self.context, FrozenContext):
            return stream_gradient(self.context, stream, labels, block)
        pieces = zip(stream.split(copies_at_once(self.context.target)),
                     labels.split(copies_at_once(self.context.target)), strict=True)
        return torch.cat([stream_gradient(self.context, *piece, block) for piece in pieces])

    def along_path(self, block: int) -> Tensor:
        """``(batch, scope token)``: the integrated gradient along the path neurons, blocks from
        ``block`` on native."""
        return integrated(self.path_gradient(self._gradient(self.stream, block)), self.weights)

    def joint_slopes(self, block: int, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The joint relaxation, all neurons of the block scaled together: integrated gradients of
        its neurons ``(batch, scope token, neuron)`` and along the path ``(batch, scope token)``."""
        height = self.context.clean.heights[block]
        stream = self.stream.detach() + self._padded(self.fade * (height @ vectors)[:, None])
        gradient = self._gradient(stream, block + 1)
        scoped = gradient[:, self.context.tokens].unflatten(0, (self.batch, self.steps))
        along = integrated(self.path_gradient(gradient), self.weights)
        scoped = integrated(scoped, self.weights)
        return scoped @ vectors.T.to(scoped.dtype), along

    def literal_slopes(self, block: int, vectors: Tensor,
                       candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Algorithm 1: each candidate scaled alone; integrated gradients of it and along the path,
        both ``(batch, scope token, candidate)``."""
        target, height = self.context.target, self.context.clean.heights[block]
        width = target.layers[block].width
        members = target.layers[block].members(candidates)
        # (batch, scope token, candidate, embed)
        written = (height[..., members, None] * vectors[members]).unflatten(2, (-1, width)).sum(3)
        stream = self.stream.detach().unflatten(0,
                                                (self.batch, 1,
                                                 self.steps)).repeat(1, len(candidates), 1, 1, 1)
        scope = slice(self.context.tokens.start, self.context.tokens.start + written.shape[1])
        stream[..., scope, :] += self.fade * written.transpose(1, 2)[:, :, None]
        gradient = self._gradient(stream.flatten(0, 2), block + 1,
                                  len(candidates)).unflatten(0,
                                                             (self.batch, len(candidates),
                                                              self.steps))
        slopes, along = [], []
        for index, candidate in enumerate(candidates):
            own = gradient[:, index].flatten(0, 1)
            scoped = own[:, self.context.tokens].unflatten(0, (self.batch, self.steps))
            scoped = scoped @ vectors[candidate] if width == 1 else (
                scoped * written[:, None, :, index]).sum(-1)
            slopes.append(integrated(scoped, self.weights))
            along.append(integrated(self.path_gradient(own), self.weights))
        return torch.stack(slopes, -1), torch.stack(along, -1)


class TangentPrefix(Prefix):
    """Class-token scope: the derivative along the path neurons is carried forward with the stream.
    """

    tangent: Tensor | None = None

    def advance(self, block: int) -> None:
        """Through a block whose scope is clamped clean."""
        held = self.context.clean.activations[block]
        pieces = self._pieces(held, self.stream, self.tangent)
        moved = [self.context.run_tangent(stream, tangent, block, clamp, pooled=True) for stream,
                 tangent, clamp in pieces]
        self.stream, self.tangent = (torch.cat(values) if len(moved) > 1 else values[0]
                                     for values in zip(*moved, strict=True))

    def write(self, change: Tensor, slope: Tensor) -> None:
        """Move the scope's stream by ``change``, which grows by ``slope`` per unit of the path
        neurons."""
        grown = self._padded(slope.expand_as(change))
        self.stream = self.stream + self._padded(change)
        self.tangent = grown if self.tangent is None else self.tangent + grown

    def path_gradient(self, gradient: Tensor) -> Tensor:
        """``(batch, steps, scope token)``: the gradient along the path neurons, given that of the
        stream."""
        if self.tangent is None:
            return gradient.new_zeros(self.batch, self.steps, 1)
        return (gradient * self.tangent).sum((1, 2)).reshape(self.batch, self.steps, 1)

    def take(self, rows: Tensor) -> TangentPrefix:
        """The prefix of some of the images, in any order, repeated or not."""
        taken = object.__new__(type(self))
        taken.__dict__.update(self.__dict__, context=self.context.take(rows),
                              labels=self.labels[rows], batch=len(rows))
        for name in ("stream", "tangent"):
            value = getattr(self, name)
            setattr(taken, name, None if value is None
                    else value.unflatten(0, (self.batch, self.steps))[rows].flatten(0, 1))
        return taken


class GraphPrefix(Prefix):
    """Patch scope: the gradient along the path neurons is needed at every token, so the stream
    keeps its graph.

    Args:
        recompute: keep of each block only what enters it, and run it again on the way back.
    """

    def __init__(self, context: FullContext, labels: Tensor, nodes: Tensor, weights: Tensor,
                 recompute: bool = False):
        super().__init__(context, labels, nodes, weights)
        self.recompute, self.writes, self.reached = recompute, (), 0
        first = context.clean.activations[0]
        self.shift = torch.zeros(self.batch, self.steps, first.shape[1], dtype=first.dtype,
                                 device=first.device, requires_grad=True)

    def advance(self, block: int) -> None:
        """Through a block whose scope is clamped clean."""
        # the function must not hold the prefix, whose stream would then never be freed
        self.reached, context = block, self.context

        def run(stream, held):
            return context.run(stream, block, block + 1, {block: held})
        pieces = self._pieces(context.clean.activations[block], self.stream)
        moved = [checkpoint(run, *piece, use_reentrant=False) if self.recompute else run(*piece)
                 for piece in pieces]
        self.stream = torch.cat(moved) if len(moved) > 1 else moved[0]

    def write(self, change: Tensor, slope: Tensor) -> None:
        """Move the scope's stream by ``change``, which grows by ``slope`` per unit of the path
        neurons."""
        self.writes = (*self.writes, (change, slope))
        self.stream = self.stream + self._padded(change + self.shift[..., None] * slope)

    def path_gradient(self, gradient: Tensor) -> Tensor:
        """``(batch, steps, scope token)``: the gradient along the path neurons, given that of the
        stream."""
        if not self.stream.requires_grad:
            return torch.zeros_like(self.shift)
        return torch.autograd.grad(self.stream, self.shift, gradient, retain_graph=True)[0]

    def take(self, rows: Tensor) -> GraphPrefix:
        """The prefix of some of the images; run anew, because images that share a history would
        share its gradient."""
        taken = type(self)(self.context.take(rows), self.labels[rows], self.nodes, self.weights,
                           self.recompute)
        for block, (change, slope) in enumerate(self.writes):
            if block > 0:
                taken.advance(block)
            taken.write(change[rows], slope if len(slope) == 1 else slope[rows])
        if self.reached == len(self.writes) > 0:
            taken.advance(self.reached)
        return taken
