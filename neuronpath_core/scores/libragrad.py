"""LibraGrad: gradient times activation with ways back pruned until the attribution is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from neuronpath_core.methods import Method, register
from neuronpath_core.scores.relp import Of, linear_attribution, linear_passes
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def libragrad(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    of: Of = "probability",
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch layer neuron"]:
    r"""LibraGrad of every neuron (Mehri et al., 2025, CVPR, arXiv 2411.16760, Sec. 3).

    .. math::

        (\bar w^l_i - b^l_i)\, \frac{\partial^{\mathrm{Libra}} F_x}{\partial w^l_i}

    A gradient is FullGrad-complete if activations times gradients, biases included, add up to the
    output: :math:`z = \langle x, \partial z / \partial x \rangle + \langle \beta, \partial z /
    \partial \beta \rangle`. Affine functions and their compositions are; attention, normalisation
    and gated activations are not, being products of two functions of the same input. Ways back
    through one of the factors are pruned: attention weights, the norm's denominator, and in
    GELU(x) = x Φ(x) the gate Φ(x).

    These prunings are those of :func:`~neuronpath_core.scores.linearised.linearised`, so that for a
    network whose FFN is a plain MLP the scores are RelP's, number by number; the two papers come
    to the same from completeness and from relevance propagation. They differ in a gated FFN
    (SwiGLU), act(g) · v: RelP halves both ways back, here the gate is pruned as the other gates
    are, and the way through v is whole. Either is complete.

    Arguments, result and errors are those of
    :func:`~neuronpath_core.scores.relp.relevance_patching`; the source scores the logit,
    ``of="logit"``, for which the scores are complete.
    """
    return linear_attribution(target, images, labels, "held", of, baseline)


def _libragrad(target, images, labels, _settings, baseline=None):
    return libragrad(target, images, labels, baseline=baseline)


register(Method("libragrad", "LibraGrad", rank=_libragrad, passes=linear_passes,
                with_baseline=True))
