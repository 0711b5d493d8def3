r"""What each part of the residual stream adds to the logits, to the last digit.

With the mean and the standard deviation σ of what the head reads frozen, the logits are a sum:

.. math::

    z_c = e_c + E_c \cdot \beta + \sum_{parts} \frac{E_c \cdot
    \big(\gamma \odot (p - \bar p)\big)}{\sigma} ,

where the parts are the embedding and what both halves of every block add.  Of a model that pools
its patch tokens, each part of each token is one of the summands, and σ is that of what the norm
sees: the pooled vector, or each token's own stream where the norm stands before the pooling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuronpath_core.readings.projection import effective_rows, head_rows, norm_of
from neuronpath_core.readings.streams import check_place, over_images
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.readings.streams import Streams
    from neuronpath_core.target import TargetModel


@dataclass(frozen=True)
class Ledger:
    """The summands of the logits.

    Attributes:
        constant: what is there before any part is added, ``(class,)``.
        parts: what each part of each token that the head reads adds, ``(image, part, token,
            class)``: the embedding, then attention and FFN of the first block, of the second, ….
        tokens: which of the model's tokens these are.
    """

    constant: Float[Tensor, "class"]
    parts: Float[Tensor, "image part token class"]
    tokens: slice

    def logits(self) -> Float[Tensor, "image class"]:
        """The sum, which is the model's answer."""
        return self.constant + self.parts.sum((1, 2))

    def embedding(self) -> Float[Tensor, "image token class"]:
        """What the embedding adds."""
        return self.parts[:, 0]

    def half(self, half: str) -> Float[Tensor, "block image token class"]:
        """What the ``"attention"`` or the ``"ffn"`` half of each block adds.

        Raises:
            ValueError: another half.
        """
        check_place(half)
        if half == "block":
            raise ValueError(f"{shown(half)} is not a half of a block; accepted: attention, ffn")
        return self.parts[:, (1 if half == "attention" else 2)::2].transpose(0, 1)


def read_tokens(target: TargetModel) -> slice:
    """The tokens that the head reads: the class token, or those that it pools."""
    model = target.model
    if model.global_pool == "token":
        return slice(0, 1)
    return slice(0 if model.pool_include_prefix else model.num_prefix_tokens, None)


@torch.no_grad()
def ledger(target: TargetModel, images: Float[Tensor, "image channel height width"]) -> Ledger:
    """The exact contribution of every part of the stream to the logits, by the formula at the head
    of this module.

    Args:
        target: the model; results have its dtype and are on its device.
        images: as the model accepts them.

    Raises:
        ValueError: what :func:`~neuronpath_core.readings.projection.head_rows`,
            :func:`~neuronpath_core.readings.projection.norm_of` and
            :func:`~neuronpath_core.readings.streams.read_streams` refuse.
    """
    rows, bias = head_rows(target)
    norm, effective, read = norm_of(target), effective_rows(target), read_tokens(target)
    shift = 0 if norm is None or norm.bias is None else rows @ norm.bias.detach()
    pooled = norm is not None and norm is target.model.fc_norm

    def reading(streams: Streams, _rows: Tensor) -> Tensor:
        halves = torch.stack([streams.attention, streams.ffn], 1).flatten(0, 1)
        parts = torch.cat([streams.embedded[None], halves])[:, :, read].transpose(0, 1)
        last = streams.blocks[-1][:, read]
        seen = last.mean(1, keepdim=True) if pooled else last
        deviation = _deviation(seen, norm) * last.shape[1]
        return F.linear(parts, effective) / deviation[:, None]

    parts = torch.cat(over_images(target, images, reading))
    return Ledger(bias + shift, parts, read)


def _deviation(values: Float[Tensor, "image token width"],
               norm: nn.LayerNorm | None) -> Float[Tensor, "image token one"]:
    """What the norm divides by; 1 without one."""
    if norm is None:
        return torch.ones_like(values[..., :1])
    return (values.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
