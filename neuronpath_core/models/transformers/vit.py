"""ViT and DeiT: a class token, in DeiT a distillation token after it, and one linear head or two.

A masked autoencoder that was fine-tuned in transformers is a ``ViTForImageClassification`` too.
"""

from __future__ import annotations

from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from neuronpath_core.models.transformers.mapping import ModelMapping

BLOCK = {"layernorm_before": "norm1", "layernorm_after": "norm2", "attention.q_proj": "attn.q",
         "attention.k_proj": "attn.k", "attention.v_proj": "attn.v",
         "attention.o_proj": "attn.proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}


def _stem(tower: str, **others: str) -> dict[str, str]:
    return {f"{tower}.embeddings.cls_token": "cls_token",
            f"{tower}.embeddings.patch_embeddings.projection": "patch_embed.proj",
            f"{tower}.layernorm": "norm", **others}


def _mapping(kind: str, tower: str, **others) -> ModelMapping:
    return ModelMapping(kind=kind, blocks=f"{tower}.layers", block=BLOCK,
                        embeddings=f"{tower}.embeddings",
                        positions=f"{tower}.embeddings.position_embeddings",
                        unused=(f"{tower}.embeddings.mask_token",), **others)


VIT = _mapping("ViTForImageClassification", "vit", network=VisionTransformer, prefix=1,
               stem=_stem("vit", classifier="head"), heads=("classifier",))

# its distillation token is seen by the others and by no head, as a register is
DEIT = _mapping("DeiTForImageClassification", "deit", network=VisionTransformer, prefix=2,
                stem={**_stem("deit", classifier="head"),
                      "deit.embeddings.distillation_token": "reg_token"},
                heads=("classifier",), arguments=lambda config: {"reg_tokens": 1})

DISTILLED = _mapping("DeiTForImageClassificationWithTeacher", "deit",
                     network=VisionTransformerDistilled, prefix=2,
                     stem={**_stem("deit", cls_classifier="head",
                                   distillation_classifier="head_dist"),
                           "deit.embeddings.distillation_token": "dist_token"},
                     heads=("cls_classifier", "distillation_classifier"))
