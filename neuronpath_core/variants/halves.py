"""The two residual halves of a plain block written out, each by itself: what a path with layers in
attention halves is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from neuronpath_core.fast.blocks import PlainBlock, _norm_tangent, _softmax_tangent

if TYPE_CHECKING:
    from jaxtyping import Float


class PlainHalves(PlainBlock):
    """:class:`~neuronpath_core.fast.blocks.PlainBlock` in two parts, each a function of the stream
    that enters it."""

    def attention_activations(self,
                              stream: Float[Tensor, "copy token embed"]) -> tuple[Tensor, Tensor]:
        """The stream after the attention half and the scope's attention output channels."""
        attended = self._attended(self.block.norm1(stream))
        return stream + self._project(attended), attended.transpose(1, 2).flatten(2)[:, self.tokens]

    def ffn_activations(self, stream: Float[Tensor, "copy token embed"]) -> tuple[Tensor, Tensor]:
        """The stream after the FFN half and the scope's FFN neurons."""
        active = self._neurons(self.block.norm2(stream))
        return stream + self.block.ls2(self.block.mlp.fc2(active)), active[:, self.tokens]

    def attention(self, stream: Float[Tensor, "copy token embed"], held: Tensor | None = None,
                  only: slice | None = None) -> Tensor:
        """The stream after the attention half; arguments as of
        :class:`~neuronpath_core.fast.blocks.PlainBlock`."""
        if held is None or (only is not None and self.tokens.start >= only.stop):
            attended = self._attended(self.block.norm1(stream), only)
            return (stream if only is None else stream[:, only]) + self._project(attended)
        fixed = self._attention_held(held, len(stream))
        if only is not None:
            return stream[:, only] + fixed
        if fixed.shape[1] == stream.shape[1]:
            return stream + fixed
        return stream + self._around(self._project(self._attended(self.block.norm1(stream),
                                                                  rest=fixed.shape[1])), fixed)

    def ffn(self, stream: Float[Tensor, "copy token embed"], held: Tensor | None = None,
            only: slice | None = None) -> Tensor:
        """The stream after the FFN half."""
        if only is not None:
            stream, held = stream[:, only], None if self.tokens.start >= only.stop else held
        return stream + self._ffn(stream, held)

    def attention_tangent(self, stream: Tensor, tangent: Tensor, held: Tensor | None = None,
                          only: slice | None = None) -> tuple[Tensor, Tensor]:
        """:meth:`attention` and its derivative along ``tangent``."""
        fixed = None if held is None else self._attention_held(held, len(stream))
        if fixed is not None and only is not None:
            return stream[:, only] + fixed, tangent[:, only]
        if fixed is not None and fixed.shape[1] == stream.shape[1]:
            return stream + fixed, tangent
        count = None if fixed is None else fixed.shape[1]
        normed, moved = _norm_tangent(self.block.norm1, stream, tangent)
        attention = self.block.attn
        query, d_query = _norm_tangent(attention.q_norm,
                                       *(self._heads(self._others(part, only, count), 0, 1, bias)[0]
                                         for part, bias in ((normed, True), (moved, False))))
        (key, value) = self._heads(normed, 1, 3)
        (d_key, d_value) = self._heads(moved, 1, 3, bias=False)
        key, d_key = _norm_tangent(attention.k_norm, key, d_key)
        query, d_query = query * self.scale, d_query * self.scale
        weight = torch.softmax(query @ key.mT, -1)
        d_weight = _softmax_tangent(weight, d_query @ key.mT + query @ d_key.mT)
        written = self._project(weight @ value)
        d_written = self._project(d_weight @ value + weight @ d_value, bias=False)
        if fixed is not None:
            written = self._around(written, fixed)
            d_written = self._around(d_written, torch.zeros_like(fixed))
        if only is not None:
            stream, tangent = stream[:, only], tangent[:, only]
        return stream + written, tangent + d_written

    def ffn_tangent(self, stream: Tensor, tangent: Tensor, held: Tensor | None = None,
                    only: slice | None = None) -> tuple[Tensor, Tensor]:
        """:meth:`ffn` and its derivative along ``tangent``."""
        if only is not None:
            stream, tangent = stream[:, only], tangent[:, only]
        if held is None:
            written, moved = self._ffn_tangent(stream, tangent)
            return stream + written, tangent + moved
        fixed = self._held(held, len(stream))
        if fixed.shape[1] == stream.shape[1]:
            return stream + fixed, tangent
        written, moved = self._ffn_tangent(*(self._others(part, None, fixed.shape[1])
                                             for part in (stream, tangent)))
        return stream + self._around(written,
                                     fixed), tangent + self._around(moved, torch.zeros_like(fixed))

    # --- the parts ---

    def _attention_held(self, held: Tensor, copies: int) -> Tensor:
        return self.block.ls1(self.block.attn.proj(held)).repeat_interleave(copies // len(held), 0)

    def _attended(self, normed: Tensor, only: slice | None = None,
                  rest: int | None = None) -> Tensor:
        """What the wanted tokens, or all but the ``rest`` many of the scope, gather from all,
        ``(copy, head, token, head width)``."""
        (query,) = self._heads(self._others(normed, only, rest), 0, 1)
        (key, value) = self._heads(normed, 1, 3)
        return F.scaled_dot_product_attention(self.block.attn.q_norm(query),
                                              self.block.attn.k_norm(key), value, scale=self.scale)

    def _others(self, value: Tensor, only: slice | None, scoped: int | None) -> Tensor:
        """The wanted tokens, or all but the scope's, or all."""
        if scoped is None:
            return value if only is None else value[:, only]
        return torch.cat([value[:, :self.tokens.start], value[:, self.tokens.start + scoped:]], 1)

    def _around(self, others: Tensor, fixed: Tensor) -> Tensor:
        """Values of the other tokens with the scope's in their place."""
        return torch.cat([others[:, :self.tokens.start], fixed, others[:, self.tokens.start:]], 1)


class PlainLayer:
    """A layer of a path written out: the half whose neurons it names, and before it the other half
    where that runs natively."""

    def __init__(self, kind: str, halves: PlainHalves, before: PlainHalves | None = None):
        self.kind, self.halves, self.before = kind, halves, before

    def activations(self, stream: Float[Tensor, "copy token embed"]) -> tuple[Tensor, Tensor]:
        """The stream after the layer and its neurons at the scope."""
        return getattr(self.halves, f"{self.kind}_activations")(stream if self.before is None
                                                                else self.before.ffn(stream))

    def __call__(self, stream: Float[Tensor, "copy token embed"], held: Tensor | None = None,
                 only: slice | None = None) -> Tensor:
        """The stream after the layer."""
        return getattr(self.halves, self.kind)(stream if self.before is None
                                               else self.before.ffn(stream), held, only)

    def tangent(self, stream: Tensor, tangent: Tensor, held: Tensor,
                only: slice | None = None) -> tuple[Tensor, Tensor]:
        """The stream after the layer and its derivative along ``tangent``, the scope's neurons
        clamped."""
        if self.before is not None:
            stream, tangent = self.before.ffn_tangent(stream, tangent)
        return getattr(self.halves, f"{self.kind}_tangent")(stream, tangent, held, only)
