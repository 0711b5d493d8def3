"""How far from a straight line the integrand of a path neuron's score is as its block fades out:
where a rule needs its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.fast.partial_paths import Integrand, PartialPaths
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.quadrature import quadrature_rule
from neuronpath_core.study.study import Study
from neuronpath_core.support.memory import images_at_once, in_chunks, memory_limit
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor


def path_integrand(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
    alphas: Float[Tensor, "node"],
) -> Float[Tensor, "batch layer node"]:
    r"""What the joint relaxation integrates for the path's own neuron of every block, the blocks
    before it on the path,

    .. math::

        \Big(\frac{\partial F}{\partial w^l_i}
        + \sum_{j<l} \frac{\partial F}{\partial w^j_{p_j}}\Big)(\alpha)\;
        \Big(\bar w^l_i + \sum_{j<l} \bar w^j_{p_j}\Big), \qquad i = p_l,

    with all neurons of block l at :math:`\alpha` times their clean values.  For scope ``"patch"``
    summed over the patch tokens.

    Args:
        target, images, labels: the model and a batch.
        neurons: the paths, in full context.
        alphas: where.

    Raises:
        ValueError: images, labels or neurons that do not fit.
    """
    target.check_batch(images, labels)
    ranked = target.check_neurons(neurons, len(images))
    one = torch.ones(1, dtype=torch.float64, device=target.device)

    def at(alpha: Tensor, chosen: Tensor) -> Tensor:
        partial = PartialPaths(target, images[chosen], labels[chosen],
                               [Integrand(alpha[None], one)])
        values = []
        for block in range(target.n_blocks):
            if block > 0:
                partial.advance(block)
            values.append(partial.joint_scores(block).gather(1, ranked[chosen, block, :1])[:, 0])
            partial.write(block, ranked[chosen, block])
        return torch.stack(values, 1)

    alphas = alphas.to(target.device, torch.float64)
    with activation_gradients(target):
        return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                                   lambda chosen: torch.stack([at(alpha, chosen)
                                                               for alpha in alphas], 2),
                                   side_by_side=True))


def integrand_curvature(study: Study, names: Sequence[str], images: ImageSet,
                        steps: int = 8) -> pd.DataFrame:
    r"""How far the integrand of every path neuron is from a straight line, which one Gauss-Legendre
    node integrates exactly; computed in single precision.

    Returns:
        one row per model, image and block, counted from 1: ``model, image, block, curvature``,
        :math:`\sqrt{\sum_k q_k (f(\alpha_k) - g(\alpha_k))^2} \big/ \sum_k q_k |f(\alpha_k)|` over
        so many Gauss-Legendre nodes, :math:`g` the straight line that makes the numerator smallest.
    """
    tables, (alphas, weights) = [], quadrature_rule("gauss-legendre", steps)
    # beside the constant the other orthonormal straight line on [0, 1]
    line = (2 * alphas - 1) * 3**0.5
    for model in study.check_models(list(names)):
        target = study.target(model)
        (pictures, labels) = study.batch(images, model)
        neurons = study.paths(model, images, context="full").neurons
        with memory_limit(target, study.memory_budget):
            lower = target.in_dtype(torch.float32)
            values = path_integrand(lower, pictures.to(lower.dtype), labels,
                                    neurons.to(target.device), alphas).cpu().double()
        rest = values - (values @ weights)[...,
                                           None] - (values @ (weights * line))[..., None] * line
        share = (rest.square() @ weights).sqrt() / (values.abs() @ weights)
        tables.append(pd.DataFrame({"model": model,
                                    "image": np.repeat(images.ids.numpy(), target.n_blocks),
                                    "block": np.tile(np.arange(1, target.n_blocks + 1),
                                                     len(images)),
                                    "curvature": share.flatten().numpy()}))
    return pd.concat(tables, ignore_index=True)


def curvature_finding(curvature: pd.DataFrame) -> str:
    """In which blocks the integrand is furthest from a straight line, in one sentence."""
    median = curvature.groupby(["model", "block"])["curvature"].median().unstack()
    early = int((median.idxmax(axis=1) <= 2).sum())
    text = (f"The integrand is furthest from a straight line in the first or second block of "
            f"{early} of {len(median)} models")
    return text if early else (f"In none of {len(median)} models is the integrand furthest from a "
                               f"straight line in the first or second block")
