"""A network of the same architecture that has learnt nothing."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from neuronpath_core.examined import check_target
from neuronpath_core.hooks import without_edits
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float

HEAD_STD = 0.02  # of timm's own initial weights


def random_weights(target: TargetModel, seed: int = 0,
                   head_std: float = HEAD_STD) -> TargetModel:
    """A copy of the model with fresh weights, drawn as timm draws them before training, and with a
    head of its own.

    Some schemes (``weight_init="jax"``) begin with a head of zeros, so that all logits are equal
    and the rank of a class is arbitrary.  The head is therefore drawn anew: normal, with standard
    deviation ``head_std`` and no bias.

    Args:
        target: a timm ``VisionTransformer``; it stays as it is.
        seed: of the weights, which depend on nothing else; the random numbers of PyTorch go on as
            if nothing had been drawn.
        head_std: positive.

    Returns:
        a target of the same scope, dtype and device.

    Raises:
        ValueError: a network whose initial weights are not known, or a seed or a standard deviation
            that is none.
    """
    check_target(target)
    model = target.model
    if type(target) is not TargetModel or not isinstance(model, VisionTransformer) or type(
            getattr(model, "head", None)) is not nn.Linear:
        raise ValueError(f"the initial weights of {type(model).__name__} are not known; accepted: "
                         "npc.TargetModel of a timm VisionTransformer with a linear head")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed cannot be {shown(seed)}; accepted: a whole number of at least 0")
    if not head_std > 0:
        raise ValueError(f"head_std cannot be {shown(head_std)}; accepted: a positive number")
    twin = without_edits(copy.deepcopy(model))
    device, dtype = target.device, target.dtype
    # drawn on the CPU in double precision, so that a seed means the same weights everywhere
    twin = twin.to("cpu", torch.float64)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        twin.init_weights(needs_reset=True)
        _draw_head(twin.head, head_std)
    return TargetModel(twin.to(device, dtype), scope=target.scope)


def _draw_head(head: nn.Linear, std: float) -> Float[torch.Tensor, "class width"]:
    """Draw a head's rows, without bias."""
    if head.bias is not None:
        nn.init.zeros_(head.bias)
    return nn.init.normal_(head.weight, std=std)
