"""Images as spectra: what an optimiser moves instead of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Statistics:
    """What images of a data set have in common.

    Attributes:
        low, high: what the model sees of a black and of a white pixel.
        colour: square root of the covariance of the channels, its longest column of length 1.
        magnitude: mean magnitude of the spectra.
    """

    low: Float[Tensor, "channel"]
    high: Float[Tensor, "channel"]
    colour: Float[Tensor, "channel channel"]
    magnitude: Float[Tensor, "channel row column"]


def image_statistics(images: Float[Tensor, "image channel height width"]) -> Statistics:
    """Estimated of a profile's own training images, ``study.train.images``."""
    raise NotImplementedError
