r"""timm's plain pre-norm block written out as functions: forward for some of the tokens only, with
its tangent, or in a frozen context.

What the module itself cannot do cheaply: compute the last block for the class token alone, leave
out the FFN where its output is held, carry a tangent at little more than the price of the forward,
and let one token attend to stored keys and values. The tangents use that the Jacobians of layer
normalisation (without its affine part), softmax and every elementwise activation are symmetric, so
the backward kernels that torch has serve as forward-mode ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from timm.layers import Mlp, SwiGLU
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from neuronpath_core.fast.plain import attention_heads, is_plain

if TYPE_CHECKING:
    from jaxtyping import Float


def written_out(block: nn.Module, tokens: slice) -> PlainBlock | None:
    """The block as functions, if :func:`~neuronpath_core.fast.plain.is_plain` holds."""
    return PlainBlock(block, tokens) if is_plain(block) else None


def _within(parts: Sequence[nn.Module]) -> list[tuple[nn.Module, ...]]:
    """What each part has inside: a third of the time of a walk through all, before every run."""
    return [tuple(part._modules.values()) for part in parts]


class PlainBlock:
    """A block as functions of the residual stream; the module's parameters are used, not copied.

    Args:
        block: one for which :func:`~neuronpath_core.fast.plain.is_plain` held; it must be asked
            again once hooks may have come.
        tokens: slice of the token axis that the scope covers, from its start to as many as ``held``
            has.
    """

    def __init__(self, block: Block, tokens: slice):
        self.block, self.tokens, self.parts = block, tokens, list(block.modules())
        self.within = _within(self.parts)
        self.heads = attention_heads(block.attn)
        self.n_heads, self.width, self.scale = self.heads

    def is_of(self, block: nn.Module) -> bool:
        """Whether this was made of this block, with the parts and heads that it has now."""
        return (self.block is block and self.within == _within(self.parts)
                and self.heads == attention_heads(block.attn))

    # --- the parts ---

    def _heads(self, value: Tensor, start: int, stop: int, bias: bool = True) -> tuple[Tensor, ...]:
        """Numbers start..stop-1 of query, key, value, each ``(copy, head, token, head width)``."""
        linear, rows = self.block.attn.qkv, slice(start * self.width, stop * self.width)
        out = F.linear(value, linear.weight[rows], linear.bias[rows] if bias
                       and linear.bias is not None else None)
        return out.unflatten(-1, (stop - start, self.n_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _query_key_value(self, value: Tensor, only: slice | None,
                         bias: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        if only is None:
            return self._heads(value, 0, 3, bias)
        return (*self._heads(value[:, only], 0, 1, bias), *self._heads(value, 1, 3, bias))

    def _project(self, attended: Tensor, bias: bool = True) -> Tensor:
        linear = self.block.attn.proj
        out = F.linear(attended.transpose(1, 2).flatten(2), linear.weight, linear.bias if bias
                       else None)
        return self.block.ls1(out)

    def _held(self, held: Tensor, copies: int) -> Tensor:
        """What the FFN writes where its activations are held, once for all copies of an image."""
        return self.block.ls2(self.block.mlp.fc2(held)).repeat_interleave(copies // len(held), 0)

    def _ffn(self, stream: Tensor, held: Tensor | None) -> Tensor:
        def native(part):
            return self.block.ls2(self.block.mlp(self.block.norm2(part)))
        if held is None:
            return native(stream)
        fixed, start = self._held(held, len(stream)), self.tokens.start
        rest = [stream[:, :start], stream[:, start + fixed.shape[1]:]]
        before, after = (native(part) if part.shape[1] else part for part in rest)
        return torch.cat([before, fixed, after], 1)

    def _ffn_tangent(self, stream: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
        ffn, scale = self.block.mlp, self.block.ls2
        value, moved = self._neurons_tangent(*_norm_tangent(self.block.norm2, stream, tangent))
        return scale(ffn.fc2(value)), scale(F.linear(moved, ffn.fc2.weight))

    def _gates(self, value: Tensor, bias: bool = True) -> tuple[Tensor, Tensor]:
        """Of a gated FFN what enters the activation function, and what multiplies its output."""
        ffn = self.block.mlp
        if type(ffn) is SwiGLU:
            return tuple(F.linear(value, part.weight, part.bias if bias else None)
                         for part in (ffn.fc1_g, ffn.fc1_x))
        first, second = F.linear(value, ffn.fc1.weight, ffn.fc1.bias if bias else None).chunk(2, -1)
        return (second, first) if ffn.gate_last else (first, second)

    def _neurons(self, value: Tensor) -> Tensor:
        """What enters ``fc2``."""
        ffn = self.block.mlp
        if type(ffn) is Mlp:
            return ffn.norm(ffn.act(ffn.fc1(value)))
        gate, through = self._gates(value)
        return ffn.norm(ffn.act(gate) * through)

    def _neurons_tangent(self, value: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
        ffn = self.block.mlp
        # the tangent first: an activation may work in place
        if type(ffn) is Mlp:
            entering = ffn.fc1(value)
            moved = _activation_tangent(ffn.act, entering, F.linear(tangent, ffn.fc1.weight))
            return _norm_tangent(ffn.norm, ffn.act(entering), moved)
        (gate, through), (d_gate, d_through) = self._gates(value), self._gates(tangent, bias=False)
        d_gate = _activation_tangent(ffn.act, gate, d_gate)
        gate = ffn.act(gate)
        return _norm_tangent(ffn.norm, gate * through, d_gate * through + gate * d_through)

    # --- every token runs natively ---

    def activations(self, stream: Float[Tensor, "copy token embed"]) -> tuple[Tensor, Tensor]:
        """The stream after the block and the FFN activations of the scope."""
        query, key, value = self._query_key_value(self.block.norm1(stream), None)
        stream = stream + self._project(F.scaled_dot_product_attention(
            self.block.attn.q_norm(query), self.block.attn.k_norm(key), value, scale=self.scale))
        active = self._neurons(self.block.norm2(stream))
        return stream + self.block.ls2(self.block.mlp.fc2(active)), active[:, self.tokens]

    def __call__(self, stream: Float[Tensor, "copy token embed"], held: Tensor | None = None,
                 only: slice | None = None) -> Tensor:
        """The stream after the block.

        Args:
            held: ``(image, scope token, neuron)`` activations that the scope's neurons are clamped
                to; copies of an image follow one another.
            only: the tokens wanted; the others serve as keys and values.
        """
        query, key, value = self._query_key_value(self.block.norm1(stream), only)
        query, key = self.block.attn.q_norm(query), self.block.attn.k_norm(key)
        if only is not None:
            stream = stream[:, only]
            # of a scope that is not wanted nothing can be held
            held = None if self.tokens.start >= only.stop else held
        stream = stream + self._project(F.scaled_dot_product_attention(query, key, value,
                                                                       scale=self.scale))
        return stream + self._ffn(stream, held)

    def tangent(
        self, stream: Float[Tensor, "copy token embed"], tangent: Float[Tensor, "copy token embed"],
        held: Tensor, only: slice | None = None
    ) -> tuple[Tensor, Tensor]:
        """The stream after the block and its derivative along ``tangent``, neurons clamped."""
        normed, moved = _norm_tangent(self.block.norm1, stream, tangent)
        query, key, value = self._query_key_value(normed, only)
        d_query, d_key, d_value = self._query_key_value(moved, only, bias=False)
        query, d_query = _norm_tangent(self.block.attn.q_norm, query, d_query)
        key, d_key = _norm_tangent(self.block.attn.k_norm, key, d_key)
        query, d_query = query * self.scale, d_query * self.scale
        weight = torch.softmax(query @ key.mT, -1)
        d_weight = _softmax_tangent(weight, d_query @ key.mT + query @ d_key.mT)
        attended, d_attended = weight @ value, d_weight @ value + weight @ d_value
        if only is not None:
            stream, tangent = stream[:, only], tangent[:, only]
        stream = stream + self._project(attended)
        tangent = tangent + self._project(d_attended, bias=False)
        fixed, start = self._held(held, len(stream)), self.tokens.start
        written, moved = [], []
        for part in (slice(0, start), slice(start + fixed.shape[1], stream.shape[1])):
            native = self._ffn_tangent(stream[:, part],
                                       tangent[:, part]) if part.stop > part.start else (
                stream[:, part], tangent[:, part])
            written.append(native[0])
            moved.append(native[1])
        return stream + torch.cat([written[0], fixed, written[1]],
                                  1), tangent + torch.cat([moved[0], torch.zeros_like(fixed),
                                                           moved[1]], 1)

    # --- only the class token moves ---

    def keys_values(self, stream: Float[Tensor, "batch token embed"]) -> tuple[Tensor, Tensor]:
        """Clean keys and values of all tokens but the first: ``(batch, head, token, width)``."""
        key, value = self._heads(self.block.norm1(stream[:, 1:]), 1, 3)
        return self.block.attn.k_norm(key).contiguous(), value.contiguous()

    def frozen(self, stream: Float[Tensor, "batch copy embed"], context: tuple[Tensor, Tensor],
               held: Tensor | None = None) -> Tensor:
        """The class token's stream after the block, for many copies of it that attend to the same
        other tokens."""
        query, key, value = self._heads(self.block.norm1(stream), 0, 3)
        query, key = self.block.attn.q_norm(query) * self.scale, self.block.attn.k_norm(key)
        logits = torch.cat([(query * key).sum(-1, keepdim=True), query @ context[0].mT], -1)
        weight = torch.softmax(logits, -1)
        stream = stream + self._project(weight[..., :1] * value + weight[..., 1:] @ context[1])
        if held is not None:
            return stream + self._held(held, len(stream))
        return stream + self._ffn(stream, None)

    def frozen_tangent(self, stream: Tensor, tangent: Tensor, context: tuple[Tensor, Tensor],
                       held: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`frozen` and its derivative along ``tangent``, the class token's neurons clamped.
        """
        normed, moved = _norm_tangent(self.block.norm1, stream, tangent)
        query, key, value = self._heads(normed, 0, 3)
        d_query, d_key, d_value = self._heads(moved, 0, 3, bias=False)
        query, d_query = _norm_tangent(self.block.attn.q_norm, query, d_query)
        key, d_key = _norm_tangent(self.block.attn.k_norm, key, d_key)
        query, d_query = query * self.scale, d_query * self.scale
        weight = torch.softmax(torch.cat([(query * key).sum(-1, keepdim=True),
                                          query @ context[0].mT], -1), -1)
        own = (d_query * key + query * d_key).sum(-1, keepdim=True)
        d_weight = _softmax_tangent(weight, torch.cat([own, d_query @ context[0].mT], -1))
        attended = weight[..., :1] * value + weight[..., 1:] @ context[1]
        d_attended = d_weight[..., :1] * value + weight[...,
                                                        :1] * d_value + d_weight[..., 1:] @ context[
            1]
        stream = stream + self._project(attended)
        tangent = tangent + self._project(d_attended, bias=False)
        return stream + self._held(held, len(stream)), tangent


def _norm_tangent(norm: nn.Module, value: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(norm, nn.Identity):
        return value, tangent
    shape = list(norm.normalized_shape)
    value = value.contiguous()
    out, mean, rstd = torch.native_layer_norm(value, shape, norm.weight, norm.bias, norm.eps)
    moved = torch.ops.aten.native_layer_norm_backward(tangent.contiguous(), value, shape, mean,
                                                      rstd, None, None, [True, False, False])[0]
    return out, moved if norm.weight is None else moved * norm.weight


def _softmax_tangent(weight: Tensor, tangent: Tensor) -> Tensor:
    return torch._softmax_backward_data(tangent, weight, -1, weight.dtype)


def _activation_tangent(activation: nn.Module, value: Tensor, tangent: Tensor) -> Tensor:
    if isinstance(activation, nn.GELU):
        return torch.ops.aten.gelu_backward(tangent, value, approximate=activation.approximate)
    with torch.enable_grad():
        value = value.detach().requires_grad_()
        return torch.autograd.grad(activation(value.clone()), value, tangent)[0]
