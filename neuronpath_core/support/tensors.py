"""Whether a tensor is an ordinary one, whose values lie in memory as they are meant, and what else
it is: of a nested tensor, one on the meta device or one of somebody's own class an operation may
give anything, or an error of its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Int64

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)  # that every operation takes


def is_ordinary(value: object) -> bool:
    """Whether a value is a dense tensor of PyTorch's own class, or of torchvision's, whose values
    lie in memory as they stand."""
    return isinstance(value, Tensor) and not _oddity(value)


def is_real(value: object) -> bool:
    """Whether a value is an ordinary tensor of floating-point numbers with which one can reckon."""
    return is_ordinary(value) and value.dtype in FLOATS


def kind_of(value: object) -> str:
    """Type and shape of a tensor or an array, or what else it is, for a message."""
    if isinstance(value, Tensor) and (odd := _oddity(value)):
        return odd
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{value.dtype} {tuple(value.shape)}"
    return type(value).__name__


def _oddity(value: Tensor) -> str:
    """What a tensor is that is not ordinary; nothing of one that is."""
    if value.is_nested:
        return "a nested tensor"
    if value.layout != torch.strided:
        return f"a tensor of layout {value.layout}"
    kind = type(value)
    if kind not in (Tensor, nn.Parameter) and kind.__module__.split(".")[0] != "torchvision":
        return f"a tensor of class {kind.__name__}"
    if value.is_meta:
        return "a tensor on the meta device"
    if value.is_quantized:
        return "a quantised tensor"
    if value.is_neg() or value.is_conj():
        return "a view of another tensor's negative or conjugate"
    try:
        held = value.numel() == 0 or value.data_ptr() != 0
    except RuntimeError:  # inside torch.func's vmap or grad
        held = False
    return "" if held else "a tensor whose values are not in memory"


def whole_numbers(name: str, value: object, dimensions: Collection[int],
                  accepted: str) -> Int64[np.ndarray, "..."]:
    """An array, or an ordinary tensor, of whole numbers from 0, as an array on the host.

    Args:
        name: what it is called in the message.
        value: at least one number.
        dimensions: how many it may have.
        accepted: its shape, in words.

    Raises:
        ValueError: anything else, such as a nested tensor or one on the meta device.
    """
    held = whole_array(value)
    if held is not None and held.ndim in dimensions and held.size > 0 and held.min() >= 0:
        return held
    raise ValueError(f"{name} must be whole numbers from 0, {accepted}, got {kind_of(value)}; "
                     "accepted: an array, or a dense tensor")


def whole_array(value: object) -> Int64[np.ndarray, "..."] | None:
    """An array, or an ordinary tensor, of whole numbers, on the host; ``None`` of anything else."""
    if is_ordinary(value) and value.dtype in WHOLE:
        value = value.detach().cpu().numpy()
    whole = isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer)
    return value.astype(np.int64) if whole else None
