"""Which part of an image a patch token shows, by the masks of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.readings.grids import Grid, corners, coverage
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Bool, Int64

Labelling = Literal["published", "corrected"]
LABELLINGS = ("published", "corrected")
HALF = 0.5
# of a patch's pixels, from which it is said to show the object's band or fill
SHOWS = 0.25
REGIONS = ("outline band", "fill area", "background")
BAND, FILL, BACKGROUND, APART = 0, 1, 2, -1


def class_tokens(grid: Grid, masks: Bool[np.ndarray, "image height width"],
                 variant: Labelling = "corrected") -> Bool[Tensor, "image patch"]:
    """Which patch tokens show what the image's class names.

    Args:
        grid: of the patches.
        masks: of the object, as large as the images.
        variant: ``"corrected"``: at least half of the patch's pixels lie inside the mask;
            ``"published"``: its upper left pixel does.

    Returns:
        one truth value a patch, on the CPU.

    Raises:
        ValueError: masks of another size than the images', or an unknown variant.
    """
    if not is_one_of(variant, LABELLINGS):
        raise ValueError(f"unknown variant {shown(variant)}; accepted: {', '.join(LABELLINGS)}")
    return corners(grid, masks) if variant == "published" else coverage(grid, masks) >= HALF


def regions(grid: Grid, masks: Mapping[str, Bool[np.ndarray, "image height width"]]
            ) -> Int64[Tensor, "image patch"]:
    """What of a rendered scene a patch shows: ``REGIONS`` by their number.

    A patch shows the background if no pixel of it is the object's, and the object if at least a
    quarter of its pixels is: the outline's band where more of them are band than fill, else the
    fill area.  The others are left apart, -1.

    Args:
        grid: of the patches.
        masks: ``outline`` and ``fill`` of the scenes, as large as the images.

    Raises:
        ValueError: a mask that is missing or of another size.
    """
    if lacking := {"outline", "fill"} - set(masks or ()):
        raise ValueError(f"no mask {', '.join(sorted(lacking))}; accepted: the masks of rendered "
                         "scenes")
    band, fill = (coverage(grid, masks[name]) for name in ("outline", "fill"))
    inside = band + fill
    found = torch.full(band.shape, APART)
    found[inside == 0] = BACKGROUND
    found[(inside >= SHOWS) & (band > fill)] = BAND
    found[(inside >= SHOWS) & (band <= fill)] = FILL
    return found
