r"""Layer-progressive search for the path with the largest Joint Attribution Score (Sec. 3.3), in its fast exact form.

At block :math:`l` the published procedure runs the whole model on m scaled copies of the image and one backward per
earlier block.  The same numbers come from far less work:

* *prefix*: the copies' residual stream after block :math:`l-1` is carried along; no block is run again before
  the one that is searched;
* *tangent* (class token): :math:`\sum_{j<l} \partial F/\partial w^j_{p_j} = \langle \partial F/\partial h, \dot h\rangle`
  where :math:`\dot h` is the derivative of the carried stream when all path neurons move together (forward mode), so one
  backward through the blocks after :math:`l` serves all terms.  For the patch scope the sum is needed per token, and
  one backward through the carried stream's graph gives it;
* *value vectors*: the stream after a block is affine in the scope's neurons, so a block's n gradients are one
  product of ``fc2`` with the gradient of the stream, and choosing a neuron moves the stream by a multiple of its column
  (so it is for the neurons of an attention half and ``proj``: a *block* is here any layer of a path, see :mod:`neuronpath_core.sites`);
* *last block* for the class token alone, where the model classifies from it.

The integral may be a sum of several: of nodes that do not fit into memory together, and of integrands in different contexts
(multi-fidelity).  The slow procedure is in the tests, as the twin that must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neuronpath_core.attribution import integrated, select_neurons, stream_gradient, top_neurons
from neuronpath_core.contexts import CleanPass, FrozenContext, FullContext
from neuronpath_core.memory import copies_at_once, in_chunks
from neuronpath_core.neurons import TargetModel, activation_gradients

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Search = Literal["joint", "literal", "beam"]
SEARCHES = ("joint", "literal", "beam")
Attribution = Literal["joint", "complete"]


class _Prefix:
    """The scaled copies of a chunk of images, carried from block to block along the paths chosen so far.

    ``stream`` is ``(batch * steps, token, embed)``, image-major.
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
        return torch.nn.functional.pad(scoped, (0, 0, start, self.stream.shape[1] - start - scoped.shape[1]))

    def _pieces(self, held: Tensor, *streams: Tensor) -> list[tuple[Tensor, ...]]:
        """Streams and what is held, split by rows of the batch so that none has more copies than the limit holds."""
        if isinstance(self.context, FrozenContext):  # whose copies belong to their images, and are small
            return [(*streams, held)]
        rows = max(1, copies_at_once(self.context.target) // self.steps)
        return list(zip(*(stream.split(rows * self.steps) for stream in streams), held.split(rows), strict=True))

    def _gradient(self, stream: Tensor, block: int, copies: int = 1) -> Tensor:
        """Of every copy's label probability with respect to the stream before ``block``."""
        labels = self.labels.repeat_interleave(self.steps * copies)
        if isinstance(self.context, FrozenContext):  # whose copies belong to their images, and are small
            return stream_gradient(self.context, stream, labels, block)
        pieces = zip(stream.split(copies_at_once(self.context.target)), labels.split(copies_at_once(self.context.target)), strict=True)
        return torch.cat([stream_gradient(self.context, *piece, block) for piece in pieces])

    def along_path(self, block: int) -> Tensor:
        """``(batch, scope token)``: the integrated gradient along the path neurons, blocks from ``block`` on native."""
        return integrated(self.path_gradient(self._gradient(self.stream, block)), self.weights)

    def joint_slopes(self, block: int, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The joint relaxation, all neurons of the block scaled together: integrated gradients of its neurons
        ``(batch, scope token, neuron)`` and along the path ``(batch, scope token)``."""
        clean = self.context.clean.activations[block]
        stream = self.stream.detach() + self._padded(self.fade * (clean @ vectors)[:, None])
        gradient = self._gradient(stream, block + 1)
        scoped = gradient[:, self.context.tokens].unflatten(0, (self.batch, self.steps))
        along = integrated(self.path_gradient(gradient), self.weights)
        scoped = integrated(scoped, self.weights)
        return scoped @ vectors.T.to(scoped.dtype), along

    def literal_slopes(self, block: int, vectors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Algorithm 1: each candidate scaled alone; integrated gradients of it and along the path, both ``(batch, scope token, candidate)``."""
        target, clean = self.context.target, self.context.clean.activations[block]
        members, width = target.members(block, candidates), target.widths[block]
        written = (clean[..., members, None] * vectors[members]).unflatten(2, (-1, width)).sum(3)  # (batch, scope token, candidate, embed)
        stream = self.stream.detach().unflatten(0, (self.batch, 1, self.steps)).repeat(1, len(candidates), 1, 1, 1)
        scope = slice(self.context.tokens.start, self.context.tokens.start + written.shape[1])
        stream[..., scope, :] += self.fade * written.transpose(1, 2)[:, :, None]
        gradient = self._gradient(stream.flatten(0, 2), block + 1, len(candidates)).unflatten(0, (self.batch, len(candidates), self.steps))
        slopes, along = [], []
        for index, candidate in enumerate(candidates):
            own = gradient[:, index].flatten(0, 1)
            scoped = own[:, self.context.tokens].unflatten(0, (self.batch, self.steps))
            scoped = scoped @ vectors[candidate] if width == 1 else (scoped * written[:, None, :, index]).sum(-1)
            slopes.append(integrated(scoped, self.weights))
            along.append(integrated(self.path_gradient(own), self.weights))
        return torch.stack(slopes, -1), torch.stack(along, -1)


class _TangentPrefix(_Prefix):
    """Class-token scope: the derivative along the path neurons is carried forward with the stream."""

    tangent: Tensor | None = None

    def advance(self, block: int) -> None:
        """Through a block whose scope is clamped clean."""
        held = self.context.clean.activations[block]
        pieces = self._pieces(held, self.stream, self.tangent)
        moved = [self.context.run_tangent(stream, tangent, block, clamp, pooled=True) for stream, tangent, clamp in pieces]
        self.stream, self.tangent = (torch.cat(values) if len(moved) > 1 else values[0] for values in zip(*moved, strict=True))

    def write(self, change: Tensor, slope: Tensor) -> None:
        """Move the scope's stream by ``change``, which grows by ``slope`` per unit of the path neurons."""
        grown = self._padded(slope.expand_as(change))
        self.stream = self.stream + self._padded(change)
        self.tangent = grown if self.tangent is None else self.tangent + grown

    def path_gradient(self, gradient: Tensor) -> Tensor:
        """``(batch, steps, scope token)``: the gradient along the path neurons, given that of the stream."""
        if self.tangent is None:
            return gradient.new_zeros(self.batch, self.steps, 1)
        return (gradient * self.tangent).sum((1, 2)).reshape(self.batch, self.steps, 1)

    def take(self, rows: Tensor) -> _TangentPrefix:
        """The prefix of some of the images, in any order, repeated or not."""
        taken = object.__new__(type(self))
        taken.__dict__.update(self.__dict__, context=self.context.take(rows), labels=self.labels[rows], batch=len(rows))
        for name in ("stream", "tangent"):
            value = getattr(self, name)
            setattr(taken, name, None if value is None else value.unflatten(0, (self.batch, self.steps))[rows].flatten(0, 1))
        return taken


class _GraphPrefix(_Prefix):
    """Patch scope: the gradient along the path neurons is needed at every token, so the stream keeps its graph.

    Args:
        recompute: keep of each block only what enters it, and run it again on the way back.
    """

    def __init__(self, context: FullContext, labels: Tensor, nodes: Tensor, weights: Tensor, recompute: bool = False):
        super().__init__(context, labels, nodes, weights)
        self.recompute, self.writes, self.reached = recompute, [], 0
        first = context.clean.activations[0]
        self.shift = torch.zeros(self.batch, self.steps, first.shape[1], dtype=first.dtype, device=first.device, requires_grad=True)

    def advance(self, block: int) -> None:
        """Through a block whose scope is clamped clean."""
        self.reached, context = block, self.context  # the function must not hold the prefix, whose stream would then never be freed

        def run(stream, held):
            return context.run(stream, block, block + 1, {block: held})
        pieces = self._pieces(context.clean.activations[block], self.stream)
        moved = [checkpoint(run, *piece, use_reentrant=False) if self.recompute else run(*piece) for piece in pieces]
        self.stream = torch.cat(moved) if len(moved) > 1 else moved[0]

    def write(self, change: Tensor, slope: Tensor) -> None:
        """Move the scope's stream by ``change``, which grows by ``slope`` per unit of the path neurons."""
        self.writes.append((change, slope))
        self.stream = self.stream + self._padded(change + self.shift[..., None] * slope)

    def path_gradient(self, gradient: Tensor) -> Tensor:
        """``(batch, steps, scope token)``: the gradient along the path neurons, given that of the stream."""
        if not self.stream.requires_grad:
            return torch.zeros_like(self.shift)
        return torch.autograd.grad(self.stream, self.shift, gradient, retain_graph=True)[0]

    def take(self, rows: Tensor) -> _GraphPrefix:
        """The prefix of some of the images; run anew, because images that share a history would share its gradient."""
        taken = type(self)(self.context.take(rows), self.labels[rows], self.nodes, self.weights, self.recompute)
        for block, (change, slope) in enumerate(self.writes):
            if block > 0:
                taken.advance(block)
            taken.write(change[rows], slope if len(slope) == 1 else slope[rows])
        if self.reached == len(self.writes) > 0:
            taken.advance(self.reached)
        return taken


@dataclass(frozen=True)
class Integrand:
    """A term of the integral: a quadrature rule, and the context in which its integrand is evaluated.

    Attributes:
        nodes, weights: float64 ``(step,)``, on the images' device; weights may be negative.
        frozen: only the class token moves.
    """

    nodes: Float[Tensor, "step"]
    weights: Float[Tensor, "step"]
    frozen: bool = False


def search_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    integral: Sequence[Integrand],
    top: int = 1,
    search: Search = "joint",
    width: int = 4,
    attribution: Attribution = "joint",
) -> tuple[Int64[Tensor, "batch layer rank"], Float[Tensor, "batch"]]:
    r"""Neuron paths by layer-progressive search, and their Joint Attribution Score.

    ``search="joint"`` is what the published code does: at block l all neurons are scaled together and

    .. math::

        s_i = \Big[\sum_k q_k \Big(\frac{\partial F}{\partial w^l_i} + \sum_{j<l} \frac{\partial F}{\partial w^j_{p_j}}\Big)\Big]
        \Big(\bar w^l_i + \sum_{j<l} \bar w^j_{p_j}\Big)

    ranks them.  ``search="literal"`` is Algorithm 1: each candidate is scaled alone, at n times the cost.  Blocks before l
    are clamped clean except for their chosen neurons, blocks after l run natively.  ``search="beam"`` carries the
    ``width`` best partial paths: each proposes its ``width`` best neurons by the joint relaxation, the score of every partial path
    with that neuron alone added decides, and the path with the largest final score is returned.  The joint search's own path is
    always among them, so the score is never below its.

    Args:
        target: the model.
        images, labels: a validated batch.
        integral: the terms of the integral.
        top: neurons kept per block, best first; all of them are scaled in later blocks.  One for ``"beam"``.
        search: ``"joint"``, ``"literal"`` or ``"beam"``.
        width: partial paths that ``"beam"`` keeps.
        attribution: what is maximised: ``"joint"``, or ``"complete"``, the same without the cross terms,
            :math:`\sum_l \bar w^l_{p_l} \int \partial F / \partial w^l_{p_l}`; with all neurons of a block scaled together
            (``"joint"`` search) these rank by :math:`\bar w^l_i \sum_k q_k\, \partial F/\partial w^l_i` alone.

    Returns:
        int64 ``(batch, layer, top)`` and ``(batch,)``: the joint attribution score, or the complete attribution, of the paths.
    """
    hypotheses = width * width if search == "beam" else 1

    def size() -> int:
        return max(1, min(copies_at_once(target, term.frozen) // (len(term.nodes) * hypotheses) for term in integral))

    def compute(chosen: Tensor) -> tuple[Tensor, Tensor]:
        chunk = (_Chunk if attribution == "joint" else _CompleteChunk)(target, images[chosen], labels[chosen], integral, hypotheses)
        return _beam(chunk, width) if search == "beam" else _greedy(chunk, top, search)

    with activation_gradients(target):
        neurons, scores = zip(*in_chunks(target, len(images), size, compute, side_by_side=True), strict=True)
    return torch.cat(neurons), torch.cat(scores)


class _Chunk:
    """Some images and partial paths for them, with the prefixes of all terms of the integral.

    Attributes:
        total: ``(batch, scope token)``, the sum of the path neurons' clean activations.
    """

    def __init__(self, target: TargetModel, images: Tensor, labels: Tensor, integral: Sequence[Integrand], hypotheses: int = 1):
        self.target, clean = target, CleanPass.of(target, images)
        self.clean, self.prefixes = clean, []
        self.total = torch.zeros_like(clean.activations[0][..., 0])
        for term in integral:
            at_once = max(1, copies_at_once(target, term.frozen) // (len(images) * hypotheses))
            context = (FrozenContext if term.frozen else FullContext)(clean)
            for nodes, weights in zip(term.nodes.split(at_once), term.weights.split(at_once), strict=True):
                if target.scope == "cls":
                    self.prefixes.append(_TangentPrefix(context, labels, nodes, weights))
                else:
                    self.prefixes.append(_GraphPrefix(context, labels, nodes, weights, recompute=len(nodes) < len(term.nodes)))

    def take(self, rows: Tensor) -> _Chunk:
        """Some of the partial paths, in any order, repeated or not."""
        taken = object.__new__(type(self))
        taken.target, taken.clean, taken.total = self.target, self.clean.take(rows), self.total[rows]
        taken.prefixes = [prefix.take(rows) for prefix in self.prefixes]
        return taken

    def advance(self, block: int) -> None:
        """Every prefix through a block whose scope is clamped clean."""
        for prefix in self.prefixes:
            prefix.advance(block)

    def joint_scores(self, block: int) -> Tensor:
        """``(batch, neuron)``: the joint relaxation."""
        vectors = self.target.value_vectors(block)
        slopes, along = (sum(values) for values in zip(*(prefix.joint_slopes(block, vectors) for prefix in self.prefixes), strict=True))
        return self._combined(*self.target.as_units(block, slopes, self.clean.activations[block]), along[..., None])

    def literal_scores(self, block: int) -> Tensor:
        """``(batch, neuron)``: Algorithm 1, each candidate scaled alone, as many at once as the memory limit allows."""
        vectors, scores = self.target.value_vectors(block), []
        at_once = min(copies_at_once(self.target, isinstance(prefix.context, FrozenContext)) // (prefix.batch * prefix.steps) for prefix in self.prefixes)
        for candidates in torch.arange(self.target.layer_neurons[block], device=vectors.device).split(max(1, at_once)):
            slopes, along = (sum(values) for values in zip(*(prefix.literal_slopes(block, vectors, candidates) for prefix in self.prefixes), strict=True))
            clean = self.clean.activations[block][..., candidates] if self.target.widths[block] == 1 else torch.ones_like(slopes)
            scores.append(self._combined(slopes, clean, along))
        return torch.cat(scores, 1)

    def _combined(self, slopes: Tensor, clean: Tensor, along: Tensor) -> Tensor:
        """``(batch, neuron)`` scores from integrated gradients of the candidates and along the path, per scope token."""
        return ((slopes + along) * (clean + self.total[..., None])).sum(1)

    def write(self, block: int, neurons: Int64[Tensor, "batch rank"]) -> None:
        """Put neurons of a block on the paths."""
        members = self.target.members(block, neurons)
        own, vectors = select_neurons(self.clean.activations[block], members), self.target.value_vectors(block)[members]
        single = self.target.widths[block] == 1
        self.total = self.total + (own.sum(-1) if single else float(neurons.shape[1]))
        for prefix in self.prefixes:
            # units of several neurons are moved by a common factor
            prefix.write(prefix.fade * (own @ vectors)[:, None], self._unit(own, vectors) if single else (own @ vectors)[:, None])

    def _unit(self, own: Tensor, vectors: Tensor) -> Tensor:
        """What one unit of movement along the path writes: one unit of each of its neurons."""
        return vectors.sum(1)[:, None, None]

    def score(self, block: int) -> Float[Tensor, "batch"]:
        """Joint attribution score of the partial paths, blocks from ``block`` on native."""
        return (self.total * sum(prefix.along_path(block) for prefix in self.prefixes)).mean(1)


class _CompleteChunk(_Chunk):
    """The same without cross terms: each neuron's gradient is multiplied by its own clean value, so that movement along the path
    is counted in multiples of the clean values."""

    def _combined(self, slopes: Tensor, clean: Tensor, along: Tensor) -> Tensor:
        return (slopes * clean + along).sum(1)

    def _unit(self, own: Tensor, vectors: Tensor) -> Tensor:
        return (own @ vectors)[:, None]

    def score(self, block: int) -> Float[Tensor, "batch"]:
        """Complete attribution of the partial paths, blocks from ``block`` on native."""
        return sum(prefix.along_path(block) for prefix in self.prefixes).sum(1)


def _greedy(chunk: _Chunk, top: int, search: Search) -> tuple[Tensor, Tensor]:
    neurons = []
    for block in range(chunk.target.n_blocks):
        if block > 0:
            chunk.advance(block)
        scores = chunk.joint_scores(block) if search == "joint" else chunk.literal_scores(block)
        neurons.append(top_neurons(scores, top))
        chunk.write(block, neurons[-1])
    return torch.stack(neurons, 1), chunk.score(chunk.target.n_blocks)


def _beam(chunk: _Chunk, width: int) -> tuple[Tensor, Tensor]:
    """Hypotheses of one image follow one another, that of the joint search first."""
    images, target = len(chunk.total), chunk.target
    device, held = target.device, 1
    paths = torch.empty(images, 0, dtype=torch.int64, device=device)
    for block in range(target.n_blocks):
        if block > 0:
            chunk.advance(block)
        proposed = top_neurons(chunk.joint_scores(block), min(width, target.n_neurons))
        parents = torch.arange(images * held, device=device).repeat_interleave(proposed.shape[1])
        paths = torch.cat([paths[parents], proposed.reshape(-1, 1)], 1)
        chunk = chunk.take(parents)
        chunk.write(block, paths[:, -1:])
        scores = chunk.score(block + 1).reshape(images, -1)
        # the joint search's own path comes first among the proposals of the first hypothesis, and stays whatever its score
        scores = scores.index_fill(1, torch.zeros(1, dtype=torch.int64, device=device), torch.inf) if block < target.n_blocks - 1 else scores
        held = min(width, scores.shape[1])
        kept = top_neurons(scores, held)
        rows = (kept + torch.arange(images, device=device)[:, None] * scores.shape[1]).flatten()
        chunk, paths = chunk.take(rows), paths[rows]
    best = torch.arange(images, device=device) * held
    return paths[best, :, None], scores.gather(1, kept[:, :1])[:, 0]
