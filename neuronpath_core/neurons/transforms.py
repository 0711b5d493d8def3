r"""Small changes of an image under which what drives a neuron should stay.

An image that drives a neuron only at one place, size and angle is made for the network's grid, not
for its neuron.  At every step of an optimisation the image is therefore shifted, enlarged and
turned a little at random before the model sees it (Olah et al., 2017).  What comes into view from
beyond the edge is grey.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# of the published tool on images of 128 pixels: jitters of 8 and of 4 are crops, so that an image
# moves by at most half of their sum
_JITTER = 6 / 128


@dataclass(frozen=True)
class Robust:
    """Shift, scale and rotation drawn at random, uniformly and independently, as one bilinear
    resampling.

    Attributes:
        pixels: by how much an image moves at most, to every side; ``None``: as the published tool,
            in proportion, and at least 1.
        scale: the least and the largest magnification.
        degrees: by how much it turns at most, to both sides.
    """

    pixels: float | None = None
    scale: tuple[float, float] = (0.9, 1.1)
    degrees: float = 10.0

    def __post_init__(self) -> None:
        if self.pixels is not None and not self.pixels >= 0 or not 0 <= self.degrees <= 180 or not (
                0 < self.scale[0] <= self.scale[1] < math.inf):
            raise ValueError(f"no transforms are {shown(self)}; accepted: pixels of at least 0, a "
                             "positive scale from the least to the largest, degrees from 0 to 180")

    def draw(self, size: tuple[int, int], generator: torch.Generator) -> Float[Tensor, "2 3"]:
        """An affine map from places of the changed image to places of the image, in coordinates
        from -1 to 1, as ``torch.nn.functional.affine_grid`` takes it."""
        turned, larger, down, right = (2 * torch.rand(4, generator=generator, dtype=torch.float64)
                                       - 1).tolist()
        angle = math.radians(self.degrees * turned)
        low, high = self.scale
        scale = (low + high) / 2 + (high - low) / 2 * larger
        most = max(1, round(_JITTER * max(size))) if self.pixels is None else self.pixels
        height, width = size
        cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
        return torch.tensor([[cosine, -sine * height / width, 2 * most * right / width],
                             [sine * width / height, cosine, 2 * most * down / height]],
                            dtype=torch.float64)

    def __call__(self, images: Float[Tensor, "image channel height width"],
                 generator: torch.Generator, grey: Float[Tensor, "channel"]
                 ) -> Float[Tensor, "image channel height width"]:
        """All images with one and the same change; differentiable.

        Args:
            images: as the model sees them.
            generator: on the CPU.
            grey: what the model sees of what lies beyond the edge.
        """
        return warped(images, self.draw(images.shape[-2:], generator), grey)


def warped(images: Float[Tensor, "image channel height width"], places: Float[Tensor, "2 3"],
           grey: Float[Tensor, "channel"]) -> Float[Tensor, "image channel height width"]:
    """Images resampled bilinearly at an affine map's places, with grey beyond their edge."""
    grid = F.affine_grid(places.to(images).expand(len(images), 2, 3), list(images.shape),
                         align_corners=False)
    ground = grey.to(images)[:, None, None]
    return F.grid_sample(images - ground, grid, "bilinear", "zeros", align_corners=False) + ground
