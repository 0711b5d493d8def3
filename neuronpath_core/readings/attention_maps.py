r"""A model's attention weights, read and replaced where the model itself applies them.

timm's attention multiplies values by :math:`a = \mathrm{softmax}(qk^\top s)` and passes a through
its dropout module first, ``attn_drop``, unless a fused kernel does all at once.  Inside
:func:`attention` the fused kernel is off and a module of ours stands in that place: it sees the
weights of every head, and what it returns is what the model goes on with.  So no block is copied,
and any model whose blocks end in the parts named here is read as it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from neuronpath_core.agreement import agree
from neuronpath_core.examined import check_target, looked_at
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Replace = Callable[[int, Tensor], Tensor]
# what may stand where the weights pass: in eval mode both leave them as they are
PASSED = (nn.Dropout, nn.Identity)


class _Tap(nn.Module):
    """Stands for ``attn_drop`` of one block: keeps the weights and may replace them."""

    def __init__(self, block: int, kept: list[list[Tensor]], replace: Replace | None):
        super().__init__()
        self.block, self.kept, self.replace = block, kept, replace
        self.p = 0.0  # timm's fused branch reads it

    def forward(self, weights: Tensor) -> Tensor:
        if self.replace is not None:
            given, weights = weights, self.replace(self.block, weights)
            if not is_ordinary(weights) or weights.shape != given.shape:
                raise ValueError(f"weights of block {self.block} were replaced by "
                                 f"{kind_of(weights)}; "
                                 f"accepted: a tensor {tuple(given.shape)}")
        self.kept[self.block].append(weights)
        return weights


@contextmanager
def attention(target: TargetModel, replace: Replace | None = None
              ) -> Iterator[list[list[Float[Tensor, "image head token token"]]]]:
    """Inside, every pass of the model hands over its attention weights, and may be given others.

    The model is changed for as long as the context lasts, in all threads, and put back as it was
    however the context ends.  Call the model in it, and nothing of the library that holds a model
    against itself first.

    Args:
        target: a model whose blocks :func:`check_readable` accepts.
        replace: is given the block, counted from 0, and its weights
            ``(image, head, query, key)`` after the softmax; the model goes on with what it returns,
            as it is: rows need not sum to one.  ``None`` reads only.

    Yields:
        by block, the weights that every pass went on with, as parts of the pass's graph.

    Raises:
        ValueError: attention that cannot be read, or a replacement of another shape.
    """
    check_readable(target)
    parts = [block.attn for block in target.model.blocks]
    before = [(part, part.attn_drop, part.fused_attn) for part in parts]
    kept: list[list[Tensor]] = [[] for _ in parts]
    try:
        for index, part in enumerate(parts):
            part.attn_drop, part.fused_attn = _Tap(index, kept, replace).eval(), False
        yield kept
    finally:
        for part, passed, fused in before:
            part.attn_drop, part.fused_attn = passed, fused


def check_readable(target: TargetModel) -> None:
    """Raise ``ValueError`` unless the attention of every block is a product of weights, which pass
    through a module of their own, and values, which nothing gates."""
    check_target(target)
    for index, block in enumerate(target.model.blocks):
        part = getattr(block, "attn", None)
        kind = type(part).__name__
        if getattr(part, "gate", None) is not None:
            raise ValueError(f"the attention of block {index} ({kind}) multiplies its output by a "
                             "gate, so that its weights do not say what a token takes from others; "
                             "accepted: attention without a gate")
        if not isinstance(getattr(part, "attn_drop", None), PASSED) or not hasattr(part,
                                                                                   "fused_attn"):
            raise ValueError(f"the attention of block {index} ({kind}) has no attn_drop through "
                             "which its weights pass; accepted: timm's Attention and EvaAttention")
        if "lambda_q1" in dict(part.named_parameters(recurse=False)):
            raise ValueError(f"the attention of block {index} ({kind}) is a difference of two "
                             "softmaxes; accepted: timm's Attention and EvaAttention")


@torch.no_grad()
def check_read(target: TargetModel, images: Float[Tensor, "image channel height width"]) -> None:
    """Raise ``ValueError`` unless the model with its attention read is the model as it is called.

    Three images are looked at: one pass of each kind.  A fused kernel takes its scale from the
    width of a head whatever the module says, so that the two need not be one.
    """
    few = looked_at(images, False)[0]
    wanted = target(few)
    with attention(target) as kept:
        found = target(few)
    for index, weights in enumerate(kept):
        if len(weights) != 1:
            raise ValueError(f"the attention weights of block {index} are applied {len(weights)} "
                             "times in a forward pass; accepted: blocks that apply them once")
        if weights[0].ndim != 4 or weights[0].shape[-1] != weights[0].shape[-2]:
            raise ValueError(f"the attention weights of block {index} are "
                             f"{tuple(weights[0].shape)}; accepted: (image, head, token, token)")
    if not agree(found, wanted, wanted):
        raise ValueError("the model gives other logits while its attention is read; accepted: a "
                         "model whose fused attention is softmax(q k * scale) v, with its own "
                         "scale")


def attention_maps(
    target: TargetModel, images: Float[Tensor, "image channel height width"]
) -> Float[Tensor, "block image head token token"]:
    r"""Compute the attention weights :math:`a^{b,h}_{ij}` of every block and head.

    i is the token that looks, j the one that is looked at, prefix tokens first.  Rows sum to one.
    All of them are held at once, :math:`L B H T^2` numbers, computed in chunks of images; whoever
    needs a row of them asks for few images at a time.

    Args:
        target: the model.
        images: a batch.

    Returns:
        the weights in the model's dtype, on its device, without a graph.

    Raises:
        ValueError: a batch that does not fit the model, attention that cannot be read, or a model
            that is another one while it is read.
    """
    check_target(target)
    target.check_images(images)
    check_readable(target)
    check_read(target, images)

    def read(rows: Tensor) -> Tensor:
        with torch.no_grad(), attention(target) as kept:
            target(images[rows])
        return torch.stack([weights[0] for weights in kept])
    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1), read), 1)


def renormalised(
    weights: Float[Tensor, "*rest query key"], allowed: Bool[Tensor, "*rest query key"]
) -> Float[Tensor, "*rest query key"]:
    r"""Forbid some keys as a mask before the softmax does:
    :math:`a_{ij} m_{ij} / \sum_k a_{ik} m_{ik}`.

    Both are the same function, because :math:`\mathrm{softmax}(z + \log m)` is the softmax of z
    divided among the allowed keys.

    Raises:
        ValueError: a query whose allowed keys have no weight, so that nothing can be divided.
    """
    left = weights * allowed
    mass = left.sum(-1, keepdim=True)
    if not (mass > 0).all():
        raise ValueError("a query has no weight on any allowed key; accepted: at least one key "
                         "with a positive weight for each query")
    return left / mass


def is_written_out(block: nn.Module) -> bool:
    """Whether a block's attention is timm's own product of queries, keys and values."""
    return type(getattr(block, "attn", None)) is Attention
