"""How derivatives are taken: forward mode through whole blocks, and gradients of activations alone.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from neuronpath_core.target import TargetModel

# forward_ad has one level for all threads
_FORWARD_MODE = threading.RLock()


@contextmanager
def forward_mode() -> Iterator[None]:
    """Inside, ``forward_ad`` dual tensors carry a derivative along through a whole block of any
    kind; one thread at a time."""
    # fused attention kernels have no forward derivative; the plain one has, through its parts
    with (_FORWARD_MODE, warnings.catch_warnings(), forward_ad.dual_level(),
          sdpa_kernel(SDPBackend.MATH)):
        # torch's own, on first use
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")
        yield


@contextmanager
def activation_gradients(target: TargetModel) -> Iterator[None]:
    """Inside, gradients flow to activations, also under a caller's ``no_grad``, and no graph is
    kept for the weights."""
    if torch.is_inference_mode_enabled():
        raise ValueError("attributions need gradients, which torch.inference_mode() rules out; "
                         "accepted: torch.no_grad(), or neither")
    wanted = [parameter for parameter in target.model.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
