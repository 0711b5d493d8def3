"""What the neurons of an edited forward pass may be multiplied by, and what may replace them."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.support.tensors import is_real, kind_of
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

OPERATIONS = {"remove": 0.0, "enhance": 2.0}
LARGEST_FACTOR = 1e6


def check_factors(factors: Tensor) -> None:
    """Raise ``ValueError`` unless factors are dense finite numbers that no activation overflows by.
    """
    if not is_real(factors):
        raise ValueError("factors must be a dense tensor of floating-point numbers, got "
                         f"{kind_of(factors)}")
    if not (factors.abs() <= LARGEST_FACTOR).all():
        raise ValueError(f"factors must be dense finite numbers within ±{LARGEST_FACTOR:g}; a "
                         "larger one would overflow")


def edit_factor(operation: str | float) -> float:
    """The factor of an operation: ``"remove"`` 0, ``"enhance"`` 2, or the finite number given."""
    if isinstance(operation, str):
        if operation not in OPERATIONS:
            raise ValueError(f"unknown operation {shown(operation)}; accepted: "
                             f"{', '.join(OPERATIONS)}, or a finite factor")
        return OPERATIONS[operation]
    if isinstance(operation, bool) or not isinstance(operation, numbers.Real) or not math.isfinite(
            operation):
        raise ValueError(f"unknown operation {shown(operation)}; accepted: "
                         f"{', '.join(OPERATIONS)}, or "
                         f"a finite factor")
    if abs(operation) > LARGEST_FACTOR:
        raise ValueError(f"a factor must lie within ±{LARGEST_FACTOR:g}, got {shown(operation)}")
    return float(operation)


def widest(target: TargetModel) -> int:
    """Neurons of the largest layer: n where a unit is a neuron, and all members of the units of a
    layer of heads or halves."""
    return max(layer.units * layer.width for layer in target.layers)


def check_values(target: TargetModel, values: Tensor, batch: int | None = None) -> Float[
        Tensor, "image layer token neuron"]:
    """Replacement values in the model's dtype and on its device.

    How many tokens they must have is known only when a forward runs, see
    :func:`~neuronpath_core.edits.scaled`.

    Args:
        target: the model.
        values: ``(image or 1, layer, token or 1, neuron)``; smaller layers end in values that
            nothing looks at.
        batch: number of images they must belong to; ``None`` accepts any.

    Raises:
        ValueError: something else than a dense tensor of finite floating-point numbers of this
            shape, or values of another number of images.
    """
    wanted = f"(image or 1, {target.n_blocks}, token or 1, {widest(target)})"
    if not is_real(values):
        raise ValueError(f"values must be a dense tensor {wanted} of floating-point numbers, got "
                         f"{kind_of(values)}; accepted: None for zero, or one draw of "
                         "npc.replacement_values")
    fits = values.ndim == 4 and values.numel() > 0
    if not fits or (values.shape[1], values.shape[3]) != (target.n_blocks, widest(target)):
        raise ValueError(f"values must have shape {wanted}, got {tuple(values.shape)}; accepted: "
                         "None for zero, or one draw of npc.replacement_values")
    if batch is not None and len(values) not in (1, batch):
        raise ValueError(f"values are for {len(values)} images, the batch has {batch}; accepted: "
                         "values for each image, or for one, which hold for all")
    values = values.to(device=target.device, dtype=target.dtype)
    if not torch.isfinite(values).all():
        raise ValueError(f"values hold NaN or infinite numbers in {target.dtype}; accepted: "
                         "finite values only")
    return values
