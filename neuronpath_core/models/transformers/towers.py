"""The vision towers of CLIP and SigLIP with a linear head on the mean of the patch tokens.

CLIP's mean is of the last block's output as it is, SigLIP's of what its last norm makes of it; what
else pools in these towers takes no part in the logits.
"""

from __future__ import annotations

from timm.models.vision_transformer import VisionTransformer

from neuronpath_core.models.transformers.mapping import ModelMapping

TOWER = "vision_model"
BLOCK = {"layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn.q_proj": "attn.q",
         "self_attn.k_proj": "attn.k", "self_attn.v_proj": "attn.v",
         "self_attn.out_proj": "attn.proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
STEM = {f"{TOWER}.embeddings.patch_embedding": "patch_embed.proj", "classifier": "head"}


def _mapping(kind: str, **others) -> ModelMapping:
    return ModelMapping(kind=kind, network=VisionTransformer, blocks=f"{TOWER}.encoder.layers",
                        block=BLOCK, heads=("classifier",), embeddings=f"{TOWER}.embeddings",
                        positions=f"{TOWER}.embeddings.position_embedding.weight",
                        config=lambda config: config.vision_config, **others)


CLIP = _mapping(
    "CLIPForImageClassification", prefix=1,
    stem={**STEM, f"{TOWER}.embeddings.class_embedding": "cls_token",
          f"{TOWER}.pre_layrnorm": "norm_pre"},
    arguments=lambda config: {"global_pool": "avg", "fc_norm": False, "final_norm": False,
                              "pre_norm": True},
    unused=(f"{TOWER}.post_layernorm.",))

SIGLIP = _mapping(
    "SiglipForImageClassification", prefix=0,
    stem={**STEM, f"{TOWER}.post_layernorm": "norm"},
    arguments=lambda config: {"global_pool": "avg", "fc_norm": False, "class_token": False},
    unused=(f"{TOWER}.head.",))
