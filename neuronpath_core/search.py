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
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.attribution import top_neurons
from neuronpath_core.memory import copies_at_once, in_chunks
from neuronpath_core.neurons import TargetModel, activation_gradients
from neuronpath_core.partial_paths import CompletePartialPaths, Integrand, PartialPaths

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Search = Literal["joint", "literal", "beam"]
SEARCHES = ("joint", "literal", "beam")
Attribution = Literal["joint", "complete"]


@dataclass(frozen=True)
class Found:
    r"""The paths of a batch, and how clearly they were chosen.

    Attributes:
        neurons: int64 ``(batch, layer, rank)``, best first.
        score: ``(batch,)``, the joint attribution score or the complete attribution of the paths.
        gap: ``(batch,)``, the smallest over the blocks of :math:`(s_{(r)} - s_{(r+1)}) / \max_i |s_i|`, between the last neuron that was taken and
            the first that was not: what rounding would have to bridge to change the path.  Infinite where every neuron is taken.  Of ``"beam"`` the
            smallest of all that it compares: proposed neurons, kept partial paths and final scores with those that were not.
    """

    neurons: Int64[Tensor, "batch layer rank"]
    score: Float[Tensor, "batch"]
    gap: Float[Tensor, "batch"]

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """The parts of a batch, in order."""
        return cls(*(torch.cat([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def replaced(self, rows: Int64[Tensor, "row"], other: Found) -> Found:
        """With the images at ``rows`` as another search found them, in the finer of both precisions."""
        def merged(ours: Tensor, theirs: Tensor) -> Tensor:
            finer = torch.promote_types(ours.dtype, theirs.dtype)
            return ours.to(finer).index_copy(0, rows, theirs.to(finer))
        return type(self)(*(merged(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)))


def search_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    integral: Sequence[Integrand],
    top: int = 1,
    search: Search = "joint",
    width: int = 4,
    attribution: Attribution = "joint",
) -> Found:
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
    """
    hypotheses = width * width if search == "beam" else 1

    def size() -> int:
        # of terms that are let go before the last block as many nodes are taken at once as fit
        return max(1, min(copies_at_once(target, term.frozen) // (len(term.nodes) * hypotheses) for term in integral if term.stop is None))

    def compute(chosen: Tensor) -> Found:
        chunk = (PartialPaths if attribution == "joint" else CompletePartialPaths)(target, images[chosen], labels[chosen], integral, hypotheses)
        return _beam(chunk, width) if search == "beam" else _greedy(chunk, top, search)

    with activation_gradients(target):
        return Found.joined(in_chunks(target, len(images), size, compute, side_by_side=True))


def _greedy(chunk: PartialPaths, top: int, search: Search) -> Found:
    neurons, gaps = [], []
    for block in range(chunk.target.n_blocks):
        if block > 0:
            chunk.advance(block)
        scores = chunk.joint_scores(block) if search == "joint" else chunk.literal_scores(block)
        ranked = top_neurons(scores, top + 1)  # as many as there are
        neurons.append(ranked[:, :top])
        gaps.append(_gap(scores, ranked[:, top - 1:]))
        chunk.write(block, neurons[-1])
    return Found(torch.stack(neurons, 1), chunk.score(chunk.target.n_blocks), torch.stack(gaps, 1).amin(1))


def _gap(scores: Float[Tensor, "batch neuron"], border: Int64[Tensor, "batch rank"]) -> Float[Tensor, "batch"]:
    """Between the last neuron that is taken and the first that is not, as a share of the largest score."""
    if border.shape[1] < 2:
        return scores.new_full(scores.shape[:1], torch.inf)
    last, first = scores.gather(1, border).unbind(1)
    return (last - first) / scores.abs().amax(1).clamp_min(torch.finfo(scores.dtype).tiny)


def _beam(chunk: PartialPaths, width: int) -> Found:
    """Hypotheses of one image follow one another, that of the joint search first."""
    images, target = len(chunk.total), chunk.target
    device, held = target.device, 1
    paths, gaps = torch.empty(images, 0, dtype=torch.int64, device=device), []
    for block in range(target.n_blocks):
        if block > 0:
            chunk.advance(block)
        scores = chunk.joint_scores(block)
        ranked = top_neurons(scores, width + 1)  # as many as there are
        proposed = ranked[:, :width]
        # which neurons are proposed, and which of them goes on with the joint search's own path
        gaps += [_gap(scores, ranked[:, first:first + 2]).reshape(images, -1) for first in (0, width - 1)]
        parents = torch.arange(images * held, device=device).repeat_interleave(proposed.shape[1])
        paths = torch.cat([paths[parents], proposed.reshape(-1, 1)], 1)
        chunk = chunk.take(parents)
        chunk.write(block, paths[:, -1:])
        scores, last = chunk.score(block + 1).reshape(images, -1), block == target.n_blocks - 1
        # the joint search's own path comes first among the proposals of the first hypothesis, and stays whatever its score
        ranking = scores if last else scores.index_fill(1, torch.zeros(1, dtype=torch.int64, device=device), torch.inf)
        held = min(width, scores.shape[1])
        kept = top_neurons(ranking, held + 1)
        gaps.append(_gap(scores, kept[:, :2] if last else kept[:, held - 1:])[:, None])
        kept = kept[:, :held]
        rows = (kept + torch.arange(images, device=device)[:, None] * scores.shape[1]).flatten()
        chunk, paths = chunk.take(rows), paths[rows]
    best = torch.arange(images, device=device) * held
    return Found(paths[best, :, None], scores.gather(1, kept[:, :1])[:, 0], torch.cat(gaps, 1).amin(1))
