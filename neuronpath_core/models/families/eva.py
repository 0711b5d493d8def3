"""timm's ``Eva``, which also builds DINOv3, EVA-02, RoPE-ViT and the Perception Encoder: blocks
that take rotary positions besides the stream."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from timm.models.eva import Eva, EvaBlock
from torch import Tensor, nn

from neuronpath_core.families import register
from neuronpath_core.models.families.timm_stack import TimmStack

if TYPE_CHECKING:
    from jaxtyping import Float


class EvaFamily(TimmStack):
    """Networks of timm's ``EvaBlock``, which keeps LayerScale as plain parameters."""

    kind, block, names = Eva, EvaBlock, ("Eva",)

    def embed(self, model: nn.Module, images: Float[Tensor, "batch channel height width"]
              ) -> Float[Tensor, "batch token embed"]:
        return model.norm_pre(model._pos_embed(model.patch_embed(images))[0])

    def run_block(self, model: nn.Module, index: int,
                  stream: Float[Tensor, "copy token embed"]) -> Float[Tensor, "copy token embed"]:
        return model.blocks[index](stream, rope=rotary(model, index, stream.shape[1]))

    def image_sizes(self, model: nn.Module, size: tuple[int, int]) -> tuple[bool, str]:
        fits, words = super().image_sizes(model, size)
        patches = model.patch_embed
        if model.rope is None or (patches.strict_img_size and patches.img_size):
            return fits, words
        # a block sees the stream alone: its rotary positions follow from the number of its tokens
        grid = patches.dynamic_feat_size(size)
        square = _patch_grid(model, math.prod(grid)) == tuple(grid)
        return fits and square, f"{words}, a square grid of patches"

    def ffn_scale(self, block: nn.Module) -> Float[Tensor, "embed"] | None:
        return block.gamma_2

    def attention_scale(self, block: nn.Module) -> Float[Tensor, "embed"] | None:
        """Return LayerScale of the attention, or ``None`` without one."""
        return block.gamma_1

    def run_half(self, model: nn.Module, index: int, half: str, stream: Tensor) -> Tensor:
        """Run the ``"attention"`` or the ``"ffn"`` half of a block by its own modules."""
        block = model.blocks[index]
        if half == "attention":
            rope = rotary(model, index, stream.shape[1])
            written, gamma = block.attn(block.norm1(stream), rope=rope), block.gamma_1
            return stream + block.drop_path1(written if gamma is None else gamma * written)
        written, gamma = block.mlp(block.norm2(stream)), block.gamma_2
        return stream + block.drop_path2(written if gamma is None else gamma * written)


def rotary(model: Eva, index: int, tokens: int) -> Tensor | None:
    """Return the rotary positions of a block, as timm makes them along with the tokens."""
    if model.rope is None:
        return None
    patches, weight = tokens - model.num_prefix_tokens, model.patch_embed.proj.weight
    shape = _patch_grid(model, patches) if model.dynamic_img_size else (patches,)
    with torch.no_grad():
        positions = model._pos_embed(weight.new_zeros(1, *shape, model.embed_dim))[1]
    return positions[index] if model.rope_mixed else positions


def _patch_grid(model: nn.Module, patches: int) -> tuple[int, int]:
    """Return rows and columns of so many patches: the model's own grid if it has as many, else a
    square."""
    own = model.patch_embed.grid_size
    return tuple(own) if own and math.prod(own) == patches else (math.isqrt(patches),) * 2


register(EvaFamily())
