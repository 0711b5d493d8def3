r"""How much of a model's decision some of its neurons carry: kept alone, and taken away.

All neurons of all blocks are ranked by a score.  The best share k of them is kept and every other
neuron replaced, or the best share is replaced and every other kept, at the token scope.  With m a
measure of the decision,

.. math:: f(k) = \frac{m(k) - m(\emptyset)}{m(\mathrm{all}) - m(\emptyset)} ,

where all neurons are the model itself and none of them is the model with all of them replaced
(the faithfulness of the MIB benchmark, Mueller et al., 2025).

The measures are the *logit difference*, the label's logit minus that of the strongest other class
**of the clean run**, which stays the same class under every mask, and the label's softmax
*probability*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from neuronpath_core.circuits.curves import SMALLEST_GAIN, Faithfulness
from neuronpath_core.circuits.masked_model import SHARES, SIDES, MaskedModel
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def faithfulness(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], scores: Float[Tensor, "image layer neuron"],
    shares: Sequence[float] = SHARES,
    values: Float[Tensor, "*draw image layer token neuron"] | None = None,
    smallest: float = SMALLEST_GAIN, sides: Sequence[str] = SIDES,
) -> dict[str, Faithfulness]:
    r"""The curves of keeping and of removing the best share of all neurons, by every measure.

    Neurons are ranked over all blocks together, by the largest score first; of equal ones that of
    the earlier block, then of the smaller index.  A negative score is a low one: a neuron that
    speaks against the label is kept last.  A share k of N neurons is
    :math:`\lfloor kN/100 \rfloor` of them.

    It takes two forward passes an image, share and draw, less those that coincide.

    Args:
        target: the model.
        images, labels: a batch; classes may mix.
        scores: of each image, or of one for all; a smaller layer's surplus entries are ignored.
        shares: per cent, increasing, in (0, 100].
        values: what replaces a neuron, see
            :meth:`~neuronpath_core.circuits.masked_model.MaskedModel.of`; measures are averaged
            over draws.
        smallest: logits, or units of probability; see
            :class:`~neuronpath_core.circuits.curves.Faithfulness`.
        sides: ``"keep"``, ``"remove"`` or both; of the side that is left out everything is NaN,
            and costs nothing.

    Returns:
        by measure, on the host and in double precision.

    Raises:
        ValueError: images, labels, scores, shares, values or sides that do not fit.
    """
    return MaskedModel.of(target, images, labels, values).curves(scores, shares, smallest, sides)


def path_faithfulness(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
    values: Float[Tensor, "*draw image layer token neuron"] | None = None,
    smallest: float = SMALLEST_GAIN,
) -> dict[str, Faithfulness]:
    """The place of paths on the curves: f of each image's own path, kept alone and removed.

    Args:
        neurons: int64 ``(image, layer)``, or ``(image, layer, rank)`` for several neurons a block;
            of each image, or of one for all.
        target, images, labels, values, smallest: as of :func:`faithfulness`.

    Returns:
        by measure, with one share, that of the path among all neurons (100/n for one neuron in
        every block of n).

    Raises:
        ValueError: images, labels, neurons or values that do not fit.
    """
    return MaskedModel.of(target, images, labels, values).place(neurons, smallest)
