"""The Joint Attribution Score (JAS) of a path, and the complete attribution, which is the same
without cross terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.forward import CleanPass, check_baseline, of_images
from neuronpath_core.found_paths import wide
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.quadrature import Quadrature, integrated, node_parts, placed_rule
from neuronpath_core.ranking import select_neurons
from neuronpath_core.search import path_scores
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def joint_attribution_score(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
    quadrature: Quadrature = "left",
    steps: int = 20,
    nodes: int | None = None,
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch"]:
    r"""Joint Attribution Score of each image's path (Definition 1, Eqs. 1-3).

    .. math::

        \mathrm{JAS}(P) = \Big(\sum_l \bar w^l_{p_l}\Big) \int_0^1 \sum_l
        \frac{\partial F_x(\alpha)}{\partial w^l_{p_l}}\, d\alpha

    with every block's scope activations clamped to their clean values :math:`\bar w`, the path's
    own to :math:`\alpha\bar w`, everything else running natively; :math:`F_x` is the softmax
    probability of the label.  It is a product of two sums, so it is not bounded by F.  For scope
    ``"patch"`` the product is taken per patch token and averaged over them.

    With a baseline b the path runs from there, :math:`b + \alpha (\bar w - b)`, and the first sum
    is :math:`\sum_l (\bar w^l_{p_l} - b^l_{p_l})`; the published score has b = 0.

    Of units of several neurons (heads, :class:`~neuronpath_core.variants.sites.SiteModel`) the
    common factor moves, and the score is the number of units on the path times their complete
    attribution, per patch token and averaged.

    Args:
        target: the model.
        images, labels: a batch; classes may mix.
        neurons: int64 ``(batch, layer)``, or ``(batch, layer, rank)`` for several neurons a block,
            all on the path.
        quadrature, steps, nodes: the rule, see :func:`~neuronpath_core.quadrature.quadrature_rule`;
            the published code uses ``"left"`` and 20.
        baseline: b, ``(image or 1, layer, token or 1, neuron)`` of the scope's tokens, such as one
            draw of :func:`~neuronpath_core.replacement.replacement_values`; ``None`` for zero.

    Returns:
        ``(batch,)`` on the model's device, in its dtype and at least single precision.

    Raises:
        ValueError: images, labels, neurons, rule, steps or a baseline that do not fit.
    """
    check_target(target)
    target.check_batch(images, labels)
    images = images.detach()
    ranked = target.check_neurons(neurons, len(images))
    baseline = check_baseline(target, baseline, len(images))
    alphas, weights = placed_rule(target, quadrature, steps, nodes)
    if target.differs is not None:
        return path_scores(target, images, labels, ranked, (alphas, weights), baseline)
    with activation_gradients(target):
        return torch.cat(
            in_chunks(
                target,
                len(images),
                lambda: images_at_once(target, len(alphas)),
                lambda chosen: _joint_score(
                    target, images[chosen], labels[chosen], ranked[chosen], alphas, weights,
                    of_images(baseline, chosen)
                ),
                side_by_side=True,
            )
        )


def _joint_score(target, images, labels, ranked, alphas, weights, baseline):
    clean = CleanPass.of(target, images, baseline)
    total = sum(select_neurons(value, ranked[:, block]).sum(-1) if target.layers[block].single
                else float(ranked.shape[2])
                for block, value in enumerate(clean.heights))
    along = sum(_path_gradient(clean, labels, ranked, *part)
                for part in node_parts(target, len(images), alphas, weights))
    return (total * along).mean(1)


def path_held(
    clean: CleanPass, ranked: Int64[Tensor, "batch layer rank"], alphas: Float[Tensor, "step"],
    native: int | None = None, in_multiples: bool = False
) -> tuple[dict[int, Tensor], Tensor]:
    """Every block's scope activations with the path's neurons at b + α (w̄ - b), of b = 0 at α times
    their clean values, ``(batch * step, token, neuron)``.

    Args:
        native: a block that is left out.
        in_multiples: the leaf moves every neuron by multiples of w̄ - b instead of by units.

    Returns:
        the activations by block, and the leaf ``(batch, step, token, 1)`` that moves every neuron
        of the path together, so that its gradient is the sum of theirs.
    """
    first, steps = clean.activations[0], len(alphas)
    batch, tokens = first.shape[:2]
    shift = torch.zeros(batch, steps, tokens, 1, dtype=first.dtype, device=first.device,
                        requires_grad=True)
    held = {}
    for block, value in enumerate(clean.activations):
        if block != native:
            members = clean.target.layers[block].members(ranked[:, block])
            own = select_neurons(clean.heights[block], members)[:, None]
            by_factor = in_multiples or not clean.target.layers[block].single
            moved = alphas[:, None, None] * own + (shift * own if by_factor else shift)
            if clean.baseline is not None:
                moved = _selected(clean, block, members)[:, None] + moved
            index = members[:, None, None].expand(-1, steps, tokens, -1)
            held[block] = value[:, None].expand(-1, steps, -1,
                                                -1).scatter(3, index, moved).flatten(0, 1)
    return held, shift


def _selected(clean: CleanPass, block: int,
              members: Int64[Tensor, "batch member"]) -> Float[Tensor, "batch token member"]:
    """The baseline of some neurons of a block, the same at every scope token if it is given so."""
    base = clean.baseline[block]
    return select_neurons(base.expand(len(members), -1, -1), members)


def _path_gradient(clean, labels, ranked, alphas, weights, in_multiples=False):
    """``(batch, scope token)``: the integrated gradient along the path."""
    (held, shift) = path_held(clean, ranked, alphas, in_multiples=in_multiples)
    target = clean.target
    steps = len(alphas)
    stream = target.run(clean.streams[0].repeat_interleave(steps, 0), 0, target.n_blocks, held,
                        pooled=True)
    gradient, = torch.autograd.grad(target.probability(stream,
                                                       labels.repeat_interleave(steps)).sum(),
                                    shift)
    return integrated(gradient[..., 0], weights)


def complete_attribution(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
    quadrature: Quadrature | None = None,
    steps: int = 20,
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch"]:
    r"""The joint attribution without cross terms.

    .. math::

        \sum_l \bar w^l_{p_l} \int_0^1 \frac{\partial F_x(\alpha)}{\partial w^l_{p_l}}\, d\alpha
        = F_x(\text{clean}) - F_x(\text{path zeroed, all other scope neurons clamped clean})

    by the fundamental theorem of calculus.  Unlike JAS it lies between -1 and 1.  With a baseline b
    each factor is :math:`\bar w^l_{p_l} - b^l_{p_l}`, and the path is set to b instead of zero.

    Args:
        target, images, labels, neurons: as of :func:`joint_attribution_score`.
        quadrature, steps: ``None`` for the right-hand side, exact, from two forward passes; a rule
            for the integral on the left.
        baseline: b, as of :func:`joint_attribution_score`.

    Returns and errors are those of :func:`joint_attribution_score`.
    """
    check_target(target)
    target.check_batch(images, labels)
    images = images.detach()
    ranked = target.check_neurons(neurons, len(images))
    baseline = check_baseline(target, baseline, len(images))
    if quadrature is not None:
        alphas, weights = placed_rule(target, quadrature, steps)

        def integral(chosen: Tensor) -> Tensor:
            clean = CleanPass.of(target, images[chosen], of_images(baseline, chosen))
            return sum(_path_gradient(clean, labels[chosen], ranked[chosen], *part,
                                      in_multiples=True)
                       for part in node_parts(target, len(chosen), alphas, weights)).sum(1)

        with activation_gradients(target):
            return torch.cat(in_chunks(target, len(images),
                                       lambda: images_at_once(target, len(alphas)), integral,
                                       side_by_side=True))

    def difference(chosen: Tensor) -> Tensor:
        clean = CleanPass.of(target, images[chosen], of_images(baseline, chosen))
        held = {}
        for block, value in enumerate(clean.activations):
            members = target.layers[block].members(ranked[chosen, block])
            index = members[:, None].expand(-1, value.shape[1], -1)
            if clean.baseline is None:
                held[block] = value.scatter(2, index, 0.0)
            else:
                removed = _selected(clean, block, members).expand(index.shape)
                held[block] = value.scatter(2, index, removed)
        zeroed = target.run(clean.streams[0], 0, target.n_blocks, held, pooled=True)
        before, after = (target.probability(stream, labels[chosen]).to(wide(target))
                         for stream in (clean.streams[-1], zeroed))
        return before - after

    with torch.no_grad():
        return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                                   difference, side_by_side=True))
