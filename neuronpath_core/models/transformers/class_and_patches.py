"""A ``VisionTransformer`` whose head reads the class token beside the mean of the patch tokens, as
the DINOv2 classifiers of Hugging Face's transformers do; timm has no such pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from neuronpath_core.families import register
from neuronpath_core.models.families.vision_transformer import VisionTransformerFamily

if TYPE_CHECKING:
    from jaxtyping import Float


class ClassAndPatchesTransformer(VisionTransformer):
    """timm's ``VisionTransformer`` with a linear head on two tokens' width side by side: the class
    token, and the mean of the patch tokens, without registers.

    Args:
        arguments: those of ``VisionTransformer``, but for ``global_pool``.
    """

    def __init__(self, **arguments):
        super().__init__(**arguments, global_pool="token")
        self.global_pool = "token+avg"
        if isinstance(self.head, nn.Linear):
            self.head = nn.Linear(2 * self.embed_dim, self.num_classes)

    def pool(self, x: Float[torch.Tensor, "batch token embed"],
             pool_type: str | None = None) -> Float[torch.Tensor, "batch both"]:
        """Return the class token and the mean of the patch tokens side by side."""
        return torch.cat([x[:, 0], x[:, self.num_prefix_tokens:].mean(1)], -1)


class ClassAndPatchesFamily(VisionTransformerFamily):
    """The same blocks and embedding; the logits depend on every patch token too."""

    kind, names = ClassAndPatchesTransformer, ()

    def pooled_scope(self, model: nn.Module) -> str:
        """Return ``"cls"``: half of what the head reads is that one token, as in timm's own
        DINOv2, of which it is all."""
        return "cls"

    def classifies_alone(self, model: nn.Module) -> bool:
        return False


register(ClassAndPatchesFamily())
