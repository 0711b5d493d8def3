"""Hand-set networks whose neurons are known, and images for them."""

from __future__ import annotations

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import neuronpath_core as npc
from neuronpath_core.readings.concepts import ConceptSet
from tests import helpers


def small(count: int = 12, seed: int = 1, **overrides):
    """A seeded network with normal images of mixed classes: target, images, labels."""
    model = helpers.small_vit(seed, **{"img_size": 16, **overrides})
    images, labels = helpers.small_batch(count, seed, size=16)
    return npc.TargetModel(model), images, labels


def red_network(depth: int = 2, neurons: int = 4, patch: int = 4) -> npc.TargetModel:
    """A network without attention whose neuron 0 of block 0 reads how red a patch is, neuron 1 how
    green, and whose others are dead.  Scenes are 32 pixels a side, scaled to [-1, 1].

    The embedding writes red, green and blue, less grey, each with its negative, so that the norm
    before the FFN takes no mean away; a large constant pair holds the norm's scale nearly still.
    """
    model = VisionTransformer(img_size=32, patch_size=patch, num_classes=3, embed_dim=8,
                              depth=depth, num_heads=2, mlp_ratio=neurons / 8).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
        mix = torch.tensor([[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]]).double()
        weight = model.patch_embed.proj.weight  # (8, 3, patch, patch)
        weight[0:3] = mix[:, :, None, None] / patch ** 2
        weight[3:6] = -mix[:, :, None, None] / patch ** 2
        model.patch_embed.proj.bias[6:] = torch.tensor([30.0, -30.0])
        model.cls_token[0, 0, 6:] = torch.tensor([30.0, -30.0])
        for number in range(2):
            model.blocks[0].mlp.fc1.weight[number, number] = 40.0
        model.head.weight[0, 0] = 1
    return npc.TargetModel(model)


def made_up(masks: np.ndarray, kinds: tuple[str, ...] | None = None) -> ConceptSet:
    """Concepts of given masks, named by numbers."""
    names = tuple(f"concept {number}" for number in range(len(masks)))
    return ConceptSet(names, kinds or ("colour",) * len(masks), masks, masks.any((2, 3)))
