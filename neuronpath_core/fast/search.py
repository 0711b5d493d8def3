r"""Layer-progressive search for the path with the largest Joint Attribution Score (Sec. 3.3), in
its fast exact form.

At block :math:`l` the published procedure runs the whole model on m scaled copies of the image and
one backward per earlier block.  The same numbers come from far less work:

* *prefix*: the copies' residual stream after block :math:`l-1` is carried along; no block is run
  again before the one that is searched;
* *tangent* (class token):
  :math:`\sum_{j<l} \partial F/\partial w^j_{p_j} = \langle \partial F/\partial h, \dot h\rangle`
  where :math:`\dot h` is the derivative of the carried stream when all path neurons move together
  (forward mode), so one backward through the blocks after :math:`l` serves all terms.  For the
  patch scope the sum is needed per token, and one backward through the carried stream's graph gives
  it;
* *value vectors*: the stream after a block is affine in the scope's neurons, so a block's n
  gradients are one product of ``fc2`` with the gradient of the stream, and choosing a neuron moves
  the stream by a multiple of its column (so it is for the neurons of an attention half and
  ``proj``: a *block* is here any layer of a path, see :mod:`neuronpath_core.variants.sites`).
  With a baseline b the copies run along
  :math:`b + \alpha (\bar w - b) = \bar w + (\alpha - 1)(\bar w - b)`, so that the stream moves by
  :math:`(\alpha - 1)(\bar w - b)` value vectors: nothing else changes;
* *last block* for the class token alone, where the model classifies from it.

The integral may be a sum of several: of nodes that do not fit into memory together, and of
integrands in different contexts (multi-fidelity).  The slow procedure is in the tests, as the twin
that must agree.

Two more savings are made of what one search leaves for another: the first block's scores serve
every number of neurons that is to be kept (:func:`search_by_top`), and what a search in lower
precision found needs looking at only where it chose narrowly (:func:`confirm_paths`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from torch import Tensor

from neuronpath_core.fast.found import Found
from neuronpath_core.fast.partial_paths import CompletePartialPaths, Integrand, PartialPaths
from neuronpath_core.forward import of_images
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.ranking import chosen_neurons, score_gap, top_neurons
from neuronpath_core.support.memory import copies_at_once, in_chunks
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

Search = Literal["joint", "literal", "beam"]
Attribution = Literal["joint", "complete"]
Searched = TypeVar("Searched")


def search_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    integral: Sequence[Integrand],
    top: int = 1,
    search: Search = "joint",
    width: int = 4,
    attribution: Attribution = "joint",
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Found:
    r"""Neuron paths by layer-progressive search, and their Joint Attribution Score.

    ``search="joint"`` is what the published code does: at block l all neurons are scaled together
    and

    .. math::

        s_i = \Big[\sum_k q_k \Big(\frac{\partial F}{\partial w^l_i}
        + \sum_{j<l} \frac{\partial F}{\partial w^j_{p_j}}\Big)\Big]
        \Big(\bar w^l_i + \sum_{j<l} \bar w^j_{p_j}\Big)

    ranks them.  ``search="literal"`` is Algorithm 1: each candidate is scaled alone, at n times the
    cost.  Blocks before l are clamped clean except for their chosen neurons, blocks after l run
    natively.  ``search="beam"`` carries the ``width`` best partial paths: each proposes its
    ``width`` best neurons by the joint relaxation, the score of every partial path with that neuron
    alone added decides, and the path with the largest final score is returned.  The joint search's
    own path is always among them, so the score is never below its.

    Args:
        target: the model.
        images, labels: a validated batch.
        integral: the terms of the integral.
        top: neurons kept per block, best first; all of them are scaled in later blocks.  One for
            ``"beam"``.
        search: ``"joint"``, ``"literal"`` or ``"beam"``.
        width: partial paths that ``"beam"`` keeps.
        attribution: what is maximised: ``"joint"``, or ``"complete"``, the same without the cross
            terms, :math:`\sum_l \bar w^l_{p_l} \int \partial F / \partial w^l_{p_l}`; with all
            neurons of a block scaled together (``"joint"`` search) these rank by
            :math:`\bar w^l_i \sum_k q_k\, \partial F/\partial w^l_i` alone.
        baseline: b of the batch, checked; :math:`\bar w - b` takes the place of :math:`\bar w` in
            all these factors. ``None`` for zero.
    """
    if search != "beam":
        return search_by_top(target, images, labels, integral, [top], search, attribution,
                             baseline)[0]
    return Found.joined(_by_chunk(target, images, labels, integral, attribution, baseline,
                                  lambda chunk, _: _beam(chunk, width), width * width))


def search_by_top(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], integral: Sequence[Integrand],
    tops: Sequence[int], search: Literal["joint", "literal"] = "joint",
    attribution: Attribution = "joint",
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> list[Found]:
    """:func:`search_paths` for several numbers of neurons per block, the same to the last bit; the
    first block's scores are computed once.

    With 12 blocks and the default integral these are two fifths of a search.

    Args:
        tops: numbers of neurons kept per block.

    Returns:
        one for each of ``tops``, in order.
    """
    parts = _by_chunk(target, images, labels, integral, attribution, baseline,
                      lambda chunk, _: _greedy(chunk, tops, search))
    return [Found.joined(part) for part in zip(*parts, strict=True)]


def confirm_paths(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], integral: Sequence[Integrand],
    draft: Found, doubtful: Bool[Tensor, "batch layer"],
    search: Literal["joint", "literal"] = "joint", attribution: Attribution = "joint",
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Found:
    """What :func:`search_paths` finds, given what it found in lower precision and at which blocks
    that cannot be relied on.

    At blocks that are not doubtful the draft's neurons are taken without a look at any score, which
    is where a search's time goes; only the streams are carried through them.  Where a doubtful
    block turns out otherwise, all that follow are searched.  Scores of the paths are computed anew.

    Args:
        draft: of the same images, by the same search.
        doubtful: bool ``(batch, layer)``.
    """
    def confirmed(chunk: PartialPaths, chosen: Tensor) -> Found:
        return _confirmed(chunk, draft.take(chosen), doubtful[chosen], search)
    return Found.joined(_by_chunk(target, images, labels, integral, attribution, baseline,
                                  confirmed))


def _by_chunk(target: TargetModel, images: Tensor, labels: Tensor, integral: Sequence[Integrand],
              attribution: Attribution, baseline: Tensor | None,
              compute: Callable[[PartialPaths, Tensor], Searched],
              hypotheses: int = 1) -> list[Searched]:
    """``compute(chunk, indices)`` of as many images at a time as memory holds, each of so many
    partial paths."""
    def size() -> int:
        # of terms that are let go before the last block as many nodes are taken at once as fit
        return max(1, min(copies_at_once(target, term.frozen) // (len(term.nodes) * hypotheses)
                          for term in integral if term.stop is None))

    def of_chunk(chosen: Tensor) -> Searched:
        kind = PartialPaths if attribution == "joint" else CompletePartialPaths
        return compute(kind(target, images[chosen], labels[chosen], integral, hypotheses,
                            of_images(baseline, chosen)), chosen)

    with activation_gradients(target):
        return in_chunks(target, len(images), size, of_chunk, side_by_side=True)


def _scores(chunk: PartialPaths, block: int, search: Search) -> Float[Tensor, "batch neuron"]:
    return chunk.joint_scores(block) if search == "joint" else chunk.literal_scores(block)


def _greedy(chunk: PartialPaths, tops: Sequence[int], search: Search) -> list[Found]:
    first = _scores(chunk, 0, search)
    # the last goes on with the chunk itself
    return [_from_first(chunk if place == len(tops) - 1 else chunk.fork(), first, top, search)
            for place, top in enumerate(tops)]


def _from_first(chunk: PartialPaths, first: Tensor, top: int, search: Search) -> Found:
    """The path that begins with the best by the first block's scores."""
    neurons, gaps = [], []
    for block in range(chunk.target.n_blocks):
        if block > 0:
            chunk.advance(block)
        chosen, gap = chosen_neurons(_scores(chunk, block, search) if block > 0 else first, top)
        neurons.append(chosen)
        gaps.append(gap)
        chunk.write(block, chosen)
    return Found(torch.stack(neurons, 1), chunk.score(chunk.target.n_blocks), torch.stack(gaps, 1))


def _confirmed(chunk: PartialPaths, draft: Found, doubtful: Bool[Tensor, "batch layer"],
               search: Search) -> Found:
    neurons = draft.neurons.clone()
    gaps = draft.gaps.to(chunk.total.dtype, copy=True)
    top = draft.neurons.shape[2]
    changed = torch.zeros_like(doubtful[:, 0])
    for block in range(chunk.target.n_blocks):
        if block > 0:
            chunk.advance(block)
        rows = torch.nonzero(doubtful[:, block] | changed)[:, 0]
        if len(rows):
            chosen, gaps[rows, block] = chosen_neurons(_scores(chunk if len(rows) == len(neurons)
                                                               else chunk.take(rows), block,
                                                               search), top)
            # of several neurons the order says nothing: all are scaled together
            changed[rows] |= (chosen.sort(1).values != neurons[rows, block].sort(1).values).any(1)
            neurons[rows, block] = chosen
        chunk.write(block, neurons[:, block])
    return Found(neurons, chunk.score(chunk.target.n_blocks), gaps)


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
        gaps += [score_gap(scores, ranked[:, first:first + 2]).reshape(images, -1)
                 for first in (0, width - 1)]
        parents = torch.arange(images * held, device=device).repeat_interleave(proposed.shape[1])
        paths = torch.cat([paths[parents], proposed.reshape(-1, 1)], 1)
        chunk = chunk.take(parents)
        chunk.write(block, paths[:, -1:])
        scores, last = chunk.score(block + 1).reshape(images, -1), block == target.n_blocks - 1
        # the joint search's own path comes first among the proposals of the first hypothesis, and
        # stays whatever its score
        first = torch.zeros(1, dtype=torch.int64, device=device)
        ranking = scores if last else scores.index_fill(1, first, torch.inf)
        held = min(width, scores.shape[1])
        kept = top_neurons(ranking, held + 1)
        gaps.append(score_gap(scores, kept[:, :2] if last else kept[:, held - 1:])[:, None])
        kept = kept[:, :held]
        rows = (kept + torch.arange(images, device=device)[:, None] * scores.shape[1]).flatten()
        chunk, paths = chunk.take(rows), paths[rows]
    best = torch.arange(images, device=device) * held
    return Found(paths[best, :, None], scores.gather(1, kept[:, :1])[:, 0], torch.cat(gaps, 1))
