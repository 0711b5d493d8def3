"""Drafts: what single precision chooses clearly is left as it is, the rest is chosen in double."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.forward import CleanPass, of_images
from neuronpath_core.model_state import is_touched
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float

# A draft's path stands where no choice is closer than so many units of its precision. On 40 images
# of each of eight trained models of digits and shapes rounding moved the closest choice by at most
# 16 units; that of a beam of two, whose partial paths can score little, on 24 images of each of six
# by at most 45; that between the last of 5 to 50 neurons per block and the next, on 20 or 24 images
# of each of the eight, by at most 44.
ROUNDING_UNITS, WIDE_ROUNDING_UNITS = 50, 150
# The same of attributions by an integral, which on 40 images of each of the eight moved by at most
# 105 units.
ATTRIBUTION_ROUNDING_UNITS = 500
DRAFTS = {"float32": torch.float32}
DRAFT = "float32"


def drafted_model(target: TargetModel, draft: str | None) -> TargetModel | None:
    """The model in a draft's precision.

    ``None`` without a draft, for a model not in double precision, where hooks may hold values of
    the model's own, and where a copy of the model cannot be made or is another model.
    """
    if draft is None or target.dtype != torch.float64 or is_touched(target.model.modules()):
        return None
    try:
        drafted = target.in_dtype(DRAFTS[draft])
    except (RuntimeError, TypeError, NotImplementedError, AttributeError, pickle.PicklingError):
        return None
    return drafted if target.repeated_by(drafted) else None


def doubtful(gaps: Tensor, drafted: TargetModel, units: int | Tensor) -> Tensor:
    """Which choices rounding could have turned.

    A comparison with NaN is false, so those of what overflowed are among them.
    """
    return ~(gaps >= units * torch.finfo(drafted.dtype).eps)


def magnified(
    drafted: TargetModel, images: Float[Tensor, "batch channel height width"],
    baseline: Float[Tensor, "image layer token neuron"] | None, units: int
) -> int | Float[Tensor, "batch 1"]:
    r"""Units of the draft's precision by which rounding may move a choice, image by image.

    A height :math:`\bar w - b` has the rounding of :math:`\bar w`, of which it may be a small part:
    units grow by :math:`\max_l (\max_i |\bar w^l_i| / \max_i |\bar w^l_i - b^l_i|)`, which is
    infinite where a layer is at its baseline. Without a baseline they stay as they are.
    """
    if baseline is None:
        return units

    def shares(chosen: Tensor) -> Tensor:
        clean = CleanPass.of(drafted, images[chosen].to(drafted.dtype),
                             of_images(baseline, chosen).to(drafted.dtype))
        ratios = [value.abs().amax((1, 2)) / height.abs().amax((1, 2))
                  for value, height in zip(clean.activations, clean.heights, strict=True)]
        # 0 / 0 is NaN, which makes every choice doubtful
        return torch.stack(ratios, 1).amax(1)

    found = in_chunks(drafted, len(images), lambda: images_at_once(drafted, 1), shares)
    return units * torch.cat(found).double().clamp_min(1)[:, None]
