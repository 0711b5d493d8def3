"""DINOv2, with registers and without: LayerScale, gated FFNs in the largest, and a head that reads
the class token beside the mean of the patch tokens."""

from __future__ import annotations

from typing import Any

from timm.layers import SwiGLU
from torch import nn

from neuronpath_core.models.transformers.class_and_patches import ClassAndPatchesTransformer
from neuronpath_core.models.transformers.mapping import ModelMapping

BLOCK = {"norm1": "norm1", "norm2": "norm2", "attention.q_proj": "attn.q",
         "attention.k_proj": "attn.k", "attention.v_proj": "attn.v",
         "attention.o_proj": "attn.proj", "layer_scale1.lambda1": "ls1.gamma",
         "layer_scale2.lambda1": "ls2.gamma", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
         # of a gated FFN, whose neurons are the products with their gates
         "mlp.gate_proj": "mlp.fc1_g", "mlp.up_proj": "mlp.fc1_x", "mlp.down_proj": "mlp.fc2"}


def _registers(config: Any) -> int:
    return getattr(config, "num_register_tokens", 0)


def _arguments(config: Any) -> dict:
    # the weights of LayerScale are replaced, so that any number calls for them
    found = {"init_values": 1.0, "reg_tokens": _registers(config)}
    if config.use_swiglu_ffn:
        found |= {"mlp_layer": SwiGLU, "act_layer": nn.SiLU}
    return found


def _mapping(kind: str, tower: str) -> ModelMapping:
    return ModelMapping(
        kind=kind, network=ClassAndPatchesTransformer, prefix=1, heads=("classifier",),
        stem={f"{tower}.embeddings.cls_token": "cls_token",
              f"{tower}.embeddings.register_tokens": "reg_token",
              f"{tower}.embeddings.patch_embeddings.projection": "patch_embed.proj",
              f"{tower}.layernorm": "norm", "classifier": "head"},
        blocks=f"{tower}.encoder.layer", block=BLOCK, embeddings=f"{tower}.embeddings",
        positions=f"{tower}.embeddings.position_embeddings",
        unused=(f"{tower}.embeddings.mask_token",), resamples=True, registers=_registers,
        arguments=_arguments)


DINOV2 = _mapping("Dinov2ForImageClassification", "dinov2")
REGISTERS = _mapping("Dinov2WithRegistersForImageClassification", "dinov2_with_registers")
