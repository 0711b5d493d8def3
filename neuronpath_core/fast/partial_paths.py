"""Paths of a chunk of images up to some block: their scores, and those of every neuron that could
be next."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.fast.contexts import FrozenContext, FullContext
from neuronpath_core.fast.prefixes import GraphPrefix, Prefix, TangentPrefix
from neuronpath_core.forward import CleanPass
from neuronpath_core.ranking import select_neurons
from neuronpath_core.support.memory import copies_at_once
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


@dataclass(frozen=True)
class Integrand:
    """A term of the integral: a quadrature rule, and the context in which its integrand is
    evaluated.

    Attributes:
        nodes, weights: float64 ``(step,)``, on the images' device; weights may be negative.
        frozen: only the class token moves.
        first, stop: the blocks at which it is a term, ``first .. stop-1``; ``None`` for all that
            follow, the final score with them.
    """

    nodes: Float[Tensor, "step"]
    weights: Float[Tensor, "step"]
    frozen: bool = False
    first: int = 0
    stop: int | None = None

    def on(self, device: torch.device) -> Integrand:
        """The same with its rule there."""
        return replace(self, nodes=self.nodes.to(device), weights=self.weights.to(device))

    def holds(self, block: int) -> bool:
        """Whether it is a term at a block; of the final score at the number of blocks."""
        return self.first <= block and (self.stop is None or block < self.stop)


class PartialPaths:
    """Some images and partial paths for them, with the prefixes of all terms of the integral.

    Attributes:
        total: ``(batch, scope token)``, the sum of the path neurons' heights, their clean
            activations less the baseline.
    """

    def __init__(self, target: TargetModel, images: Tensor, labels: Tensor,
                 integral: Sequence[Integrand], hypotheses: int = 1,
                 baseline: Tensor | None = None):
        self.target, clean = target, CleanPass.of(target, images, baseline)
        self.clean, self.carried = clean, []
        self.total = torch.zeros_like(clean.activations[0][..., 0])
        for term in integral:
            at_once = max(1, copies_at_once(target, term.frozen) // (len(images) * hypotheses))
            context = (FrozenContext if term.frozen else FullContext)(clean)
            for nodes, weights in zip(term.nodes.split(at_once), term.weights.split(at_once),
                                      strict=True):
                if target.scope == "cls":
                    prefix = TangentPrefix(context, labels, nodes, weights)
                else:
                    prefix = GraphPrefix(context, labels, nodes, weights, recompute=len(nodes)
                                         < len(term.nodes))
                self.carried.append((term, prefix))

    def prefixes(self, block: int) -> list[Prefix]:
        """Of the terms at a block."""
        return [prefix for term, prefix in self.carried if term.holds(block)]

    def take(self, rows: Tensor) -> PartialPaths:
        """Some of the partial paths, in any order, repeated or not."""
        taken = object.__new__(type(self))
        taken.target = self.target
        taken.clean = self.clean.take(rows)
        taken.total = self.total[rows]
        taken.carried = [(term, prefix.take(rows)) for term, prefix in self.carried]
        return taken

    def fork(self) -> PartialPaths:
        """Another that goes its own way from here; what both have so far is shared."""
        forked = copy.copy(self)
        forked.carried = [(term, copy.copy(prefix)) for term, prefix in self.carried]
        return forked

    def advance(self, block: int) -> None:
        """Through a block whose scope is clamped clean; terms that end before it are let go."""
        self.carried = [(term, prefix) for term, prefix in self.carried if term.stop is None
                        or term.stop > block]
        for _, prefix in self.carried:
            prefix.advance(block)

    def joint_scores(self, block: int) -> Tensor:
        """``(batch, neuron)``: the joint relaxation."""
        vectors = self.target.value_vectors(block)
        slopes, along = (sum(values)
                         for values in zip(*(prefix.joint_slopes(block, vectors)
                                             for prefix in self.prefixes(block)), strict=True))
        layer, height = self.target.layers[block], self.clean.heights[block]
        return self._combined(*layer.as_units(slopes, height), along[..., None])

    def literal_scores(self, block: int) -> Tensor:
        """``(batch, neuron)``: Algorithm 1, each candidate scaled alone, as many at once as the
        memory limit allows."""
        vectors, scores, prefixes = self.target.value_vectors(block), [], self.prefixes(block)
        at_once = min(copies_at_once(self.target, isinstance(prefix.context, FrozenContext))
                      // (prefix.batch * prefix.steps) for prefix in prefixes)
        for candidates in torch.arange(self.target.layers[block].units,
                                       device=vectors.device).split(max(1, at_once)):
            slopes, along = (sum(values)
                             for values in zip(*(prefix.literal_slopes(block, vectors, candidates)
                                                 for prefix in prefixes), strict=True))
            single, heights = self.target.layers[block].single, self.clean.heights[block]
            height = heights[..., candidates] if single else torch.ones_like(slopes)
            scores.append(self._combined(slopes, height, along))
        return torch.cat(scores, 1)

    def _combined(self, slopes: Tensor, height: Tensor, along: Tensor) -> Tensor:
        """``(batch, neuron)`` scores from integrated gradients of the candidates and along the
        path, per scope token."""
        return ((slopes + along) * (height + self.total[..., None])).sum(1)

    def write(self, block: int, neurons: Int64[Tensor, "batch rank"]) -> None:
        """Put neurons of a block on the paths."""
        members = self.target.layers[block].members(neurons)
        own = select_neurons(self.clean.heights[block], members)
        vectors = self.target.value_vectors(block)[members]
        single = self.target.layers[block].single
        self.total = self.total + (own.sum(-1) if single else float(neurons.shape[1]))
        for _, prefix in self.carried:
            # units of several neurons are moved by a common factor
            prefix.write(prefix.fade * (own @ vectors)[:, None], self._unit(own, vectors) if single
                         else (own @ vectors)[:, None])

    def _unit(self, own: Tensor, vectors: Tensor) -> Tensor:
        """What one unit of movement along the path writes: one unit of each of its neurons."""
        return vectors.sum(1)[:, None, None]

    def score(self, block: int) -> Float[Tensor, "batch"]:
        """Joint attribution score of the partial paths, blocks from ``block`` on native."""
        return (self.total * sum(prefix.along_path(block) for prefix in self.prefixes(block))).mean(
            1)


class CompletePartialPaths(PartialPaths):
    """The same without cross terms: each neuron's gradient is multiplied by its own height, so that
    movement along the path is counted in multiples of the heights."""

    def _combined(self, slopes: Tensor, height: Tensor, along: Tensor) -> Tensor:
        return (slopes * height + along).sum(1)

    def _unit(self, own: Tensor, vectors: Tensor) -> Tensor:
        return (own @ vectors)[:, None]

    def score(self, block: int) -> Float[Tensor, "batch"]:
        """Complete attribution of the partial paths, blocks from ``block`` on native."""
        return sum(prefix.along_path(block) for prefix in self.prefixes(block)).sum(1)
