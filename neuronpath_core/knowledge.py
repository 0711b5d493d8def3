"""Knowledge attribution: integrated gradients of single neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.forward import CleanPass, check_baseline, of_images, stream_gradient
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.quadrature import Quadrature, integrated, node_parts, placed_rule
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def knowledge_attribution(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    quadrature: Quadrature = "right",
    steps: int = 20,
    scaling: Literal["block", "neuron"] = "block",
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch layer neuron"]:
    r"""Integrated gradients of single neurons (Appendix B, Eqs. 5-6; Dai et al., 2022).

    .. math::

        \mathrm{Attr}(w^l_i) =
        \bar w^l_i \int_0^1 \frac{\partial F_x(\alpha)}{\partial w^l_i}\, d\alpha

    Args:
        target: the model.
        images, labels: a batch; classes may mix.
        quadrature, steps: rule and number of nodes; Eq. 6 is ``"right"`` with 20.
        scaling: ``"block"`` scales all neurons of the block together, which is usual practice and
            costs one backward a block and node; ``"neuron"`` scales each alone, as Eq. 5 is
            written, and costs n of them.
        baseline: b, ``(image or 1, layer, token or 1, neuron)`` of the scope's tokens: the neurons
            run along :math:`b + \alpha (\bar w - b)`, and the factor is :math:`\bar w^l_i - b^l_i`;
            ``None`` for zero, as published.

    Returns:
        ``(batch, layer, neuron)``; for scope ``"patch"`` summed over the patch tokens.  Of layers
        of different sizes (mixed paths) the smaller ones end in zeros.

    Raises:
        ValueError: images, labels, rule, steps, scaling or a baseline that do not fit.
    """
    check_target(target)
    target.check_batch(images, labels)
    images = images.detach()
    if not is_one_of(scaling, ("block", "neuron")):
        raise ValueError(f"unknown scaling {shown(scaling)}; accepted: block, neuron")
    baseline = check_baseline(target, baseline, len(images))
    alphas, weights = placed_rule(target, quadrature, steps)
    with activation_gradients(target):
        return torch.cat(
            in_chunks(
                target,
                len(images),
                lambda: images_at_once(target, len(alphas)),
                lambda chosen: _knowledge(
                    target, images[chosen], labels[chosen], alphas, weights, scaling,
                    of_images(baseline, chosen)
                ),
                side_by_side=True,
            )
        )


def _knowledge(target, images, labels, alphas, weights, scaling, baseline):
    clean, batch, attributions = CleanPass.of(target, images, baseline), len(images), []
    for block, value in enumerate(clean.heights):
        vectors = target.value_vectors(block)

        def slopes(written, block=block, vectors=vectors):
            """Gradients at the scope's neurons, integrated over α, when ``written`` (batch, token,
            embed) is scaled away."""
            total = 0.0
            for nodes, share in node_parts(target, batch, alphas, weights):
                copies = clean.streams[block + 1].repeat_interleave(len(nodes),
                                                                    0).unflatten(0,
                                                                                 (
                    batch, len(nodes)))
                copies[:, :, target.tokens] += (nodes - 1)[:, None, None] * written[:, None]
                gradient = stream_gradient(target, copies.flatten(0, 1),
                                           labels.repeat_interleave(len(nodes)),
                                           block + 1)[:, target.tokens]
                total = total + integrated(gradient.unflatten(0, (batch, len(nodes))), share)
            return total @ vectors.T.to(total.dtype)

        if scaling == "block":
            slope = slopes(value @ vectors)
        else:
            units = [target.layers[block].members(torch.tensor([unit], device=target.device))
                     for unit in range(target.layers[block].units)]
            slope = torch.cat([slopes(value[..., unit] @ vectors[unit])[..., unit]
                               for unit in units], -1)
        attributions.append(target.layers[block].by_unit(value * slope).sum(1))
    return target.stacked(attributions)
