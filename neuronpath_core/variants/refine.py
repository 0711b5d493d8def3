"""Paths with a higher score than a search found: coordinate ascent over blocks, and, on toy models,
every path there is."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.forward import CleanPass
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.jas import joint_attribution_score, path_held
from neuronpath_core.quadrature import Quadrature, integrated, node_parts, placed_rule
from neuronpath_core.ranking import select_neurons, top_neurons
from neuronpath_core.support.memory import images_at_once, in_chunks, memory_limit
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

MOST_PATHS = 1_000_000


def refine_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
    quadrature: Quadrature = "gauss-legendre",
    steps: int = 3,
    proposals: int = 4,
    sweeps: int = 3,
    memory_budget: int | str | None = None,
) -> tuple[Int64[Tensor, "batch layer"], Float[Tensor, "batch"]]:
    r"""Coordinate ascent on the Joint Attribution Score: one block after another gets the best
    neuron given all others.

    At block l the candidates are the current neuron and the ``proposals`` largest by the score
    linearised at the path without it,

    .. math::

        \Big[\sum_k q_k \Big(\frac{\partial F}{\partial w^l_i}
        + \sum_{j \ne l} \frac{\partial F}{\partial w^j_{p_j}}\Big)\Big]
        \Big(\bar w^l_i + \sum_{j \ne l} \bar w^j_{p_j}\Big) ,

    and the exact score decides, so it never falls.  An image is done when a whole sweep changes
    nothing.

    Args:
        target, images, labels: as for :func:`~neuronpath_core.paths.find_paths`.
        neurons: int64 ``(batch, layer)``, the paths to start from.
        quadrature, steps: the rule; the scores returned are by it.
        proposals: candidates a block besides the current neuron, in 1..n.
        sweeps: passes over the blocks at most.
        memory_budget: as for :func:`~neuronpath_core.paths.find_paths`.

    Returns:
        int64 ``(batch, layer)`` and ``(batch,)``.

    Raises:
        ValueError: any argument that does not fit; the message says what is accepted.
    """
    check_target(target)
    target.check_batch(images, labels)
    ranked, images = target.check_neurons(neurons, len(images)), images.detach()
    if ranked.shape[2] != 1:
        raise ValueError(f"paths to refine must have one neuron a block, got {ranked.shape[2]}")
    for name, value, most in (("proposals", proposals, target.n_neurons), ("sweeps", sweeps, 1000)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"{name} must be a whole number in 1..{most}, got {shown(value)}")
    paths = ranked[..., 0].clone()
    with memory_limit(target, memory_budget):
        score = joint_attribution_score(target, images, labels, paths, quadrature, steps)
        rows = torch.arange(len(images), device=target.device)
        for _ in range(sweeps):
            before = paths.clone()
            for block in range(target.n_blocks):
                found = _propose(target, images[rows], labels[rows], paths[rows], block, quadrature,
                                 steps, proposals)
                tried = paths[rows].repeat_interleave(found.shape[1], 0)
                tried[:, block] = found.flatten()
                repeated = rows.repeat_interleave(found.shape[1])
                value = joint_attribution_score(target, images[repeated], labels[repeated], tried,
                                                quadrature, steps).unflatten(0, found.shape)
                best = top_neurons(value, 1)[:, 0]
                gain = value.gather(1, best[:, None])[:, 0]
                better = gain > score[rows]
                chosen = rows[better]
                paths[chosen, block] = found.gather(1, best[:, None])[better, 0]
                score[chosen] = gain[better]
            rows = rows[(paths[rows] != before[rows]).any(1)]
            if not len(rows):
                break
    return paths, score


def _propose(target, images, labels, paths, block, quadrature, steps, count) -> Tensor:
    """``(batch, count)`` neurons of a block, best first by the linearised score."""
    nodes, weights = placed_rule(target, quadrature, steps)

    def scores(chosen: Tensor) -> Tensor:
        clean, batch = CleanPass.of(target, images[chosen]), len(chosen)
        total = sum(select_neurons(value, paths[chosen, index, None])[..., 0]
                    if target.layers[index].single else torch.ones_like(value[..., 0])
                    for index, value in enumerate(clean.activations) if index != block)
        slope = sum(slopes(clean, chosen, *part)
                    for part in node_parts(target, batch, nodes, weights))
        height = clean.activations[block]
        height = height if target.layers[block].single else torch.ones_like(slope)
        return (slope * (height + (total[..., None] if target.n_blocks > 1 else 0))).sum(1)

    def slopes(clean: CleanPass, chosen: Tensor, alphas: Tensor, shares: Tensor) -> Tensor:
        count = len(alphas)
        held, shift = path_held(clean, paths[chosen, :, None], alphas, native=block)
        held[block] = clean.activations[block].repeat_interleave(count, 0).requires_grad_()
        stream = target.run(clean.streams[0].repeat_interleave(count, 0), 0, target.n_blocks, held,
                            pooled=True)
        probability = target.probability(stream, labels[chosen].repeat_interleave(count))
        # a model of one block has no other neuron to move
        own, along = torch.autograd.grad(probability.sum(), (held[block], shift), allow_unused=True,
                                         materialize_grads=True)
        own = target.layers[block].as_units(own, held[block].detach())[0]
        return integrated(own.unflatten(0, (len(chosen), count)) + along, shares)

    with activation_gradients(target):
        found = torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, steps),
                                    scores, side_by_side=True))
    return top_neurons(found, count)


def exhaustive_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    quadrature: Quadrature = "gauss-legendre",
    steps: int = 3,
) -> tuple[Int64[Tensor, "batch layer"], Float[Tensor, "batch"]]:
    """The path with the largest Joint Attribution Score, found by scoring all n to the power of L
    of them.

    What the optimality gap of a search is measured against.  Arguments as for :func:`refine_paths`.

    Raises:
        ValueError: arguments that do not fit, or a model with more than a million paths.
    """
    check_target(target)
    target.check_batch(images, labels)
    count = math.prod(layer.units for layer in target.layers)
    if count > MOST_PATHS:
        raise ValueError(f"the model has {count:,} paths; accepted: toy models of at most "
                         f"{MOST_PATHS:,}")
    places = [range(layer.units) for layer in target.layers]
    every = torch.tensor(list(itertools.product(*places)), device=target.device)
    neurons, scores = [], []
    for image, label in zip(images, labels, strict=True):
        score = joint_attribution_score(target, image.expand(count, *image.shape),
                                        label.expand(count), every, quadrature, steps)
        best = top_neurons(score, 1)[0]
        neurons.append(every[best])
        scores.append(score[best])
    return torch.stack(neurons), torch.stack(scores)
