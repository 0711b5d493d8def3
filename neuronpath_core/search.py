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
  product of ``fc2`` with the gradient of the stream, and choosing a neuron moves the stream by a multiple of its column.

The slow procedure is in the tests, as the twin that must agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from neuronpath_core.attribution import forward_mode, images_at_once, select_neurons, stream_gradient, top_neurons
from neuronpath_core.neurons import TargetModel, activation_gradients, clamped, reading

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Search = Literal["joint", "literal"]
SEARCHES = ("joint", "literal")


class _Prefix:
    """The scaled copies of a chunk of images, carried from block to block along the paths chosen so far.

    ``stream`` is ``(batch * steps, token, embed)``, image-major.
    """

    def __init__(self, target: TargetModel, images: Tensor, steps: int):
        self.target, self.batch, self.steps = target, len(images), steps
        with torch.no_grad(), reading(target) as store:
            embedded = target.embed(images)
            first = target.run(embedded, 0, 1)
            target.run(first, 1, target.n_blocks)
        self.clean = [store[block] for block in range(target.n_blocks)]
        # before anything is scaled all copies of an image are the image itself
        self.stream = first.repeat_interleave(steps, 0)

    def _padded(self, scoped: Tensor) -> Tensor:
        """``(batch, steps, scope token, embed)`` as an increment of the whole stream."""
        scoped = scoped.flatten(0, 1)
        stop = self.target.tokens.start + scoped.shape[1]
        return torch.nn.functional.pad(scoped, (0, 0, self.target.tokens.start, self.stream.shape[1] - stop))

    def _held(self, block: int) -> dict[int, Tensor]:
        return {block: self.clean[block].repeat_interleave(self.steps, 0)}


class _TangentPrefix(_Prefix):
    """Class-token scope: the derivative along the path neurons is carried forward with the stream."""

    tangent: Tensor | None = None

    def advance(self, block: int) -> None:
        """Through a block whose scope is clamped clean."""
        with torch.no_grad(), forward_mode(), clamped(self.target, self._held(block)):
            dual = self.target.run(forward_ad.make_dual(self.stream, self.tangent), block, block + 1)
            self.stream, self.tangent = forward_ad.unpack_dual(dual)

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


class _GraphPrefix(_Prefix):
    """Patch scope: the gradient along the path neurons is needed at every token, so the stream keeps its graph."""

    def __init__(self, target: TargetModel, images: Tensor, steps: int):
        super().__init__(target, images, steps)
        self.shift = torch.zeros(self.batch, steps, self.clean[0].shape[1], dtype=images.dtype, device=images.device, requires_grad=True)

    def advance(self, block: int) -> None:
        """Through a block whose scope is clamped clean."""
        with clamped(self.target, self._held(block)):
            self.stream = self.target.run(self.stream, block, block + 1)

    def write(self, change: Tensor, slope: Tensor) -> None:
        """Move the scope's stream by ``change``, which grows by ``slope`` per unit of the path neurons."""
        self.stream = self.stream + self._padded(change + self.shift[..., None] * slope)

    def path_gradient(self, gradient: Tensor) -> Tensor:
        """``(batch, steps, scope token)``: the gradient along the path neurons, given that of the stream."""
        if not self.stream.requires_grad:
            return torch.zeros_like(self.shift)
        return torch.autograd.grad(self.stream, self.shift, gradient, retain_graph=True)[0]


def search_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    nodes: Float[Tensor, "step"],
    weights: Float[Tensor, "step"],
    top: int = 1,
    search: Search = "joint",
) -> tuple[Int64[Tensor, "batch layer rank"], Float[Tensor, "batch"]]:
    r"""Neuron paths by layer-progressive search, and their Joint Attribution Score.

    ``search="joint"`` is what the published code does: at block l all neurons are scaled together and

    .. math::

        s_i = \Big[\sum_k q_k \Big(\frac{\partial F}{\partial w^l_i} + \sum_{j<l} \frac{\partial F}{\partial w^j_{p_j}}\Big)\Big]
        \Big(\bar w^l_i + \sum_{j<l} \bar w^j_{p_j}\Big)

    ranks them.  ``search="literal"`` is Algorithm 1: each candidate is scaled alone, at n times the cost.  Blocks before l
    are clamped clean except for their chosen neurons, blocks after l run natively.

    Args:
        target: the model.
        images, labels: a validated batch.
        nodes, weights: a quadrature rule on [0, 1], in the images' dtype and on their device.
        top: neurons kept per block, best first; all of them are scaled in later blocks.
        search: ``"joint"`` or ``"literal"``.

    Returns:
        int64 ``(batch, layer, top)`` and ``(batch,)``.
    """
    parts = []
    with activation_gradients(target):
        for chosen in torch.arange(len(images), device=images.device).split(images_at_once(target, len(nodes))):
            parts.append(_search_chunk(target, images[chosen], labels[chosen], nodes, weights, top, search))
    neurons, scores = zip(*parts, strict=True)
    return torch.cat(neurons), torch.cat(scores)


def _search_chunk(target, images, labels, nodes, weights, top, search):
    prefix = (_TangentPrefix if target.scope == "cls" else _GraphPrefix)(target, images, len(nodes))
    rank_block = {"joint": _joint_scores, "literal": _literal_scores}[search]
    total = torch.zeros_like(prefix.clean[0][..., 0])
    neurons, fade = [], (nodes - 1)[:, None, None]
    for block in range(target.n_blocks):
        if block > 0:
            prefix.advance(block)
        clean, vectors = prefix.clean[block], target.value_vectors(block)
        scores = rank_block(prefix, labels, block, vectors, fade, weights, total)
        chosen = top_neurons(scores, top)
        own = select_neurons(clean, chosen)
        total = total + own.sum(-1)
        prefix.write(fade * (own @ vectors[chosen])[:, None], vectors[chosen].sum(1)[:, None, None])
        neurons.append(chosen)
    gradient = stream_gradient(target, prefix.stream, labels.repeat_interleave(len(nodes)), target.n_blocks)
    along = (prefix.path_gradient(gradient) * weights[:, None]).sum(1)
    return torch.stack(neurons, 1), (total * along).mean(1)


def _joint_scores(prefix, labels, block, vectors, fade, weights, total):
    """``(batch, neuron)``: the joint relaxation, all neurons of the block scaled together."""
    clean = prefix.clean[block]
    stream = prefix.stream.detach() + prefix._padded(fade * (clean @ vectors)[:, None])
    gradient = stream_gradient(prefix.target, stream, labels.repeat_interleave(prefix.steps), block + 1)
    along = (prefix.path_gradient(gradient) * weights[:, None]).sum(1)
    scoped = gradient[:, prefix.target.tokens].unflatten(0, (prefix.batch, prefix.steps))
    slope = (scoped * weights[:, None, None]).sum(1) @ vectors.T
    return ((slope + along[..., None]) * (clean + total[..., None])).sum(1)


def _literal_scores(prefix, labels, block, vectors, fade, weights, total):
    """``(batch, neuron)``: Algorithm 1, each candidate scaled alone, as many at once as one chunk holds."""
    target, clean, steps = prefix.target, prefix.clean[block], prefix.steps
    at_once = max(1, images_at_once(target, prefix.batch * steps))
    copied, scores = labels.repeat_interleave(steps), []
    for candidates in torch.arange(target.n_neurons, device=vectors.device).split(at_once):
        written = clean[..., candidates, None] * vectors[candidates]  # (batch, scope token, candidate, embed)
        streams = torch.stack([prefix.stream.detach() + prefix._padded(fade * written[:, None, :, i]) for i in range(len(candidates))])
        gradients = stream_gradient(target, streams.flatten(0, 1), copied.repeat(len(candidates)), block + 1).unflatten(0, (len(candidates), -1))
        for candidate, gradient in zip(candidates, gradients, strict=True):
            scoped = gradient[:, target.tokens].unflatten(0, (prefix.batch, steps)) @ vectors[candidate]
            slope = ((scoped + prefix.path_gradient(gradient)) * weights[:, None]).sum(1)
            scores.append((slope * (clean[..., candidate] + total)).sum(1))
    return torch.stack(scores, 1)
