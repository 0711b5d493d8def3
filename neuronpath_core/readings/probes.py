r"""Linear probes of every token at every layer, to be compared with the projection to class space.

A probe of one token position and layer is a ridge regression of classes, coded 1 and -1, on that
token's vectors of some training images (Vilas et al., 2023, section 8: ten images a class, α = 1):

.. math:: W = (F^\top F + \alpha I)^{-1} F^\top Y, \qquad e = \bar y - \bar f^\top W,

with F and Y centred.  All positions and layers are solved at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


@dataclass(frozen=True)
class Probes:
    """A linear classifier for each place of ``batch``, such as block and token.

    Attributes:
        weight: W.
        intercept: e.
    """

    weight: Float[Tensor, "... width class"]
    intercept: Float[Tensor, "... class"]

    def scores(self, features: Float[Tensor, "*batch image width"]
               ) -> Float[Tensor, "*batch image class"]:
        """A number for each class, largest for the class that the probe names."""
        return features @ self.weight + self.intercept[..., None, :]


def fit_probes(features: Float[Tensor, "*batch image width"], labels: Int64[Tensor, "image"],
               classes: int, alpha: float = 1.0) -> Probes:
    """Fit a ridge regression of the classes at each place of ``batch``.

    Args:
        features: vectors of the training images; results have their dtype and device.
        labels: the training images' classes, in 0..classes-1.
        classes: C, how many there are, trained on or not.
        alpha: the weight of the squared norm of W, above 0.

    Raises:
        ValueError: features that are not finite or of another number of images, fewer than two
            classes among the labels, labels out of range, or another alpha.
    """
    if features.ndim < 2 or features.shape[-2] != len(labels) or not torch.isfinite(features).all():
        raise ValueError(f"features {tuple(features.shape)} of {len(labels)} labels; accepted: "
                         "finite numbers (..., image, width), one image a label")
    present = labels.unique()
    if len(present) < 2 or present[0] < 0 or present[-1] >= classes:
        raise ValueError(f"probes of the classes {present.tolist()} of {classes}; accepted: at "
                         f"least two different labels in 0..{classes - 1}")
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, got {alpha!r}")
    wanted = 2 * F.one_hot(labels, classes).to(features) - 1
    mean, wanted_mean = features.mean(-2, keepdim=True), wanted.mean(0)
    centred = features - mean
    gram = centred.mT @ centred
    gram.diagonal(dim1=-2, dim2=-1).add_(alpha)
    weight = torch.linalg.solve(gram, centred.mT @ (wanted - wanted_mean))
    return Probes(weight, wanted_mean - (mean @ weight)[..., 0, :])


def solve_multiply_adds(places: int, images: int, width: int, classes: int) -> int:
    r"""Multiply-adds of a fit by the formula: products :math:`N d^2 + N d C`, a factorisation
    :math:`d^3/3` and C solves :math:`d^2`, for each place."""
    return places * (images * width * (width + classes) + width ** 3 // 3 + width ** 2 * classes)
