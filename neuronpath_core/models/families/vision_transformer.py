"""timm's ``VisionTransformer``, with the two-headed ``VisionTransformerDistilled``: the original
ViT, DeiT, DINOv2, CLIP, SigLIP and most others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from neuronpath_core.families import register
from neuronpath_core.models.families.timm_stack import TimmStack

if TYPE_CHECKING:
    from jaxtyping import Float


class VisionTransformerFamily(TimmStack):
    """Networks of timm's ``Block``, which gives LayerScale a module of its own."""

    kind, block = VisionTransformer, Block
    names = ("timm's VisionTransformer", "VisionTransformerDistilled")

    def embed(self, model: nn.Module, images: Float[Tensor, "batch channel height width"]
              ) -> Float[Tensor, "batch token embed"]:
        return model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))

    def heads(self, model: nn.Module) -> list[nn.Module]:
        distilled = isinstance(model, VisionTransformerDistilled)
        return [model.head, model.head_dist] if distilled else [model.head]

    def ffn_scale(self, block: nn.Module) -> Float[Tensor, "embed"] | None:
        return getattr(block.ls2, "gamma", None)

    def attention_scale(self, block: nn.Module) -> Float[Tensor, "embed"] | None:
        """Return LayerScale of the attention, or ``None`` without one."""
        return getattr(block.ls1, "gamma", None)

    def run_half(self, model: nn.Module, index: int, half: str, stream: Tensor) -> Tensor:
        """Run the ``"attention"`` or the ``"ffn"`` half of a block by its own modules."""
        block = model.blocks[index]
        if half == "attention":
            return stream + block.drop_path1(block.ls1(block.attn(block.norm1(stream))))
        return stream + block.drop_path2(block.ls2(block.mlp(block.norm2(stream))))


register(VisionTransformerFamily())
