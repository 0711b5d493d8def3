"""What the neurons of an edited forward pass may be multiplied by."""

from __future__ import annotations

import math
import numbers

import torch
from torch import Tensor

from neuronpath_core.support.text import shown

OPERATIONS = {"remove": 0.0, "enhance": 2.0}
LARGEST_FACTOR = 1e6


def check_factors(factors: Tensor) -> None:
    """Raise ``ValueError`` unless factors are dense finite numbers that no activation overflows by.
    """
    if not isinstance(factors, Tensor) or not factors.dtype.is_floating_point:
        found = factors.dtype if isinstance(factors, Tensor) else type(factors).__name__
        raise ValueError(f"factors must be a tensor of floating-point numbers, got {found}")
    if factors.layout != torch.strided or factors.is_meta or not (
            factors.abs() <= LARGEST_FACTOR).all():
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
